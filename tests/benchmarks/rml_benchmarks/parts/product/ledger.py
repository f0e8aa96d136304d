"""`python -m rml_benchmarks ledger --runs 100000`: what a store of very many runs costs beside one
of a tenth as many: whether time is linear and memory bounded. First from MLflow, against the floor
of `mlflow.search_runs`, then from the ledger that the first read leaves.

A hundred thousand runs take MLflow's database ten minutes to make and to read; `records` also says
what the second read costs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.record_store import made_ledger, make_store
from rml_benchmarks.parts.product.records import least, peak_mb, search_all, study
from rml_benchmarks.processes.fresh import in_fresh_process
from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.records.ledger import load_ledger, save_ledger
from rml_dashboards.records.mlflow_reader import MlflowReader
from rml_dashboards.records.records import records_of
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.publish import load_table


def run(bench: Bench) -> Iterator[Result]:
    """A store and one of ten times as many runs: what they cost when they are read for the first
    time, and once they have been read."""
    sizes = (max(100, bench.num_runs // 10), bench.num_runs)
    yield _first_reads(bench, sizes)
    yield _from_ledgers(bench, sizes)


def _first_reads(bench: Bench, sizes: tuple[int, int]) -> Table:
    lines: list[tuple[str | float | int, ...]] = []
    for num_runs in sizes:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            uri = make_store(Path(folder) / "mlflow.db", num_runs)
            lines.append((num_runs, *in_fresh_process(_first_read, uri, folder, num_runs)))
    ratios = [float(large) / float(small) for small, large in zip(*lines, strict=True)][1:]
    lines.append(("ratio", *ratios))
    return Table(
        title="The first table from MLflow's SQLite",
        columns=(
            *("runs", "floor: search_runs (s)", "cold (s)", "cold / floor"),
            *("cold, ms per run", "peak memory (MB)"),
        ),
        rows=tuple(lines),
        note="CPU seconds of one read, up to the filled table; the floor is every page of "
        "MlflowClient.search_runs, thrown away. Peak memory is that of the cold read, with all "
        "libraries loaded, each size in a process of its own. Linear is a ratio of ten.",
    )


def _first_read(uri: str, folder: str, num_runs: int) -> tuple[float, ...]:
    """Seconds of the floor and of the cold read, their ratio, milliseconds per run, megabytes."""
    spec, cells = study(num_runs)
    reader = MlflowReader(uri, Path(folder) / "ledger")
    cold_s = least(lambda: load_table(spec, cells, reader), 1)
    peak = peak_mb()
    floor_s = least(lambda: search_all(uri), 1)
    return floor_s, cold_s, cold_s / floor_s, 1000 * cold_s / num_runs, peak


def _from_ledgers(bench: Bench, sizes: tuple[int, int]) -> Table:
    lines: list[tuple[str | float | int, ...]] = []
    for num_runs in sizes:
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            made_ledger(Path(folder) / "ledger.parquet", num_runs)
            lines.append((num_runs, *in_fresh_process(_costs, folder, num_runs)))
    ratios = [float(large) / float(small) for small, large in zip(*lines, strict=True)][2:]
    lines.append(("ratio", "", *ratios))
    return Table(
        title="A table from the ledger alone",
        columns=(
            *("runs", "cells", "read ledger (s)", "tidy (s)", "fill table (s)"),
            *("all (s)", "write ledger (s)", "peak memory (MB)"),
        ),
        rows=tuple(lines),
        note="CPU seconds, each the smallest of three; peak memory with all libraries "
        "loaded, each size in a process of its own. Linear is a ratio of ten.",
    )


def _costs(folder: str, num_runs: int) -> tuple[float, ...]:
    """Cells, seconds and megabytes of a store of this size, measured in this process."""
    path = Path(folder) / "ledger.parquet"
    spec, cells = study(num_runs)
    kept = load_ledger(path)[0]
    read_s = least(lambda: load_ledger(path), 3)
    records = records_of(kept.table, metrics={FINAL_MIOU})
    tidy_s = least(lambda: records_of(kept.table, metrics={FINAL_MIOU}), 3)
    fill_s = least(lambda: fill_table(spec, cells, records), 3)
    peak = peak_mb()
    write_s = least(lambda: save_ledger(kept, path), 3)
    num_cells = len(spec.rows) * len(spec.columns)
    return num_cells, read_s, tidy_s, fill_s, read_s + tidy_s + fill_s, write_s, peak
