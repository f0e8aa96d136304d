"""What a table should look like: rows, columns, the cells that fill it and the numbers that others
reported.

Plain frozen values. The command line makes them from a study file; nothing here knows that format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.contract.planned import (
    Aggregate,
    PlannedImport,
    PlannedQuestion,
    PlannedRepeat,
    ReportedNumber,
)
from rml_dashboards.errors import DashboardError
from rml_dashboards.writing.files import FILE_NAME

Emphasis = Literal["best", "best_two", "supported"]
"""Which scores of a column stand out: the best · the best and the second best · those two, each
only where it is told apart from the next one (see marks.py)."""


@dataclass(frozen=True, kw_only=True)
class RowSpec:
    """One line of the table, usually a method."""

    label: str
    reported: Mapping[str, tuple[ReportedNumber, ...]] = field(default_factory=dict)
    """Reported numbers by column label; ours is compared with the first one of a cell."""
    reported_only: bool = False
    """A comparator that is quoted and never run here."""
    group: str = ""
    """Heading over consecutive rows of the same group."""
    tolerance: float | None = None
    """How near its reported numbers ours must be to pass a check; None: as for the table."""


@dataclass(frozen=True, kw_only=True)
class ColumnSpec:
    """One column of scores, for example a share of labelled images."""

    label: str
    metric: str | None = None
    """Metric of this column when it is not the table's (the second student's score, say)."""
    higher_is_better: bool | None = None
    """Which of its scores are the best; None: as for the table's."""
    aggregate: Aggregate = "last"
    last_k: int = 5
    """How many values `mean_of_last` takes."""


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """One run that belongs to a cell; a cell has one of these per seed."""

    row: str
    column: str
    seed: int
    run_id: str


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """The shape of one table."""

    name: str
    """File name without suffix: letters, digits, `.`, `_` and `-`."""
    title: str
    rows: tuple[RowSpec, ...]
    columns: tuple[ColumnSpec, ...]
    metric: str = FINAL_MIOU
    scale: float = 100.0
    """Factor from the recorded metric to the printed number (100: fractions become percent)."""
    digits: int = 1
    """Decimals printed of our own numbers; reported numbers keep the decimals that their source
    printed."""
    caption: str = ""
    row_heading: str = "Method"
    higher_is_better: bool = True
    """Of columns that do not say it themselves."""
    emphasis: Emphasis = "best"
    tolerance: float | None = None
    """How near a reported number ours must be to pass a check, in the units of the table; None: not
    stated."""
    imported: tuple[PlannedImport, ...] = ()
    earlier: tuple[CellSpec, ...] = ()
    """Runs that earlier plans of the study had in a cell, of one cell and seed the latest last.
    Their scores are told, marked as stale, where the run that the study has now has none."""
    result_version: int | None = None
    """Version of the results that is not stale; None: any."""
    repeats: tuple[PlannedRepeat, ...] = ()
    """Pairs of runs that measure what rounding alone does: the noise floor."""
    questions: tuple[PlannedQuestion, ...] = ()
    """Differences that the study asks about."""

    def __post_init__(self) -> None:
        _check(
            FILE_NAME.fullmatch(self.name) is not None,
            f"name {self.name!r} is not a plain file name",
        )
        _check(
            self.emphasis in get_args(Emphasis),
            f"table {self.name}: emphasis = {self.emphasis!r}, expected one of "
            f"{', '.join(get_args(Emphasis))}",
        )
        for what, labels in (
            ("row", [r.label for r in self.rows]),
            ("column", [c.label for c in self.columns]),
        ):
            _check(bool(labels), f"table {self.name}: no {what}s")
            repeated = sorted({label for label in labels if labels.count(label) > 1})
            _check(
                not repeated, f"table {self.name}: {what} labels occur twice: {', '.join(repeated)}"
            )
        known = {column.label for column in self.columns}
        for row in self.rows:
            unknown = sorted(set(row.reported) - known)
            _check(
                not unknown,
                f"table {self.name}, row {row.label!r}: reported numbers for unknown columns "
                f"{unknown}",
            )
        _check(
            self.digits >= 0, f"table {self.name}: digits = {self.digits}, expected zero or more"
        )

        _check_imported(self)

    def beside_cells(self) -> tuple[CellSpec, ...]:
        """Runs that are read besides those of the cells: of earlier plans; and those that measure
        the noise floor, under every column, because each may have a metric of its own."""
        measuring = dict.fromkeys(i for one in self.repeats for i in (one.run_id, one.repeat_id))
        row = self.rows[0].label
        return self.earlier + tuple(
            CellSpec(row=row, column=column.label, seed=0, run_id=run_id)
            for column in self.columns
            for run_id in measuring
        )

    def metric_of(self, column: ColumnSpec) -> str:
        return column.metric or self.metric

    def is_higher_better(self, column: ColumnSpec) -> bool:
        """Whether the best score of a column is its highest."""
        own = column.higher_is_better
        return self.higher_is_better if own is None else own

    def check_cells(self, cells: Sequence[CellSpec]) -> None:
        """Raise DashboardError for a cell outside the table, in a quoted row, or given twice for
        one seed."""
        columns = {column.label for column in self.columns}
        rows = {row.label: row for row in self.rows}
        imported = {run.row for run in self.imported}
        seen: set[tuple[str, str, int]] = set()
        for cell in cells:
            where = (
                f"table {self.name}: run {cell.run_id} (row {cell.row!r}, column "
                f"{cell.column!r}, seed {cell.seed})"
            )
            _check(
                cell.row in rows and cell.column in columns, f"{where} has no place in the table"
            )
            _check(
                not rows[cell.row].reported_only, f"{where} belongs to a row that is only reported"
            )
            _check(
                cell.row not in imported,
                f"{where} belongs to a row of imported runs, which are never averaged with ours",
            )
            key = (cell.row, cell.column, cell.seed)
            _check(key not in seen, f"{where}: this seed is already there")
            seen.add(key)


def _check_imported(spec: TableSpec) -> None:
    """Runs of others have a place in the table, and never one beside a reported number or twice."""
    columns = {column.label for column in spec.columns}
    rows = {row.label: row for row in spec.rows}
    seen: set[tuple[str, str, int, str]] = set()
    for run in spec.imported:
        where = f"table {spec.name}: imported run {run.run} (row {run.row!r}, seed {run.seed})"
        _check(run.row in rows and run.column in columns, f"{where} has no place in the table")
        _check(not rows[run.row].reported, f"{where} is in a row with reported numbers")
        key = (run.row, run.column, run.seed, run.split)
        _check(key not in seen, f"{where}: this seed is already there")
        seen.add(key)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise DashboardError(message)
