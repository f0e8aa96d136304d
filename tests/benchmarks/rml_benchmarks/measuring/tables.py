"""Tables of figures as Markdown, and quantities as people read them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Table:
    """Figures that are no comparison of times: sizes, shares, agreement."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """Markdown table; numbers with three figures."""
        table = TableText()
        for number, column in enumerate(self.columns):
            table.column(column, [_cell(row[number]) for row in self.rows])
        return table.markdown(self.title, [self.note] if self.note else [])


class TableText:
    """Columns of texts that become one Markdown table."""

    def __init__(self) -> None:
        self._columns: list[tuple[str, list[str]]] = []

    def column(self, header: str, cells: Sequence[str | None]) -> None:
        """Add a column, unless there is nothing in it."""
        if any(cells):
            self._columns.append((header, [cell or "" for cell in cells]))

    def markdown(self, title: str, notes: Sequence[str], *, after_title: str = "") -> str:
        """The table under its title and above its notes."""
        headers = [header for header, _ in self._columns]
        rows = zip(*(cells for _, cells in self._columns), strict=True)
        lines = [
            f"**{title}**{after_title}",
            "",
            _row(headers),
            _row(["---"] * len(headers)),
            *(_row(list(row)) for row in rows),
        ]
        for note in notes:
            lines += ["", note]
        return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def _cell(value: str | float | int) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def readable_seconds(seconds: float) -> str:
    """`3.21 ms`: three figures and a fitting unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError("unreachable: microseconds take everything")


def readable_bytes(count: float) -> str:
    """`1.5 GB`: three figures and a decimal unit."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"
