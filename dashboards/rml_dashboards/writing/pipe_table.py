"""Markdown tables that also read well raw."""

from collections.abc import Sequence

from rich.cells import cell_len

NOTHING = "–"
"""What stands where there is nothing to say."""


def pipe_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown table with columns padded to equal width."""
    widths = [max(3, *(cell_len(line[i]) for line in [header, *lines])) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)
        )
        + " |"
        for line in [header, rule, *lines]
    )


def without_column(
    header: Sequence[str], lines: Sequence[Sequence[str]], heading: str
) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a table without one of its columns."""
    place = list(header).index(heading)
    first, *others = ([*line[:place], *line[place + 1 :]] for line in (header, *lines))
    return first, others


def escape(text: str) -> str:
    """Text that stays within its cell."""
    return one_line(text, keep_indent=True).replace("|", "\\|")


def one_line(text: str, *, keep_indent: bool = False) -> str:
    indent = " " * (len(text) - len(text.lstrip(" "))) if keep_indent else ""
    return indent + " ".join(text.split())
