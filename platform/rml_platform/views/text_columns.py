"""Columns of text for many lines. rich's own table takes a millisecond per line, and cuts what is
wider than a terminal even where the output goes into a file."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

GAP = "  "
Cell = str | Text


def text_columns(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], right: frozenset[str] = frozenset()
) -> Text:
    """A heading and a line per row, every column as wide as its widest cell; print it with
    `soft_wrap=True`.

    Args:
        right: headings of the columns that are aligned to the right (numbers).
    """
    cells = [[Text(heading, "bold") for heading in headings], *rows]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(headings))]
    text = Text()
    for row in cells:
        line = Text("\n" if text else "")
        for heading, cell, width in zip(headings, row, widths, strict=True):
            space = " " * (width - _width(cell))
            before, after = (space, "") if heading in right else ("", space)
            line.append(before).append(cell).append(after + GAP)
        line.rstrip()
        text.append(line)
    return text


def _width(cell: Cell) -> int:
    """Cells of the terminal that a text takes; a Chinese character takes two."""
    return cell.cell_len if isinstance(cell, Text) else cell_len(cell)
