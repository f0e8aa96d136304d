"""A filled table in the terminal: the closing summary of a launch."""

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text as RichText

from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.texts import grid

STYLES = {
    "group": "italic",
    "best": "bold",
    "second": "underline",
    "reported": "dim",
    "partial": "yellow",
    "running": "cyan",
    "failed": "red",
    "unscored": "red",
    "mixed": "red",
    "stopped": "yellow",
    "missing": "dim",
}


def console_table(table: Table) -> RenderableType:
    """Renderable for a rich console: table, legend, footnotes, warnings. Labels are never read as
    rich markup."""
    layout = grid(table)
    drawn = RichTable(title=RichText(table.spec.title), title_justify="left")
    for index, heading in enumerate(layout.header):
        drawn.add_column(
            RichText(heading), justify="left" if index == 0 else "right", no_wrap=index == 0
        )
    for line in layout.lines:
        drawn.add_row(*(RichText(cell.text, style=STYLES.get(cell.kind, "")) for cell in line))
    notes = [
        RichText(f"[{number}] {note}", style="dim")
        for number, note in enumerate(table.notes, start=1)
    ]
    warnings = [RichText(f"warning: {warning}", style="yellow") for warning in table.warnings]
    return Group(drawn, RichText(legend(table), style="dim"), *notes, *warnings)
