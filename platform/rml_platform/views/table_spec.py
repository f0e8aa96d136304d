"""A study as the dashboards see it: plain specifications of table and cells."""

from rml_dashboards.tables.specification import (
    CellSpec,
    ColumnSpec,
    ReportedValue,
    RowSpec,
    TableSpec,
)
from rml_platform.planning.plan import Plan
from rml_platform.study.cells import Row, Study


def table_spec(study: Study) -> TableSpec:
    """Shape of the study's table, with the numbers that others reported."""
    table = study.table
    suffix = f"-{study.profile}" if study.profile else ""
    return TableSpec(
        name=f"{study.name}{suffix}",
        title=table.title or study.title,
        rows=tuple(_row(row) for row in study.rows),
        columns=tuple(
            ColumnSpec(label=column.label, metric=column.metric) for column in study.columns
        ),
        metric=table.metric,
        scale=table.scale,
        digits=table.digits,
        caption=table.caption,
        row_heading=table.row_heading,
    )


def cell_specs(plan: Plan) -> tuple[CellSpec, ...]:
    """Every cell with the id of the run that fills it."""
    return tuple(
        CellSpec(row=c.row, column=c.column, seed=c.seed, run_id=run_id) for c, run_id in plan.cells
    )


def _row(row: Row) -> RowSpec:
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
