"""Runs the commands of the documentation as they stand, in a folder of their own, at a tiny size.

The studies that they name are the real ones with few images and steps. Blocks that need what a test
has not say so (`sh needs=…`) and are only parsed, by tests/unit/docs.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rml_platform.cli import app
from tests.support.documentation.command_lines import commands
from tests.support.documentation.pages import ROOT, Block, blocks
from tests.support.image_folders import image, mask, save

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

RUNNABLE = [block for block in blocks("sh") if not block.info]
TINY: dict[str, Any] = {
    "split": {"num_labelled": 4},
    "network": {"backbone": "test_resnet", "weights": "none", "aspp_branches": 2},
    "geometry": {"crop_px": [24, 32]},
    "batch": {"labelled": 2, "unlabelled": 2},
    "schedule": {"warm_up_steps": 1, "stage_steps": [1]},
    "runtime": {"device": "cpu", "checkpoint_every_steps": 2, "log_every_steps": 1},
}
TINY_SCENES = {"name": "scenes", "size_px": [32, 48], "num_train": 10, "num_val": 3}


def tiny_run(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run at a size that takes a second."""
    return {**values, **TINY, "data": TINY_SCENES}


def tiny_study(text: str) -> str:
    """A study with its own rows, columns, axes and figures, but one seed and tiny runs."""
    study = yaml.safe_load(text)
    for key in ("resources", "split_seeds"):
        study.pop(key, None)
    return yaml.safe_dump(
        {**study, "base": tiny_run(study["base"]), "execution": "direct", "seeds": [0]}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader stands: the studies of the repository, those that the pages show, and images.

    What the pages launch is trained here once, in one launch.
    """
    here = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "search_spaces", here / "search_spaces")
    demo = tiny_study((ROOT / "search_spaces" / "demo.yaml").read_text())
    (here / "search_spaces" / "demo.yaml").write_text(demo)
    # Of its own name: studies of one name are refused in one launch.
    study = yaml.safe_dump({**yaml.safe_load(demo), "name": "study"})
    (here / "STUDY.yaml").write_text(study)
    for block in blocks("yaml"):
        if block.info == "study":
            name = yaml.safe_load(block.text)["name"]
            (here / f"{name}.yaml").write_text(tiny_study(block.text))
        if block.info == "run":
            run = tiny_run(yaml.safe_load(block.text))
            (here / "CONFIG.yaml").write_text(yaml.safe_dump(run))
    save(image(0, 32, 48), here / "IMAGE.png")
    for i in range(5):
        save(image(i), here / "data" / "my_images" / "images" / f"{i}.png")
        save(mask(i, [0, 1, 2]), here / "data" / "my_images" / "masks" / f"{i}.png")
    launch(here)
    return here


def launch(here: Path) -> None:
    launched = {
        word
        for block in RUNNABLE
        for words in commands(block)
        if words[:2] == ["rml", "launch"]
        for word in words[2:]
        if word.endswith(".yaml")
    }
    rml = Path(sys.executable).with_name("rml")
    done = subprocess.run(
        [rml, "launch", *sorted(launched)], cwd=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def run_id(here: Path) -> str:
    """Any finished run that can be predicted with."""
    return min(path.name for path in (here / "outputs" / "runs").iterdir())


def expanded(word: str, here: Path) -> list[str]:
    """What a shell and a reader make of a word: patterns are file names, RUN_ID is a run."""
    if "*" in word:
        return sorted(str(path.relative_to(here)) for path in here.glob(word))
    return [re.sub(r"\bRUN_ID\b", run_id(here), word)]


@pytest.fixture
def tidied(folder: Path) -> Iterator[Path]:
    """The folder, from which what a block leaves there is taken away: two pages may show one
    command, and no command writes over files."""
    before = set(folder.iterdir())
    yield folder
    for made in set(folder.iterdir()) - before:
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink()


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.place)
def test_a_documented_command_runs(
    block: Block, tidied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tidied)
    monkeypatch.setenv("RML_DATA", str(tidied / "data"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for words in commands(block):
        assert words[0] == "rml", f"{block.place}: {words[0]} runs in no test; say why, needs=…"
        arguments = [argument for word in words[1:] for argument in expanded(word, tidied)]
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        shown = f"{block.place}: {' '.join(words)}\n{done.output}"
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            f"{shown}\n{done.exception!r}"
        )
        assert done.exit_code == 0, shown


def test_the_commands_of_a_launch_are_there_to_run() -> None:
    """Were every block marked as one that cannot run, the tests above would show nothing."""
    names = {" ".join(words[:2]) for block in RUNNABLE for words in commands(block)}
    wanted = "compare data doctor export figures launch plan predict report run status tables"
    assert {f"rml {name}" for name in wanted.split()} <= names
