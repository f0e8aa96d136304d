"""A filled table as a page of HTML that stands alone. The same table, the same bytes."""

from collections.abc import Callable, Sequence
from urllib.parse import quote

from rml_dashboards.tables.entries import Entry, Table, Trace
from rml_dashboards.tables.render import code_text, legend, state_text
from rml_dashboards.tables.texts import Text, grid
from rml_dashboards.writing.numbers import number_text
from rml_dashboards.writing.page import attributes_text, element, escaped, page
from rml_dashboards.writing.pipe_table import NOTHING, one_line

RunLink = Callable[[str], str]
"""Address of a run by its MLflow run id; empty where there is none."""


def run_links(tracking_uri: str) -> RunLink:
    """Links to the runs on an MLflow server; none where the records are a database or run folders,
    which a browser cannot open."""
    if not tracking_uri.startswith(("http://", "https://")) or "@" in tracking_uri:
        return lambda run: ""
    root = tracking_uri.rstrip("/")
    return lambda run: f"{root}/#/runs/{quote(run, safe='')}" if run else ""


def html(table: Table, link: RunLink) -> str:
    """Title, table, footnotes and the runs behind every number as one file.

    Args:
        link: see `run_links`.
    """
    title = one_line(table.spec.title)
    return page(title, ["<main>", element("h1", title), *table_parts(table, link), "</main>"])


def table_parts(
    table: Table, link: RunLink, *, prefix: str = "", shows_runs: bool = True
) -> list[str]:
    """Pieces of HTML: caption, table, legend, footnotes, warnings and runs.

    Args:
        prefix: begins every id, so that several tables can stand on one page.
        shows_runs: whether the runs are listed from the start, or when somebody asks.
    """
    parts = [element("p", table.spec.caption.strip())] if table.spec.caption else []
    parts += [
        f'<div class="scroll" tabindex="0" role="region"'
        f"{attributes_text({'aria_label': table.spec.title})}>",
        *_table(table, prefix),
        "</div>",
        element("p", legend(table), class_="note"),
    ]
    if table.notes:
        notes = [
            f"<li{attributes_text({'id': f'{prefix}note-{number}'})}>{escaped(one_line(note))}</li>"
            for number, note in enumerate(table.notes, start=1)
        ]
        parts += ['<ol class="note">', *notes, "</ol>"]
    parts += [
        element("p", f"Warning: {one_line(warning)}", class_="warning")
        for warning in table.warnings
    ]
    return [*parts, *_runs(table, link, prefix, shows_runs=shows_runs)]


def _table(table: Table, prefix: str) -> list[str]:
    layout = grid(table)
    header = "".join(element("th", cell, scope="col") for cell in layout.header)
    lines = [
        f"<table>{element('caption', one_line(table.spec.title))}",
        f"<thead><tr>{header}</tr></thead>",
        "<tbody>",
    ]
    places = _places(table)
    for line in layout.lines:
        if line[0].kind == "group":
            heading = element("th", line[0].text, scope="rowgroup", colspan=len(line))
            lines.append(f'<tr class="group">{heading}</tr>')
            continue
        cells = "".join(_cell(cell, places, prefix) for cell in line[1:])
        lines.append(f"<tr>{element('th', line[0].text.strip(), scope='row')}{cells}</tr>")
    return [*lines, "</tbody></table>"]


def _cell(cell: Text, places: dict[tuple[str, str], int], prefix: str) -> str:
    entry = cell.entry
    text = escaped(cell.text)
    if entry is None or not entry.traces:
        return f"<td{attributes_text({'class': _class(cell.kind)})}>{text}</td>"
    place = places[entry.row, entry.column]
    target = attributes_text({"href": f"#{prefix}runs-{place}", "title": _title(entry)})
    return f"<td{attributes_text({'class': _class(cell.kind)})}><a{target}>{text}</a></td>"


def _class(kind: str) -> str:
    return "" if kind in ("plain", "complete", "empty") else kind


def _title(entry: Entry) -> str:
    """What a number is made of, for who points at it."""
    told = (*entry.traces, *entry.earlier)
    return "\n".join(f"seed {t.seed}: {t.run_id} ({state_text(entry, t)})" for t in told)


def _places(table: Table) -> dict[tuple[str, str], int]:
    """Number of every cell that has runs."""
    cells = [(entry.row, entry.column) for entry in table.cells() if entry.traces]
    return {cell: number for number, cell in enumerate(cells, start=1)}


def _runs(table: Table, link: RunLink, prefix: str, *, shows_runs: bool) -> list[str]:
    """The way from a number to its runs."""
    places = _places(table)
    if not places:
        return []
    header = [table.spec.row_heading, "Column", "Seed", "State", "Score", "Run", "Protocol", "Code"]
    lines = []
    for entry in table.cells():
        for number, trace in enumerate((*entry.traces, *entry.earlier)):
            anchor = f"{prefix}runs-{places[entry.row, entry.column]}" if number == 0 else None
            lines.append(_run_line(entry, trace, link, table.spec.digits, anchor))
    heads = "".join(element("th", cell, scope="col") for cell in header)
    return [
        f"<details{' open' if shows_runs else ''}><summary>The runs behind every number</summary>",
        '<div class="scroll" tabindex="0" role="region" aria-label="Runs">',
        f'<table class="runs"><thead><tr>{heads}</tr></thead><tbody>',
        *lines,
        "</tbody></table></div></details>",
    ]


def _run_line(entry: Entry, trace: Trace, link: RunLink, digits: int, anchor: str | None) -> str:
    score = NOTHING if trace.value is None else number_text(trace.value, digits + 2)
    code = code_text(trace)
    address = link(trace.mlflow_run_id)
    run = element("code", trace.run_id)
    kind = "stale" if trace.stale else trace.state
    if address:
        run = f"<a{attributes_text({'href': address, 'rel': 'noreferrer'})}>{run}</a>"
    texts: Sequence[str] = (
        escaped(entry.column),
        str(trace.seed),
        f"<span{attributes_text({'class': kind})}>{escaped(state_text(entry, trace))}</span>",
        score,
        run,
        escaped(trace.protocol or NOTHING),
        escaped(code or NOTHING),
    )
    row = element("th", entry.row, scope="row")
    cells = "".join(f"<td>{text}</td>" for text in texts)
    return f"<tr{attributes_text({'id': anchor})}>{row}{cells}</tr>"
