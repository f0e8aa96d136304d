"""The ledger that the benchmark `ledger` makes is what our reader keeps of such a store, and the
part says how its costs grow."""

import shutil
from pathlib import Path

import pytest

from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product import ledger
from rml_benchmarks.parts.product.record_store import made_ledger, make_store
from rml_benchmarks.settings import SMALLEST
from rml_dashboards.records.ledger import ledger_path, load_ledger
from rml_dashboards.records.mlflow_reader import MlflowReader

LEFT_TO_CHANCE = ("experiment_id", "scores")


def test_the_made_ledger_is_the_one_that_reading_the_store_leaves(
    empty_store: Path, tmp_path: Path
) -> None:
    uri = make_store(Path(shutil.copy(empty_store, tmp_path)), 100)
    MlflowReader(uri, tmp_path).records()
    read, problem = load_ledger(ledger_path(tmp_path, uri))
    assert problem is None
    made_ledger(tmp_path / "made.parquet", 100)
    made, problem = load_ledger(tmp_path / "made.parquet")
    assert problem is None
    kept = [name for name in read.table.schema.names if name not in LEFT_TO_CHANCE]
    assert made.table.select(kept).to_pylist() == read.table.select(kept).to_pylist()
    for own, other in zip(made.table["scores"], read.table["scores"], strict=True):
        assert [key for key, _ in own.as_py()] == [key for key, _ in other.as_py()]


def test_the_part_says_how_costs_grow(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(file: Path, num_runs: int) -> str:
        shutil.copy(empty_store, file)
        return make_store(file, num_runs)

    monkeypatch.setattr(ledger, "in_fresh_process", lambda call, *given: call(*given))
    monkeypatch.setattr(ledger, "make_store", made)
    first, table = ledger.run(Bench(setting=SMALLEST, folder=tmp_path, num_runs=200))
    assert isinstance(first, Table)
    assert [line[0] for line in first.rows] == [100, 200, "ratio"]
    assert all(isinstance(number, float) and number > 0 for number in first.rows[1][1:])
    assert isinstance(table, Table)
    small, large, ratio = table.rows
    assert (small[:2], large[:2], ratio[0]) == ((100, 20), (200, 40), "ratio")
    assert float(ratio[5]) == pytest.approx(float(large[5]) / float(small[5]))
