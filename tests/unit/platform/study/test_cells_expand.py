"""From a study to its cells: order, precedence of settings, axes, profiles, seeds."""

from pathlib import Path

import pytest

from rml_platform.study.cells import Cell, expand
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from rml_trainers.methods.paper.rml import RmlConfig
from tests.support.platform.studies import STUDY, write_study


def cells_of(
    folder: Path, *overrides: str, text: str = STUDY, profile: str | None = None
) -> tuple[Cell, ...]:
    return expand(load_study(write_study(folder, text), overrides, profile))


def coordinates(cells: tuple[Cell, ...]) -> list[tuple[str, str, int]]:
    return [(cell.row, cell.column, cell.seed) for cell in cells]


def test_cells_are_rows_by_columns_by_seeds_in_the_order_of_the_file(tmp_path: Path) -> None:
    cells = cells_of(tmp_path)
    rows = ("Supervised", "RML")
    columns = ("1/4", "1/2")
    seeds = (0, 1)
    assert coordinates(cells) == [(r, c, s) for r in rows for c in columns for s in seeds]
    assert [cell.config.split.num_labelled for cell in cells] == [2, 2, 5, 5] * 2
    assert [cell.config.seed for cell in cells] == [0, 1] * 4
    assert [cell.config.method.name for cell in cells] == ["supervised"] * 4 + ["rml"] * 4


def test_comparators_have_no_cells_but_numbers(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path))
    other = study.rows[2]
    assert other.columns == ()
    assert [(number.mean, number.note) for number in other.reported["1/4"]] == [
        (50, ""),
        (51, "second"),
    ]
    assert [number.std for number in study.rows[1].reported["1/4"]] == [0.5]
    assert [column.metric for column in study.columns] == ["final/miou", "final/accuracy"]


def test_a_row_can_be_run_for_some_columns_only(tmp_path: Path) -> None:
    text = STUDY.replace("set: {method.name: rml}", 'set: {method.name: rml}\n    columns: ["1/2"]')
    assert {(cell.row, cell.column) for cell in cells_of(tmp_path, text=text)} == {
        ("Supervised", "1/4"),
        ("Supervised", "1/2"),
        ("RML", "1/2"),
    }


def test_column_beats_row_and_override_beats_all(tmp_path: Path) -> None:
    text = STUDY.replace("{method.name: rml}", "{method.name: rml, split.num_labelled: 9}")
    assert {cell.config.split.num_labelled for cell in cells_of(tmp_path, text=text)} == {2, 5}
    overridden = cells_of(tmp_path, "split.num_labelled=6", text=text)
    assert {cell.config.split.num_labelled for cell in overridden} == {6}


def warm_up_steps(cells: tuple[Cell, ...]) -> dict[str, int]:
    return {cell.row: cell.config.schedule.warm_up_steps for cell in cells}


@pytest.mark.parametrize(
    "key", ["{level}schedule.warm_up_steps=9", "{level}schedule={{warm_up_steps: 9}}"]
)
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("level", ["", "base."])
def test_an_override_wins_over_the_file_however_either_is_written(
    tmp_path: Path, key: str, dotted: bool, level: str
) -> None:
    file = "schedule: {warm_up_steps: 4, stage_steps: [4]}"
    assert file in STUDY
    text = STUDY.replace(file, "schedule.warm_up_steps: 4\n  schedule.stage_steps: [4]")
    cells = cells_of(tmp_path, key.format(level=level), text=text if dotted else STUDY)
    assert warm_up_steps(cells) == {"Supervised": 9, "RML": 9}
    assert {cell.config.schedule.stage_steps for cell in cells} == {(4,)}, "the rest stays"


def test_an_override_of_the_base_wins_over_the_profile_and_leaves_rows_their_own(
    tmp_path: Path,
) -> None:
    text = STUDY.replace("{method.name: rml}", "{method.name: rml, schedule: {warm_up_steps: 5}}")
    small = cells_of(tmp_path, "base.schedule.warm_up_steps=9", text=text, profile="small")
    assert warm_up_steps(small) == {"Supervised": 9, "RML": 5}
    everywhere = cells_of(tmp_path, "schedule.warm_up_steps=9", text=text, profile="small")
    assert warm_up_steps(everywhere) == {"Supervised": 9, "RML": 9}


def test_an_override_of_the_base_may_choose_another_class(tmp_path: Path) -> None:
    text = STUDY.replace("set: {method.name: rml}", "set: {method.temperature: 2}")
    cells = cells_of(tmp_path, "base.method={name: rml, temperature: 3}", text=text)
    assert cells[0].config.method == RmlConfig(temperature=3)
    assert cells[-1].config.method == RmlConfig(temperature=2)


@pytest.mark.parametrize("key", ["optimiser.lr", "base.optimiser.lr", "resources.workers", "seeds"])
def test_a_key_overridden_twice_is_an_error(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--set {key}: {key}: given twice"):
        cells_of(tmp_path, f"{key}=1", f"{key}=2")


def test_a_row_with_a_whole_method_starts_from_its_defaults(tmp_path: Path) -> None:
    base = STUDY.replace(
        "method: {name: supervised}", "method: {name: rml, temperature: 3, soft_labels: true}"
    )
    dotted = cells_of(tmp_path, text=base.replace("{method.name: rml}", "{method.name: rml}"))
    assert dotted[-1].config.method == RmlConfig(temperature=3, soft_labels=True)
    nested = cells_of(tmp_path, text=base.replace("{method.name: rml}", "{method: {name: rml}}"))
    assert nested[-1].config.method == RmlConfig()
    other = cells_of(
        tmp_path, text=base.replace("{method.name: rml}", "{method.name: mean_teacher}")
    )
    assert other[-1].config.method.name == "mean_teacher"


def test_profile_changes_base_rows_columns_and_seeds_and_hides_reported_numbers(
    tmp_path: Path,
) -> None:
    cells = cells_of(tmp_path, profile="small")
    assert {cell.seed for cell in cells} == {7}
    assert {cell.config.schedule.warm_up_steps for cell in cells} == {2}
    assert [cell.config.schedule.stage_steps for cell in cells] == [(4,), (4,), (2, 2), (2, 2)]
    assert [cell.config.split.num_labelled for cell in cells] == [3, 5, 3, 5]
    path = tmp_path / "study.yaml"
    assert not any(row.reported for row in load_study(path, (), "small").rows)
    path.write_text(STUDY.replace("seeds: [7]", "seeds: [7]\n    keep_reported: true"))
    assert any(row.reported for row in load_study(path, (), "small").rows)


def test_axes_multiply_the_rows_by_every_combination(tmp_path: Path) -> None:
    text = STUDY.replace(
        "seeds: [0, 1]",
        "seeds: [0]\naxes: {optimiser.lr: [1e-2, 1e-3], noise.input: [true, false]}",
    )
    cells = cells_of(tmp_path, text=text)
    rml = [cell for cell in cells if cell.row.startswith("RML") and cell.column == "1/4"]
    assert [cell.row for cell in rml] == [
        "RML · lr=0.01, input=true",
        "RML · lr=0.01, input=false",
        "RML · lr=0.001, input=true",
        "RML · lr=0.001, input=false",
    ]
    assert [(cell.config.optimiser.lr, cell.config.noise.input) for cell in rml] == [
        (0.01, True),
        (0.01, False),
        (0.001, True),
        (0.001, False),
    ]
    assert len(cells) == 2 * 4 * 2


def test_axes_alone_are_a_study(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("rows:")]
    methods = "axes: {method: [{name: iml}, {name: rml, temperature: 2}]}\n"
    cells = cells_of(tmp_path, text=text + methods)
    assert coordinates(cells) == [("method=iml", "miou", 0), ("method=rml", "miou", 0)]
    assert cells[1].config.method == RmlConfig(temperature=2)


def test_axes_and_seeds_from_the_command_line(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("rows:")]
    cells = cells_of(tmp_path, "axes.optimiser.lr=[1e-2, 1e-3]", "seeds=[3, 4]", text=text)
    assert coordinates(cells) == [
        (f"lr={lr}", "miou", seed) for lr in (0.01, 0.001) for seed in (3, 4)
    ]


def test_each_seed_has_its_split_seed(tmp_path: Path) -> None:
    text = STUDY.replace("seeds: [0, 1]", "seeds: [0, 1]\nsplit_seeds: [12345, 23456]")
    paired = {cell.seed: cell.config.split.seed for cell in cells_of(tmp_path, text=text)}
    assert paired == {0: 12345, 1: 23456}
    fewer = cells_of(tmp_path, "seeds=[1]", text=text)
    assert {cell.config.split.seed for cell in fewer} == {23456}
    of_profile = text.replace(
        "    seeds: [7]", "    seeds: [7, 8]\n    split_seeds: [34567, 45678]"
    )
    few = expand(load_study(write_study(tmp_path, of_profile), ["seeds=[8]"], "small"))
    assert {(cell.seed, cell.config.split.seed) for cell in few} == {(8, 45678)}, (
        "the profile's pairs"
    )


def test_study_keys_can_be_overridden(tmp_path: Path) -> None:
    study = load_study(
        write_study(tmp_path), ["execution=train", "resources.workers=2", "table.digits=2"]
    )
    assert (study.execution, study.resources.workers, study.table.digits) == ("train", 2, 2)
    based = load_study(tmp_path / "study.yaml", ["base.optimiser.lr=0.5"])
    assert {cell.config.optimiser.lr for cell in expand(based)} == {0.5}


def test_cells_of_another_seed_are_what_the_long_way_makes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells that differ in seeds only are made from one another; that changes none of them."""
    text = STUDY.replace("seeds: [0, 1]", "seeds: [0, 1, 5]\nsplit_seeds: [3, 4, 9]")
    for overrides in ((), ("split.seed=7",), ("split={seed: 7}",)):
        made = cells_of(tmp_path, *overrides, text=text)
        with monkeypatch.context() as patched:
            patched.setattr("rml_platform.study.cells._with_seeds", lambda *_: None)
            assert cells_of(tmp_path, *overrides, text=text) == made
        seeds = {(cell.config.seed, cell.config.split.seed) for cell in made}
        own = {(0, 3), (1, 4), (5, 9)}
        assert seeds == ({(seed, 7) for seed, _ in own} if overrides else own)


@pytest.mark.parametrize("first", [0, -1])
def test_a_seed_that_cannot_be_is_told_wherever_it_stands(first: int, tmp_path: Path) -> None:
    text = STUDY.replace("seeds: [0, 1]", f"seeds: [{first}, {-1 - first}]")
    with pytest.raises(ConfigError) as caught:
        cells_of(tmp_path, text=text)
    message = str(caught.value)
    assert "4 of 8 cells cannot run" in message
    assert "seeds: seed = -1: expected zero or more" in message
    assert "seed -1 and 3 more" in message
