"""What diagrams are made of, and what they give."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rml_dashboards.comparisons.cells import scored_runs
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

    def look(self, row: str) -> dict[str, Any]:
        """Colour and marker of a row, the same in every diagram."""
        return row_look([one.label for one in self.table.spec.rows].index(row))

    def legend(self, rows: list[str]) -> list[Artist]:
        return [Line2D([], [], linestyle="", label=row, **self.look(row)) for row in rows]

    def unit(self, column: str) -> str:
        """Label of an axis of scores."""
        spec = self.table.spec
        metric = next(spec.metric_of(one) for one in spec.columns if one.label == column)
        return f"{metric}{f' × {spec.scale:g}' if spec.scale != 1 else ''}"


@dataclass(frozen=True, kw_only=True)
class Diagram:
    """One diagram, ready to be drawn."""

    draw: Callable[[], Figure]
    values: pd.DataFrame
    """Tidy: what is drawn."""
    says: str
    """What the marks mean, in a sentence or two."""
    notes: tuple[str, ...] = ()
    """What is left out, and why."""


def entries_of(table: Table) -> Iterator[tuple[str, str, float, float | None, int]]:
    """Row, column, mean, sample standard deviation and number of runs of every cell with a mean."""
    for entry in table.cells():
        if entry.mean is not None:
            yield entry.row, entry.column, entry.mean, entry.std, entry.n
