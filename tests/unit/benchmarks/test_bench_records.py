"""The made-up MLflow store of the benchmark `records` is what MLflow itself and our reader take it
for."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rml_benchmarks.command import main, parser
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product import records
from rml_benchmarks.parts.product.record_store import (
    BEGAN_MS,
    NUM_PARAMS,
    RARE,
    made_runs,
    make_store,
)
from rml_benchmarks.settings import SMALLEST
from rml_dashboards.contract.tags import Tag
from rml_dashboards.records.mlflow_reader import MlflowReader

NUM_RUNS = 100


@pytest.fixture(scope="module")
def uri(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A filled store; MLflow takes half a minute to make an empty one."""
    file = Path(shutil.copy(empty_store, tmp_path_factory.mktemp("many")))
    return make_store(file, NUM_RUNS)


def test_the_store_holds_runs_of_our_usual_size(uri: str) -> None:
    first, *_ = made_runs(NUM_RUNS)
    run = MlflowClient(uri).get_run(first.mlflow_run_id)
    rml_tags = {key for key in run.data.tags if key.startswith("rml.")}
    assert rml_tags == {tag.value for tag in Tag} - RARE
    assert (len(run.data.params), len(run.data.metrics)) == (NUM_PARAMS, 38)
    assert run.info.end_time == BEGAN_MS + 600_000


def test_our_reader_finds_every_run_with_its_scores(uri: str, tmp_path: Path) -> None:
    reader = MlflowReader(uri, tmp_path)
    found = reader.records()
    assert list(found.runs["run_id"]) == sorted(run.run_id for run in made_runs(NUM_RUNS))
    assert len(found.scores) == 38 * NUM_RUNS
    assert not found.warnings


def test_the_part_fills_every_cell_and_prints_its_costs(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(file: Path, num_runs: int) -> str:
        shutil.copy(empty_store, file)
        return make_store(file, num_runs)

    monkeypatch.setattr(records, "make_store", made)
    monkeypatch.setattr(records, "SMALL", 100)
    (table,) = records.run(Bench(setting=SMALLEST, folder=tmp_path, num_runs=200))
    assert isinstance(table, Table)
    assert [line[:2] for line in table.rows] == [(100, 20), (200, 40)]
    for line in table.rows:
        assert all(isinstance(number, float) and number > 0 for number in line[2:])


def test_a_store_has_whole_cells(capsys: pytest.CaptureFixture[str]) -> None:
    assert parser().parse_args(["records", "--runs", "300"]).runs == 300
    with pytest.raises(SystemExit):
        main(["records", "--runs", "150"])
    assert "150 is no positive multiple of 100" in capsys.readouterr().err
