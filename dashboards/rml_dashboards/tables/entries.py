"""A filled table as values: entries, the runs behind them, footnotes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.contract.states import TableState
from rml_dashboards.contract.tags import FIRST_RESULTS
from rml_dashboards.statistics.rounding import NoiseFloor
from rml_dashboards.tables.specification import TableSpec


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One run of a cell: where its number comes from."""

    seed: int
    run_id: str
    state: TableState
    value: float | None
    """In the units of the table; None unless done."""
    mlflow_run_id: str = ""
    split: str = ""
    """Hash of the split."""
    protocol: str = ""
    code_version: str = ""
    dirty: bool = False
    micro_batches: str = ""
    """How many times more micro-batches than asked for, where the device ran out of memory."""
    device: str = ""
    threads: str = ""
    """CPU threads of a worker; empty where it is not recorded."""
    ended: str = ""
    """Day on which the run ended, UTC (ISO)."""
    result_version: int = FIRST_RESULTS
    stale: bool = False
    """Whether its score was made by another version of the results than the table's, or by a run
    that only an earlier plan of the study has in this cell."""
    imported: str = ""
    """File of another tool's runs that it comes from; empty for runs of ours."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of the table. All numbers are in the units of the table; None where undefined."""

    row: str
    column: str
    metric: str
    status: str
    """complete · partial (some seeds have no score) · mixed (seeds of several protocols: not
    averaged) · running, failed, unscored, stopped, missing (no seed has a score) · reported (a
    quoted row) · empty (not in the study)."""
    n: int = 0
    n_expected: int = 0
    mean: float | None = None
    std: float | None = None
    """Sample standard deviation (ddof = 1); None for one seed."""
    minimum: float | None = None
    maximum: float | None = None
    ci_low: float | None = None
    """Lower end of the 95 % t interval of the mean."""
    ci_high: float | None = None
    reported: tuple[ReportedNumber, ...] = ()
    traces: tuple[Trace, ...] = ()
    earlier: tuple[Trace, ...] = ()
    """Scored runs that earlier plans of the study had here, one for each seed that has no score
    now; never a part of the mean."""
    best: bool = False
    """Complete, and no other score of the column is better (see marks.py)."""
    second: bool = False
    """The same after the best; only where the specification asks for it."""
    close_to: tuple[str, ...] = ()
    """Rows whose score in this column is no further away than the noise floor."""
    marks: tuple[int, ...] = ()
    """Numbers of the footnotes of our own score."""
    reported_marks: tuple[tuple[int, ...], ...] = ()
    """The same, one group per reported number."""

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocol ids of the scores in this cell, sorted."""
        return tuple(sorted({trace.protocol for trace in self.traces if trace.state == "done"}))

    @property
    def is_stale(self) -> bool:
        """Whether some of its scores are stale, or all that it has are of an earlier plan."""
        return bool(self.earlier) or any(t.stale for t in self.traces if t.state == "done")

    @property
    def has_several_codes(self) -> bool:
        """Whether its scores were made by several versions of the code."""
        return len({t.code_version for t in self.traces if t.state == "done"}) > 1

    @property
    def difference(self) -> float | None:
        """Ours minus the first reported number; None under another protocol."""
        if self.mean is None or not self.reported:
            return None
        comparable = all(self.reported[0].comparable_with(protocol) for protocol in self.protocols)
        return self.mean - self.reported[0].mean if comparable else None

    def count(self, state: TableState) -> int:
        """Number of this cell's runs in the given state."""
        return sum(trace.state == state for trace in self.traces)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A filled table."""

    spec: TableSpec
    entries: tuple[tuple[Entry, ...], ...]
    """By row, then column, as in the specification."""
    values: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)
    """One line per expected run: row, column, seed, split, run_id, state, value (in the units of
    the table) and where it was recorded."""
    floor: NoiseFloor | None = None
    """What rounding alone does, as the study's repeats measure it; None where it has none, or none
    with a score yet."""
    notes: tuple[str, ...] = ()
    """Footnotes; number 1 is the first."""
    warnings: tuple[str, ...] = ()

    def cells(self) -> Iterator[Entry]:
        """All entries, row by row."""
        return (entry for line in self.entries for entry in line)
