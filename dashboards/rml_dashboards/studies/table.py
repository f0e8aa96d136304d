"""From a study's plan to its table: plain specifications of table and cells."""

import dataclasses

from rml_dashboards.contract.planned import (
    PlannedRow,
    StudyPlan,
)
from rml_dashboards.contract.tags import CURRENT_RESULTS
from rml_dashboards.studies.plan import check_no_search
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec


def table_spec(plan: StudyPlan) -> TableSpec:
    """Shape of the study's table, with the numbers that others reported. Raises DashboardError for
    a search."""
    check_no_search(plan)
    table = plan.table
    return TableSpec(
        name=f"{plan.name}{plan.file_suffix}",
        title=table.title or plan.title,
        rows=tuple(_row(row) for row in plan.rows),
        columns=tuple(
            ColumnSpec(
                label=column.label,
                metric=column.metric,
                higher_is_better=column.higher_is_better,
                aggregate=column.aggregate,
                last_k=column.last_k,
            )
            for column in plan.columns
        ),
        metric=table.metric,
        scale=table.scale,
        digits=table.digits,
        caption=table.caption,
        row_heading=table.row_heading,
        tolerance=table.tolerance,
        imported=plan.imported,
        earlier=tuple(CellSpec(**dataclasses.asdict(run)) for run in plan.earlier),
        result_version=CURRENT_RESULTS,
        repeats=plan.repeats,
        questions=plan.questions,
    )


def cell_specs(plan: StudyPlan) -> tuple[CellSpec, ...]:
    """Every cell with the id of the run that fills it."""
    return tuple(
        CellSpec(row=cell.row, column=cell.column, seed=cell.seed, run_id=run.run_id)
        for cell, run in plan.cells
    )


def _row(row: PlannedRow) -> RowSpec:
    return RowSpec(
        label=row.label,
        reported=row.reported,
        reported_only=not row.columns,
        group=row.group,
        tolerance=row.tolerance,
    )
