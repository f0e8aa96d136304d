"""`rml tables`: its options from the words to the files."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_dashboards.errors import DashboardError
from rml_platform.cli import app
from rml_trainers.errors import ConfigError
from tests.support.dashboards.finished_folders import write_finished
from tests.support.platform.plan_on_disk import PlanOnDisk

SCORES = {("Supervised", 0): 0.5, ("Supervised", 1): 0.6, ("RML", 0): 0.52, ("RML", 1): 0.63}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose plan is written, with the folders of its four finished runs."""
    made = PlanOnDisk.make(tmp_path_factory.mktemp("study"))
    for run in made.write().runs:
        (cell,) = run.cells
        write_finished(made.out, run.run_id, SCORES[cell.row, cell.seed])
    return made.out


def tables(out: Path, *words: object) -> str:
    words = ("tables", "own", "--out", out, "--tracking-uri", "none", *words)
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})
    if done.exception is not None:
        raise done.exception
    return done.output


def test_statistics_and_pairs(out: Path, tmp_path: Path) -> None:
    text = tables(out, "--to", tmp_path, "--statistics", "--latex", "--paired", "Supervised")
    assert "+2.5 (+2.0 +3.0)" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("own-paired.csv", "own-paired.md", "own-profiles.csv"),
        *("own-statistics.csv", "own-statistics.md", "own.csv", "own.md", "own.tex"),
    ]


def test_the_floor_of_rounding_marks_differences(out: Path, tmp_path: Path) -> None:
    words = ("--to", tmp_path, "--paired", "Supervised", "--noise-floor")
    assert "+2.5 ≈ (" in tables(out, *words, 2.6)
    assert "+2.5 (" in tables(out, *words, 2.4)


def test_options_of_comparisons_are_checked(out: Path, tmp_path: Path) -> None:
    with pytest.raises(DashboardError, match="rows with scores: Supervised, RML"):
        tables(out, "--to", tmp_path, "--paired", "IML")
    with pytest.raises(ConfigError, match="give --paired ROW, too"):
        tables(out, "--to", tmp_path, "--noise-floor", "0.1")
    with pytest.raises(DashboardError, match="emphasis = 'all'"):
        tables(out, "--to", tmp_path, "--emphasis", "all")


def test_the_second_best_stands_out_where_it_is_asked_for(out: Path, tmp_path: Path) -> None:
    tables(out, "--to", tmp_path, "--emphasis", "best_two")
    text = (tmp_path / "own.md").read_text()
    assert "**57.5 ± 7.8 (2)**" in text and "<u>55.0 ± 7.1 (2)</u>" in text
