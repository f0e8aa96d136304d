"""From recorded values to curves: mean and spread, common steps, stages, and what is said of runs
that lack."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.curves import build_figure
from rml_dashboards.figures.specification import CurveRun, FigureSpec, MetricSpec, SharedStages
from rml_dashboards.records.reader import COLUMNS, Histories
from rml_dashboards.records.records import to_records
from tests.support.dashboards.small_figures import TV, figure_of, only_curve, spec_of
from tests.support.recorded import recorded

THREE = {
    "RML-1/8-0": {TV: {10: 0.5, 20: 0.2, 30: 0.9}},
    "RML-1/8-1": {TV: {10: 0.3, 20: 0.4, 30: 0.1}},
    "RML-1/8-2": {TV: {10: 0.1, 20: 0.9, 30: 0.2}},
}


def test_mean_and_sample_deviation_over_seeds_in_the_units_of_the_figure() -> None:
    curve = only_curve(figure_of(spec_of("RML", scale=100), THREE))
    values = 100 * np.array([list(by_metric[TV].values()) for by_metric in THREE.values()])
    assert curve.x.tolist() == [10, 20, 30]
    assert np.allclose(curve.mean, values.sum(0) / 3)
    assert np.allclose(curve.std, np.sqrt(((values - values.mean(0)) ** 2).sum(0) / 2))
    assert (curve.n, curve.n_expected) == (3, 3)


def test_only_common_steps_are_averaged_and_it_is_said() -> None:
    reports = {**THREE, "RML-1/8-2": {TV: {20: 0.9, 30: 0.2, 40: 0.5}}}
    figure = figure_of(spec_of("RML"), reports)
    assert only_curve(figure).x.tolist() == [20, 30]
    assert figure.notes == ("RML: drawn on the 2 of 4 steps that all seeds have.",)


def test_one_seed_has_no_spread() -> None:
    figure = figure_of(spec_of("RML", num_seeds=1), {"RML-1/8-0": THREE["RML-1/8-0"]})
    assert np.isnan(only_curve(figure).std).all()
    assert figure.notes == ()


def test_runs_that_lack_are_counted_and_named() -> None:
    reports = {"RML-1/8-0": THREE["RML-1/8-0"], "RML-1/8-1": THREE["RML-1/8-1"]}
    figure = figure_of(spec_of("RML", num_seeds=4), reports, {"RML-1/8-1": "FAILED"})
    curve = only_curve(figure)
    assert (curve.n, curve.n_expected) == (1, 4)
    assert curve.mean.tolist() == list(THREE["RML-1/8-0"][TV].values()), (
        "an unfinished run is not in the mean"
    )
    assert figure.notes == ("RML: 1 of 4 runs: seed 1 failed, seeds 2, 3 missing.",)
    assert figure.values.groupby("seed")["in_mean"].all().to_dict() == {0: True, 1: False}


def test_while_no_run_has_finished_what_they_reported_is_drawn() -> None:
    statuses = dict.fromkeys(THREE, "RUNNING")
    figure = figure_of(spec_of("RML"), {**THREE, "RML-1/8-2": {TV: {10: 0.1}}}, statuses)
    assert only_curve(figure).x.tolist() == [10]
    assert "RML: none of its runs has finished; drawn is what they have reported." in figure.notes


def test_a_row_without_the_metric_has_no_curve_and_the_note_says_so() -> None:
    reports = {**THREE, "Supervised-1/8-0": {"train/loss": {10: 1.0}}}
    spec = spec_of("RML", "Supervised")
    spec = FigureSpec(**{**vars(spec), "runs": spec.runs[:4]})
    figure = figure_of(spec, reports)
    assert [curve.row for curve in figure.curves] == ["RML"]
    assert figure.notes == (f"`{TV}` is not measured by the runs of Supervised.",)


def test_a_row_that_has_only_begun_and_cannot_have_the_metric_says_so_once() -> None:
    reports = {**THREE, "Supervised-1/8-0": {"train/loss": {10: 1.0}}}
    figure = figure_of(spec_of("RML", "Supervised"), reports)
    assert figure.notes == (f"`{TV}` is not measured by the runs of Supervised.",)


def test_columns_and_metrics_are_curves_of_their_own() -> None:
    metrics = (MetricSpec(key="train/a", label="after"), MetricSpec(key="train/b", label="before"))
    both = {"train/a": {1: 0.5}, "train/b": {1: 0.25}}
    spec = spec_of("IML", "RML", columns=("1/8", "1/4"), metrics=metrics, num_seeds=1)
    figure = figure_of(spec, {run.run_id: both for run in spec.runs if run.run_id != "IML-1/4-0"})
    found = {(c.row, c.column, c.metric.label): c.mean.item() for c in figure.curves}
    assert len(found) == 6
    assert all(
        value == (0.5 if label == "after" else 0.25) for (_, _, label), value in found.items()
    )
    assert figure.notes == ("IML, 1/4: 0 of 1 runs: seed 0 missing.",)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (TV, {10: 0.3, 20: 0.4}),  # the report at step 20 is about the steps before the stage
        (
            "val/miou",
            {0: 0.2, 10: 0.3, 20: 0.4},
        ),  # the score at step 20 is where the stage starts from
        ("train/coupling_tv_train_set", {0: 0.2, 10: 0.3, 20: 0.4}),
    ],
)
def test_steps_count_from_the_begin_of_a_stage_to_its_end(
    key: str, expected: dict[int, float]
) -> None:
    spec = spec_of("RML", num_seeds=1, first_step=20, last_step=40, metrics=(MetricSpec(key=key),))
    figure = figure_of(spec, {"RML-1/8-0": {key: {10: 0.1, 20: 0.2, 30: 0.3, 40: 0.4, 50: 0.5}}})
    curve = only_curve(figure)
    assert dict(zip(curve.x.tolist(), curve.mean.tolist(), strict=True)) == expected
    assert figure.values["step"].tolist() == [step + 20 for step in expected]


def test_what_a_run_took_over_is_drawn_as_another_run_reported_it() -> None:
    spec = spec_of("IML", "RML", num_seeds=2)
    begins = (SharedStages(run_id="IML-1/8-0", last_step=20),)
    spec = replace(
        spec,
        runs=tuple(replace(r, shared_stages=begins if r.row == "RML" else ()) for r in spec.runs),
    )
    reports = {
        "RML-1/8-0": {TV: {20: 0.25, 30: 0.3}},
        "IML-1/8-0": {
            TV: {10: 0.1, 20: 0.2, 30: 0.9}
        },  # the step that both have reported is the run's own
    }
    figure = figure_of(spec, reports)
    _, curve = figure.curves
    assert dict(zip(curve.x.tolist(), curve.mean.tolist(), strict=True)) == {
        10: 0.1,
        20: 0.25,
        30: 0.3,
    }
    assert curve.n == 1, "a run that has not begun has reported nothing"
    own = figure.values[figure.values["run_id"] == "RML-1/8-0"]
    assert own["mlflow_run_id"].tolist() == [
        "mlflow-IML-1/8-0",
        "mlflow-RML-1/8-0",
        "mlflow-RML-1/8-0",
    ]
    assert (
        "Steps that a run took over from one that begins the same are drawn as that run reported "
        "them." in figure.notes
    )


def test_smoothing_averages_each_seed_over_neighbouring_reports() -> None:
    curve = only_curve(figure_of(spec_of("RML", smoothing=3), THREE))
    seeds = np.array([list(by_metric[TV].values()) for by_metric in THREE.values()])
    smooth = np.stack([seeds[:, :2].mean(1), seeds.mean(1), seeds[:, 1:].mean(1)], axis=1)
    assert np.allclose(curve.mean, smooth.mean(0))
    assert np.allclose(curve.std, smooth.std(0, ddof=1))


def test_a_metric_that_nobody_recorded_names_the_nearest() -> None:
    with pytest.raises(DashboardError) as caught:
        figure_of(spec_of("RML", metrics=(MetricSpec(key="train/coupling"),)), THREE)
    assert (
        "figure f: none of its runs has recorded 'train/coupling'; did you mean "
        "'train/coupling_tv'?" in str(caught.value)
    )


def test_nothing_recorded_is_no_curve() -> None:
    figure = figure_of(spec_of("RML"), {})
    assert figure.curves == ()
    assert figure.notes == ("RML: 0 of 3 runs: seeds 0 to 2 missing.",)


def test_scores_of_several_protocols_and_uncommitted_code_are_marked() -> None:
    runs = [
        recorded("IML-1/8-0", 0.5, dirty="true"),
        recorded("RML-1/8-0", 0.5, protocol="other-32x48/student_1/last"),
    ]
    rows = [(f"{row}-1/8-0", "val/miou", 10, 0.5) for row in ("IML", "RML")]
    histories = Histories(values=pd.DataFrame(rows, columns=list(COLUMNS)), keys={})
    spec = spec_of("IML", "RML", num_seeds=1, metrics=(MetricSpec(key="val/miou"),))
    assert build_figure(spec, to_records(runs), histories).notes == (
        "Partly made by code with uncommitted changes (on top of abc1234).",
        "Scores of several protocols, not to be compared: `other-32x48/student_1/last`, "
        "`scenes-32x48/teacher_1/last`.",
    )


def test_a_specification_that_cannot_be_drawn_is_refused() -> None:
    run = CurveRun(row="RML", column="1/8", seed=0, run_id="r")
    good = {
        "name": "f",
        "title": "",
        "metrics": (MetricSpec(key=TV),),
        "rows": ("RML",),
        "columns": ("1/8",),
    }
    for change, part in (
        ({"name": "a/b"}, "plain file name"),
        ({"rows": ()}, "no rows"),
        ({"rows": ("RML", "RML")}, "rows occur twice"),
        ({"runs": ()}, "no runs"),
        ({"runs": (run, run)}, "already there"),
        ({"columns": ("1/4",)}, "no place in the figure"),
        ({"smoothing": 2}, "odd number"),
    ):
        with pytest.raises(DashboardError, match=part):
            FigureSpec(**{"runs": (run,), **good, **change})  # type: ignore[arg-type]
