"""Cells of a study by state: which are done, and what became of the others."""

from collections import Counter

from rml_dashboards.contract.states import TABLE_STATES
from rml_dashboards.report.content import StudyContent
from rml_dashboards.tables.entries import Entry
from rml_dashboards.writing.page import attributes_text, element

SIGNS = {
    "complete": "✓",
    "partial": "◐",
    "running": "▶",
    "failed": "✗",
    "stopped": "⏸",
    "unscored": "?",
    "mixed": "≠",
    "missing": "·",
}
"""A sign beside the numbers, so that a state is told without colour."""


def matrix_parts(content: StudyContent, prefix: str) -> list[str]:
    """One line per row, one cell per column: how many of its runs are done, and the worst of the
    others."""
    spec = content.table.spec
    heads = "".join(element("th", column.label, scope="col") for column in spec.columns)
    lines = []
    for row, entries in zip(spec.rows, content.table.entries, strict=True):
        if not any(entry.n_expected for entry in entries):
            continue
        cells = "".join(_cell(entry) for entry in entries)
        lines.append(f"<tr>{element('th', row.label, scope='row')}{cells}</tr>")
    return [
        element("h3", "Cells", id=f"{prefix}cells"),
        element("p", _counts(content)),
        '<div class="scroll" tabindex="0" role="region" aria-label="Cells by state">',
        '<table class="matrix"><caption>Runs with a score of those expected</caption>',
        f"<thead><tr>{element('th', spec.row_heading, scope='col')}{heads}</tr></thead>",
        "<tbody>",
        *lines,
        "</tbody></table></div>",
        element("p", _legend(content), class_="note"),
    ]


def _cell(entry: Entry) -> str:
    if not entry.n_expected:
        return "<td>–</td>"
    sign = SIGNS.get(entry.status, "")
    states = Counter(trace.state for trace in entry.traces)
    said = ", ".join(f"{states[state]} {state}" for state in TABLE_STATES if states[state])
    attributes = {"class": f"cell {entry.status}", "title": f"{entry.status}: {said}"}
    return f"<td{attributes_text(attributes)}>{sign} {entry.n}/{entry.n_expected}</td>"


def _counts(content: StudyContent) -> str:
    """How many runs are in which state, each counted once."""
    states = {trace.run_id: trace.state for e in content.table.cells() for trace in e.traces}
    counts = Counter(states.values())
    parts = [f"{counts[state]} {state}" for state in TABLE_STATES if counts[state]]
    return f"{len(states)} runs: {', '.join(parts) or 'none'}."


def _legend(content: StudyContent) -> str:
    there = {entry.status for entry in content.table.cells()}
    signs = [f"{sign} {status}" for status, sign in SIGNS.items() if status in there]
    return ", ".join(signs)
