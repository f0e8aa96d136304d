"""Recorded runs as one Arrow table: a row per run, its tags and scores as maps.

Ten thousand runs are some hundred thousand tags and scores; everything here goes by columns, and
one loop over Python values remains, where they come in (`to_run_table`).
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rml_dashboards.records.recorded_run import RecordedRun

FIELDS: "list[pa.Field[Any]]" = [
    pa.field("mlflow_run_id", pa.string()),
    pa.field("experiment_id", pa.string()),
    pa.field("experiment", pa.string()),
    pa.field("status", pa.string()),
    pa.field("deleted", pa.bool_()),
    pa.field("start_ms", pa.int64()),
    pa.field("end_ms", pa.int64()),
    pa.field("tags", pa.map_(pa.string(), pa.string())),
    pa.field("scores", pa.map_(pa.string(), pa.float64())),
]
SCHEMA = pa.schema(FIELDS)


def to_run_table(runs: Iterable[RecordedRun]) -> pa.Table:
    """Table of SCHEMA, in the order of the runs; keys of each run are sorted."""
    names = [field.name for field in dataclasses.fields(RecordedRun)]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for run in runs:
        for name in names:
            value = getattr(run, name)
            columns[name].append(sorted(value.items()) if isinstance(value, dict) else value)
    return pa.table({name: columns[name] for name in SCHEMA.names}, schema=SCHEMA)


def join_tables(tables: Iterable[pa.Table]) -> pa.Table:
    """All rows, one below the other, without copying them; an empty table where there are none."""
    return pa.concat_tables([SCHEMA.empty_table(), *tables])


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """All keys and values of a column of maps, in the order of the rows."""

    rows: npt.NDArray[np.int64]
    """Row of the table that each pair belongs to."""
    codes: npt.NDArray[np.int64]
    """Number of each pair's key in `names`."""
    names: list[str]
    """Every key that occurs, once."""
    values: Any
    """Arrow array, one value per pair."""

    def places_of(self, name: str) -> npt.NDArray[np.int64]:
        """Places of the pairs with a key."""
        if name not in self.names:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(self.codes == self.names.index(name))


def pairs_of(table: pa.Table, column: str) -> Pairs:
    """Keys and values of one of the columns of maps."""
    chunks: list[Any] = list(table.column(column).chunks)
    counts = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
    lengths = np.concatenate([np.zeros(0, dtype=np.int64), *counts])
    value_type = SCHEMA.field(column).type.item_type
    keys: Any = pa.chunked_array([_child(chunk, chunk.keys) for chunk in chunks], pa.string())
    values: Any = pa.chunked_array([_child(chunk, chunk.items) for chunk in chunks], value_type)
    # numbers of keys, and not the texts of all of them, become one piece
    encoded: Any = keys.dictionary_encode().unify_dictionaries().combine_chunks()
    return Pairs(
        rows=np.repeat(np.arange(len(lengths)), lengths),
        codes=encoded.indices.to_numpy().astype(np.int64),
        names=encoded.dictionary.to_pylist(),
        values=values.combine_chunks(),
    )


def _child(chunk: Any, child: Any) -> Any:
    """The part of a child array that belongs to a chunk; a slice keeps the whole child."""
    first = chunk.offsets[0].as_py()
    return child.slice(first, chunk.offsets[-1].as_py() - first)
