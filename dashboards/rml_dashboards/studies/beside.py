"""Rows of a study beside each other in one column: curves over seeds, and paired differences."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rml_dashboards.comparisons.compare import comparable_runs, row_differences
from rml_dashboards.contract.planned import PlannedFigure, StudyPlan
from rml_dashboards.figures.curves import Curve, build_figure
from rml_dashboards.figures.thinning import thinned
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.statistics.paired import paired_means, paired_runs
from rml_dashboards.studies.figures import figure_spec
from rml_dashboards.tables.entries import Table

MOST_TESTED = 64
"""Rows up to which differences are tested: each takes a bootstrap, some hundredths of a second."""


@dataclass(frozen=True, kw_only=True)
class RowCurve:
    """One metric of one row, over the seeds that it has."""

    row: str
    n: int
    n_expected: int
    points: tuple[tuple[float, float, float], ...]
    """Step, mean and sample standard deviation (NaN for one seed), as recorded."""


@dataclass(frozen=True, kw_only=True)
class RowCurves:
    """One metric of some rows in one column, over training."""

    curves: tuple[RowCurve, ...]
    """Of each row that has the metric."""
    metrics: frozenset[str]
    """Everything that runs of these rows have recorded."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class RowDifferences:
    """Every row of one column against one of them."""

    against: str
    lines: pd.DataFrame
    """As of `paired_differences`, with `below_floor`; as of `paired_means` where there are more
    than MOST_TESTED rows."""
    pairs: pd.DataFrame
    """What they are made of: see `paired_runs`."""
    notes: tuple[str, ...]
    """What is left out, and why."""


def row_curves(
    plan: StudyPlan, reader: RecordReader, *, column: str, metric: str, rows: Sequence[str]
) -> RowCurves:
    """Curves of these rows, as figures have them, with fewer points where a curve is long.

    Raises:
        DashboardError: the records cannot be read, or the study runs none of these rows in the
            column.
    """
    figure = PlannedFigure(name="rows", metric=metric, rows=tuple(rows), columns=(column,))
    spec = figure_spec(plan, figure)
    histories = reader.histories(spec.run_ids, {metric})
    own = {run.run_id for run in spec.runs}
    known = frozenset().union(*(keys for run, keys in histories.keys.items() if run in own))
    if metric not in known:
        return RowCurves(curves=(), metrics=known)
    filled = build_figure(spec, reader.records(spec.run_ids, metrics=()), histories)
    notes = (*filled.notes, *filled.warnings)
    curves = tuple(_row_curve(curve) for curve in thinned(filled).curves)
    return RowCurves(curves=curves, metrics=known, notes=notes)


def _row_curve(curve: Curve) -> RowCurve:
    points = zip(curve.x.tolist(), curve.mean.tolist(), curve.std.tolist(), strict=True)
    return RowCurve(row=curve.row, n=curve.n, n_expected=curve.n_expected, points=tuple(points))


def differences_from(table: Table, column: str, against: str) -> RowDifferences:
    """Paired differences of a column's rows from one of them; tests are corrected for all of them.

    Raises:
        DashboardError: the row has no scored run in this column.
    """
    values = table.values[table.values["column"] == column]
    of_column = dataclasses.replace(table, values=values)
    kept, notes = comparable_runs(of_column, against)
    if kept["row"].nunique() > MOST_TESTED:
        lines = paired_means(kept, against)
        notes.append(f"More than {MOST_TESTED} rows: differences are not tested.")
    else:
        lines, notes = row_differences(of_column, against)
    pairs = paired_runs(kept, against)
    return RowDifferences(against=against, lines=lines, pairs=pairs, notes=tuple(notes))
