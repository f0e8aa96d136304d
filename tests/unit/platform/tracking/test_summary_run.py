"""The summary run of a study: one, whatever happened, and never taken for a run."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from rml_platform.tracking.mlflow_store import MAX_TAG, MlflowStore
from rml_platform.tracking.shown import summary_run
from rml_platform.tracking.shown.summary_run import StudySummary, publish_summary
from rml_platform.tracking.tracker import TrackingError
from tests.support.recorded import Store, read_records


def summary(cell: str = "50.0", *, name: str = "grid", **changes: Any) -> StudySummary:
    fields: dict[str, Any] = {
        "study": "grid",
        "name": name,
        "source": "grid.yaml",
        "code_version": "abc",
        "description": f"# Grid\n\n{cell}",
        "header": ("Method", "miou", "reported", "reported"),
        "lines": (("RML", cell, "–", "–"),),
        "files": {},
    }
    return StudySummary(**fields | changes)


def own(store: Store) -> MlflowStore:
    return MlflowStore(store.uri, store.file.parent / "artifacts")


def runs(store: Store) -> list[Run]:
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    return list(store.client.search_runs(experiments))


def test_it_holds_the_table_a_description_and_files(store: Store, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    figure = tmp_path / "loss.svg"
    for file in (report, figure):
        file.write_text(file.name)
    publish_summary(own(store), summary(files={report: None, figure: "figures"}))
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["rml.summary"] == "grid" and "rml.run_id" not in tags
    assert tags["mlflow.runName"] == "grid: table"
    assert tags["mlflow.note.content"] == "# Grid\n\n50.0"
    assert json.loads(tags["mlflow.loggedArtifacts"]) == [{"path": "table.json", "type": "table"}]
    folder = Path(store.client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert (folder / "report.html").read_text() == "report.html"
    assert (folder / "figures" / "loss.svg").read_text() == "loss.svg"
    assert json.loads((folder / "table.json").read_text()) == {
        "columns": ["Method", "miou", "reported", "reported (2)"],
        "data": [["RML", "50.0", "–", "–"]],
    }


def test_another_call_brings_it_up_to_date_and_makes_no_other(store: Store, tmp_path: Path) -> None:
    first = publish_summary(own(store), summary("50.0"))
    assert publish_summary(own(store), summary("60.0")) == first
    (run,) = runs(store)
    assert run.data.tags["mlflow.note.content"].endswith("60.0")
    folder = Path(store.client.download_artifacts(first, "", str(tmp_path)))
    assert json.loads((folder / "table.json").read_text())["data"][0][1] == "60.0"


def test_sizes_of_a_study_have_summaries_of_their_own(store: Store) -> None:
    publish_summary(own(store), summary())
    publish_summary(own(store), summary(name="grid-small"))
    assert {run.data.tags["rml.summary"] for run in runs(store)} == {"grid", "grid-small"}


def test_one_that_was_deleted_comes_back(store: Store) -> None:
    first = publish_summary(own(store), summary())
    store.client.delete_run(first)
    assert publish_summary(own(store), summary()) == first
    assert [run.info.run_id for run in runs(store)] == [first]


def test_a_call_that_was_cut_off_is_completed_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MlflowStore, "upload", _away)
        with pytest.raises(TrackingError, match="away"):
            publish_summary(own(store), summary())
    publish_summary(own(store), summary())
    (run,) = runs(store)
    assert run.info.status == "FINISHED"


def _away(*arguments: object) -> None:
    raise TrackingError("away")


def test_no_reader_takes_it_for_a_run(store: Store, tmp_path: Path) -> None:
    store.add("run-1", 0.5, study="grid")
    publish_summary(own(store), summary())
    assert read_records(store.uri, tmp_path / "ledger").runs["run_id"].tolist() == ["run-1"]


def test_a_long_table_is_cut_in_the_description_alone(store: Store) -> None:
    publish_summary(own(store), summary(description="x" * 3 * MAX_TAG))
    note = runs(store)[0].data.tags["mlflow.note.content"]
    assert len(note) == MAX_TAG and note.endswith(summary_run.CUT)
