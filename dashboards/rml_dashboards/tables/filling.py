"""Fill a table specification with recorded runs: one entry per cell, each traceable to its runs."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rml_dashboards.contract.protocols import protocol_of, recorded_key
from rml_dashboards.contract.states import TABLE_STATE_OF_STATUS, TableState
from rml_dashboards.records.records import Records
from rml_dashboards.statistics import summarise
from rml_dashboards.tables.entries import Entry, Table, Trace
from rml_dashboards.tables.marks import annotate
from rml_dashboards.tables.specification import CellSpec, RowSpec, TableSpec

WITHOUT_SCORE: tuple[TableState, ...] = ("running", "failed", "unscored", "stopped", "missing")
"""What a cell without any score is called: the first of these that one of its runs is."""


def fill_table(spec: TableSpec, cells: Sequence[CellSpec], records: Records) -> Table:
    """The filled table with its footnotes. Raises DashboardError when a cell has no place in it."""
    spec.check_cells(cells)
    seeds = seed_frame(spec, cells, records)
    summary = summarise(seeds, ["row", "column"]).to_dict("index")
    runs = dict(tuple(seeds.groupby(["row", "column"], sort=False)))
    entries = []
    for row in spec.rows:
        line = []
        for column in spec.columns:
            key = (row.label, column.label)
            own = (
                _own_fields(summary[key], runs[key])
                if key in runs
                else _unfilled(row, column.label)
            )
            line.append(
                Entry(
                    row=row.label,
                    column=column.label,
                    metric=spec.metric_of(column),
                    reported=row.reported.get(column.label, ()),
                    **own,
                )
            )
        entries.append(tuple(line))
    return annotate(Table(spec=spec, entries=tuple(entries), warnings=records.warnings))


def seed_frame(spec: TableSpec, cells: Sequence[CellSpec], records: Records) -> pd.DataFrame:
    """One row per expected run, sorted by seed: row, column, seed, run_id, state, value and where
    it was recorded."""
    wanted = pd.DataFrame(
        [(c.row, c.column, c.seed, c.run_id) for c in cells],
        columns=["row", "column", "seed", "run_id"],
    ).sort_values("seed", kind="stable", ignore_index=True)
    wanted["metric"] = wanted["column"].map({c.label: spec.metric_of(c) for c in spec.columns})
    recorded = records.runs[
        [
            "run_id",
            "mlflow_run_id",
            "status",
            "protocol",
            "code_version",
            "dirty",
            "device",
            "micro_batches",
            "end_time",
        ]
    ]
    frame = wanted.merge(recorded, how="left", on="run_id")
    tagged = list(zip(frame["protocol"].fillna(""), frame["metric"], strict=True))
    frame["metric"] = pd.Series(
        [recorded_key(*both) for both in tagged], index=frame.index, dtype="object"
    )
    frame["protocol"] = pd.Series(
        [protocol_of(*both) for both in tagged], index=frame.index, dtype="object"
    )
    frame = frame.merge(
        records.scores[["run_id", "metric", "value"]], how="left", on=["run_id", "metric"]
    )
    frame["value"] = frame["value"] * spec.scale
    scored = frame["value"].notna() & ~frame["value"].isin([float("inf"), float("-inf")])
    finished = scored.map({True: "done", False: "unscored"})
    frame["state"] = (
        frame["status"]
        .map(TABLE_STATE_OF_STATUS)
        .fillna("missing")
        .mask(frame["status"] == "FINISHED", finished)
    )
    frame["ended"] = frame["end_time"].dt.strftime("%Y-%m-%d")
    return frame


def _own_fields(summary: dict[Any, Any], seeds: pd.DataFrame) -> dict[str, Any]:
    """Status, numbers and traces of a cell that the study runs."""
    n = int(summary["n"])
    n_expected = int(summary["n_expected"])
    traces = tuple(_trace(record) for record in seeds.to_dict("records"))
    fields: dict[str, Any] = {"n": n, "n_expected": n_expected, "traces": traces}
    if n == 0:
        return fields | {"status": next(state for state in WITHOUT_SCORE if summary[state] > 0)}
    if len({trace.protocol for trace in traces if trace.state == "done"}) > 1:
        return fields | {"status": "mixed"}
    numbers = {
        key: None if pd.isna(summary[key]) else float(summary[key])
        for key in ("mean", "std", "minimum", "maximum", "ci_low", "ci_high")
    }
    return fields | numbers | {"status": "complete" if n == n_expected else "partial"}


def _trace(record: dict[Any, Any]) -> Trace:
    state = record["state"]
    texts = {
        key: "" if pd.isna(record[key]) else str(record[key])
        for key in ("mlflow_run_id", "protocol", "code_version", "device", "ended", "micro_batches")
    }
    if (
        state == "running"
    ):  # a run that was taken up again keeps the end of its previous attempt in MLflow
        texts["ended"] = ""
    return Trace(
        seed=int(record["seed"]),
        run_id=record["run_id"],
        state=state,
        value=float(record["value"]) if state == "done" else None,
        dirty=record["dirty"] is True,
        **texts,
    )


def _unfilled(row: RowSpec, column: str) -> dict[str, Any]:
    return {"status": "reported" if row.reported.get(column) else "empty"}
