"""`rd.study`: a study from Python, by its file, its name and its plan."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import rml_dashboards as rd
from rml_dashboards.errors import DashboardError
from rml_dashboards.studies.study import Study
from tests.support.dashboards.recorded_study import LOSSES, SCORES, RecordedStudy
from tests.support.platform.plan_on_disk import OWN_IMAGES


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    return RecordedStudy.make(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def study(there: RecordedStudy) -> Study:
    return rd.study(there.study, out=there.out, tracking_uri="none")


def test_the_table_has_one_line_per_cell(study: Study, there: RecordedStudy) -> None:
    table = study.table().set_index("row")
    assert table.loc["RML", "mean"] == pytest.approx(57.5)
    assert table.loc["RML", "std"] == pytest.approx(11 / 2**0.5)
    assert table.loc["Supervised", "n"] == 2
    assert str(table.loc["RML", "run_ids"]).split() == [there.run_id("RML", s) for s in (0, 1)]


def test_the_table_as_wide_as_it_is_printed(study: Study) -> None:
    assert study.table("mean").loc["Supervised", "miou"] == pytest.approx(55.0)
    assert study.table("text").loc["RML", "miou"] == "57.5 ± 7.8 (2)"
    assert list(study.table("n").index) == ["Supervised", "RML"]


def test_runs_have_their_scores_and_their_settings(study: Study, there: RecordedStudy) -> None:
    runs = study.runs()
    scores = {
        (row, seed): value / 100
        for row, seed, value in zip(runs["row"], runs["seed"], runs["value"], strict=True)
    }
    assert scores == pytest.approx(SCORES)
    assert dict(zip(runs["row"], runs["method.name"], strict=True)) == {
        "Supervised": "supervised",
        "RML": "rml",
    }
    assert set(runs["run_id"]) == {run.run_id for run in there.plan.runs}


def test_paired_differences_of_two_rows(study: Study) -> None:
    (line,) = study.paired("RML", "Supervised").to_dict("records")
    assert line["mean"] == pytest.approx(2.5)
    assert line["points"] == pytest.approx((2.0, 3.0))
    assert study.paired("Supervised", "RML")["mean"].tolist() == pytest.approx([-2.5])
    with pytest.raises(DashboardError, match="no row 'IML'; rows: Supervised, RML"):
        study.paired("IML", "RML")


def test_the_correction_counts_only_the_lines_that_were_asked_for(study: Study) -> None:
    assert study.compared("Supervised").differences["row"].tolist() == ["RML"]
    assert len(study.statistics()) == 2
    assert set(study.profiles()["row"]) == {"Supervised", "RML"}


def test_curves_are_what_was_recorded(study: Study, there: RecordedStudy) -> None:
    curves = study.curves("train/loss")
    own = curves[curves["run_id"] == there.run_id("RML", 1)]
    assert dict(zip(own["step"], own["value"], strict=True)) == LOSSES
    with pytest.raises(DashboardError, match="did you mean 'train/loss'"):
        study.curves("train/los")


def test_a_declared_figure_is_a_figure(study: Study) -> None:
    assert "loss" in study.figures()
    figure = study.figure("loss")
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_ylabel() == "training loss"
    with pytest.raises(DashboardError, match="no figure 'los'"):
        study.figure("los")


def test_name_file_and_plan_are_the_same_study(there: RecordedStudy) -> None:
    plan = there.out / "studies" / "own" / "plan.json"
    tables = [
        rd.study(by, out=there.out, tracking_uri="none").table()
        for by in ("own", there.study, str(there.study), plan)
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_changed_file_is_not_shown_as_its_old_plan(tmp_path: Path) -> None:
    there = RecordedStudy.make(tmp_path)
    there.study.write_text(there.study.read_text() + "# changed\n")
    with pytest.raises(DashboardError, match=r"has changed since its plan .*`rml plan "):
        rd.study(there.study, out=there.out, tracking_uri="none")
    assert len(rd.study("own", out=there.out, tracking_uri="none").table()) == 2


def test_what_is_no_plan_is_refused(there: RecordedStudy, tmp_path: Path) -> None:
    plan = there.out / "studies" / "own" / "plan.json"
    for content, part in (
        ("{", "is no plan of a study"),
        (json.dumps({**json.loads(plan.read_text()), "format": 2}), "format 2 by another version"),
        (json.dumps({"format": 1}), "is no plan of a study"),
    ):
        damaged = tmp_path / "plan.json"
        damaged.write_text(content)
        with pytest.raises(DashboardError, match=part):
            rd.study(damaged)
    with pytest.raises(DashboardError, match=r"`rml plan STUDY\.yaml` writes one"):
        rd.study("nobody", out=tmp_path)
    with pytest.raises(DashboardError, match="no such file"):
        rd.study(tmp_path / "none.yaml", out=tmp_path)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("date: 2001-99-99", "has changed since its plan"),
        ("size: !!int abc", "has changed since its plan"),
        ("size: !!bool xyz", "has changed since its plan"),
        ("size: " + "[" * 1500, "cannot be read as a study"),
    ],
)
def test_a_file_with_odd_values_is_told_in_a_sentence(
    more: str, said: str, there: RecordedStudy, tmp_path: Path
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(f"{there.study.read_text()}\n{more}\n")
    with pytest.raises(DashboardError, match=said):
        rd.study(file, out=there.out, tracking_uri="none")


def test_a_figure_answers_the_pointer_with_the_same_values(study: Study) -> None:
    rows = ("Supervised", "RML")
    lines = {line.name: line for line in study.interactive("loss").data if line.name in rows}
    assert set(lines) == set(rows)
    drawn = [np.asarray(line.get_xydata()) for line in study.figure("loss").axes[0].lines]
    drawn = [points for points in drawn if len(points) > 1]
    assert len(drawn) == len(lines)
    for points, other in zip(drawn, lines.values(), strict=True):
        assert points == pytest.approx(np.column_stack([other.x, other.y]))
    with pytest.raises(DashboardError, match="no figure 'los'"):
        study.interactive("los")


def test_a_study_without_figures_draws_what_its_records_are_good_for(tmp_path: Path) -> None:
    text = OWN_IMAGES.replace("figures:\n  - {name: loss, metric: train/loss}\n", "")
    more = {"iou__a": 0.4, "iou__b": 0.6}
    there = RecordedStudy.make(tmp_path, text=text, more=more)
    study = rd.study("own", out=there.out, tracking_uri="none")
    assert study.figures() == ["loss", "scores", "classes", "profile", "cost"]
    assert isinstance(study.figure("classes"), Figure)


def test_a_declared_diagram_without_scores_says_why_it_is_not_drawn(tmp_path: Path) -> None:
    text = OWN_IMAGES.replace("name: loss, metric: train/loss", "name: points, kind: scores")
    there = RecordedStudy.make(tmp_path, text=text, scores={})
    study = rd.study("own", out=there.out, tracking_uri="none")
    with pytest.raises(DashboardError, match=r"nothing to draw yet.*no run has a score yet"):
        study.figure("points")
