"""A study's figures as the dashboards see them: plain specifications with the run of every seed."""

import itertools
from collections.abc import Iterator, Sequence

from rml_dashboards.figures.specification import CurveRun, FigureSpec, MetricSpec, SharedStages
from rml_platform.planning.plan import Plan, PlannedRun
from rml_platform.study.cells import Study
from rml_platform.study.figure_config import FigureConfig
from rml_trainers.config import EvaluationConfig, RunConfig, ScheduleConfig
from rml_trainers.errors import ConfigError
from rml_trainers.training.shared_stages import stage_ends


def figure_specs(plan: Plan) -> tuple[FigureSpec, ...]:
    """Every figure of the study. Raises ConfigError for a stage that a run of the figure does not
    have."""
    return tuple(_figure_spec(plan, figure) for figure in plan.study.figures)


def suffix(study: Study) -> str:
    """What the names of files end with: another size of a study has files of its own."""
    return f"-{study.profile}" if study.profile else ""


def _figure_spec(plan: Plan, figure: FigureConfig) -> FigureSpec:
    study = plan.study
    rows = figure.rows or tuple(row.label for row in study.rows if row.columns)
    columns = figure.columns or tuple(column.label for column in study.columns)
    x_label = (
        "training step"
        if figure.from_stage == 0
        else f"training step since stage {figure.from_stage} began"
    )
    return FigureSpec(
        name=f"{figure.name}{suffix(study)}",
        title=figure.title or study.title,
        caption=figure.caption,
        metrics=tuple(
            MetricSpec(key=key, label=label) for label, key in figure.keys_by_label.items()
        ),
        rows=rows,
        columns=columns,
        runs=tuple(_runs(plan, figure, rows, columns)),
        scale=figure.scale,
        smoothing=figure.smoothing,
        x_label=x_label,
        y_label=figure.y_label,
        x_range=figure.x_range,
        y_range=figure.y_range,
        log_y=figure.log_y,
    )


def _runs(
    plan: Plan, figure: FigureConfig, rows: tuple[str, ...], columns: tuple[str, ...]
) -> Iterator[CurveRun]:
    shared = _shared_beginnings(plan.runs)
    for cell, run_id in plan.cells:
        if cell.row in rows and cell.column in columns:
            schedule = cell.config.schedule
            last = figure.from_stage if figure.to_stage is None else figure.to_stage
            if last > len(schedule.stage_steps):
                raise ConfigError(
                    f"{plan.study.source}: figure {figure.name}: there is no stage {last} in "
                    f"{cell.name}; its stages "
                    f"are 0 (warm-up) to {len(schedule.stage_steps)}"
                )
            yield CurveRun(
                row=cell.row,
                column=cell.column,
                seed=cell.seed,
                run_id=run_id,
                first_step=_first_step(schedule, figure.from_stage),
                last_step=None
                if figure.to_stage is None
                else _first_step(schedule, figure.to_stage + 1),
                shared_stages=shared[run_id],
            )


def _shared_beginnings(runs: Sequence[PlannedRun]) -> dict[str, tuple[SharedStages, ...]]:
    """By run id: other runs of the study that begin the same and report the same, the longest
    first."""
    by_hash: dict[str, list[tuple[PlannedRun, int]]] = {}
    for run in runs:
        for end in stage_ends(run.config, split_hash=run.split_hash, data_hash=run.data_hash):
            by_hash.setdefault(end.hash, []).append((run, end.step))
    found: dict[str, dict[str, int]] = {run.run_id: {} for run in runs}
    for sharing in by_hash.values():
        for (run, step), (other, _) in itertools.permutations(sharing, 2):
            if _reports(run.config) == _reports(other.config):
                found[run.run_id][other.run_id] = max(step, found[run.run_id].get(other.run_id, 0))
    return {
        run_id: tuple(
            SharedStages(run_id=other, last_step=step)
            for other, step in sorted(others.items(), key=lambda item: -item[1])
        )
        for run_id, others in found.items()
    }


def _reports(config: RunConfig) -> tuple[EvaluationConfig, int]:
    """What a run measures, and when."""
    return config.evaluation, config.runtime.log_every_steps


def _first_step(schedule: ScheduleConfig, stage: int) -> int:
    """Steps before a stage. `supervised` has one stage only, and is drawn on the same axis as the
    others."""
    return 0 if stage == 0 else schedule.warm_up_steps + sum(schedule.stage_steps[: stage - 1])
