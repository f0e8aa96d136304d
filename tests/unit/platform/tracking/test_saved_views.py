"""Views of a study in MLflow: what its page reads from the tags of an experiment."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.shown.saved_views import NOTE, TAG, publish_views, study_views
from tests.support.platform.plan_on_disk import PlanOnDisk
from tests.support.recorded import Store

MOST = 20_000
"""Characters of an experiment's tag that MLflow stores."""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> WrittenPlan:
    """Two rows, one column, two seeds."""
    return PlanOnDisk.make(tmp_path_factory.mktemp("plan")).write()


def own(store: Store) -> MlflowStore:
    return MlflowStore(store.uri, store.file.parent / "artifacts")


def tags(store: Store, name: str = "own") -> dict[str, str]:
    found = store.client.get_experiment_by_name(name)
    assert found is not None
    return dict(found.tags)


def state_of(store: Store, view: str) -> dict[str, Any]:
    """As the page reads it: an envelope whose state is JSON itself."""
    envelope = json.loads(tags(store)[TAG + view])
    assert isinstance(envelope["createdAt"], int) and isinstance(envelope["updatedAt"], int)
    state: dict[str, Any] = json.loads(envelope["state"])
    return state


def test_an_experiment_has_a_view_of_rows_and_one_of_runs(store: Store, plan: WrittenPlan) -> None:
    publish_views(own(store), plan, "summary-run")
    names = {
        key.removeprefix(TAG): json.loads(text)["name"]
        for key, text in tags(store).items()
        if key.startswith(TAG)
    }
    assert names == {"rml-rows-own": "own: rows", "rml-runs-own": "own: runs"}
    rows = state_of(store, "rml-rows-own")
    assert rows["searchFilter"] == "tags.`rml.row.own` LIKE '%'"
    assert (rows["orderByKey"], rows["orderByAsc"]) == ("metrics.`final/miou`", False)
    assert rows["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "rml.row.own"}]
    runs = state_of(store, "rml-runs-own")
    assert runs["groupBy"] is None
    shown = ["tags.`rml.row.own`", "params.`method.name`", "params.`seed`", "metrics.`final/miou`"]
    assert [column for column in runs["selectedColumns"] if column in shown] == shown
    assert runs["compareRunSections"][0]["name"] == "Settings that differ"
    table, lines = runs["compareRunCharts"][:2]
    assert (table["type"], table["showDifferencesOnly"]) == ("DIFFERENCE", True)
    assert {"method.name", "seed"} <= set(lines["selectedParams"])
    for state in (rows, runs):
        sections = {one["uuid"] for one in state["compareRunSections"]}
        cards = state["compareRunCharts"]
        assert {card["metricSectionId"] for card in cards} == sections
        assert len({card["uuid"] for card in cards}) == len(cards)


def test_columns_group_where_runs_differ_in_them(plan: WrittenPlan) -> None:
    """Columns that show several metrics of the same runs tell no runs apart."""

    def groups(*labels: str, is_each_run_in_all: bool) -> int:
        columns = tuple(replace(plan.columns[0], label=label) for label in labels)
        runs = []
        for number, run in enumerate(plan.runs):
            (cell,) = run.cells
            places = labels if is_each_run_in_all else (labels[number % len(labels)],)
            cells = tuple(replace(cell, column=label) for label in places)
            runs.append(replace(run, cells=cells))
        changed = replace(plan, columns=columns, runs=tuple(runs))
        _, state = study_views(changed)["rml-rows-own"]
        return len(state["groupBy"]["groupByKeys"])

    assert groups("a", "b", is_each_run_in_all=False) == 2
    assert groups("a", "b", is_each_run_in_all=True) == 1


def test_what_a_run_lacks_is_in_no_chart_of_lines(plan: WrittenPlan) -> None:
    first = replace(plan.runs[0], settings={**plan.runs[0].settings, "method.temperature": 0.1})
    _, state = study_views(replace(plan, runs=(first, *plan.runs[1:])))["rml-runs-own"]
    assert "params.`method.temperature`" in state["selectedColumns"]
    assert "method.temperature" not in state["compareRunCharts"][1]["selectedParams"]


def test_publishing_again_changes_nothing(
    store: Store, plan: WrittenPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_views(own(store), plan, "summary-run")
    before = tags(store)
    monkeypatch.setattr("time.time", lambda: 0.0)
    publish_views(own(store), plan, "summary-run")
    assert tags(store) == before
    publish_views(own(store), replace(plan, columns=()), "summary-run")
    publish_views(own(store), replace(plan, title="another"), "summary-run")
    assert tags(store)[NOTE].startswith("**own**: another\n\n")


def test_a_view_that_changes_keeps_the_time_at_which_it_was_made(
    store: Store, plan: WrittenPlan
) -> None:
    publish_views(own(store), plan, "summary-run")
    made = json.loads(tags(store)[TAG + "rml-runs-own"])["createdAt"]
    column = replace(plan.columns[0], metric="final/accuracy")
    publish_views(own(store), replace(plan, columns=(column,)), "summary-run")
    assert json.loads(tags(store)[TAG + "rml-runs-own"])["createdAt"] == made
    assert state_of(store, "rml-runs-own")["orderByKey"] == "metrics.`final/accuracy`"


def test_the_note_leads_to_views_and_summary_and_a_person_s_own_stays(
    store: Store, plan: WrittenPlan
) -> None:
    publish_views(own(store), plan, "summary-run")
    found = store.client.get_experiment_by_name("own")
    assert found is not None
    page = f"#/experiments/{found.experiment_id}/runs"
    note = tags(store)[NOTE]
    assert f"[rows]({page}?viewStateShareKey=rml-rows-own)" in note
    assert f"[table, report and figures]({page}/summary-run)" in note
    store.client.set_experiment_tag(found.experiment_id, NOTE, "mine")
    publish_views(own(store), plan, "summary-run")
    assert tags(store)[NOTE] == "mine"


def test_a_damaged_view_is_written_anew(store: Store, plan: WrittenPlan) -> None:
    own(store).tag_experiment("own", {TAG + "rml-rows-own": "[1", TAG + "rml-runs-own": "[1]"})
    publish_views(own(store), plan, "summary-run")
    assert state_of(store, "rml-rows-own") and state_of(store, "rml-runs-own")


def test_each_size_of_a_study_has_its_own(tmp_path: Path) -> None:
    short = PlanOnDisk.make(tmp_path).write(profile="short")
    assert list(study_views(short)) == ["rml-rows-own-short", "rml-runs-own-short"]


def test_a_study_of_many_settings_fits_into_a_tag(plan: WrittenPlan) -> None:
    many = {f"{'long' * 20}.setting_{number}": number for number in range(50)}
    runs = tuple(replace(run, settings=many | run.settings) for run in plan.runs)
    for name, state in study_views(replace(plan, runs=runs)).values():
        assert len(json.dumps({"name": name, "state": json.dumps(state)})) < MOST
