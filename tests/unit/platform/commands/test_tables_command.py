"""`rml tables`: its options from the words to the files."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from rml_dashboards.errors import DashboardError
from rml_platform.cli import app
from rml_trainers.errors import ConfigError
from tests.support.dashboards.finished_folders import write_finished
from tests.support.dashboards.recorded_study import RecordedStudy
from tests.support.platform.plan_on_disk import OWN_IMAGES, PlanOnDisk


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose plan is written, with the folders of its four finished runs."""
    more = {"iou__a": 0.25, "iou__b": 0.75}
    return RecordedStudy.make(tmp_path_factory.mktemp("study"), more=more).out


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


def test_pages_and_classes(out: Path, tmp_path: Path) -> None:
    text = tables(out, "--to", tmp_path, "--html", "--per-class")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("own-classes.csv", "own-classes.html", "own-classes.md"),
        *("own.csv", "own.html", "own.md"),
    ]
    assert "25.0 ± 0.0 (2)" in text and "own: IoU of classes" in text


def test_scores_of_settings_that_the_study_had_before_are_marked(tmp_path: Path) -> None:
    there = PlanOnDisk.make(tmp_path)
    for run in there.write().runs:
        write_finished(there.out, run.run_id, 0.5 + 0.1 * run.cells[0].seed)
    assert "†" not in tables(there.out)
    there.write("optimiser.lr=0.5")
    text = tables(there.out, "--html")
    assert "missing, was 55.0 ± 7.1 (2) † [1]" in text and "†: stale" in text
    page = (there.out / "studies" / "own" / "own.html").read_text()
    assert "missing, was 55.0 ± 7.1 (2) † [1]" in page


def checked(folder: Path, mean: float, *words: object) -> tuple[int, str]:
    """Exit code and output of `rml tables --check` where RML, 57.5 here, was reported so."""
    study = yaml.safe_load(OWN_IMAGES)
    study["rows"][1]["reported"] = {"miou": [{"mean": mean}]}
    study["table"] = {"tolerance": 0.2}
    there = RecordedStudy.make(folder, study=study)
    words = ("tables", "own", "--out", there.out, "--tracking-uri", "none", "--check", *words)
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})
    return done.exit_code, done.output


@pytest.mark.parametrize(("mean", "code"), [(57.4, 0), (57.8, 1)])
def test_a_check_ends_by_what_it_found(mean: float, code: int, tmp_path: Path) -> None:
    found, text = checked(tmp_path, mean)
    assert found == code
    assert f"1 of 1 numbers compared, {code} not as expected." in text


def test_a_check_against_a_table_written_before(tmp_path: Path) -> None:
    golden = tmp_path / "golden.csv"
    golden.write_text("row,column,mean\nRML,miou,57.5\nSupervised,miou,54\n")
    code, text = checked(tmp_path / "study", 99, "--golden", golden)
    assert code == 1
    assert "2 of 2 numbers compared, 1 not as expected." in text


def test_options_of_the_check_are_checked(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --check, too"):
        tables(out, "--to", tmp_path, "--golden", tmp_path / "own.csv")
