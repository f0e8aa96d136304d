"""Whether a table says what was reported, or what it said before, within a stated tolerance."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from rml_dashboards.errors import DashboardError
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.render import CSV_DECIMALS
from rml_dashboards.writing.pipe_table import NOTHING, escape, pipe_table

Verdict = Literal["within", "differs", "stale", "no score", "not comparable"]
FAILED: tuple[Verdict, ...] = ("differs", "stale", "no score")
EXACT = 10.0**-CSV_DECIMALS
"""How far a number may be from the one in a file that was rounded when it was written."""

NO_NUMBER = ["", "nan", "NaN"]
"""Texts that stand for no mean."""


@dataclass(frozen=True, kw_only=True)
class CheckLine:
    """One number that was expected, and what the table has."""

    row: str
    column: str
    expected: float
    tolerance: float
    found: float | None
    verdict: Verdict
    reason: str = ""
    """Why there is nothing to compare, or what a reader must know of the number."""

    @property
    def is_failed(self) -> bool:
        return self.verdict in FAILED


def check_reported(table: Table) -> list[CheckLine]:
    """Our mean against the first reported number of every cell that the study runs.

    Raises:
        DashboardError: the study states no tolerance for a row that has reported numbers, or no
            cell has both.
    """
    spec = table.spec
    tolerances = {row.label: row.tolerance for row in spec.rows}
    lines = []
    for entry in table.cells():
        if not entry.reported or not entry.n_expected:
            continue
        tolerance = tolerances[entry.row]
        tolerance = spec.tolerance if tolerance is None else tolerance
        if tolerance is None:
            raise DashboardError(
                f"table {spec.name}: row {entry.row!r} has reported numbers, and nothing says how "
                "near ours must be. Give `table: {tolerance: …}` in the study, or `tolerance` in "
                "the row, in the units of the table"
            )
        is_other = entry.mean is not None and entry.difference is None
        under_other: Verdict | None = "not comparable" if is_other else None
        lines.append(_line(entry, entry.reported[0].mean, tolerance, under_other))
    if not lines:
        raise DashboardError(
            f"table {spec.name}: nothing to check; no row that is run has a reported number"
        )
    return lines


def check_golden(table: Table, golden: Path) -> list[CheckLine]:
    """Our means against those of a CSV that `rml tables` wrote before.

    The tolerance is the study's; where it states none, the numbers must be the same. A score under
    another protocol than the file names differs, whatever the number.

    Raises:
        DashboardError: the file is not such a CSV, or the table has no such cell.
    """
    expected = _golden_means(golden)
    entries = {(entry.row, entry.column): entry for entry in table.cells()}
    unknown = [f"{row}, {column}" for row, column in expected if (row, column) not in entries]
    if unknown:
        raise DashboardError(
            f"{golden}: table {table.spec.name} has no cell {'; '.join(unknown)}; it is the file "
            "of another table, or rows were renamed"
        )
    stated = {row.label: row.tolerance for row in table.spec.rows}
    lines = []
    for (row, column), (mean, protocol) in expected.items():
        entry = entries[row, column]
        found = " ".join(entry.protocols)
        under_other: Verdict | None = (
            "differs" if protocol and found and protocol != found else None
        )
        own = stated[row]
        tolerance = own if own is not None else table.spec.tolerance
        near = EXACT if tolerance is None else tolerance
        lines.append(_line(entry, mean, near, under_other))
    return lines


def _golden_means(golden: Path) -> dict[tuple[str, str], tuple[float, str]]:
    """Row and column → mean, and the protocol that the file names, empty where it names none."""
    try:
        frame = pd.read_csv(
            io.BytesIO(golden.read_bytes()),
            dtype={"row": str, "column": str, "protocol": str},
            # A row may be called `None` or `NA`; only a number may be absent.
            keep_default_na=False,
            na_values={"mean": NO_NUMBER},
        )
        known = frame.dropna(subset=["mean"])
        protocols = known["protocol"] if "protocol" in known else [""] * len(known)
        lines = list(zip(known["row"], known["column"], known["mean"], protocols, strict=True))
        means = {(row, column): (float(mean), protocol) for row, column, mean, protocol in lines}
    except FileNotFoundError as error:
        raise DashboardError(f"{golden}: no such file") from error
    except (OSError, KeyError, ValueError) as error:
        raise DashboardError(
            f"{golden}: no table that `rml tables` wrote as CSV ({error})"
        ) from error
    if len(means) < len(lines):
        raise DashboardError(f"{golden}: a row and column is there twice, so it is no such table")
    if not means:
        raise DashboardError(f"{golden}: no cell has a mean, so there is nothing to check")
    return means


def _line(
    entry: Entry, expected: float, tolerance: float, under_other: Verdict | None
) -> CheckLine:
    """`under_other`: the verdict where ours is under another protocol; None where it is not."""
    verdict: Verdict = "within"
    reason = ""
    if entry.mean is None or entry.status == "partial":
        verdict = "no score"
        reason = entry.status
        if entry.status == "partial":
            reason = f"{entry.n} of {entry.n_expected} runs have a score"
        if entry.earlier:
            reason += ", others are of an earlier plan" if entry.n else ", was of an earlier plan"
    elif entry.is_stale:
        verdict = "stale"
        reason = "made by another version of the results"
    elif under_other is not None:
        verdict = under_other
        reason = "another protocol"
    elif abs(entry.mean - expected) > tolerance:
        verdict = "differs"
    if not reason and entry.has_several_codes:
        reason = "several versions of the code"
    return CheckLine(
        row=entry.row,
        column=entry.column,
        expected=expected,
        tolerance=tolerance,
        found=entry.mean,
        verdict=verdict,
        reason=reason,
    )


def check_text(lines: Sequence[CheckLine], digits: int) -> str:
    """Every number that was expected, those that are not there first, and one sentence."""
    decimals = max([digits, *(_decimals(line.expected) for line in lines)])
    header = ["", "row", "column", "expected", "ours", "difference", "tolerance"]
    ordered = sorted(lines, key=lambda line: not line.is_failed)
    texts = [[escape(text) for text in _texts(line, decimals)] for line in ordered]
    failed = [line for line in lines if line.is_failed]
    compared = sum(line.verdict in ("within", "differs") for line in lines)
    told = f"{compared} of {len(lines)} numbers compared, {len(failed)} not as expected."
    return f"{pipe_table(header, texts)}\n\n{told}\n"


def is_passed(lines: Iterable[CheckLine]) -> bool:
    """Whether at least one number was compared and none is missing or too far off."""
    verdicts = [line.verdict for line in lines]
    return "within" in verdicts and not set(verdicts) & set(FAILED)


def _texts(line: CheckLine, decimals: int) -> list[str]:
    found = NOTHING if line.found is None else f"{line.found:.{decimals}f}"
    difference = NOTHING
    if line.found is not None and line.verdict != "not comparable":
        difference = f"{line.found - line.expected:+.{decimals}f}"
    verdict = f"{line.verdict}: {line.reason}" if line.reason else line.verdict
    return [
        verdict,
        *(line.row, line.column),
        *(f"{line.expected:.{decimals}f}", found, difference, f"{line.tolerance:g}"),
    ]


def _decimals(number: float) -> int:
    return min(CSV_DECIMALS, len(repr(float(number)).partition(".")[2]))
