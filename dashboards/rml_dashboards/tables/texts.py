"""A filled table as lines of short texts: what Markdown and the terminal both show."""

import statistics
from dataclasses import dataclass, field

from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.specification import RowSpec
from rml_dashboards.writing.numbers import number_text, signed_text
from rml_dashboards.writing.pipe_table import NOTHING

STALE = " †"
"""Behind a score that the study as it is, with this program, would not have."""
BESIDE_AT_MOST = 2
"""Up to this many columns the reported numbers stand beside ours; in wider tables below them, so
that a terminal and a web page can show the table without scrolling."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """One printed cell."""

    text: str
    kind: str = "plain"
    """plain · label · group · best · second · stale · reported · or the status of the entry (styles
    are the renderer's affair)."""
    entry: Entry | None = field(default=None, compare=False, repr=False)
    """Our own score that it shows, with the runs behind it."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of texts, ready to be laid out."""

    header: tuple[str, ...]
    lines: tuple[tuple[Text, ...], ...]


def grid(table: Table) -> Grid:
    """Lay the table out: one line per row, with reported numbers beside or below ours."""
    quoting = [
        any(line[i].reported for line in table.entries) for i in range(len(table.spec.columns))
    ]
    beside = len(table.spec.columns) <= BESIDE_AT_MOST
    header = [table.spec.row_heading]
    for column, quoted in zip(table.spec.columns, quoting, strict=True):
        header += [column.label, *(["reported", "ours − reported"] if quoted and beside else [])]
    lines: list[tuple[Text, ...]] = []
    group = ""
    for row, entries in zip(table.spec.rows, table.entries, strict=True):
        if row.group != group and row.group:
            lines.append((Text(text=row.group, kind="group"), *(Text(text="") for _ in header[1:])))
        group = row.group
        own, under = (
            _beside(table, row, entries, quoting) if beside else _below(table, row, entries)
        )
        lines.append(own)
        lines.extend(under)
    return Grid(header=tuple(header), lines=tuple(lines))


def _beside(
    table: Table, row: RowSpec, entries: tuple[Entry, ...], quoting: list[bool]
) -> tuple[tuple[Text, ...], list[tuple[Text, ...]]]:
    line = [Text(text=row.label, kind="label")]
    for entry, quoted in zip(entries, quoting, strict=True):
        line.append(score_text(entry, table.spec.digits))
        if quoted:
            line += [
                reported_text(entry, row),
                Text(text=difference_text(entry, table.spec.digits) or NOTHING),
            ]
    return tuple(line), []


def _below(
    table: Table, row: RowSpec, entries: tuple[Entry, ...]
) -> tuple[tuple[Text, ...], list[tuple[Text, ...]]]:
    digits = table.spec.digits
    quoted = [reported_text(entry, row) for entry in entries]
    if row.reported and all(entry.status in ("reported", "empty") for entry in entries):
        return (Text(text=f"{row.label} (reported)", kind="label"), *quoted), []
    own = (Text(text=row.label, kind="label"), *(score_text(entry, digits) for entry in entries))
    if not row.reported:
        return own, []
    below = [Text(text="  ↳ reported", kind="label")]
    for entry, number in zip(entries, quoted, strict=True):
        difference = difference_text(entry, digits)
        below.append(
            Text(
                text=f"{number.text} ({difference})" if difference else number.text,
                kind=number.kind,
            )
        )
    return own, [tuple(below)]


def score_text(entry: Entry, digits: int) -> Text:
    """`62.1 ± 0.4 (3)`: mean ± sample standard deviation (seeds); `(2 of 3)` when seeds lack; else
    the status, with the scores of an earlier plan where there are some; `†` where it is stale."""
    marks = (STALE if entry.is_stale else "") + marks_text(entry.marks)
    if entry.status in ("empty", "reported"):
        return Text(text=NOTHING)
    if entry.mean is None:
        word = "not averaged" if entry.status == "mixed" else entry.status
        if entry.earlier:
            word += f", was {_earlier_text(entry, digits)}"
        return Text(text=f"{word}{marks}", kind=entry.status, entry=entry)
    kind = "stale" if entry.is_stale else entry.status
    kind = "best" if entry.best else "second" if entry.second else kind
    number = _number(entry.mean, entry.std, digits)
    return Text(text=f"{number} {_seeds(entry.n, entry)}{marks}", kind=kind, entry=entry)


def _earlier_text(entry: Entry, digits: int) -> str:
    """What an earlier plan's runs have, as a score is written; the protocol is not told, so scores
    of several are listed."""
    values = [trace.value for trace in entry.earlier if trace.value is not None]
    if len({trace.protocol for trace in entry.earlier}) > 1:
        return ", ".join(number_text(value, digits) for value in values)
    std = statistics.stdev(values) if len(values) > 1 else None
    return f"{_number(statistics.fmean(values), std, digits)} {_seeds(len(values), entry)}"


def _seeds(count: int, entry: Entry) -> str:
    return f"({count})" if count == entry.n_expected else f"({count} of {entry.n_expected})"


def _number(mean: float, std: float | None, digits: int) -> str:
    spread = "" if std is None else f" ± {std:.{digits}f}"
    return f"{number_text(mean, digits)}{spread}"


def reported_text(entry: Entry, row: RowSpec) -> Text:
    """`63.97 ± 0.46` with the decimals that its row has in the source, and its marks; several
    joined by `/`."""
    if not entry.reported:
        return Text(text=NOTHING)
    quoted = [value for values in row.reported.values() for value in values]
    decimals = max(
        _decimals(number) for value in quoted for number in (value.mean, value.std or 0.0)
    )
    numbers = []
    for value, marks in zip(entry.reported, entry.reported_marks, strict=True):
        spread = "" if value.std is None else f" ± {value.std:.{decimals}f}"
        numbers.append(f"{number_text(value.mean, decimals)}{spread}{marks_text(marks)}")
    return Text(text=" / ".join(numbers), kind="reported")


def _decimals(number: float) -> int:
    """Decimals of a printed number: 2 for 63.97. A source prints 46.30 where its other numbers have
    two decimals."""
    return len(str(float(number)).partition(".")[2])


def difference_text(entry: Entry, digits: int) -> str:
    """`+0.3` or `−1.2` points against the reported number; empty where there is nothing to
    compare."""
    if entry.difference is None:
        return ""
    return signed_text(entry.difference, digits)


def marks_text(marks: tuple[int, ...]) -> str:
    return "".join(f" [{number}]" for number in marks)
