"""A filled table in the terminal: the closing summary of a launch."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text as RichText

from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.texts import Grid, grid

STYLES = {
    "group": "italic",
    "best": "bold",
    "second": "underline",
    "reported": "dim",
    "partial": "yellow",
    "stale": "yellow",
    "running": "cyan",
    "failed": "red",
    "unscored": "red",
    "mixed": "red",
    "stopped": "yellow",
    "missing": "dim",
}


FRAME = 3
"""Characters of a column beside its text: a space on each side and a line."""

LABEL = 6
"""Characters that a row's label has at least, in lines of its own."""


def console_table(table: Table) -> RenderableType:
    """Renderable for a rich console: table, legend, footnotes, warnings. Labels are never read as
    rich markup."""
    notes = [
        RichText(f"[{number}] {note}", style="dim")
        for number, note in enumerate(table.notes, start=1)
    ]
    warnings = [RichText(f"warning: {warning}", style="yellow") for warning in table.warnings]
    drawn = _Drawn(grid(table), table.spec.title)
    return Group(drawn, RichText(legend(table), style="dim"), *notes, *warnings)


class _Drawn:
    """A table that is drawn in several, one below the other, where it is wider than the console:
    each has the rows' labels and as many columns as fit."""

    def __init__(self, layout: Grid, title: str) -> None:
        self._layout = layout
        self._title = title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichTable]:
        widths = [self._width(index) for index in range(len(self._layout.header))]
        left = options.max_width - 2 * FRAME - 1 - max(widths[1:], default=0)
        label = min(widths[0], max(LABEL, min(left, options.max_width // 2 - FRAME)))
        portions = _portions(widths[1:], options.max_width - (label + FRAME + 1))
        for number, columns in enumerate(portions):
            drawn = self._table([1 + column for column in columns], label)
            if number == 0:
                drawn.title = RichText(self._title)
            yield drawn

    def _width(self, index: int) -> int:
        """A column's narrowest: its longest entry, or the longest word of its heading."""
        texts = [line[index].text for line in self._layout.lines]
        words = self._layout.header[index].split()
        return max(map(cell_len, [*texts, *words]), default=0)

    def _table(self, columns: Sequence[int], label: int) -> RichTable:
        drawn = RichTable(title_justify="left")
        header = self._layout.header
        drawn.add_column(RichText(header[0]), min_width=label, max_width=label, overflow="fold")
        for index in columns:
            width = self._width(index)
            drawn.add_column(RichText(header[index]), justify="right", min_width=width)
        for line in self._layout.lines:
            cells = [line[0], *(line[index] for index in columns)]
            drawn.add_row(*(RichText(cell.text, style=STYLES.get(cell.kind, "")) for cell in cells))
        return drawn


def _portions(widths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of columns in groups that fit, each of at least one column."""
    portions: list[list[int]] = [[]]
    left = room
    for column, width in enumerate(widths):
        if portions[-1] and width + FRAME > left:
            portions.append([])
            left = room
        portions[-1].append(column)
        left -= width + FRAME
    return portions
