"""The studies of the paper's tables: how many cells, whose numbers, which runs they share, and what
they cost."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from rml_platform.planning.cost import StageCost, first_steps, stated_seconds_left
from rml_platform.planning.plan_without_images import PlanWithoutImages, plan_without_images
from rml_platform.study.cells import Study
from rml_platform.study.schema import load_study
from rml_trainers.config import RunConfig

FOLDER = Path(__file__).parents[4] / "search_spaces"
STUDIES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
PAPER = {
    "table1": (140, 56),
    "table2": (25, 25),
    "table3": (29, 29),
    "table4": (21, 14),
    "table5": (60, 20),
    "table6": (9, 6),
    "figure4": (12, 8),
    "ablations": (48, 16),
    "ablations_robust": (33, 11),
    "comparators": (63, 21),
}
"""Cells of a study at the paper's size and in miniature."""

PRINTED = [
    ("table1", "Deeplabv2", "1/8", 59.3, None),
    ("table1", "AdvSSL, reported", "1/4", 60.5, None),
    ("table1", "S4GAN, reported", "full", 65.8, None),
    ("table1", "CutMix, reported", "1/30", 51.20, 2.29),
    ("table1", "CutMix, reported", "full", 67.68, 0.37),
    ("table1", "CowMix, reported", "1/4", 64.10, 0.82),
    ("table1", "ClassMix, reported", "1/8", 61.35, 0.62),
    ("table1", "ECS, reported", "1/8", 60.26, 0.84),
    ("table1", "DMT, reported", "1/30", 54.8, None),
    ("table1", "DMT, reported", "full", 68.2, None),
    ("table1", "Supervised", "1/30", 45.40, 1.04),
    ("table1", "Supervised", "full", 67.14, 0.32),
    ("table1", "RML", "1/30", 58.25, 1.36),
    ("table1", "RML", "1/8", 63.97, 0.46),
    ("table1", "RML", "1/4", 66.15, 0.06),
    ("table2", "Deeplabv2", "1/50", 48.3, None),
    ("table2", "AdvSSL, reported", "full", 71.4, None),
    ("table2", "S4GAN, reported", "1/20", 62.9, None),
    ("table2", "ICT, reported", "1/100", 35.82, None),
    ("table2", "CutMix, reported", "1/50", 64.81, None),
    ("table2", "Supervised", "full", 72.62, None),
    ("table2", "RML", "1/100", 53.77, None),
    ("table2", "RML", "1/8", 70.34, None),
    ("table3", "Deeplabv2", "full", 73.6, None),
    ("table3", "AdvSSL, reported", "1/50", 57.2, None),
    ("table3", "S4GAN, reported", "1/8", 69.5, None),
    ("table3", "DMT, reported", "1/100", 63.04, None),
    ("table3", "ECS, reported", "1/8", 72.95, None),
    ("table3", "ClassMix, reported", "1/20", 67.77, None),
    ("table3", "RML", "1/100", 63.60, None),
    ("table3", "RML", "1/8", 73.38, None),
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
"""Study, row, column, mean and standard deviation, read again from the paper (its later
version)."""

SHARED = [
    ("table1", "table4", 6),  # the supervised baseline and RML of two stages
    ("table2", "table3", 0),  # other initial weights
    ("table4", "table5", 9),  # the supervised baseline, IML without and with full noises
    ("table4", "table6", 3),  # RML
    ("table4", "figure4", 6),  # RML and IML with full noises
    ("comparators", "figure4", 12),  # mean teacher, direct, IML, RML
    ("table4", "ablations_robust", 6),  # RML of one stage, IML with full noises
    ("table4", "ablations", 9),  # RML of one and of two stages, IML with full noises
]
"""Two studies and the number of runs that they have in common."""


@cache
def study(name: str, profile: str | None = None) -> Study:
    return load_study(FOLDER / f"{name}.yaml", (), profile)


@cache
def planned(name: str, profile: str | None = None) -> PlanWithoutImages:
    return plan_without_images(study(name, profile), "not needed here")


def stages_of_runs(name: str) -> list[tuple[StageCost, ...]]:
    """The stages of every run with their cost by the study's rate."""
    return [run.stages(study(name).cost) for run in planned(name).runs]


def configs(name: str) -> set[RunConfig]:
    return {run.config for run in planned(name).runs}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_and_profile_can_be_planned_without_images(name: str) -> None:
    for profile in (None, *study(name).profiles):
        made = planned(name, profile)
        assert made.runs
        assert made.study.title
        assert made.study.description


@pytest.mark.parametrize("name", STUDIES)
def test_a_profile_of_other_images_or_another_size_has_a_title_of_its_own(name: str) -> None:
    """Else its tables and figures are headed with the size of the study."""
    written = yaml.safe_load((FOLDER / f"{name}.yaml").read_text()).get("profiles", {})
    assert tuple(written) == study(name).profiles
    for profile, config in written.items():
        if any(key.partition(".")[0] == "data" for key in config["base"]):
            assert study(name, profile).title != study(name).title, profile


@pytest.mark.parametrize("name", PAPER)
def test_a_table_has_the_cells_it_should(name: str) -> None:
    assert (planned(name).num_cells, planned(name, "small").num_cells) == PAPER[name]


@pytest.mark.parametrize("name", PAPER)
def test_a_table_says_what_it_costs(name: str) -> None:
    """Every run has a rate, and the paper's own run comes out at the paper's own figure."""
    assert study(name).cost is not None
    stages = stages_of_runs(name)
    begin = first_steps(stages)
    assert all(stated_seconds_left(own, step) for own, step in zip(stages, begin, strict=True))
    runs = planned("table4").runs
    (run, *_) = [run for run in runs if run.cells[0].row == "RML (two stages)"]
    assert stated_seconds_left(run.stages(study("table4").cost)) == pytest.approx(
        1.5 * 86400 * 4, rel=0.01
    )


@pytest.mark.parametrize("name", PAPER)
def test_the_small_profile_needs_no_data_and_few_steps(name: str) -> None:
    small = study(name, "small")
    assert small.execution == "direct"
    assert small.title != study(name).title
    assert not any(row.reported for row in small.rows), "another size is no comparison"
    for run in planned(name, "small").runs:
        assert run.config.data.name == "scenes"
        assert run.config.schedule.total_steps <= 300
        networks = run.config.student_networks
        assert all(getattr(network, "weights", "none") == "none" for network in networks)


@pytest.mark.parametrize(("name", "row", "column", "mean", "std"), PRINTED)
def test_the_printed_numbers_are_there(
    name: str, row: str, column: str, mean: float, std: float | None
) -> None:
    (found,) = [one for one in study(name).rows if one.label == row]
    first = found.reported[column][0]
    assert (first.mean, first.std) == (mean, std)
    assert "paper" in first.source


NUM_QUOTED = {"table1": 24, "table2": 22, "table3": 22}
"""Numbers of comparators that the paper's tables hold, counted there."""


@pytest.mark.parametrize("name", NUM_QUOTED)
def test_every_comparator_is_quoted_and_run_where_we_can(name: str) -> None:
    rows = {row.label: row for row in study(name).rows}
    quoted = {label: row for label, row in rows.items() if not row.columns}
    assert sum(len(row.reported) for row in quoted.values()) == NUM_QUOTED[name]
    assert all(row.group.startswith("Reported by") for row in quoted.values())
    also_run = {
        label.removesuffix(", reported"): row
        for label, row in quoted.items()
        if "reported" in label
    }
    assert also_run
    for label, row in also_run.items():
        assert rows[label].group.startswith("Run here")
        for column, numbers in rows[label].reported.items():
            assert numbers[0].mean == row.reported[column][0].mean


def test_splits_are_those_that_the_paper_names() -> None:
    """Hashes of French et al.'s published splits."""
    found = {len(run.split.labelled): run.split.hash for run in planned("table2").runs if run.split}
    assert {n: found[n] for n in (106, 212, 529, 1323)} == {
        106: "494702715ac1",
        212: "0f242c70a697",
        529: "eac3f69eeacc",
        1323: "306327ff6380",
    }
    cityscapes = [
        run for run in planned("table1").runs if run.config.split.seed == 12345 and run.split
    ]
    by_size = {len(run.split.labelled): run.split.hash for run in cityscapes if run.split}
    assert {n: by_size[n] for n in (100, 372, 744)} == {
        100: "8ae9b182a9cb",
        372: "dd0b8b098cce",
        744: "e867a91f1ebc",
    }


@pytest.mark.parametrize(
    ("row", "first_version"), [("Deeplabv2 baseline", 54.52), ("SETR baseline", 57.79)]
)
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
    by_row = {run.cells[0].row: run for run in planned("table5").runs}
    assert len(by_row["Deeplabv2–SETR IML"].cells) == 4
    mixed = by_row["Deeplabv2–SETR IML"].config
    assert [network.name for network in mixed.student_networks] == ["deeplab_v2", "setr"]
    assert not (mixed.noise.input or mixed.noise.model)


@pytest.mark.parametrize(("first", "second", "number"), SHARED)
def test_what_two_tables_have_in_common_is_one_run(first: str, second: str, number: int) -> None:
    assert len(configs(first) & configs(second)) == number


def test_what_is_shared_is_not_paid_twice() -> None:
    """The stages and warm-ups that Table 4's rows have in common are a part of its cost."""
    runs = planned("table4").runs
    stages = stages_of_runs("table4")
    begin = first_steps(stages)
    by_row = {run.cells[0].row: step for run, step in zip(runs, begin, strict=True)}
    assert by_row["Supervised"] == by_row["IML"] == 0
    assert by_row["RML (two stages)"] == 110_000, "its first stage is the row RML"
    assert by_row["RML"] == 20_000, "its warm-up is that of IML with the same model noise"
    whole = sum(stated_seconds_left(own) or 0 for own in stages)
    shared = sum(
        stated_seconds_left(own, step) or 0 for own, step in zip(stages, begin, strict=True)
    )
    assert shared < 0.85 * whole


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_numbers_of_s4gan_and_no_others_speak_of_its_second_branch(name: str) -> None:
    for row in study(name).rows:
        for quoted in (number for own in row.reported.values() for number in own):
            assert ("MLMT" in quoted.note) == row.label.startswith("S4GAN"), row.label


def test_networks_of_today_are_trained_as_published_and_with_rml() -> None:
    """The method that was published on a network stands beside RML with the same recipe."""
    by_row = {run.cells[0].row: run.config for run in planned("networks").runs}
    assert len(planned("networks").runs) == 3 * len(by_row) == 21
    published = {
        "dpt": by_row["UniMatch V2, DPT"],
        "deeplab_v3_plus": by_row["UniMatch, Deeplabv3+"],
    }
    assert [config.method.name for config in published.values()] == ["unimatch_v2", "unimatch"]
    for name, other in published.items():
        (rml,) = [
            config
            for config in by_row.values()
            if config.method.name == "rml" and config.network.name == name
        ]
        assert other.network == rml.network and rml.peer_network is None
        for part in ("optimiser", "geometry", "batch", "teacher", "labelled_loss", "split"):
            assert getattr(other, part) == getattr(rml, part), part
        assert other.schedule.total_steps == rml.schedule.total_steps
        assert rml.evaluation.inference_px == rml.geometry.crop_px, "windows as large as crops"
    small = planned("networks", "small")
    assert {run.config.data.name for run in small.runs} == {"scenes"}
    assert all(getattr(run.config.network, "weights", "") == "none" for run in small.runs)
