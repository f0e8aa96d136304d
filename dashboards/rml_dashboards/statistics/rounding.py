"""What rounding alone does to a run: the floor below which a difference says nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.paired import PAIR
from rml_dashboards.statistics.ties import ROUNDING


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """How far two runs of one configuration can end apart when only rounding differs."""

    value: float
    """In the units of the table."""
    source: str
    """Where it comes from, for a footnote."""
    by_column: Mapping[str, float] = field(default_factory=dict)
    """Of columns that have one of their own, by label."""

    def of(self, column: str) -> float:
        """The floor in a column."""
        return self.by_column.get(column, self.value)

    def hides(self, difference: float, column: str = "") -> bool:
        """Whether a difference in a column is no larger than what rounding alone does."""
        return abs(difference) <= self.of(column) + ROUNDING

    def shown(self, digits: int) -> str:
        """The floor with two decimals more than scores have, by column where they differ."""
        texts = {name: f"{value:.{digits + 2}f}" for name, value in self.by_column.items()}
        if len(set(texts.values())) < 2:
            return f"{self.value:.{digits + 2}f}"
        return ", ".join(f"{text} ({name})" for name, text in texts.items())


def measured_floor(values: pd.DataFrame, row: str, repeat: str) -> NoiseFloor:
    """Largest difference between two rows that differ in rounding only (another number of threads,
    another kernel), over the runs that both have of the same column, split and seed.

    The largest, not the mean: there are few pairs, and a floor that is too low would call noise a
    result.

    Raises:
        DashboardError: the rows share no scored run.
    """
    mine = values[values["row"] == row].set_index(list(PAIR))["value"]
    theirs = values[values["row"] == repeat].set_index(list(PAIR))["value"]
    gaps = (mine - theirs).dropna().to_numpy(dtype=np.float64)
    if len(gaps) == 0:
        raise DashboardError(
            f"noise_floor: rows {row!r} and {repeat!r} share no scored run of one column, split "
            "and seed; give both the same columns and seeds"
        )
    pairs = "pair" if len(gaps) == 1 else "pairs"
    return NoiseFloor(
        value=float(np.abs(gaps).max()),
        source=f"largest difference of {len(gaps)} {pairs} of runs of {row} and {repeat}",
    )
