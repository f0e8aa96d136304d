"""A study as the dashboards see it: plain specifications of table and cells."""

from rml_dashboards.contract.metric_keys import metric_of_key
from rml_dashboards.tables.specification import (
    CellSpec,
    ColumnSpec,
    ReportedValue,
    RowSpec,
    TableSpec,
)
from rml_platform.planning.plan import Plan
from rml_platform.study.cells import Row, Study
from rml_trainers.scoring.metrics import METRICS


def table_spec(study: Study) -> TableSpec:
    """Shape of the study's table, with the numbers that others reported."""
    table = study.table
    suffix = f"-{study.profile}" if study.profile else ""
    return TableSpec(
        name=f"{study.name}{suffix}",
        title=table.title or study.title,
        rows=tuple(_row(row) for row in study.rows),
        columns=tuple(
            ColumnSpec(
                label=column.label,
                metric=column.metric,
                higher_is_better=is_higher_better(column.metric)
                if column.higher_is_better is None
                else column.higher_is_better,
            )
            for column in study.columns
        ),
        metric=table.metric,
        scale=table.scale,
        digits=table.digits,
        caption=table.caption,
        row_heading=table.row_heading,
    )


LOWER_IS_BETTER = ("loss", "seconds", "error")
"""Words in the name of a metric that tell that its best value is the lowest."""


def is_higher_better(key: str) -> bool:
    """Whether the best value of a metric is its highest, as far as is known: what METRICS says of a
    score; of anything else, that it is unless its name says `loss`, `seconds` or `error`."""
    name = metric_of_key(key)
    metric = METRICS.get(name.partition("/")[0])
    if metric is not None:
        return metric.higher_is_better
    return not set(LOWER_IS_BETTER) & set(name.split("_"))


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
