"""A study's table as the dashboards see it: plain specifications of table and cells."""

from rml_dashboards.tables.specification import (
    CellSpec,
    ColumnSpec,
    ReportedValue,
    RowSpec,
    TableSpec,
)
from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRow


def table_spec(plan: WrittenPlan) -> TableSpec:
    """Shape of the study's table, with the numbers that others reported."""
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
            )
            for column in plan.columns
        ),
        metric=table.metric,
        scale=table.scale,
        digits=table.digits,
        caption=table.caption,
        row_heading=table.row_heading,
    )


def cell_specs(plan: WrittenPlan) -> tuple[CellSpec, ...]:
    """Every cell with the id of the run that fills it."""
    return tuple(
        CellSpec(row=c.row, column=c.column, seed=c.seed, run_id=run_id) for c, run_id in plan.cells
    )


def _row(row: WrittenRow) -> RowSpec:
    reported = {
        label: tuple(
            ReportedValue(mean=n.mean, std=n.std, source=n.source, note=n.note, protocol=n.protocol)
            for n in numbers
        )
        for label, numbers in row.reported.items()
    }
    return RowSpec(
        label=row.label, reported=reported, reported_only=not row.columns, group=row.group
    )
