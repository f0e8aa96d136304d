"""From recorded histories to curves: mean and spread over seeds, and what must be known about
them."""

import difflib
import itertools
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL, VAL, without_class_metrics
from rml_dashboards.contract.states import TABLE_STATE_OF_STATUS
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.specification import FigureSpec, MetricSpec
from rml_dashboards.figures.tidy import tidy_values
from rml_dashboards.records.reader import Histories
from rml_dashboards.records.records import Records

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean over the seeds of one row, column and metric, in the units of the figure."""

    row: str
    column: str
    metric: MetricSpec
    x: Values
    """Steps that all its seeds have, counted from the begin of the axis; ascending."""
    mean: Values
    std: Values
    """Sample standard deviation over seeds (ddof = 1); NaN for one seed."""
    n: int
    n_expected: int


@dataclass(frozen=True, kw_only=True)
class FilledFigure:
    """A figure with its curves, and the runs behind them."""

    spec: FigureSpec
    curves: tuple[Curve, ...]
    runs: pd.DataFrame
    """One row per expected run: row, column, seed, run_id, state, mlflow_run_id, code_version,
    dirty, protocol."""
    values: pd.DataFrame
    """Tidy and as recorded (neither scaled nor smoothed): TIDY."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def build_figure(spec: FigureSpec, records: Records, histories: Histories) -> FilledFigure:
    """Fill a figure. Seeds that have finished make the mean; where none has, those that have
    reported anything.

    Raises DashboardError when runs are recorded and none of them has one of the metrics.
    """
    runs = expected_runs(spec, records)
    _check_metrics(spec, runs, histories)
    mlflow_ids = dict(zip(records.runs["run_id"], records.runs["mlflow_run_id"], strict=True))
    values = tidy_values(spec, runs, histories, mlflow_ids)
    curves: list[Curve] = []
    notes: list[str] = []
    foreign: dict[str, list[str]] = {}
    runs_of = _parts(runs, ["row", "column"])
    reported_of = _parts(values[values["in_mean"]], ["row", "column", "metric"])
    for row, column, metric in itertools.product(spec.rows, spec.columns, spec.metrics):
        own = runs_of.get((row, column), runs.iloc[:0])
        reported = reported_of.get((row, column, metric.key), values.iloc[:0])
        if not reported.empty:
            curves.append(_curve(spec, metric, reported, n_expected=len(own)))
        notes += _lacking(spec, metric, own, reported)
        if not own.empty and _is_foreign(own, reported):
            foreign.setdefault(metric.key, []).append(_place(spec, own))
    notes += [
        f"`{key}` is not measured by the runs of {', '.join(rows)}."
        for key, rows in foreign.items()
    ]
    notes += _about_all(spec, runs, values)
    return FilledFigure(
        spec=spec,
        curves=tuple(curve for curve in curves if len(curve.x)),
        runs=runs,
        values=values,
        notes=tuple(dict.fromkeys(notes)),
        warnings=records.warnings,
    )


def _parts(frame: pd.DataFrame, columns: list[str]) -> dict[Hashable, pd.DataFrame]:
    """Lines of the frame by their values in some columns."""
    return dict(list(frame.groupby(columns, sort=False)))


def expected_runs(spec: FigureSpec, records: Records) -> pd.DataFrame:
    """One row per run that the figure asks for, in its order, with what is recorded of it; state as
    in tables."""
    wanted = pd.DataFrame(
        [(r.row, r.column, r.seed, r.run_id) for r in spec.runs],
        columns=["row", "column", "seed", "run_id"],
    )
    recorded = records.runs[
        ["run_id", "mlflow_run_id", "status", "protocol", "code_version", "dirty"]
    ]
    frame = wanted.merge(recorded, how="left", on="run_id")
    frame["state"] = frame["status"].map(TABLE_STATE_OF_STATUS).fillna("missing")
    frame["dirty"] = frame["dirty"].eq(True)
    for column in ("mlflow_run_id", "protocol", "code_version"):
        frame[column] = frame[column].fillna("")
    return frame.drop(columns="status")


def _curve(spec: FigureSpec, metric: MetricSpec, values: pd.DataFrame, n_expected: int) -> Curve:
    """Mean and spread on the steps that all seeds have."""
    by_seed = values.pivot(index="x", columns="seed", values="value").dropna() * spec.scale
    smooth = by_seed.rolling(spec.smoothing, center=True, min_periods=1).mean()
    return Curve(
        row=str(values["row"].iloc[0]),
        column=str(values["column"].iloc[0]),
        metric=metric,
        x=smooth.index.to_numpy(dtype=np.float64),
        mean=smooth.mean(axis=1).to_numpy(dtype=np.float64),
        std=smooth.std(axis=1, ddof=1).to_numpy(dtype=np.float64),
        n=by_seed.shape[1],
        n_expected=n_expected,
    )


def _lacking(
    spec: FigureSpec, metric: MetricSpec, runs: pd.DataFrame, reported: pd.DataFrame
) -> Iterator[str]:
    """Which seeds are not in a curve and why; steps that not all seeds have."""
    if runs.empty or _is_foreign(runs, reported):
        return  # the study does not run this row for this column, or it cannot have this metric
    name = _place(spec, runs)
    drawn = set(reported["seed"])
    absent: dict[str, list[int]] = {}
    for seed, state in zip(runs["seed"], runs["state"], strict=True):
        if seed not in drawn:
            why = f"`{metric.key}` not recorded" if state == "done" else state
            absent.setdefault(why, []).append(seed)
    if absent:
        reasons = ", ".join(f"{seeds_named(seeds)} {why}" for why, seeds in absent.items())
        yield f"{name}: {len(drawn)} of {len(runs)} runs: {reasons}."
    if drawn and not runs["state"].eq("done").any():
        yield f"{name}: none of its runs has finished; drawn is what they have reported."
    steps = reported.groupby("x")["seed"].nunique()
    if (steps < len(drawn)).any():
        yield (
            f"{name}: drawn on the {int((steps == len(drawn)).sum())} of {len(steps)} steps "
            "that "
            "all seeds have."
        )


def _is_foreign(runs: pd.DataFrame, reported: pd.DataFrame) -> bool:
    """Whether some runs of a row have finished and none has the metric: its method does not measure
    it."""
    return bool(reported.empty and runs["state"].eq("done").any())


def seeds_named(seeds: Sequence[int]) -> str:
    """`seed 2`, `seeds 2, 5`, and `seeds 1 to 11` where none between them lacks."""
    ordered = sorted(seeds)
    if len(ordered) == 1:
        return f"seed {ordered[0]}"
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"seeds {ordered[0]} to {ordered[-1]}"
    return f"seeds {', '.join(map(str, ordered))}"


def _about_all(spec: FigureSpec, runs: pd.DataFrame, values: pd.DataFrame) -> Iterator[str]:
    if not values["is_own"].all():
        yield (
            "Steps that a run took over from one that begins the same are drawn as that run "
            "reported them."
        )
    recorded = runs[runs["state"] != "missing"]
    dirty = sorted(
        {version or "unknown" for version in recorded.loc[recorded["dirty"], "code_version"]}
    )
    if dirty:
        yield f"Partly made by code with uncommitted changes (on top of {', '.join(dirty)})."
    protocols = sorted(set(recorded["protocol"]) - {""})
    if len(protocols) > 1 and any(
        metric.key.startswith((f"{VAL}/", f"{FINAL}/")) for metric in spec.metrics
    ):
        yield (
            "Scores of several protocols, not to be compared: "
            f"{', '.join(f'`{p}`' for p in protocols)}."
        )


def _place(spec: FigureSpec, runs: pd.DataFrame) -> str:
    """Row, and the column where there are several."""
    row = str(runs["row"].iloc[0])
    column = str(runs["column"].iloc[0])
    return f"{row}, {column}" if len(spec.columns) > 1 else row


def _check_metrics(spec: FigureSpec, runs: pd.DataFrame, histories: Histories) -> None:
    """Raise DashboardError for a metric that none of the recorded runs has, naming those that come
    near."""
    known = set().union(*(histories.keys.get(run, frozenset()) for run in runs["run_id"]))
    for metric in spec.metrics:
        if known and metric.key not in known:
            near = difflib.get_close_matches(metric.key, sorted(known), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(repr(key) for key in near)}? " if near else ""
            others = ", ".join(without_class_metrics(known))
            raise DashboardError(
                f"figure {spec.name}: none of its runs has recorded {metric.key!r}; {hint}recorded "
                f"are: {others}"
            )
