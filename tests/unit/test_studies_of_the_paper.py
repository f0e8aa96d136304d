"""The studies of the paper's tables: how many cells, whose numbers, which runs they share, and what they cost."""

from functools import cache
from pathlib import Path

import pytest

from rml_platform.cost import first_steps, stated_seconds
from rml_platform.outline import Outline, make_outline
from rml_platform.schema import load_study
from rml_platform.search_space import Study
from rml_trainers.config import RunConfig

FOLDER = Path(__file__).parents[2] / "search_spaces"
STUDIES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
PAPER = {
    "table4": (21, 14),
    "table5": (60, 20),
    "table6": (9, 6),
    "figure4": (12, 8),
    "ablations": (48, 16),
}
"""Cells of a study at the paper's size and in miniature."""

PRINTED = [
    ("table4", "Supervised", "mIoU", 56.03, None),
    ("table4", "IML", "mIoU", 60.09, None),
    ("table4", "IML (+ model noises)", "mIoU", 60.51, None),
    ("table4", "IML (+ input noises)", "mIoU", 60.49, None),
    ("table4", "IML (+ full noises)", "mIoU", 61.25, None),
    ("table4", "RML", "mIoU", 62.85, None),
    ("table4", "RML (two stages)", "mIoU", 63.65, None),
    ("table5", "Deeplabv2 baseline", "Student 1", 55.86, None),
    ("table5", "SETR baseline", "Student 1", 59.77, None),
    ("table5", "Deeplabv2–Deeplabv2 IML", "Student 1", 61.25, None),
    ("table5", "Deeplabv2–Deeplabv2 IML", "Student 2", 61.53, None),
    ("table5", "SETR–SETR IML", "Student 1", 64.15, None),
    ("table5", "SETR–SETR IML", "Student 2", 63.74, None),
    ("table5", "Deeplabv2–SETR IML", "Student 1", 63.96, None),
    ("table5", "Deeplabv2–SETR IML", "Student 2", 64.35, None),
    ("table6", "mIoU", "1e-3", 62.67, None),
    ("table6", "mIoU", "1e-4", 62.85, None),
    ("table6", "mIoU", "1e-5", 62.69, None),
]
"""Study, row, column, mean and standard deviation, read again from the paper (its later version)."""

SHARED = [
    ("table4", "table5", 9),  # the supervised baseline, IML without and with full noises
    ("table4", "table6", 3),  # RML
    ("table4", "figure4", 6),  # RML and IML with full noises
    ("table4", "ablations", 9),  # RML of one and of two stages, IML with full noises
]
"""Two studies and the number of runs that they have in common."""


@cache
def study(name: str, profile: str | None = None) -> Study:
    return load_study(FOLDER / f"{name}.yaml", (), profile)


@cache
def outline(name: str, profile: str | None = None) -> Outline:
    return make_outline(study(name, profile), "not needed here")


def configs(name: str) -> set[RunConfig]:
    return {run.config for run in outline(name).runs}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_and_profile_can_be_planned_without_images(name: str) -> None:
    for profile in (None, *study(name).profiles):
        assert outline(name, profile).runs


@pytest.mark.parametrize("name", PAPER)
def test_a_table_has_the_cells_it_should(name: str) -> None:
    assert (outline(name).num_cells, outline(name, "small").num_cells) == PAPER[name]


@pytest.mark.parametrize("name", PAPER)
def test_a_table_says_what_it_costs(name: str) -> None:
    """Every run has a rate, and the paper's own run comes out at the paper's own figure."""
    cost = study(name).cost
    assert cost is not None
    runs = outline(name).runs
    begin = first_steps(run.stand_in() for run in runs)
    assert all(stated_seconds(run.config, cost, step) for run, step in zip(runs, begin, strict=True))
    two_stages = study("table4")
    (run, *_) = [run for run in outline("table4").runs if run.cells[0].row == "RML (two stages)"]
    assert stated_seconds(run.config, two_stages.cost) == pytest.approx(1.5 * 86400 * 4, rel=0.01)


@pytest.mark.parametrize("name", PAPER)
def test_the_small_profile_needs_no_data_and_few_steps(name: str) -> None:
    small = study(name, "small")
    assert small.execution == "direct"
    assert small.title != study(name).title
    assert not any(row.reported for row in small.rows), "another size is no comparison"
    for run in outline(name, "small").runs:
        assert run.config.data.name == "scenes"
        assert run.config.schedule.total_steps <= 300
        networks = run.config.student_networks
        assert all(getattr(network, "weights", "none") == "none" for network in networks)


@pytest.mark.parametrize(("name", "row", "column", "mean", "std"), PRINTED)
def test_the_printed_numbers_are_there(name: str, row: str, column: str, mean: float, std: float | None) -> None:
    (found,) = [one for one in study(name).rows if one.label == row]
    first = found.reported[column][0]
    assert (first.mean, first.std) == (mean, std)
    assert "paper" in first.source


@pytest.mark.parametrize(("row", "first_version"), [("Deeplabv2 baseline", 54.52), ("SETR baseline", 57.79)])
def test_where_the_versions_differ_both_stand_there(row: str, first_version: float) -> None:
    (found,) = [one for one in study("table5").rows if one.label == row]
    later, first = found.reported["Student 1"]
    assert first.mean == first_version
    assert "later version" in later.source and "first version" in first.source


def test_both_students_of_a_pair_are_scored_by_one_run() -> None:
    """Table 5 has a column per student; a pair's four cells of one seed are one run."""
    columns = {column.label: column.metric for column in study("table5").columns}
    assert columns["Student 1"] == "final/student_1/miou"
    assert columns["Student 2"] == "final/student_2/miou"
    by_row = {run.cells[0].row: run for run in outline("table5").runs}
    assert len(by_row["Deeplabv2–SETR IML"].cells) == 4
    mixed = by_row["Deeplabv2–SETR IML"].config
    assert [network.name for network in mixed.student_networks] == ["deeplab_v2", "setr"]
    assert not (mixed.noise.input or mixed.noise.model)


@pytest.mark.parametrize(("first", "second", "number"), SHARED)
def test_what_two_tables_have_in_common_is_one_run(first: str, second: str, number: int) -> None:
    assert len(configs(first) & configs(second)) == number


def test_what_is_shared_is_not_paid_twice() -> None:
    """The stages and warm-ups that Table 4's rows have in common are a part of its cost."""
    runs, cost = outline("table4").runs, study("table4").cost
    begin = first_steps(run.stand_in() for run in runs)
    by_row = {run.cells[0].row: step for run, step in zip(runs, begin, strict=True)}
    assert by_row["Supervised"] == by_row["IML"] == 0
    assert by_row["RML (two stages)"] == 110_000, "its first stage is the row RML"
    assert by_row["RML"] == 20_000, "its warm-up is that of IML with the same model noise"
    whole = sum(stated_seconds(run.config, cost) or 0 for run in runs)
    shared = sum(stated_seconds(run.config, cost, step) or 0 for run, step in zip(runs, begin, strict=True))
    assert shared < 0.85 * whole
