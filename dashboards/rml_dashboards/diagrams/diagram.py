"""What diagrams are made of, and what they give."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from rml_dashboards.comparisons.cells import scored_runs
from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.figures.chart import Axis, Chart, Key, Look
from rml_dashboards.figures.style import row_look
from rml_dashboards.tables.entries import Table


@dataclass(frozen=True, kw_only=True)
class Material:
    """A filled table and what else is known of its runs."""

    table: Table
    title: str
    classes: tuple[Table, ...] = ()
    """Tables of single classes, see `class_tables`."""
    against: str = ""
    """Row that gains are counted from."""
    labelled_share: Mapping[str, float] = field(default_factory=dict)
    """Column → share of its training images that are labelled."""
    hours: Mapping[str, float] = field(default_factory=dict)
    """Run id → wall-clock hours that it took."""

    def rows(self) -> list[str]:
        """Rows that have a scored run, in the order of the table."""
        there = set(scored_runs(self.table)["row"]) if len(self.table.values) else set()
        return [row.label for row in self.table.spec.rows if row.label in there]

    def columns(self) -> list[str]:
        """Columns that have a scored run, in the order of the table."""
        there = set(scored_runs(self.table)["column"]) if len(self.table.values) else set()
        return [one.label for one in self.table.spec.columns if one.label in there]

    def look(self, row: str, *, is_joined: bool = False) -> Look:
        """How a row looks, the same in every diagram; `is_joined`: whether a line joins its
        points."""
        rows = [one.label for one in self.table.spec.rows]
        return row_look(rows.index(row), is_joined=is_joined)

    def legend(self, rows: list[str], *, is_joined: bool = False) -> tuple[Key, ...]:
        return tuple(
            Key(label=row, look=self.look(row, is_joined=is_joined), row=row) for row in rows
        )

    def metric(self, column: str) -> str:
        """Key of the metric that a column shows."""
        spec = self.table.spec
        return next(spec.metric_of(one) for one in spec.columns if one.label == column)

    def unit(self, column: str) -> str:
        """Label of an axis of scores: quantity and unit."""
        return axis_label([self.metric(column)], self.table.spec.scale)


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """One diagram."""

    chart: Chart
    values: pd.DataFrame
    """Tidy: what is drawn."""
    says: str
    """What the marks mean, in a sentence or two."""
    notes: tuple[str, ...] = ()
    """What is left out, and why."""


def rows_axis(names: Sequence[str]) -> Axis:
    """A vertical axis with a line for each name, from the top down."""
    ticks = tuple((float(place), name) for place, name in enumerate(names))
    return Axis(ticks=ticks, limits=(len(names) - 0.5, -0.5), has_grid=False)


def entries_of(table: Table) -> Iterator[tuple[str, str, float, float | None, int]]:
    """Row, column, mean, sample standard deviation and number of runs of every cell with a mean."""
    for entry in table.cells():
        if entry.mean is not None:
            yield entry.row, entry.column, entry.mean, entry.std, entry.n
