"""Rows that others' numbers make in a study's table, and what is wrong with these numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rml_dashboards.contract.metric_names import PER_CENT, is_share
from rml_platform.study.cells import Column, Row
from rml_platform.study.shown.others import Placed
from rml_platform.study.shown.others_config import ImportedConfig, PublishedConfig
from rml_platform.study.study_file import ReportedConfig
from rml_trainers.configuration import suggest

IMPORTED_GROUP = "Imported"
"""Heading over the rows of other tools."""


class Others:
    """What publications and other tools say, as the study's files have it."""

    def __init__(self, published: Sequence[Placed], imported: Sequence[Placed]) -> None:
        self._published = published
        self._imported = imported

    @property
    def imported(self) -> tuple[ImportedConfig, ...]:
        """Runs of other tools."""
        return tuple(one.value for one in self._imported)

    def quoted(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        """The rows with published numbers behind their own; a row that the study does not have
        follows the others and is quoted only."""
        by_row: dict[str, dict[str, list[ReportedConfig]]] = {}
        for placed in self._published:
            number: PublishedConfig = placed.value
            reported = ReportedConfig(
                mean=number.mean,
                std=number.std,
                source=number.source,
                note=number.note,
                protocol=number.protocol,
            )
            by_row.setdefault(number.row, {}).setdefault(number.column, []).append(reported)
        known = {row.label for row in rows}
        more = [Row(label=label, reported={}) for label in by_row if label not in known]
        return tuple(_with_reported(row, by_row.get(row.label, {})) for row in (*rows, *more))

    def imported_rows(self) -> tuple[Row, ...]:
        """A row for each label of other tools."""
        labels = dict.fromkeys(run.row for run in self.imported)
        return tuple(Row(label=label, reported={}, group=IMPORTED_GROUP) for label in labels)

    def problems(
        self, rows: Sequence[Row], columns: Sequence[Column], scale: float
    ) -> Iterator[str]:
        """Columns that the study does not have, numbers in another unit than the table's, rows that
        are its own, and runs given twice.

        Args:
            rows: those of the study, multiplied by its axes.
            scale: of the table: what recorded scores are multiplied by.
        """
        labels = [column.label for column in columns]
        for placed in (*self._published, *self._imported):
            column = placed.value.column
            if column not in labels:
                yield f"{placed.place}: column = {column!r}: no such column; " + suggest(
                    column, labels
                )
        yield from unit_problems((*self._published, *self._imported), columns, scale)
        taken = {row.label for row in rows} | {placed.value.row for placed in self._published}
        seen = Counter[tuple[str, str, int, str]]()
        for placed in self._imported:
            run: ImportedConfig = placed.value
            if run.row in taken:
                yield (
                    f"{placed.place}: row = {run.row!r}: the study has a row of this name, and "
                    "runs of others are never averaged with it; give the imported one another name"
                )
            key = (run.row, run.column, run.seed, run.split)
            seen[key] += 1
            if seen[key] == 2:
                yield (
                    f"{placed.place}: seed {run.seed} of row {run.row!r}, column {run.column!r} is "
                    "given twice; tell them apart by seed or split"
                )


def unit_problems(
    numbers: Sequence[Placed], columns: Sequence[Column], scale: float
) -> Iterator[str]:
    """Shares (mIoU, accuracy) that are more than a whole, or of which a whole file is written as
    fractions where the table multiplies them: 0.761 beside our 76.1."""
    shares = {column.label for column in columns if is_share(column.metric)}
    by_file: dict[str, list[Placed]] = {}
    for placed in numbers:
        if placed.value.column in shares:
            by_file.setdefault(placed.place.rpartition(":")[0], []).append(placed)
    for own in by_file.values():
        largest = max(own, key=_number)
        name = "mean" if isinstance(largest.value, PublishedConfig) else "value"
        where = f"{largest.place}: {name} = {_number(largest):g}"
        unit = "in per cent" if scale == PER_CENT else f"in units of 1/{scale:g}"
        if _number(largest) > scale:
            in_units = f"; write {_number(largest) / PER_CENT:g} if it is in per cent"
            yield (
                f"{where}: more than {scale:g}, which is the whole in this table "
                f"(table.scale: {scale:g}){in_units if scale == 1 else ''}"
            )
        elif scale > 1 and 0 < _number(largest) <= 1:
            yield (
                f"{where}: the table is {unit} (table.scale: {scale:g}), and no number of this "
                f"file is more than 1; if they are fractions, write {_number(largest) * scale:g} "
                "for this one, and so on"
            )


def _number(placed: Placed) -> float:
    value = placed.value
    return float(value.mean if isinstance(value, PublishedConfig) else value.value)


def _with_reported(row: Row, more: dict[str, list[ReportedConfig]]) -> Row:
    if not more:
        return row
    columns = dict.fromkeys([*row.reported, *more])
    return replace(
        row,
        reported={c: (*row.reported.get(c, ()), *more.get(c, ())) for c in columns},
    )
