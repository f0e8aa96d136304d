"""Tables of single classes: the IoU of every class, from the scores that runs recorded of them."""

import dataclasses
import re
from collections.abc import Iterator, Sequence

from rml_dashboards.contract.metric_keys import FINAL, IOU, MIOU, NETWORK
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.records.records import Records
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec

MEAN = "mean"
"""Heading of the mean IoU before the classes."""


def class_tables(spec: TableSpec, cells: Sequence[CellSpec], reader: RecordReader) -> list[Table]:
    """One table per column that shows a final mean IoU: its rows against the classes.

    Raises:
        DashboardError: no column shows a final mean IoU, or no run has recorded one of a class.
    """
    columns = [column for column in spec.columns if class_prefix(spec.metric_of(column))]
    if not columns:
        raise DashboardError(
            f"table {spec.name}: no column shows a final mean IoU ({FINAL}/{MIOU} or "
            f"{FINAL}/<network>/{MIOU}), so there is none of single classes"
        )
    records = reader.records({cell.run_id for cell in cells}, {f"{FINAL}/"})
    tables = [
        fill_table(*_specification(spec, column, cells, names), records)
        for column in columns
        if (names := _class_names(spec, column, cells, records))
    ]
    if not tables:
        raise DashboardError(f"table {spec.name}: no run has recorded the IoU of a class yet")
    return tables


def class_prefix(metric: str) -> str:
    """What the keys of single classes begin with beside a final mean IoU; empty for another
    metric."""
    place, _, rest = metric.partition("/")
    network, _, name = rest.rpartition("/")
    if place != FINAL or name != MIOU or (network and not NETWORK.fullmatch(network)):
        return ""
    return f"{metric.removesuffix(MIOU)}{IOU}/"


def _class_names(
    spec: TableSpec, column: ColumnSpec, cells: Sequence[CellSpec], records: Records
) -> list[str]:
    """Classes that the column's runs have scores of, by name."""
    prefix = class_prefix(spec.metric_of(column))
    run_ids = {cell.run_id for cell in cells if cell.column == column.label}
    own = records.scores[records.scores["run_id"].isin(run_ids)]
    return sorted({name for key in own["metric"].unique() for name in _names(key, prefix)})


def _names(key: str, prefix: str) -> Iterator[str]:
    """Class that a recorded key is about, by its own prefix or by that of the first network, whose
    scores carry no network in theirs."""
    for start in (prefix, f"{FINAL}/{IOU}/"):
        if key.startswith(start):
            yield key.removeprefix(start)
            return


def _specification(
    spec: TableSpec, column: ColumnSpec, cells: Sequence[CellSpec], names: Sequence[str]
) -> tuple[TableSpec, list[CellSpec]]:
    metric = spec.metric_of(column)
    prefix = class_prefix(metric)
    mean = MEAN if MEAN not in names else metric
    columns = [ColumnSpec(label=mean, metric=metric, higher_is_better=True)]
    columns += [
        ColumnSpec(label=name, metric=f"{prefix}{name}", higher_is_better=True) for name in names
    ]
    several = len(spec.columns) > 1
    own = dataclasses.replace(
        spec,
        name=f"{spec.name}-classes" + (f"-{_slug(spec, column)}" if several else ""),
        title=f"{spec.title}: IoU of classes" + (f", {column.label}" if several else ""),
        caption="",
        imported=(),
        earlier=(),
        repeats=(),
        columns=tuple(columns),
        rows=tuple(dataclasses.replace(row, reported={}) for row in _rows(spec, column, cells)),
    )
    own_cells = [
        dataclasses.replace(cell, column=one.label)
        for one in columns
        for cell in cells
        if cell.column == column.label
    ]
    return own, own_cells


def _rows(spec: TableSpec, column: ColumnSpec, cells: Sequence[CellSpec]) -> Iterator[RowSpec]:
    there = {cell.row for cell in cells if cell.column == column.label}
    return (row for row in spec.rows if row.label in there)


def _slug(spec: TableSpec, column: ColumnSpec) -> str:
    """A column as part of a plain file name; its number where its label has nothing plain."""
    place = spec.columns.index(column) + 1
    plain = re.sub(r"[^A-Za-z0-9]+", "-", column.label).strip("-")
    return f"{place}-{plain}" if plain else f"{place}"
