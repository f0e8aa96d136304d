"""A filled table as lines of short texts: what Markdown and the terminal both show."""

from dataclasses import dataclass

from rml_dashboards.specification import RowSpec
from rml_dashboards.tables import Entry, Table

NOTHING = "–"
BESIDE_AT_MOST = 2
"""Up to this many columns the reported numbers stand beside ours; in wider tables below them, so that a terminal and
a web page can show the table without scrolling."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """One printed cell."""

    text: str
    kind: str = "plain"
    """plain · label · group · best · reported · or the status of the entry (styles are the renderer's affair)."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of texts, ready to be laid out."""

    header: tuple[str, ...]
    lines: tuple[tuple[Text, ...], ...]


def grid(table: Table) -> Grid:
    """Lay the table out: one line per row, with reported numbers beside or below ours."""
    quoting = [any(line[i].reported for line in table.entries) for i in range(len(table.spec.columns))]
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
        own, under = _beside(table, row, entries, quoting) if beside else _below(table, row, entries)
        lines.append(own)
        lines.extend(under)
    return Grid(header=tuple(header), lines=tuple(lines))


def _beside(
    table: Table, row: RowSpec, entries: tuple[Entry, ...], quoting: list[bool]
) -> tuple[tuple[Text, ...], list[tuple[Text, ...]]]:
    line = [Text(text=row.label, kind="label")]
    for entry, quoted in zip(entries, quoting, strict=True):
        own_is_empty = entry.status == "reported"
        line.append(Text(text=NOTHING) if own_is_empty else score_text(entry, table.spec.digits))
        if quoted:
            line += [reported_text(entry, row), Text(text=difference_text(entry, table.spec.digits) or NOTHING)]
    return tuple(line), []


def _below(table: Table, row: RowSpec, entries: tuple[Entry, ...]) -> tuple[tuple[Text, ...], list[tuple[Text, ...]]]:
    digits = table.spec.digits
    quoted_only = all(entry.status in ("reported", "empty") for entry in entries)
    if quoted_only:
        return (
            Text(text=f"{row.label} (reported)", kind="label"),
            *(reported_text(entry, row) for entry in entries),
        ), []
    own = (
        Text(text=row.label, kind="label"),
        *(Text(text=NOTHING) if e.status == "reported" else score_text(e, digits) for e in entries),
    )
    if not any(entry.reported for entry in entries):
        return own, []
    below = [Text(text="  ↳ reported", kind="label")]
    for entry in entries:
        difference = difference_text(entry, digits)
        quoted = reported_text(entry, row)
        below.append(Text(text=f"{quoted.text} ({difference})" if difference else quoted.text, kind=quoted.kind))
    return own, [tuple(below)]


def score_text(entry: Entry, digits: int) -> Text:
    """`62.1 ± 0.4 (3)`: mean ± sample standard deviation (seeds); `(2 of 3)` when seeds lack; else the status."""
    marks = marks_text(entry.marks)
    if entry.status == "empty":
        return Text(text=NOTHING)
    if entry.mean is None:
        word = "not averaged" if entry.status == "mixed" else entry.status
        return Text(text=f"{word}{marks}", kind=entry.status)
    seeds = f"{entry.n}" if entry.n == entry.n_expected else f"{entry.n} of {entry.n_expected}"
    spread = "" if entry.std is None else f" ± {entry.std:.{digits}f}"
    kind = "best" if entry.best else entry.status
    return Text(text=f"{entry.mean:.{digits}f}{spread} ({seeds}){marks}", kind=kind)


def reported_text(entry: Entry, row: RowSpec) -> Text:
    """`63.97 ± 0.46` with the decimals that its row has in the source, and its marks."""
    if entry.reported is None:
        return Text(text=NOTHING)
    decimals = max(_decimals(number) for value in row.reported.values() for number in (value.mean, value.std or 0.0))
    spread = "" if entry.reported.std is None else f" ± {entry.reported.std:.{decimals}f}"
    return Text(text=f"{entry.reported.mean:.{decimals}f}{spread}{marks_text(entry.reported_marks)}", kind="reported")


def _decimals(number: float) -> int:
    """Decimals of a printed number: 2 for 63.97. A source prints 46.30 where its other numbers have two decimals."""
    return len(str(float(number)).partition(".")[2])


def difference_text(entry: Entry, digits: int) -> str:
    """`+0.3` or `−1.2` points against the reported number; empty where there is nothing to compare."""
    if entry.difference is None:
        return ""
    rounded = round(entry.difference, digits)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{abs(rounded):.{digits}f}"


def marks_text(marks: tuple[int, ...]) -> str:
    return "".join(f" [{number}]" for number in marks)
