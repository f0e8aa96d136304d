"""Snippets of the documentation: studies and runs load, names of Python examples exist."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rml_platform.study.cells import expand
from rml_platform.study.schema import load_run_config, load_study
from rml_platform.study.yaml_document import read_document
from tests.support.documentation.pages import Block, blocks

RUN = """\
data: {name: scenes, size_px: [32, 48]}
split: {num_labelled: 4}
method: {name: rml}
network: {backbone: test_resnet, weights: none, projection_width: 32}
schedule: {warm_up_steps: 4, stage_steps: [4]}
"""
STUDY: dict[str, Any] = {
    "name": "documented",
    "base": yaml.safe_load(RUN),
    "rows": [
        {"label": label, "set": {"method.min_cells": number}}
        for number, label in enumerate(["RML", "IML", "Mean teacher", "Supervised"], start=1)
    ],
    "columns": [{"label": "1/8"}],
}
KINDS = ("study", "run", "part of study", "part of run", "part of row")
YAML = blocks("yaml", "yml")
PYTHON = blocks("python", "py")


def place(block: Block) -> str:
    return block.place


def check(block: Block, folder: Path) -> None:
    """Load what a block shows. Raises ConfigError where the product would refuse it."""
    path = folder / "documented.yaml"
    path.write_text(block.text, encoding="utf-8")
    shown = read_document(path).value
    if block.info == "part of run":
        path.write_text(yaml.safe_dump({**yaml.safe_load(RUN), **shown}))
    elif block.info == "part of study":
        path.write_text(yaml.safe_dump({**STUDY, **shown}))
    elif block.info == "part of row":
        rows = [{**STUDY["rows"][0], **shown}, *STUDY["rows"][1:]]
        path.write_text(yaml.safe_dump({**STUDY, "rows": rows}))
    if block.info.endswith("run"):
        load_run_config(path)
        return
    for profile in (None, *load_study(path).profiles):
        assert expand(load_study(path, (), profile))


@pytest.mark.parametrize("block", YAML, ids=place)
def test_a_documented_study_or_run_is_one(block: Block, tmp_path: Path) -> None:
    kinds = ", ".join(f"```yaml {kind}" for kind in KINDS)
    assert block.info in KINDS, f"{block.place}: say what it is with one of {kinds}"
    check(block, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_key_is_found(kind: str, tmp_path: Path) -> None:
    bad = {
        "study": "name: x\nbase:\n  optimiser: {lrr: 1}\n",
        "run": f"{RUN}optimiser: {{lrr: 1}}\n",
        "part of study": "axes: {optimiser.lrr: [1]}\n",
        "part of run": "optimiser: {lrr: 1}\n",
        "part of row": "set: {optimiser.lrr: 1}\n",
    }
    with pytest.raises(Exception, match="lrr"):
        check(Block(tmp_path, 1, "yaml", kind, bad[kind]), tmp_path)


@pytest.mark.parametrize("block", PYTHON, ids=place)
def test_names_of_a_python_example_exist(block: Block) -> None:
    tree = ast.parse(block.text, block.place)
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, block.place, "exec"), {})
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F", "-"],
        input=block.text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, f"{block.place}:\n{linted.stdout}"
