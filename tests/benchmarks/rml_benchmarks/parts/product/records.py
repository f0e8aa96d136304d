"""`python -m rml_benchmarks records`: what a table costs from a store of many runs, read for the
first time and again, against the floor that `mlflow.search_runs` itself needs.

CPU seconds of this process, MLflow loaded: what a shared machine does besides can only lengthen the
wall time. The store is made up (`record_store.py`), one SQLite file.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mlflow import MlflowClient

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.record_store import (
    NUM_SEEDS,
    made_runs,
    make_store,
)
from rml_dashboards.records.mlflow_reader import PAGE_SIZE, MlflowReader
from rml_dashboards.tables.publish import load_table, write_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec

SMALL = 1_000
"""Runs of the store beside the large one, which shows whether costs are linear."""
NUM_COLUMNS = 20
MEGA = 1e6


def run(bench: Bench) -> Iterator[Result]:
    """A small store and one of as many runs as were asked for."""
    lines = []
    for num_runs in sorted({min(SMALL, bench.num_runs), bench.num_runs}):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            lines.append(_line(Path(folder), num_runs, bench.num_rounds(2)))
    yield Table(
        title="A table from MLflow's SQLite, CPU seconds",
        columns=(
            *("runs", "cells", "floor: search_runs", "cold", "cold / floor"),
            *("cold, ms per run", "warm", "write files", "peak memory MB, so far"),
        ),
        rows=tuple(lines),
        note="The floor is every page of MlflowClient.search_runs, thrown away. Cold: the same "
        "read without a ledger, up to the filled table; warm: with it; each the smallest of "
        f"{bench.num_rounds(2)}. Costs are linear where the milliseconds of a run stay the same. "
        "Smaller stores come first, so peak memory is that of the line's own store.",
    )


def peak_mb() -> float:
    """Most memory that this process has had, in MB."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGA


def _line(folder: Path, num_runs: int, num_rounds: int) -> tuple[str | float | int, ...]:
    uri = make_store(folder / "mlflow.db", num_runs)
    spec, cells = study(num_runs)
    ledgers = iter(range(100))

    def cold() -> object:
        return load_table(spec, cells, MlflowReader(uri, folder / f"ledger{next(ledgers)}"))

    floor_s = least(lambda: search_all(uri), num_rounds)
    cold_s = least(cold, num_rounds)
    kept = MlflowReader(uri, folder / "ledger0")
    warm_s = least(lambda: load_table(spec, cells, kept), num_rounds)
    table = load_table(spec, cells, kept)
    write_s = least(lambda: write_table(table, folder / "files"), num_rounds)
    num_cells = len(spec.rows) * len(spec.columns)
    reading = (floor_s, cold_s, cold_s / floor_s, 1000 * cold_s / num_runs, warm_s)
    return (num_runs, num_cells, *reading, write_s, peak_mb())


def study(num_runs: int) -> tuple[TableSpec, list[CellSpec]]:
    """A table in which every run of the store has its place."""
    runs = made_runs(num_runs)
    num_rows = num_runs // NUM_SEEDS // NUM_COLUMNS
    rows = tuple(RowSpec(label=f"row {i}") for i in range(num_rows))
    columns = tuple(ColumnSpec(label=f"column {i}") for i in range(NUM_COLUMNS))
    cells = [
        CellSpec(
            row=rows[one.cell // NUM_COLUMNS].label,
            column=columns[one.cell % NUM_COLUMNS].label,
            seed=one.seed,
            run_id=one.run_id,
        )
        for one in runs
    ]
    return TableSpec(name="many", title="Many cells", rows=rows, columns=columns), cells


def search_all(uri: str) -> None:
    """Every page of a store as MLflow's client gives it."""
    client = MlflowClient(uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    token: str | None = None
    while True:
        page = client.search_runs(ids, max_results=PAGE_SIZE, page_token=token)
        token = page.token
        if not token:
            return


def least(call: Callable[[], object], num_rounds: int) -> float:
    """CPU seconds of the shortest of several calls."""
    times = []
    for _ in range(num_rounds):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times)
