"""A study's table three times, behind a switch that needs no script: means, single scores, paired
differences."""

from collections.abc import Sequence

from rml_dashboards.comparisons.compare import Comparison
from rml_dashboards.comparisons.questions import answers
from rml_dashboards.comparisons.text import (
    QUESTIONS_TOLD,
    difference_table,
    question_notes,
    question_table,
)
from rml_dashboards.report.content import StudyContent
from rml_dashboards.tables.html import table_parts
from rml_dashboards.writing.numbers import number_text
from rml_dashboards.writing.page import attributes_text, element, escaped
from rml_dashboards.writing.pipe_table import NOTHING, one_line

VIEWS = (("mean", "Mean ± std"), ("raw", "Single scores"), ("paired", "Paired differences"))


def tables_parts(content: StudyContent, prefix: str) -> list[str]:
    """The switch and what it chooses from."""
    bodies = {
        "mean": table_parts(content.table, content.link, prefix=prefix, shows_runs=False),
        "raw": _raw(content),
        "paired": _paired(content),
    }
    parts = [element("h3", "Tables", id=f"{prefix}tables"), '<div class="views">']
    for view, label in VIEWS:
        name = f"{prefix}view"
        checked = " checked" if view == "mean" else ""
        box = {"type": "radio", "name": name, "id": f"{name}-{view}", "class": f"show-{view}"}
        parts.append(f"<input{attributes_text(box)}{checked}>")
        parts.append(element("label", label, for_=f"{name}-{view}"))
    for view, label in VIEWS:
        parts += [f'<section class="view view-{view}" aria-label="{escaped(label)}">']
        parts += [*bodies[view], "</section>"]
    return [*parts, "</div>", *_questions(content)]


def _questions(content: StudyContent) -> list[str]:
    """What the study asks, with the answers so far."""
    spec = content.table.spec
    if not spec.questions:
        return []
    parts = [element("h4", "What the study asks")]
    lines = answers(content.table)
    for question in spec.questions:
        own = lines[lines["question"].eq(question.title)]
        asked = f" (asked: {one_line(question.asked)})" if question.asked else ""
        caption = f"{one_line(question.title)}{asked}"
        parts += html_table(caption, *question_table(own, spec.digits))
        parts += _list_of_notes(question_notes(own))
    return [*parts, element("p", QUESTIONS_TOLD, class_="note")]


def html_table(
    caption: str, header: Sequence[str], lines: Sequence[Sequence[str]], kind: str = ""
) -> list[str]:
    """A plain table: the first cell of each line is its heading."""
    heads = "".join(element("th", cell, scope="col") for cell in header)
    body = [
        f"<tr>{element('th', line[0], scope='row')}"
        f"{''.join(element('td', cell) for cell in line[1:])}</tr>"
        for line in lines
    ]
    return [
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}">',
        f"<table{attributes_text({'class': kind})}>{element('caption', caption)}",
        f"<thead><tr>{heads}</tr></thead><tbody>",
        *body,
        "</tbody></table></div>",
    ]


def _raw(content: StudyContent) -> list[str]:
    spec = content.table.spec
    header = [spec.row_heading, *(column.label for column in spec.columns)]
    lines = []
    for row, entries in zip(spec.rows, content.table.entries, strict=True):
        cells = [
            " ".join(
                trace.state if trace.value is None else number_text(trace.value, spec.digits)
                for trace in entry.traces
            )
            for entry in entries
        ]
        if any(cells):
            lines.append([row.label, *(cell or NOTHING for cell in cells)])
    caption = f"{one_line(spec.title)}: score of every run, by seed"
    return html_table(caption, header, lines)


def _paired(content: StudyContent) -> list[str]:
    comparison = content.comparison
    if comparison is None:
        return [element("p", content.why_no_comparison)]
    if comparison.differences.empty:
        return [element("p", "No run can be paired."), *_notes(comparison)]
    header, lines = difference_table(comparison)
    caption = f"Differences from {one_line(comparison.against)}, same split and seed"
    return [*html_table(caption, header, lines), *_notes(comparison)]


def _notes(comparison: Comparison) -> list[str]:
    return _list_of_notes([one_line(note) for note in comparison.notes])


def _list_of_notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    return ['<ul class="note">', *(element("li", note) for note in notes), "</ul>"]
