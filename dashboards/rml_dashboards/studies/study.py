"""A study for analysis from Python: every method gives a pandas DataFrame or a Figure.

import rml_dashboards as rd

study = rd.study("table4.yaml")
study.table()
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
from matplotlib.figure import Figure

from rml_dashboards.comparisons.cells import cell_statistics, performance_profiles
from rml_dashboards.comparisons.compare import Comparison, compare_rows, noise_floor
from rml_dashboards.contract.planned import PlannedFigure, StudyPlan
from rml_dashboards.contract.store_uri import VARIABLE, tracking_uri_or_default
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import Chart
from rml_dashboards.figures.drawing import figure_of
from rml_dashboards.figures.publish import load_figures
from rml_dashboards.figures.tidy import TIDY
from rml_dashboards.records.opening import open_records
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.studies.cost import SECONDS_KEY, device_hours
from rml_dashboards.studies.drawn import drawn_figure, figure_names
from rml_dashboards.studies.figures import figure_spec
from rml_dashboards.studies.find import find_plan
from rml_dashboards.studies.pseudo_labels import pseudo_label_classes, pseudo_label_quality
from rml_dashboards.studies.table import cell_specs, table_spec
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.publish import load_table
from rml_dashboards.tables.render import cell_frame
from rml_dashboards.tables.texts import score_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

Shown = Literal["mean", "std", "n", "text"]
"""What stands in a table that is as wide as it is printed; `text`: as printed."""


class Study:
    """A study's plan with what its runs have recorded when it was asked for first; `refreshed`
    looks again."""

    def __init__(self, plan: StudyPlan, reader: RecordReader) -> None:
        self.plan = plan
        self._reader = reader

    def __repr__(self) -> str:
        rows = ", ".join(row.label for row in self.plan.rows)
        return f"Study({self.plan.name}: {len(self.plan.runs)} runs; rows: {rows})"

    @functools.cached_property
    def filled(self) -> Table:
        """The table with its entries, traces and footnotes, as the renderers take it."""
        return load_table(table_spec(self.plan), cell_specs(self.plan), self._reader)

    def refreshed(self) -> "Study":
        """The same study with what has been recorded by now."""
        return Study(self.plan, self._reader)

    def table(self, show: Shown | None = None) -> pd.DataFrame:
        """The study's table: one line per cell with mean, std, n, n_expected, status, t interval,
        reported number, difference and run ids, in the units of the table.

        Args:
            show: give one of these numbers instead, rows and columns as the table is printed.
        """
        if show is None:
            return cell_frame(self.filled)
        digits = self.plan.table.digits
        values = [
            [
                score_text(entry, digits).text if show == "text" else getattr(entry, show)
                for entry in line
            ]
            for line in self.filled.entries
        ]
        spec = self.filled.spec
        index = pd.Index([row.label for row in spec.rows], name=spec.row_heading)
        labels = [column.label for column in spec.columns]
        frame = pd.DataFrame(values, index=index, columns=labels)
        return frame if show == "text" else frame.astype("float64")

    def runs(self) -> pd.DataFrame:
        """One line per expected run: row, column, seed, split, run_id, state, value (in the units
        of the table), where it was recorded, and the settings in which the study's runs differ."""
        settings = pd.DataFrame(
            [{"run_id": run.run_id, **run.settings} for run in self.plan.runs]
            or {"run_id": pd.Series(dtype=str)}
        )
        values = self.filled.values
        known = [name for name in settings if name in values and name != "run_id"]
        return values.merge(settings.drop(columns=known), how="left", on="run_id")

    def statistics(self) -> pd.DataFrame:
        """One line per cell with its t and bootstrap intervals and the scores by seed."""
        return cell_statistics(self.filled)

    def profiles(self) -> pd.DataFrame:
        """Performance profiles: the share of each row's runs above each threshold."""
        return performance_profiles(self.filled)

    def paired(self, row: str, against: str) -> pd.DataFrame:
        """Differences of a row from another over the splits and seeds that both have, one line per
        column: n, mean, std, intervals, effect size, tests corrected over these lines.

        Raises:
            DashboardError: there is no such row, or it has no scored run.
        """
        known = [one.label for one in self.plan.rows]
        for label in (row, against):
            if label not in known:
                raise DashboardError(
                    f"{self.plan.name}: no row {label!r}; rows: {', '.join(known)}"
                )
        values = self.filled.values
        two = values[values["row"].isin([row, against])]
        return compare_rows(dataclasses.replace(self.filled, values=two), against).differences

    def compared(self, against: str, floor: float | str | None = None) -> Comparison:
        """Every row against one of them: differences, what is said over all columns, ranks, and
        what is left out.

        Args:
            floor: what rounding alone does to a score: a number, or `ROW=REPEAT`.
        Raises:
            DashboardError: there is no such row, or it has no scored run.
        """
        stated = None if floor is None else noise_floor(self.filled, str(floor))
        return compare_rows(self.filled, against, stated)

    def curves(self, metric: str | Sequence[str]) -> pd.DataFrame:
        """Everything that the runs reported of one or more metrics over training, as recorded:
        row, column, metric, seed, step, value, run_id, mlflow_run_id.

        Raises:
            DashboardError: none of the recorded runs has such a metric; names the nearest.
        """
        keys = (metric,) if isinstance(metric, str) else tuple(metric)
        figure = PlannedFigure(name="curves", metrics={key: key for key in keys})
        (filled,) = load_figures([figure_spec(self.plan, figure)], self._reader)
        columns = [name for name in TIDY if name not in ("figure", "label", "x", "in_mean")]
        return filled.values[columns]

    def pseudo_labels(self) -> pd.DataFrame:
        """How right the pseudo labels were: row, column, metric, n, mean, std over finished runs of
        what each measured last (fractions); empty where none has measured it."""
        return pseudo_label_quality(self.plan, self._reader)

    def pseudo_label_classes(self) -> pd.DataFrame:
        """The same of every class: row, column, class, n, then mean and standard deviation of its
        IoU before rectification, after it, and of the difference; empty where none has measured
        it."""
        return pseudo_label_classes(self.plan, self._reader)

    def hours(self) -> pd.DataFrame:
        """What finished runs took: row, device (`GPU`, or `core` where they had none), runs, hours
        (wall clock, over all attempts), device_hours."""
        run_ids = {run.run_id for run in self.plan.runs}
        return device_hours(self.plan, self._reader.records(run_ids, {SECONDS_KEY}))

    def figures(self) -> list[str]:
        """Names of the figures that `figure` draws: those that the study declares, else those that
        its records are good for."""
        return figure_names(self.plan, self._reader)

    def figure(self, name: str) -> Figure:
        """One of the study's figures, drawn from what is recorded.

        Raises:
            DashboardError: there is no such figure, or nothing to draw yet.
        """
        return figure_of(self._chart(name))

    def interactive(self, name: str) -> "go.Figure":
        """The same figure as plotly's, which answers the pointer in a notebook; `write_html` makes
        a page of it.

        Raises:
            DashboardError: see `figure`.
        """
        import plotly.graph_objects as go

        from rml_dashboards.figures.web.interactive import interactive

        return go.Figure(interactive(self._chart(name)))

    def _chart(self, name: str) -> Chart:
        drawn = drawn_figure(self.plan, self._reader, name)
        if drawn.chart is None:
            raise DashboardError(f"{self.plan.name}: nothing to draw yet. {drawn.chapter()[-1]}")
        return drawn.chart


def open_study(
    study: str | Path,
    *,
    out: str | Path,
    storage: str | None,
    tracking_uri: str | None,
    profile: str | None,
    fresh: bool,
) -> Study:
    """See `rml_dashboards.study`."""
    place = storage or str(out)
    plan = find_plan(study, places=(str(out), place), profile=profile)
    reader = open_records(
        tracking_uri_or_default(tracking_uri or os.environ.get(VARIABLE), Path(out)),
        storage=place,
        ledger_folder=Path(out) / "ledger",
        fresh=fresh,
    )
    return Study(plan, reader)
