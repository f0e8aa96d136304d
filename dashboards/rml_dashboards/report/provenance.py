"""What a study's numbers rest on: settings, splits, code, machines, hours; and what failed."""

import json
from collections.abc import Iterable

from rml_dashboards.report.content import StudyContent
from rml_dashboards.report.cost import cost_parts
from rml_dashboards.report.tables import html_table
from rml_dashboards.studies.differences import ABSENT, base_differences
from rml_dashboards.writing.page import attributes_text, element
from rml_dashboards.writing.pipe_table import NOTHING

MOST_FAILURES = 200
MOST_CHARACTERS = 400
"""Of the reason of one failure; the run's folder has the rest."""


def provenance_parts(content: StudyContent, prefix: str) -> list[str]:
    """Settings that differ from the defaults, those in which rows differ, splits, code, machines
    and time."""
    plan = content.plan
    shared = [[key, _value(value)] for key, value in sorted(plan.settings.items())]
    parts = [element("h3", "Provenance", id=f"{prefix}provenance"), *_facts(content)]
    parts += cost_parts(content)
    parts += ["<details><summary>Settings</summary>"]
    if shared:
        parts += html_table(
            "Shared by all runs, where they are not the default", ["setting", "value"], shared
        )
    parts += [*_from_base(content), *_row_settings(content), "</details>"]
    parts += ["<details><summary>Splits</summary>", *_splits(content), "</details>"]
    return parts


def failures_parts(content: StudyContent, prefix: str) -> list[str]:
    """Runs that ended in an error, with the reason."""
    runs = content.runs
    failed = runs[runs["status"].isin(["FAILED", "KILLED"])]
    heading = element("h3", "Failures", id=f"{prefix}failures")
    if failed.empty:
        return [heading, element("p", "No recorded run has failed.")]
    cells = {run.run_id: run.cells[0] for run in content.plan.runs if run.cells}
    lines = []
    for run in failed.head(MOST_FAILURES).itertuples():
        cell = cells.get(str(run.run_id))
        where = f"{cell.row}, {cell.column}, seed {cell.seed}" if cell else NOTHING
        reason = str(run.failure)[:MOST_CHARACTERS] or "cut off without a word"
        lines.append([str(run.run_id), where, str(run.status).lower(), reason])
    told = []
    if len(failed) > MOST_FAILURES:
        told = [element("p", f"{len(failed) - MOST_FAILURES} more are not listed.")]
    header = ["run", "cell", "state", "reason"]
    return [heading, *html_table("Runs without a result", header, lines, "runs wrapped"), *told]


def _facts(content: StudyContent) -> list[str]:
    plan = content.plan
    runs = content.runs
    facts = {
        "study file": f"{plan.source} (sha256 {plan.source_hash[:12]})",
        "profile": plan.profile or "",
        "--set": ", ".join(plan.overrides),
        "plan written": f"{plan.written_at}, code {plan.code_version}, results version "
        f"{plan.result_version}",
        "code of the runs": _listed(
            f"{version}{' + uncommitted changes' if dirty else ''}"
            for version, dirty in zip(runs["code_version"], runs["dirty"], strict=True)
        ),
        "machines": _listed(
            f"{host}{f' ({device})' if device else ''}"
            for host, device in zip(runs["host"], runs["device"], strict=True)
        ),
    }
    lines = [[name, text] for name, text in facts.items() if text]
    return html_table("What the numbers rest on", ["", ""], lines, "facts wrapped")


def _from_base(content: StudyContent) -> list[str]:
    """What each row and column has changed of the base, with both values."""
    if content.plan.base is None:
        return [
            element(
                "p",
                "How rows differ from the base of the study is not known: it is no whole "
                "configuration without them, or the plan was written by an earlier version.",
                class_="note",
            )
        ]
    lines = [
        [one.where, one.key, _side(one.base), " / ".join(_side(value) for value in one.values)]
        for one in base_differences(content.plan)
    ]
    if not lines:
        return [element("p", "Nothing differs from the base of the study but seeds.")]
    header = ["row or column", "setting", "in the base", "here"]
    return html_table("What differs from the base", header, lines, "runs")


def _row_settings(content: StudyContent) -> list[str]:
    """Settings in which runs differ, one column per key that is the same within every row."""
    plan = content.plan
    by_row: dict[str, dict[str, set[str]]] = {}
    for cell, run in plan.cells:
        own = by_row.setdefault(cell.row, {})
        for key, value in run.settings.items():
            own.setdefault(key, set()).add(_value(value))
    keys = sorted({key for own in by_row.values() for key in own} - {"seed", "split.seed"})
    if not keys:
        return []
    lines = [
        [row, *(" / ".join(sorted(own.get(key, {NOTHING}))) for key in keys)]
        for row, own in by_row.items()
    ]
    return html_table("In which rows differ", [plan.table.row_heading, *keys], lines)


def _splits(content: StudyContent) -> list[str]:
    found = {
        (run.data, run.num_labelled, run.num_unlabelled, run.split_hash, run.data_hash)
        for run in content.plan.runs
    }
    lines = [
        [data, str(labelled), str(unlabelled), split, images]
        for data, labelled, unlabelled, split, images in sorted(found)
    ]
    header = ["data", "labelled", "unlabelled", "split", "images"]
    return html_table("Splits and data by the hashes of their content", header, lines, "runs")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sorted({str(value) for value in values} - {""}))


def _side(value: object) -> str:
    return NOTHING if value is ABSENT else _value(value)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def anchor(name: str, target: str) -> str:
    """A link within the page."""
    return f"<a{attributes_text({'href': f'#{target}'})}>{element('span', name)}</a>"
