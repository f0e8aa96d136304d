"""From a plan to what is written of it, `plan.json`."""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rml_dashboards.contract.metric_keys import metric_of_key
from rml_dashboards.contract.planned import PlannedCell, PlannedColumn
from rml_dashboards.contract.tags import differences_tag, place_tags
from rml_platform.environment import code_version
from rml_platform.planning.cost import StageCost
from rml_platform.planning.costs.kinds import kind_of
from rml_platform.planning.plan import Plan, PlannedRun
from rml_platform.planning.plan_file.setting_differences import Settings, setting_differences
from rml_platform.planning.plan_file.written_plan import (
    WrittenEarlier,
    WrittenPlan,
    WrittenPlugin,
    WrittenRepeat,
    WrittenRow,
    WrittenRun,
    read_plan,
    write_plan,
)
from rml_platform.planning.workload import stage_costs
from rml_platform.study.cells import Column, Repeat, Row, Study, base_config
from rml_platform.study.study_file import CostConfig
from rml_trainers import RESULT_VERSION
from rml_trainers.config import EvaluationConfig, RunConfig
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.metrics import METRICS
from rml_trainers.training.identity import plugins_of

MOST_EARLIER = 4
"""Runs of earlier plans that a cell remembers."""
LOWER_IS_BETTER = ("loss", "seconds", "error")
"""Words in the name of a metric that tell that its best value is the lowest."""


def write_down(plan: Plan, overrides: Sequence[str] | None, out: Path, storage: str) -> WrittenPlan:
    """Write a plan below the output folder, and below the storage where that is another place, so
    that a machine which reaches only the storage has it too. Returns what was written."""
    places = tuple(dict.fromkeys((str(out), storage)))
    before = [found for place in places if (found := _before(plan.study, place)) is not None]
    written = to_written(plan, overrides, out, before)
    for place in places:
        write_plan(written, place)
    return written


def _before(study: Study, place: str) -> WrittenPlan | None:
    """The plan that is about to be written over; None also where it cannot be read, because
    planning anew is what mends that."""
    try:
        return read_plan(place, study.name, study.profile)
    except ConfigError:
        return None


def to_written(
    plan: Plan,
    overrides: Sequence[str] | None,
    out: Path,
    before: Sequence[WrittenPlan] = (),
) -> WrittenPlan:
    """What is written of a plan.

    Args:
        overrides: `--set` texts that the study was loaded with.
        out: output folder, which paths are made relative to.
        before: earlier plans of the study.
    """
    study = plan.study
    settings = setting_differences([_of_cell(run) for run in plan.runs], base_config(study))
    return WrittenPlan(
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=code_version().version,
        result_version=RESULT_VERSION,
        source=study.source,
        source_hash=study.source_hash,
        profile=study.profile,
        overrides=tuple(sorted(overrides or ())),
        plugins=_plugins(plan.runs),
        name=study.name,
        title=study.title,
        description=study.description,
        execution=study.execution,
        resources=study.resources,
        rows=tuple(_row(row) for row in study.rows),
        columns=tuple(_column(column) for column in study.columns),
        seeds=study.seeds,
        split_seeds=study.split_seeds,
        table=study.table,
        figures=study.figures,
        questions=study.questions,
        cost=study.cost,
        imported=study.imported,
        settings=settings.shared,
        runs=tuple(
            _run(run, own, study.cost, out)
            for run, own in zip(plan.runs, settings.own, strict=True)
        ),
        warnings=plan.warnings,
        max_gpu_hours=study.max_gpu_hours,
        base=settings.base,
        search=study.search,
        earlier=_earlier(plan, before),
        repeats=tuple(_repeat(run, run.repeats) for run in plan.runs if run.repeats),
    )


def study_labels(plan: Plan) -> dict[str, dict[str, str]]:
    """By run id, the tags that only the study knows: where the run stands in its table, and what it
    has in the settings in which the study's runs differ."""
    name = plan.study.name
    settings = setting_differences([_of_cell(run) for run in plan.runs])
    return {
        run.run_id: place_tags(name, ((cell.row, cell.column) for cell in run.cells))
        | differences_tag(name, own)
        for run, own in zip(plan.runs, settings.own, strict=True)
    }


def _of_cell(run: PlannedRun) -> RunConfig:
    """A repeat counts as what it repeats, so that a study's settings do not differ in how it is
    carried out."""
    return run.repeats.of.config if run.repeats else run.config


def _repeat(run: PlannedRun, repeat: Repeat) -> WrittenRepeat:
    cell = repeat.of
    return WrittenRepeat(
        row=cell.row,
        column=cell.column,
        seed=cell.seed,
        run_id=run.repeat_of,
        repeat_id=run.run_id,
        how=repeat.how,
    )


def _earlier(plan: Plan, before: Sequence[WrittenPlan]) -> tuple[WrittenEarlier, ...]:
    """The runs of earlier plans in cells that have another run now."""
    now = {(cell.row, cell.column, cell.seed): run_id for cell, run_id in plan.cells}
    known: dict[tuple[str, str, int], dict[str, None]] = {}
    for one in sorted(before, key=lambda one: one.written_at):
        runs = [(run.row, run.column, run.seed, run.run_id) for run in one.earlier]
        runs += [(cell.row, cell.column, cell.seed, run.run_id) for cell, run in one.cells]
        for row, column, seed, run_id in runs:
            of_cell = known.setdefault((row, column, seed), {})
            of_cell.pop(run_id, None)
            of_cell[run_id] = None
    return tuple(
        WrittenEarlier(row=row, column=column, seed=seed, run_id=run_id)
        for (row, column, seed), runs in known.items()
        if (row, column, seed) in now
        for run_id in [i for i in runs if i != now[row, column, seed]][-MOST_EARLIER:]
    )


def _row(row: Row) -> WrittenRow:
    reported = dict(row.reported)
    return WrittenRow(
        label=row.label,
        group=row.group,
        columns=row.columns,
        reported=reported,
        priority=row.priority,
        max_gpu_hours=row.max_gpu_hours,
        tolerance=row.tolerance,
    )


def _column(column: Column) -> PlannedColumn:
    said = column.higher_is_better
    known = is_higher_better(column.metric) if said is None else said
    return PlannedColumn(
        label=column.label,
        metric=column.metric,
        higher_is_better=known,
        aggregate=column.aggregate,
        last_k=column.last_k,
    )


def is_higher_better(key: str) -> bool:
    """Whether the best value of a metric is its highest, as far as is known: what METRICS says of a
    score; of anything else, that it is unless its name, without that of a class, says `loss`,
    `seconds` or `error`."""
    name = metric_of_key(key).partition("/")[0]
    metric = METRICS.get(name)
    if metric is not None:
        return metric.higher_is_better
    return not set(LOWER_IS_BETTER) & set(name.split("_"))


def _run(run: PlannedRun, own: Settings, cost: CostConfig | None, out: Path) -> WrittenRun:
    config = run.config
    return WrittenRun(
        run_id=run.run_id,
        cells=tuple(
            PlannedCell(row=cell.row, column=cell.column, seed=cell.seed) for cell in run.cells
        ),
        method=config.method.name,
        data=config.data.name,
        num_labelled=len(run.split.labelled),
        num_unlabelled=len(run.split.unlabelled),
        split_hash=run.split_hash,
        data_hash=run.data_hash,
        prepared_folder=Path(os.path.relpath(run.prepared_folder, out)).as_posix(),
        warm_up_steps=config.schedule.warm_up_steps,
        stage_steps=config.schedule.stage_steps,
        stages=_stages(run, cost),
        reporting=_reporting(config.evaluation, config.runtime.log_every_steps),
        settings=own,
        kind=kind_of(config),
    )


def _stages(run: PlannedRun, cost: CostConfig | None) -> tuple[StageCost, ...]:
    """Stages of a run; a repeat shares none, because it is to differ from its first step on."""
    own = stage_costs(run.config, cost, split_hash=run.split_hash, data_hash=run.data_hash)
    if not run.repeat_of:
        return own
    return tuple(dataclasses.replace(stage, hash=None) for stage in own)


@functools.cache
def _reporting(evaluation: EvaluationConfig, log_every_steps: int) -> str:
    text = json.dumps([dataclasses.asdict(evaluation), log_every_steps], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plugins(runs: Iterable[PlannedRun]) -> tuple[WrittenPlugin, ...]:
    found = {
        WrittenPlugin(name=plugin.name, hash=plugin.hash)
        for run in runs
        for plugin in plugins_of(run.config)
    }
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.hash)))
