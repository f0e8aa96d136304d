"""plan.json: what stands in it, that it comes back whole, and what is said where it does not."""

import dataclasses
import json
from pathlib import Path

import pytest

from rml_dashboards.contract.study_plan import plan_file
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.planning.plan_file.writing import study_labels, to_written, write_down
from rml_platform.planning.plan_file.written_plan import (
    PLAN,
    WrittenPlan,
    content_of,
    planned_studies,
    read_plan,
    write_plan,
)
from rml_platform.planning.workload import stage_costs
from rml_platform.study.schema import load_study
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import STUDY, write_study

RATED = f"{STUDY}cost: {{seconds_per_megapixel: {{deeplab_v2: 2}}, source: counted}}\n"
OVERRIDES = ("optimiser.momentum=0.5", "batch.labelled=2")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("written")
    study = load_study(write_study(folder, RATED), OVERRIDES)
    return make_plan(study, data_root=None, cache_root=folder / "out" / "cache")


@pytest.fixture(scope="module")
def out(plan: Plan) -> Path:
    return plan.runs[0].prepared_folder.parents[1]


@pytest.fixture(scope="module")
def written(plan: Plan, out: Path) -> WrittenPlan:
    return to_written(plan, OVERRIDES, out)


def test_what_is_written_comes_back(written: WrittenPlan, tmp_path: Path) -> None:
    write_plan(written, tmp_path)
    assert read_plan(tmp_path, "tiny", None) == written
    assert [path.name for path in (tmp_path / "studies" / "tiny").iterdir()] == ["plan.json"]


def test_it_says_where_it_came_from(plan: Plan, written: WrittenPlan) -> None:
    assert written.source == plan.study.source
    assert written.overrides == tuple(sorted(OVERRIDES))
    assert (written.profile, written.result_version) == (None, RESULT_VERSION)


def test_the_file_is_kept_as_it_was_written(written: WrittenPlan, tmp_path: Path) -> None:
    write_plan(written, tmp_path)
    file = tmp_path / plan_file(written.name, written.profile)
    shuffled = json.dumps(dict(reversed(json.loads(file.read_bytes()).items()))).encode()
    file.write_bytes(shuffled)
    assert content_of(written, tmp_path) == shuffled
    other = dataclasses.replace(written, title="another plan")
    assert content_of(other, tmp_path) == PLAN.encode(other)
    assert content_of(written, tmp_path / "nothing") == PLAN.encode(written)


def test_it_has_every_cell_run_and_column(plan: Plan, written: WrittenPlan) -> None:
    cells = [(c.row, c.column, c.seed, run_id) for c, run_id in plan.cells]
    assert [(c.row, c.column, c.seed, run.run_id) for c, run in written.cells] == cells
    columns = [("1/4", "final/miou", True), ("1/2", "final/accuracy", True)]
    assert [(c.label, c.metric, c.higher_is_better) for c in written.columns] == columns
    assert [row.columns for row in written.rows] == [("1/4", "1/2"), ("1/4", "1/2"), ()]
    assert [n.mean for n in written.rows[2].reported["1/4"]] == [50, 51]
    for of_plan, of_file in zip(plan.runs, written.runs, strict=True):
        config = of_plan.config
        hashes = (of_file.split_hash, of_file.data_hash)
        assert hashes == (of_plan.split_hash, of_plan.data_hash)
        assert of_file.num_labelled == len(of_plan.split.labelled)
        assert of_file.num_unlabelled == len(of_plan.split.unlabelled)
        assert of_file.num_steps == config.schedule.total_steps == 8
        assert of_file.stages == stage_costs(
            config, plan.study.cost, split_hash=hashes[0], data_hash=hashes[1]
        )
        assert all(stage.stated_seconds for stage in of_file.stages)


def test_the_prepared_folder_is_told_relative_to_the_output(
    plan: Plan, written: WrittenPlan, out: Path
) -> None:
    for of_plan, of_file in zip(plan.runs, written.runs, strict=True):
        assert not Path(of_file.prepared_folder).is_absolute()
        assert out / of_file.prepared_folder == of_plan.prepared_folder


def test_settings_are_sorted_into_shared_and_own(written: WrittenPlan) -> None:
    assert written.settings["optimiser.momentum"] == 0.5
    assert written.settings["data.size_px"] == [32, 48]
    assert written.settings["schedule.stage_steps"] == [4]
    assert "optimiser.lr" not in written.settings, "left at its default by all"
    for run in written.runs:
        assert set(run.settings) == {"method.name", "seed", "split.num_labelled"}
        assert run.settings["seed"] == run.cells[0].seed
        assert run.settings["method.name"] == run.method
        assert run.settings["split.num_labelled"] == run.num_labelled


def test_a_tracker_is_told_where_a_run_stands_and_in_what_it_differs(plan: Plan) -> None:
    told = study_labels(plan)
    assert told.keys() == {run.run_id for run in plan.runs}
    (run_id,) = (
        run_id
        for cell, run_id in plan.cells
        if (cell.row, cell.column, cell.seed) == ("RML", "1/2", 1)
    )
    assert told[run_id] == {
        "rml.row.tiny": "RML",
        "rml.column.tiny": "1/2",
        "rml.differs.tiny": "method.name=rml, split.num_labelled=5",
    }


def test_runs_that_report_otherwise_are_told_apart(tmp_path: Path) -> None:
    text = STUDY.replace("{method.name: rml}", "{method.name: rml, runtime.log_every_steps: 7}")
    study = load_study(write_study(tmp_path, text))
    made = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    runs = to_written(made, (), tmp_path).runs
    assert len({run.reporting for run in runs}) == 2
    assert {run.reporting for run in runs if run.method == "rml"} != {
        run.reporting for run in runs if run.method == "supervised"
    }


def test_a_profile_has_a_plan_of_its_own(plan: Plan, out: Path, tmp_path: Path) -> None:
    small = load_study(write_study(tmp_path, RATED), (), "small")
    made = make_plan(small, data_root=None, cache_root=out / "cache")
    for one in (plan, made):
        write_plan(to_written(one, (), out), tmp_path)
    assert planned_studies(tmp_path) == ("tiny", "tiny --profile small") or planned_studies(
        tmp_path
    ) == ("tiny --profile small", "tiny")
    whole = read_plan(tmp_path, "tiny", None)
    other = read_plan(tmp_path, "tiny", "small")
    assert whole is not None and other is not None
    assert (len(whole.runs), len(other.runs)) == (8, 4)
    assert (whole.file_suffix, other.file_suffix) == ("", "-small")


def test_a_storage_elsewhere_gets_a_copy(plan: Plan, tmp_path: Path) -> None:
    made = write_down(plan, (), tmp_path / "out", (tmp_path / "shared").as_uri())
    for place in (tmp_path / "out", tmp_path / "shared"):
        assert read_plan(place, "tiny", None) == made


def test_runs_that_cells_had_before_are_remembered(plan: Plan, tmp_path: Path) -> None:
    """Of plans with other settings; those of the plan as it is are not among them, and a seed that
    the study no longer has is forgotten."""
    study = plan.study

    def planned(lr: str, seeds: tuple[int, ...] = study.seeds) -> WrittenPlan:
        changes = [*OVERRIDES, f"optimiser.lr={lr}", f"seeds={list(seeds)}"]
        made = make_plan(
            load_study(Path(study.source), changes),
            data_root=None,
            cache_root=plan.runs[0].prepared_folder.parent,
        )
        return write_down(made, changes, tmp_path, str(tmp_path))

    first = planned("1e-3")
    assert first.earlier == ()
    second = planned("2e-3")
    assert {one.run_id for one in second.earlier} == {run.run_id for run in first.runs}
    third = planned("3e-3", seeds=(study.seeds[0],))
    of_cell = [one for one in third.earlier if (one.row, one.column) == ("RML", "1/4")]
    both = [
        {(c.row, c.column, c.seed): run.run_id for c, run in one.cells} for one in (first, second)
    ]
    place = ("RML", "1/4", study.seeds[0])
    assert [(one.seed, one.run_id) for one in of_cell] == [
        (study.seeds[0], one[place]) for one in both
    ], "the latest last"
    again = planned("2e-3")
    assert not {one.run_id for one in again.earlier} & {run.run_id for run in again.runs}
    assert read_plan(tmp_path, "tiny", None) == again


def test_a_damaged_plan_can_be_planned_anew(plan: Plan, tmp_path: Path) -> None:
    damaged = tmp_path / "studies" / "tiny" / "plan.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"{")
    assert write_down(plan, (), tmp_path, str(tmp_path)) == read_plan(tmp_path, "tiny", None)


def test_nothing_written_is_none(tmp_path: Path) -> None:
    assert read_plan(tmp_path, "tiny", None) is None
    assert planned_studies(tmp_path) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "Invalid JSON"),
        (lambda _: "", "Invalid JSON"),
        (lambda _: "[1]", "is damaged"),
        (lambda text: text.replace('"seed": 0', '"seed": "none"', 1), "cells.0.seed"),
        (lambda text: text.replace('"title"', '"tilte"', 1), "title: Field required"),
        (lambda text: text.replace('"runs": [', '"runs": [{}, ', 1), "runs.0"),
    ],
)
def test_a_damaged_file_is_one_error_that_names_it(
    change: object, reason: str, written: WrittenPlan, tmp_path: Path
) -> None:
    assert callable(change)
    write_plan(written, tmp_path)
    file = tmp_path / plan_file("tiny", None)
    file.write_text(change(file.read_text()))
    with pytest.raises(ConfigError) as caught:
        read_plan(tmp_path, "tiny", None)
    message = str(caught.value)
    assert message.startswith(f"{file} is damaged: ")
    assert reason in message
    assert "rml plan STUDY.yaml" in message
    assert "\n" not in message


def test_a_file_of_another_format_is_not_called_damaged(
    written: WrittenPlan, tmp_path: Path
) -> None:
    write_plan(written, tmp_path)
    file = tmp_path / plan_file("tiny", None)
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2, "price": 3}))
    with pytest.raises(ConfigError, match="written in format 2 by another version of rml; this"):
        read_plan(tmp_path, "tiny", None)


def test_every_field_of_the_file_is_named_in_it(written: WrittenPlan) -> None:
    """A reader in another language finds the keys that the types have."""
    value = json.loads(PLAN.encode(written))
    assert list(value) == [field.name for field in dataclasses.fields(WrittenPlan)]
    assert value["format"] == 1
