"""A study's noise floor: one run is planned again with other rounding, beside all others."""

from pathlib import Path

import pytest

from rml_dashboards.studies.table import table_spec
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.scheduling.turns import places_of
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import Plan, PlannedRun, make_plan
from rml_platform.planning.plan_file.writing import to_written
from rml_platform.planning.plan_without_images import plan_without_images
from rml_platform.run.shared_stages import mark_shared
from rml_platform.study.schema import load_study
from rml_platform.views.plan_table import whole_costs
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import STUDY, write_study

FLOOR = "{row: RML, column: 1/2, repeats: [{threads: 2}, {loss_chunk_mib: 1, tf32: false}]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("floor")


def planned(folder: Path, floor: str = FLOOR, *overrides: str, profile: str | None = None) -> Plan:
    text = f"{STUDY}noise_floor: {floor}\n" if floor else STUDY
    study = load_study(write_study(folder, text), overrides, profile)
    return make_plan(study, data_root=None, cache_root=folder / "cache")


def repeats_of(plan: Plan) -> list[PlannedRun]:
    return [run for run in plan.runs if run.repeat_of]


def test_repeats_stand_beside_the_runs_and_change_none_of_their_ids(folder: Path) -> None:
    without = planned(folder, "")
    plan = planned(folder)
    assert plan.runs[: len(without.runs)] == without.runs
    assert plan.cells == without.cells, "a repeat fills no cell"
    (original,) = [
        run_id
        for cell, run_id in plan.cells
        if (cell.row, cell.column, cell.seed) == ("RML", "1/2", 0)
    ]
    ids = [run.run_id for run in repeats_of(plan)]
    assert len(set(ids)) == 2
    assert all(run_id.startswith(f"{original}-repeat-") for run_id in ids)
    assert ids == [run.run_id for run in repeats_of(planned(folder))], "the same every time"


def test_a_repeat_is_its_run_with_other_settings_of_runtime(folder: Path) -> None:
    plan = planned(folder)
    by_id = {run.run_id: run for run in plan.runs}
    first, second = repeats_of(plan)
    original = by_id[first.repeat_of]
    assert original.config.runtime.threads is None
    assert first.config.runtime.threads == 2
    assert (second.config.runtime.loss_chunk_mib, second.config.runtime.tf32) == (1, False)
    for repeat in (first, second):
        assert repeat.split == original.split
        assert repeat.config.method == original.config.method
        assert repeat.config.seed == original.config.seed


def test_a_repeat_takes_over_no_stage(folder: Path) -> None:
    """It would have the very bits of the run that it is compared with."""
    plan = planned(folder, "{row: RML, repeats: [{}]}")
    layout = OutputLayout(root=folder, storage=str(folder))
    tasks = mark_shared([task_of(run, "tiny", layout, None, "l") for run in plan.runs])
    shared = {task.run_id: task.shared_stages for task in tasks}
    (repeat,) = repeats_of(plan)
    assert shared[repeat.run_id] == ()
    assert not any(shared.values()), "nor does the run wait for it"
    (written,) = [run for run in to_written(plan, (), folder).runs if not run.cells]
    assert all(stage.hash is None for stage in written.stages)


def test_repeats_have_their_turn_last(folder: Path) -> None:
    plan = planned(folder)
    seeds = {run_id: places[0].seed for run_id, places in places_of([plan]).items()}
    repeats = {run.run_id for run in repeats_of(plan)}
    assert min(seeds[i] for i in repeats) > max(seeds[i] for i in seeds.keys() - repeats)


def test_tables_find_the_pair_in_the_written_plan(folder: Path) -> None:
    plan = planned(folder)
    spec = table_spec(to_written(plan, (), folder))
    first, second = repeats_of(plan)
    told = [(one.run_id, one.repeat_id, one.how) for one in spec.repeats]
    assert told == [
        (first.repeat_of, first.run_id, "threads=2"),
        (second.repeat_of, second.run_id, "loss_chunk_mib=1, tf32=false"),
    ]
    settings = to_written(plan, (), folder).runs[-1].settings
    assert "runtime.threads" not in settings, "the study's runs do not differ in it"


def test_without_images_the_repeat_is_counted_and_costs_what_its_run_costs(folder: Path) -> None:
    floor = "{row: RML, repeats: [{threads: 2}]}"
    study = planned(folder, floor).study
    plan = plan_without_images(study, "no images")
    assert (len(plan.runs), plan.num_cells) == (9, 8)
    assert whole_costs(plan)[-1].steps_left == 8


def test_another_size_measures_its_own(folder: Path) -> None:
    plan = planned(folder, "{row: RML, repeats: [{threads: 2}]}", profile="small")
    (repeat,) = repeats_of(plan)
    assert repeat.config.seed == 7
    assert repeat.config.schedule.stage_steps == (2, 2)


@pytest.mark.parametrize(
    ("floor", "message"),
    [
        ("{row: RLM, repeats: [{}]}", r"noise_floor\.row: .RLM.: no row that is run .*RML"),
        ("{row: Other, repeats: [{}]}", r"noise_floor\.row: .Other.: no row that is run"),
        ("{row: RML, column: 1/3, repeats: [{}]}", r"noise_floor\.column: .1/3.: no column of"),
        ("{row: RML, seed: 5, repeats: [{}]}", r"noise_floor\.seed: 5: none of the study's seeds"),
        ("{row: RML, repeats: []}", "at least one"),
        ("{row: RML, repeats: [{thread: 2}]}", "runtime.thread.*threads"),
        ("{row: RML, repeats: [{threads: 0}]}", "threads.*at least 1"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, floor: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        planned(tmp_path, floor)
    assert "study.yaml:" in str(error.value)
