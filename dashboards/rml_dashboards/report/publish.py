"""Reports as one HTML file."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from rml_dashboards.figures.web.page import (
    figures_script,
    figures_style,
    library_parts,
    policy_for,
)
from rml_dashboards.report.content import StudyContent
from rml_dashboards.report.figures import figures_parts
from rml_dashboards.report.gallery import gallery_parts
from rml_dashboards.report.matrix import matrix_parts
from rml_dashboards.report.provenance import anchor, failures_parts, provenance_parts
from rml_dashboards.report.pseudo_labels import pseudo_labels_parts
from rml_dashboards.report.tables import tables_parts
from rml_dashboards.writing.files import write_text
from rml_dashboards.writing.page import element, page
from rml_dashboards.writing.pipe_table import one_line

CHAPTERS = {
    "cells": matrix_parts,
    "tables": tables_parts,
    "labels": pseudo_labels_parts,
    "figures": figures_parts,
    "predictions": gallery_parts,
    "failures": failures_parts,
    "provenance": provenance_parts,
}
"""In the order of the page, by the end of their anchors."""
NAMES = {"labels": "pseudo labels"}
"""Of chapters that are not called as their anchors end."""


def write_report(contents: Sequence[StudyContent], path: Path) -> Path:
    """Write the report of one or more studies; an existing file is replaced as a whole.

    A light one says when its newest run ended, so that the same records give the same bytes.
    """
    ends = [end for content in contents if content.is_light for end in _ends(content)]
    return write_text(report(contents, max(ends, default=datetime.now(UTC))), path)


def report(contents: Sequence[StudyContent], made_at: datetime) -> str:
    """The page.

    Args:
        made_at: when its numbers were read, UTC; of a light one, when its newest run ended.
    """
    titles = [one_line(content.table.spec.title) for content in contents]
    is_light = all(content.is_light for content in contents)
    script = f"{_file('filter.js')}{_file('report.js')}{'' if is_light else figures_script()}"
    parts = [
        "<header>",
        element("h1", titles[0] if len(titles) == 1 else "Studies"),
        element("p", _as_of(made_at, is_light=is_light), class_="note"),
        *_contents(contents),
        "</header>",
        "<main>",
    ]
    for number, content in enumerate(contents, start=1):
        parts += _study(content, f"s{number}-", with_title=len(contents) > 1)
    parts += ["</main>", *library_parts(parts), f"<script>{script}</script>"]
    return page(
        " · ".join(titles),
        parts,
        style=f"{figures_style()}{_file('report.css')}",
        policy=policy_for(script, has_library=not is_light),
    )


def _as_of(made_at: datetime, *, is_light: bool) -> str:
    if not is_light:
        return f"As recorded on {made_at:%Y-%m-%d %H:%M} UTC."
    return (
        f"As recorded up to {made_at:%Y-%m-%d %H:%M} UTC. This is the light report: its figures "
        "are pictures, and it shows few predictions. The whole one is written by rml report."
    )


def _ends(content: StudyContent) -> Iterator[datetime]:
    return (end.to_pydatetime() for end in content.runs["end_time"].dropna())


def _study(content: StudyContent, prefix: str, *, with_title: bool) -> list[str]:
    parts = [f'<section class="study" id="{prefix}study">']
    title = one_line(content.table.spec.title) if with_title else content.plan.name
    parts.append(element("h2", title))
    if content.plan.description:
        parts.append(element("p", content.plan.description))
    for warning in content.plan.warnings:
        parts.append(element("p", f"Note of the plan: {one_line(warning)}", class_="note"))
    for chapter in CHAPTERS.values():
        parts += ['<div class="lazy">', *chapter(content, prefix), "</div>"]
    return [*parts, "</section>"]


def _contents(contents: Sequence[StudyContent]) -> list[str]:
    """Links to the chapters of every study."""
    lines = ['<nav aria-label="Contents">']
    for number, content in enumerate(contents, start=1):
        links = "".join(
            f"<li>{anchor(NAMES.get(name, name), f's{number}-{name}')}</li>" for name in CHAPTERS
        )
        if len(contents) > 1:
            lines.append(anchor(one_line(content.table.spec.title), f"s{number}-study"))
        lines.append(f"<ul>{links}</ul>")
    return [*lines, "</nav>"]


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
