"""Fill a table specification with recorded runs: one entry per cell, each traceable to its runs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rml_dashboards.contract.protocols import protocol_of, recorded_key
from rml_dashboards.contract.states import TABLE_STATE_OF_STATUS, TABLE_STATES, TableState
from rml_dashboards.contract.tags import FIRST_RESULTS
from rml_dashboards.records.records import Records
from rml_dashboards.statistics.rounding import NoiseFloor
from rml_dashboards.statistics.summary import summarise
from rml_dashboards.tables.aggregation import is_plain, moment_of
from rml_dashboards.tables.entries import Entry, Table, Trace
from rml_dashboards.tables.marks import annotate
from rml_dashboards.tables.specification import CellSpec, RowSpec, TableSpec

WITHOUT_SCORE: tuple[TableState, ...] = ("running", "failed", "unscored", "stopped", "missing")
"""What a cell without any score is called: the first of these that one of its runs is."""
SCORED = ("complete", "partial")
NUMBERS = ("mean", "std", "minimum", "maximum", "ci_low", "ci_high")
PLACE = ("row", "column", "seed")
RECORDED = (
    "mlflow_run_id",
    "status",
    "protocol",
    "split_hash",
    "code_version",
    "dirty",
    "device",
    "threads",
    "micro_batches",
    "result_version",
)
"""What a table needs of a run besides its scores."""
TEXTS = [
    "mlflow_run_id",
    "split",
    "protocol",
    "code_version",
    "device",
    "threads",
    "micro_batches",
]
"""Of a run's line, the texts that may be absent."""


def fill_table(
    spec: TableSpec,
    cells: Sequence[CellSpec],
    records: Records,
    aggregated: pd.DataFrame | None = None,
) -> Table:
    """The filled table with its footnotes. Raises DashboardError when a cell has no place in it.

    Args:
        aggregated: see `aggregated_values`; needed where columns show something else than the last
            value.
    """
    spec.check_cells(cells)
    seeds = seed_frame(spec, cells, records, aggregated)
    filled = dict(_filled(seeds))
    earlier = _earlier(spec, seeds, records, aggregated)
    entries = tuple(
        tuple(
            Entry(
                row=row.label,
                column=column.label,
                metric=spec.metric_of(column),
                reported=row.reported.get(column.label, ()),
                earlier=earlier.get((row.label, column.label), ()),
                **(filled.get((row.label, column.label)) or _unfilled(row, column.label)),
            )
            for column in spec.columns
        )
        for row in spec.rows
    )
    floor = _floor(spec, records, aggregated)
    return annotate(
        Table(spec=spec, entries=entries, values=seeds, floor=floor, warnings=records.warnings)
    )


def seed_frame(
    spec: TableSpec,
    cells: Sequence[CellSpec],
    records: Records,
    aggregated: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row per expected run, by row, column and seed: row, column, seed, split, run_id, state,
    value and where it was recorded."""
    wanted = pd.DataFrame(
        [(c.row, c.column, c.seed, c.run_id) for c in cells],
        columns=["row", "column", "seed", "run_id"],
    )
    wanted["metric"] = wanted["column"].map({c.label: spec.metric_of(c) for c in spec.columns})
    recorded = records.runs[["run_id", *RECORDED, "end_time"]].rename(
        columns={"split_hash": "split"}
    )
    frame = wanted.merge(recorded, how="left", on="run_id")
    protocols = frame["protocol"].fillna("")
    keys = _each_once(recorded_key, protocols, frame["metric"])
    frame["protocol"] = _each_once(protocol_of, protocols, frame["metric"])
    frame["metric"] = keys
    frame = frame.merge(
        records.scores[["run_id", "metric", "value"]], how="left", on=["run_id", "metric"]
    )
    if aggregated is not None:
        frame = _with_aggregates(spec, frame, aggregated)
    frame["value"] = frame["value"] * spec.scale
    scored = np.isfinite(frame["value"].to_numpy(dtype=np.float64))
    frame["state"] = (
        frame["status"]
        .map(TABLE_STATE_OF_STATUS)
        .fillna("missing")
        .mask(frame["status"] == "FINISHED", pd.Series(np.where(scored, "done", "unscored")))
    )
    # A run that was taken up again keeps the end of its previous attempt in MLflow.
    ended = frame["end_time"].dt.strftime("%Y-%m-%d").mask(frame["state"] == "running")
    frame["ended"] = ended.fillna("")
    frame["dirty"] = frame["dirty"].eq(True)
    version = pd.to_numeric(frame["result_version"], errors="coerce").fillna(FIRST_RESULTS)
    frame["result_version"] = version.astype(np.int64)
    known = frame["result_version"] if spec.result_version is None else spec.result_version
    frame["stale"] = frame["result_version"] != known
    frame[TEXTS] = frame[TEXTS].fillna("")
    frame["imported"] = ""
    if spec.imported:
        frame = pd.concat([frame, _imported_lines(spec, frame)], ignore_index=True)
    rows = {row.label: place for place, row in enumerate(spec.rows)}
    columns = {column.label: place for place, column in enumerate(spec.columns)}
    frame["row_place"] = frame["row"].map(rows)
    frame["column_place"] = frame["column"].map(columns)
    in_order = frame.sort_values(["row_place", "column_place", "seed"], kind="stable")
    return in_order.drop(columns=["row_place", "column_place"]).reset_index(drop=True)


def _earlier(
    spec: TableSpec, seeds: pd.DataFrame, records: Records, aggregated: pd.DataFrame | None
) -> dict[tuple[str, str], tuple[Trace, ...]]:
    """By row and column: the latest scored run of an earlier plan of each seed without a score."""
    if not spec.earlier:
        return {}
    seen = seed_frame(dataclasses.replace(spec, imported=()), spec.earlier, records, aggregated)
    scored = seen[seen["state"] == "done"].drop_duplicates(list(PLACE), keep="last")
    without = seeds.loc[seeds["state"] != "done", list(PLACE)]
    lines = scored.merge(without, on=list(PLACE)).assign(stale=True)
    found: dict[tuple[str, str], tuple[Trace, ...]] = {}
    for row, column, trace in zip(lines["row"], lines["column"], _traces(lines), strict=True):
        found[row, column] = (*found.get((row, column), ()), trace)
    return found


def _floor(spec: TableSpec, records: Records, aggregated: pd.DataFrame | None) -> NoiseFloor | None:
    """In each column the largest difference that other rounding made; the largest, because there
    are few repeats, and a floor that is too low would call noise a result."""
    if not spec.repeats:
        return None
    plain = dataclasses.replace(spec, imported=(), earlier=())
    seen = seed_frame(plain, plain.beside_cells(), records, aggregated)
    done = seen[seen["state"] == "done"]
    values = dict(zip(zip(done["column"], done["run_id"], strict=True), done["value"], strict=True))
    found: dict[str, float] = {}
    measured: dict[str, None] = {}
    for column in (column.label for column in spec.columns):
        for one in spec.repeats:
            score = values.get((column, one.run_id))
            again = values.get((column, one.repeat_id))
            if score is not None and again is not None:
                found[column] = max(found.get(column, 0.0), float(abs(score - again)))
                measured[f"of {one.row}, {one.column}, seed {one.seed}: {one.how}"] = None
    if not found:
        return None
    repeats = "a run repeated" if len(measured) == 1 else "largest of runs repeated"
    source = f"{repeats} with other rounding, {'; '.join(measured)}"
    return NoiseFloor(value=max(found.values()), source=source, by_column=found)


def _imported_lines(spec: TableSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """Runs of other tools, as lines of the frame."""
    lines = [
        {
            "row": run.row,
            "column": run.column,
            "seed": run.seed,
            "run_id": run.run,
            "value": run.value,
            "protocol": run.protocol,
            "split": run.split,
            "imported": run.file or "another tool",
        }
        for run in spec.imported
    ]
    own = pd.DataFrame(lines).assign(state="done", dirty=False, metric="", stale=False)
    own["result_version"] = FIRST_RESULTS
    own["end_time"] = pd.Series(pd.NaT, index=own.index, dtype=frame["end_time"].dtype)
    texts = [name for name in frame.columns if name not in own]
    return own.assign(**dict.fromkeys(texts, ""))[frame.columns].astype(frame.dtypes.to_dict())


def _with_aggregates(
    spec: TableSpec, frame: pd.DataFrame, aggregated: pd.DataFrame
) -> pd.DataFrame:
    """Values of the columns that are not plain, and the moment of their protocols."""
    moments = {column.label: moment_of(column) for column in spec.columns if not is_plain(column)}
    own = frame["column"].isin(moments)
    joined = frame[["column", "run_id"]].merge(aggregated, how="left", on=["column", "run_id"])
    value = frame["value"].mask(own, joined["value"].astype(np.float64))
    begin = frame["protocol"].str.replace(r"/last$", "", regex=True)
    there = own & frame["protocol"].str.endswith("/last")
    moment = begin + "/" + frame["column"].map(moments).fillna("")
    return frame.assign(value=value, protocol=frame["protocol"].mask(there, moment))


def _each_once(
    function: Callable[[str, str], str], protocols: pd.Series, metrics: pd.Series
) -> pd.Series:
    """The function of both, which have few different values in many lines."""
    code, pairs = pd.factorize(pd.MultiIndex.from_arrays([protocols, metrics]))
    values = np.array([function(*pair) for pair in pairs], dtype=object)
    return pd.Series(values[code], index=metrics.index, dtype="str")


def _filled(seeds: pd.DataFrame) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Row and column of every cell that the study runs, with its status, numbers and traces."""
    if seeds.empty:
        return
    summary = summarise(seeds, ["row", "column"])
    done = seeds[seeds["state"] == "done"]
    num_protocols = done.groupby(["row", "column"], sort=False)["protocol"].nunique()
    summary["num_protocols"] = num_protocols.reindex(summary.index, fill_value=0)
    traces = _traces(seeds)
    numbers = summary[list(NUMBERS)].astype(object).where(summary[list(NUMBERS)].notna(), None)
    last = summary["n_expected"].cumsum().tolist()
    states = summary[list(TABLE_STATES)].to_numpy() > 0
    lines = zip(
        summary.index,
        summary["n"].tolist(),
        summary["n_expected"].tolist(),
        summary["num_protocols"].tolist(),
        states.tolist(),
        numbers.to_dict("records"),
        last,
        strict=True,
    )
    for key, n, n_expected, num_protocols_here, has_state, own, end in lines:
        fields = {"n": n, "n_expected": n_expected, "traces": traces[end - n_expected : end]}
        status = _status(n, n_expected, num_protocols_here, has_state)
        yield key, fields | {"status": status} | (own if status in SCORED else {})


def _status(n: int, n_expected: int, num_protocols: int, has_state: Sequence[bool]) -> str:
    if n == 0:
        there = dict(zip(TABLE_STATES, has_state, strict=True))
        return next(state for state in WITHOUT_SCORE if there[state])
    if num_protocols > 1:
        return "mixed"
    return "complete" if n == n_expected else "partial"


def _traces(seeds: pd.DataFrame) -> tuple[Trace, ...]:
    """One per line."""
    fields = [field.name for field in dataclasses.fields(Trace)]
    values = seeds["value"].astype(object).where(seeds["state"] == "done", None)
    columns = [seeds.assign(value=values)[name].tolist() for name in fields]
    return tuple(
        Trace(**dict(zip(fields, line, strict=True))) for line in zip(*columns, strict=True)
    )


def _unfilled(row: RowSpec, column: str) -> dict[str, Any]:
    return {"status": "reported" if row.reported.get(column) else "empty"}
