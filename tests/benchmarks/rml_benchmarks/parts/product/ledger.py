"""`python -m rml_benchmarks ledger --runs 100000`: what a table costs from the ledger of a store of
very many runs, beside one of a tenth as many: whether time is linear and memory bounded.

Without MLflow, whose own part `records` measures: its database of a hundred thousand runs takes an
hour to make and to read.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.record_store import made_ledger
from rml_benchmarks.parts.product.records import least, peak_mb, study
from rml_benchmarks.processes.fresh import in_fresh_process
from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.records.ledger import load_ledger, save_ledger
from rml_dashboards.records.records import records_of
from rml_dashboards.tables.filling import fill_table


def run(bench: Bench) -> Iterator[Result]:
    """A table from the ledger alone, of a store and of one of ten times as many runs: what a store
    costs once it has been read."""
    lines: list[tuple[str | float | int, ...]] = []
    for num_runs in (max(100, bench.num_runs // 10), bench.num_runs):
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            made_ledger(Path(folder) / "ledger.parquet", num_runs)
            lines.append((num_runs, *in_fresh_process(_costs, folder, num_runs)))
    ratios = [float(large) / float(small) for small, large in zip(*lines, strict=True)][2:]
    lines.append(("ratio", "", *ratios))
    yield Table(
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
