"""Views of a study that MLflow offers in its list *Views*: its rows, and its runs, with charts.

MLflow keeps a view as a tag of the experiment (3.17: what *Save as new view* writes): a name, two
times, and the state of its page as JSON. It has no call for it: the format is that of its page.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from rml_dashboards.contract.metric_keys import FINAL_MIOU, to_mlflow_key
from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.tags import PREFIX
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.shown.pages import RunPage, runs_page

TAG = "mlflow.sharedViewState."
NOTE = "mlflow.note.content"
SIGNED = "\n\n*Written by rml.*"
"""Ends a note that may be written anew; a person's own stays."""
MOST_PARAMETERS = 12
MOST_METRICS = 8
CURVES = ("val/miou", "train/loss", "train/pseudo_label_1_miou")
"""Metrics whose curves come first."""
Json = dict[str, Any]


def publish_views(store: MlflowStore, plan: StudyPlan, summary_run: str) -> None:
    """Bring the views of a study's experiment up to date, and its note, which leads to them.

    Idempotent; what is there already is not written again.

    Args:
        summary_run: MLflow run id of the study's summary run.
    Raises:
        TrackingError: the store cannot be used.
    """
    known = store.experiment_tags(plan.name)
    now = int(1000 * time.time())
    tags = {}
    for view_id, (name, state) in study_views(plan).items():
        before = _envelope(known.get(TAG + view_id, ""))
        text = json.dumps(state)
        if (before.get("name"), before.get("state")) != (name, text):
            began = before.get("createdAt", now)
            tags[TAG + view_id] = json.dumps(
                {"name": name, "createdAt": began, "updatedAt": now, "state": text}
            )
    note = _note(store.experiment(plan.name), plan, summary_run)
    if known.get(NOTE, SIGNED).endswith(SIGNED) and known.get(NOTE) != note:
        tags[NOTE] = note
    store.tag_experiment(plan.name, tags)


def study_views(plan: StudyPlan) -> dict[str, tuple[str, Json]]:
    """Id → name and state of each view."""
    name = f"{plan.name}{plan.file_suffix}"
    tags = {what: f"{PREFIX}{what}.{plan.name}" for what in ("row", "column", "differs")}
    scores = [column.metric for column in plan.columns] or [FINAL_MIOU]
    metrics = [to_mlflow_key(key) for key in dict.fromkeys(scores)][:MOST_METRICS]
    several = ("row", "column") if _differ_in_columns(plan) else ("row",)
    parameters = differing_parameters(plan)
    columns = [f"tags.`{tags['row']}`", f"tags.`{tags['column']}`"]
    parts = [f"params.`{key}`" for key in parameters]
    values = [f"metrics.`{key}`" for key in metrics]
    groups = [{"mode": "tag", "groupByData": tags[what]} for what in several]
    begin = {
        "searchFilter": f"tags.`{tags['row']}` LIKE '%'",
        "orderByKey": values[0],
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsHiddenMode": "FIRST_20_RUNS",
        "isAccordionReordered": True,  # or sections are sorted by name
    }
    rows = begin | {
        "selectedColumns": [*parts, *values],
        "groupBy": {"aggregateFunction": "average", "groupByKeys": groups},
        "compareRunSections": _sections("rows", ["Scores", "Curves"]),
        "compareRunCharts": [*_bars("rows", metrics), *_lines("rows")],
    }
    runs = begin | {
        "selectedColumns": [*columns, *parts, *values, "attributes.`Dataset`"],
        "groupBy": None,
        "compareRunSections": _sections("runs", ["Settings that differ", "Scores", "Curves"]),
        "compareRunCharts": [
            *_settings("runs", every_run_has(plan, parameters), metrics),
            *_bars("runs", metrics),
            *_lines("runs"),
        ],
    }
    return {
        f"rml-rows-{name}": (f"{name}: rows", rows),
        f"rml-runs-{name}": (f"{name}: runs", runs),
    }


def _differ_in_columns(plan: StudyPlan) -> bool:
    """Whether some row has runs in one column that it does not have in another; columns may also
    be several metrics of the same runs."""
    found: dict[str, set[frozenset[str]]] = {}
    for run in plan.runs:
        for cell in run.cells:
            columns = frozenset(one.column for one in run.cells if one.row == cell.row)
            found.setdefault(cell.row, set()).add(columns)
    return any(len(own) > 1 for own in found.values())


def differing_parameters(plan: StudyPlan) -> list[str]:
    """Settings in which the study's runs differ, as MLflow spells them, seeds last."""
    found = dict.fromkeys(key for run in plan.runs for key in run.settings)
    ordered = sorted(found, key=lambda key: key.rpartition(".")[2] == "seed")
    return [to_mlflow_key(key) for key in ordered][:MOST_PARAMETERS]


def every_run_has(plan: StudyPlan, parameters: Sequence[str]) -> list[str]:
    """Of these parameters those that no run lacks: a chart of parameters leaves out all others."""
    common = [{to_mlflow_key(key) for key in run.settings} for run in plan.runs]
    return [key for key in parameters if all(key in own for own in common)]


def _sections(view: str, names: Sequence[str]) -> list[Json]:
    return [
        {
            "uuid": f"rml-{view}-{name}",
            "name": name,
            "display": True,
            "isReordered": True,
            "deleted": False,
            "isGenerated": False,
        }
        for name in names
    ]


def _card(view: str, section: str, kind: str, what: str, **more: Any) -> Json:
    return {
        "uuid": f"rml-{view}-{section}-{kind}-{what}",
        "type": kind,
        "runsCountToCompare": 20,
        "metricSectionId": f"rml-{view}-{section}",
        "deleted": False,
        "isGenerated": False,
        **more,
    }


def _bars(view: str, metrics: Sequence[str]) -> list[Json]:
    return [_card(view, "Scores", "BAR", key, metricKey=key) for key in metrics]


def _lines(view: str) -> list[Json]:
    return [
        _card(
            view,
            "Curves",
            "LINE",
            key,
            metricKey=key,
            selectedMetricKeys=[key],
            lineSmoothness=0,
            xAxisScaleType="linear",
            scaleType="linear",
            range={},
            xAxisKey="step",
            selectedXAxisMetricKey="",
            yAxisKey="metric",
            yAxisExpressions=[],
            ignoreOutliers=False,
            useGlobalXaxisKey=True,
            useGlobalLineSmoothing=True,
        )
        for key in map(to_mlflow_key, CURVES)
    ]


def _settings(view: str, parameters: Sequence[str], metrics: Sequence[str]) -> list[Json]:
    """What differs, as a table and, where there is a setting that every run has, as lines."""
    table = _card(
        view,
        "Settings that differ",
        "DIFFERENCE",
        "table",
        compareGroups=["Parameters"],
        chartName="Settings that differ",
        showChangeFromBaseline=False,
        showDifferencesOnly=True,
        baselineColumnUuid="",
    )
    lines = _card(
        view,
        "Settings that differ",
        "PARALLEL",
        "lines",
        selectedParams=list(parameters),
        selectedMetrics=list(metrics[:1]),
        showAllRuns=False,
    )
    return [table, lines] if parameters else [table]


def _envelope(text: str) -> Json:
    """What a tag of a view says; nothing where it is none, or a damaged one."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _note(experiment: str, plan: StudyPlan, summary_run: str) -> str:
    """Markdown of the experiment: what it is, and the way to all of it."""
    summary = RunPage(experiment=experiment, run=summary_run)
    links = [
        f"[{name.rpartition(': ')[2]}]({runs_page(experiment, view_id)})"
        for view_id, (name, _) in study_views(plan).items()
    ]
    links.append(f"[table, report and figures]({summary.of()})")
    title = plan.title if plan.title != plan.name else ""
    parts = [f"**{plan.name}**" + (f": {title}" if title else ""), plan.description.strip()]
    return "\n\n".join(part for part in (*parts, " · ".join(links)) if part) + SIGNED
