"""The documented analysis runs in a notebook, cell by cell, and shows tables and a figure."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.support.dashboards.recorded_study import RecordedStudy
from tests.support.documentation.pages import ROOT, Page

DOCUMENTED = "search_spaces/demo.yaml"
MORE = (
    "study.runs()",
    'study.curves("train/loss")',
    'study.interactive("loss")',
    'study.figure("loss")',
)


def documented_lines() -> list[str]:
    """The lines of the first block of docs/analysis.md."""
    block = next(b for b in Page(ROOT / "docs" / "analysis.md").blocks if b.language == "python")
    return [line for line in block.text.splitlines() if line]


def test_the_documented_lines_run_in_a_notebook(tmp_path: Path) -> None:
    there = RecordedStudy.make(tmp_path)
    lines = documented_lines()
    assert len(lines) <= 5 and any(DOCUMENTED in line for line in lines)
    own = f'"{there.study}", out="{there.out}", tracking_uri="none"'
    rows = '"RML", "Supervised"'
    cells = [line.replace(f'"{DOCUMENTED}"', own).replace('"RML", "IML"', rows) for line in lines]
    notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
        cells=[nbformat.v4.new_code_cell(cell) for cell in (*cells, *MORE)]  # type: ignore[no-untyped-call]
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(_packages())}
    NotebookClient(notebook, timeout=120, startup_timeout=120, kernel_name="python3").execute(
        env=environment
    )
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    shown = "".join(str(output.get("text", "")) for output in outputs)
    assert "57.5 ± 7.8 (2)" in shown and "p_permutation" in shown
    data = [output["data"] for output in outputs if "data" in output]
    alive = [one for one in data if "application/vnd.plotly.v1+json" in one]
    assert len(alive) == 1, "the figure that answers the pointer"
    tables = [one for one in data if "text/html" in one and one not in alive]
    assert len(tables) == 2, "runs and curves are tables"
    assert "image/png" in data[-1], "the figure is a picture"


def _packages() -> list[str]:
    return [str(ROOT / folder) for folder in ("platform", "trainers", "dashboards")]
