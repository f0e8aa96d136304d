"""Study files: what is accepted, and that every error says where, what and how to mend it."""

import re
from pathlib import Path

import pytest

from rml_platform.study.cells import expand
from rml_platform.study.overrides import STUDY_KEYS
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.documentation.pages import ROOT, Page
from tests.support.platform.studies import STUDY, write_study


def message(path: Path, *overrides: str, profile: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        expand(load_study(path, overrides, profile))
    return str(caught.value)


def test_the_documented_grammar_is_a_study(tmp_path: Path) -> None:
    """What docs/studies.md shows can be copied and run."""
    page = Page(ROOT / "docs" / "studies.md")
    (block,) = (block.text for block in page.blocks if block.info == "study")
    path = write_study(tmp_path, block)
    assert len(expand(load_study(path))) == 27
    assert len(expand(load_study(path, (), "small"))) == 9
    documented = set(re.findall(r"^(\w+):", block, re.MULTILINE))
    chapters = {"axes", "publications", "imports", "search"}
    assert documented == STUDY_KEYS - chapters, "these have chapters of their own"
    assert all(f"`{key}" in page.path.read_text() for key in chapters - {"axes"})


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("seeds: [0, 1]", "sedes: [0, 1]", ["study.yaml:20", "sedes", "did you mean 'seeds'?"]),
        ("label: RML", "lable: RML", ["study.yaml:10", "rows.1.lable", "did you mean 'label'?"]),
        ("execution: direct", "execution: drect", ["study.yaml:2", "did you mean 'direct'?"]),
        (
            "execution: direct",
            "resources: {worker: 2}",
            ["study.yaml:2", "resources.worker", "did you mean 'workers'?"],
        ),
        (
            "execution: direct",
            "execution: direct\nresources: {workers: 2}",
            ["resources.workers = 2", "`direct`"],
        ),
        ("seeds: [0, 1]", "seeds: [0, 0]", ["study.yaml:20", "no seed twice"]),
        ("seeds: [0, 1]", "seeds: []", ["study.yaml:20", "at least one seed"]),
        ("seeds: [0, 1]", "seeds: [zero]", ["study.yaml:20", "expected an integer"]),
        (
            "seeds: [0, 1]",
            "split_seeds: [5]\nseeds: [0, 1]",
            ["study.yaml:20: split_seeds: [5]", "1 split seeds for 2"],
        ),
        ("name: tiny", "name: tiny/../x", ["study.yaml:1", "it names a folder"]),
        ("name: tiny\n", "", ["name: missing"]),
        ("label: RML", "label: Supervised", ["rows.1.label", "given twice"]),
        ('label: "1/2"', 'label: "1/4"', ["columns.1.label", "given twice"]),
        (
            '"1/4": {mean',
            '"1/5": {mean',
            ["study.yaml:12", "rows.1.reported.1/5", "did you mean '1/4'?"],
        ),
        ("mean: 60.5", "men: 60.5", ["study.yaml:12", "men", "did you mean 'mean'?"]),
        (
            "reported_only: true",
            "reported_only: true, set: {seed: 1}",
            ["study.yaml:13", "reported_only"],
        ),
        ("method.name: rml", "seed: 3", ["study.yaml:11: seed", "seeds: [...]"]),
        (
            "method.name: rml",
            "method.nam: rml",
            ["study.yaml:11", "method.nam", "did you mean 'name'?"],
        ),
        (
            "method.name: rml",
            "method.temperature: 2",
            ["study.yaml:11: method.temperature = 2", "unknown key"],
        ),
    ],
)
def test_an_error_names_line_key_and_the_nearest_name(
    tmp_path: Path, old: str, new: str, parts: list[str]
) -> None:
    assert old in STUDY
    text = message(write_study(tmp_path, STUDY.replace(old, new, 1)))
    for part in parts:
        assert part in text


def test_every_bad_cell_is_named_with_its_reason(tmp_path: Path) -> None:
    study = STUDY.replace("method.name: rml", "method: {name: rml, temperature: 0}")
    study = study.replace("{split.num_labelled: 2}", "{split.num_labelled: 0}")
    lines = message(write_study(tmp_path, study)).splitlines()
    assert "6 of 8 cells cannot run" in lines[0]
    assert "split.num_labelled = 0: expected at least 1 labelled image" in lines[1]
    assert lines[2].strip() == "in row 'Supervised', column '1/4', seed 0 and 3 more"
    assert "method.temperature = 0.0: expected a positive number" in lines[3]
    assert lines[4].strip() == "in row 'RML', column '1/4', seed 0 and 3 more"


def test_a_run_file_is_refused_with_the_right_command(tmp_path: Path) -> None:
    text = message(write_study(tmp_path, "method: {name: iml}\ndata: {name: scenes}\n"))
    assert "this configures one run" in text
    assert "rml run" in text


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("seed=1", "use --set seeds=[...]"),
        ("rows=[]", "edit the file"),
        ("columns=[]", "edit the file"),
        ("base={}", "edit the file"),
        ("optimser.lr=1", "--set optimser.lr: unknown key 'optimser'; did you mean 'optimiser'?"),
        (
            "optimiser.lrr=1",
            "--set optimiser.lrr: optimiser.lrr = 1: unknown key; did you mean 'lr'?",
        ),
        (
            "table.digit=1",
            "--set table.digit: table.digit = 1: unknown key; did you mean 'digits'?",
        ),
        ("axes.optimiser.lrr=[1]", "--set axes.optimiser.lrr: optimiser.lrr = 1: unknown key"),
    ],
)
def test_a_bad_override_names_itself(tmp_path: Path, override: str, part: str) -> None:
    assert part in message(write_study(tmp_path), override)


def test_an_unknown_profile_names_the_nearest(tmp_path: Path) -> None:
    assert "--profile smal: no such profile; did you mean 'small'?" in message(
        write_study(tmp_path), profile="smal"
    )
    without = STUDY[: STUDY.index("profiles:")]
    assert "this study has none" in message(write_study(tmp_path, without), profile="small")


def test_a_profile_may_only_patch_what_is_there(tmp_path: Path) -> None:
    text = message(write_study(tmp_path, STUDY.replace("rows: {RML:", "rows: {RLM:")))
    assert "profiles.small.rows.RLM: no such row; did you mean 'RML'?" in text
