"""Everything of a study that a report shows, read once."""

import re
from dataclasses import dataclass

import pandas as pd

from rml_dashboards.comparisons.compare import Comparison, compare_rows
from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.records.snapshot import snapshot_of
from rml_dashboards.studies.cost import SECONDS_KEY, device_hours
from rml_dashboards.studies.plan import usual_reference
from rml_dashboards.studies.pseudo_labels import pseudo_label_classes, pseudo_label_quality
from rml_dashboards.studies.table import cell_specs, table_spec
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.html import RunLink
from rml_dashboards.tables.publish import load_table

MOST_COMPARED = 400
"""Cells up to which paired differences are reckoned for the page; each takes some hundredths of a
second."""
PRICE = re.compile(
    r"\s*(?P<before>[^\d\s.,/+-]*)\s*(?P<amount>\d+(?:\.\d+)?)\s*(?P<after>[^\d\s.,/+-]*)"
    r"\s*(?:/\s*h(?:our)?)?\s*"
)


@dataclass(frozen=True, kw_only=True)
class Price:
    """What an hour of a device costs: of a GPU, or of a core where runs have none."""

    per_hour: float
    currency: str = ""

    @classmethod
    def parse(cls, text: str) -> "Price":
        """From `1.20`, `1.20 EUR`, `1.20 EUR/h` or `$1.20/h`, as `rml plan` takes it. Raises
        DashboardError for anything else."""
        found = PRICE.fullmatch(text)
        if found is None or (found["before"] and found["after"]):
            raise DashboardError(
                f"price {text!r}: expected a number and a currency for an hour of one device, as "
                "1.20 EUR"
            )
        return cls(per_hour=float(found["amount"]), currency=found["before"] or found["after"])

    def of(self, device_hours: float) -> str:
        """What so many hours cost, in words."""
        return f"{self.per_hour * device_hours:,.2f} {self.currency}".strip()


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyContent:
    """One study as a report shows it."""

    plan: StudyPlan
    table: Table
    runs: pd.DataFrame
    """Recorded runs of the study, one line each: RUN_COLUMNS and final scores."""
    hours: pd.DataFrame
    """Hours and device-hours by row, see `device_hours`."""
    pseudo_labels: pd.DataFrame
    """How right the pseudo labels were, see `pseudo_label_quality`."""
    pseudo_label_classes: pd.DataFrame
    """The same of single classes, see `pseudo_label_classes`."""
    comparison: Comparison | None
    why_no_comparison: str
    reader: RecordReader
    storage: str
    link: RunLink
    price: Price | None
    is_light: bool = False
    """Whether figures are pictures only, and few predictions are shown."""


def read_content(
    plan: StudyPlan,
    reader: RecordReader,
    *,
    storage: str,
    link: RunLink,
    against: str | None,
    price: Price | None,
    is_light: bool = False,
) -> StudyContent:
    """Read a study's records.

    Args:
        storage: path or URI of the folder that holds `runs/`, where pictures lie.
        against: row of the paired differences; default: the first supervised one, else the first.
    Raises:
        DashboardError: the records cannot be read, or there is no row `against`.
    """
    wanted = {run.run_id for run in plan.runs}
    once = snapshot_of(reader, wanted)
    # first, because it reads the most: what is asked for later is among it
    pseudo_labels = pseudo_label_quality(plan, once)
    table = load_table(table_spec(plan), cell_specs(plan), once)
    records = once.records(wanted, {SECONDS_KEY})
    runs = records.runs[records.runs["run_id"].isin(wanted)].reset_index(drop=True)
    comparison, why = _comparison(plan, table, against)
    return StudyContent(
        plan=plan,
        table=table,
        runs=runs,
        hours=device_hours(plan, records),
        pseudo_labels=pseudo_labels,
        pseudo_label_classes=pseudo_label_classes(plan, once),
        comparison=comparison,
        why_no_comparison=why,
        reader=once,
        storage=storage,
        link=link,
        price=price,
        is_light=is_light,
    )


def _comparison(
    plan: StudyPlan, table: Table, against: str | None
) -> tuple[Comparison | None, str]:
    """Paired differences, or why there are none."""
    labels = [row.label for row in plan.rows]
    if against is not None and against not in labels:
        raise DashboardError(f"{plan.name}: no row {against!r}; rows: {', '.join(labels)}")
    row = against or usual_reference(plan)
    if not row:
        return None, "No row is run."
    num_cells = len(plan.rows) * len(plan.columns)
    if num_cells > MOST_COMPARED and against is None:
        return None, (
            f"{num_cells} cells are not compared unless a row is named: "
            f"rml report {plan.name} --paired ROW."
        )
    try:
        return compare_rows(table, row), ""
    except DashboardError as error:
        return None, f"{error}."
