"""From a study's plan to its figures: plain specifications with the run of every seed."""

from collections.abc import Iterator, Sequence

from rml_dashboards.contract.planned import PlannedFigure, PlannedRun, StudyPlan
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.specification import CurveRun, FigureSpec, MetricSpec, SharedStages

CURVES = "curves"
"""Kind of a figure that draws curves over training; every other kind draws the table."""


def figure_specs(plan: StudyPlan) -> tuple[FigureSpec, ...]:
    """Every figure of curves that the study declares. Raises DashboardError for a stage that a run
    of the figure does not have."""
    return curve_specs(plan, plan.figures)


def curve_specs(plan: StudyPlan, figures: Sequence[PlannedFigure]) -> tuple[FigureSpec, ...]:
    """Those of the figures that are curves, declared or not. Raises DashboardError as above."""
    shared = _Shared(plan.runs)
    return tuple(_figure_spec(plan, one, shared) for one in figures if one.kind == CURVES)


def figure_spec(plan: StudyPlan, figure: PlannedFigure) -> FigureSpec:
    """One figure of the study's runs, declared there or not. Raises DashboardError as above."""
    return _figure_spec(plan, figure, _Shared(plan.runs))


class _Shared:
    """Which runs of a study begin the same and report the same."""

    def __init__(self, runs: Sequence[PlannedRun]) -> None:
        self._ends: dict[tuple[str | None, str], list[SharedStages]] = {}
        for run in runs:
            for stage in run.stages:
                end = SharedStages(run_id=run.run_id, last_step=stage.last_step)
                self._ends.setdefault((stage.hash, run.reporting), []).append(end)

    def of(self, run: PlannedRun) -> tuple[SharedStages, ...]:
        """The other runs, each with the last step that is the same, the longest first."""
        found: dict[str, SharedStages] = {}
        for stage in reversed(run.stages):
            if stage.hash is not None:
                for end in self._ends[stage.hash, run.reporting]:
                    found.setdefault(end.run_id, end)
        found.pop(run.run_id, None)
        return tuple(found.values())


def _figure_spec(plan: StudyPlan, figure: PlannedFigure, shared: _Shared) -> FigureSpec:
    rows = figure.rows or tuple(row.label for row in plan.rows if row.columns)
    columns = figure.columns or tuple(column.label for column in plan.columns)
    x_label = (
        "training step"
        if figure.from_stage == 0
        else f"training step since stage {figure.from_stage} began"
    )
    return FigureSpec(
        name=f"{figure.name}{plan.file_suffix}",
        title=figure.title or plan.title,
        caption=figure.caption,
        metrics=tuple(
            MetricSpec(key=key, label=label) for label, key in figure.keys_by_label.items()
        ),
        rows=rows,
        columns=columns,
        runs=tuple(_runs(plan, figure, rows, columns, shared)),
        scale=figure.scale,
        smoothing=figure.smoothing,
        x_label=x_label,
        y_label=figure.y_label,
        x_range=figure.x_range,
        y_range=figure.y_range,
        log_y=figure.log_y,
    )


def _runs(
    plan: StudyPlan,
    figure: PlannedFigure,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    shared: _Shared,
) -> Iterator[CurveRun]:
    last = figure.from_stage if figure.to_stage is None else figure.to_stage
    for run in plan.runs:
        for cell in run.cells:
            if cell.row not in rows or cell.column not in columns:
                continue
            if last > len(run.stage_steps):
                raise DashboardError(
                    f"{plan.source}: figure {figure.name}: there is no stage {last} in "
                    f"{cell.name}; its stages are 0 (warm-up) to {len(run.stage_steps)}"
                )
            yield CurveRun(
                row=cell.row,
                column=cell.column,
                seed=cell.seed,
                run_id=run.run_id,
                first_step=_first_step(run, figure.from_stage),
                last_step=None
                if figure.to_stage is None
                else _first_step(run, figure.to_stage + 1),
                shared_stages=shared.of(run),
            )


def _first_step(run: PlannedRun, stage: int) -> int:
    """Steps before a stage. `supervised` has one stage only, and is drawn on the same axis as the
    others."""
    return 0 if stage == 0 else run.warm_up_steps + sum(run.stage_steps[: stage - 1])
