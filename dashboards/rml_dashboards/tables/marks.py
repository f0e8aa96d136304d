"""Footnotes and bold type: what a reader must know before comparing two numbers of a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.contract.states import TABLE_STATES, TableState
from rml_dashboards.statistics.rounding import NoiseFloor
from rml_dashboards.statistics.significance import is_told_apart
from rml_dashboards.statistics.ties import in_steps
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.specification import Emphasis

MOST_NAMED = 3
"""Rows that one footnote names."""
OPEN: tuple[TableState, ...] = ("running", "stopped", "missing")
"""Statuses of a cell that will have a score once the study goes on."""


def state_word(state: TableState) -> str:
    """What a footnote calls a run in this state."""
    return "finished without a score" if state == "unscored" else state


@dataclass
class Footnotes:
    """Numbers each different text once, in order of first use."""

    texts: list[str] = field(default_factory=list)

    def numbers(self, texts: Iterable[str]) -> tuple[int, ...]:
        found = []
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
            found.append(self.texts.index(text) + 1)
        return tuple(found)


def annotate(table: Table) -> Table:
    """The table with its footnotes, and the best entry of each column marked."""
    notes = Footnotes()
    columns = list(zip(*table.entries, strict=True))
    protocols = [
        sorted({protocol for entry in column for protocol in entry.protocols}) for column in columns
    ]
    # Where none of ours stands yet, reported numbers meet each other.
    stated = [
        sorted({v.protocol for entry in column for v in entry.reported if v.protocol})
        for column in columns
    ]
    leading = [
        _leading(
            entries,
            _is_mixed(entries, found),
            table.spec.is_higher_better(column),
            table.spec.emphasis,
        )
        for column, entries, found in zip(table.spec.columns, columns, protocols, strict=True)
    ]
    name_source = len({value.source for entry in table.cells() for value in entry.reported}) > 1
    lines = []
    for line in table.entries:
        marked = []
        for index, entry in enumerate(line):
            close = close_rows(entry, columns[index], table.floor)
            texts = own_notes(entry, column_is_mixed=len(protocols[index]) > 1)
            texts += close_notes(close, entry, table)
            own = notes.numbers([*stale_notes(entry, table.spec.result_version), *texts])
            among, whose = (
                (protocols[index], "our scores") if protocols[index] else (stated[index], "others")
            )
            quoted = tuple(
                notes.numbers(reported_notes(value, among, whose, name_source))
                for value in entry.reported
            )
            marked.append(
                replace(
                    entry,
                    best=entry.row in leading[index][0],
                    second=entry.row in leading[index][1],
                    close_to=close,
                    marks=own,
                    reported_marks=quoted,
                )
            )
        lines.append(tuple(marked))
    return replace(table, entries=tuple(lines), notes=tuple(notes.texts))


def own_notes(entry: Entry, *, column_is_mixed: bool) -> list[str]:
    """What must be known about our own score: seeds that lack, protocol, uncommitted code, smaller
    micro-batches."""
    notes = []
    lacking = [
        f"{entry.count(state)} {state_word(state)}"
        for state in TABLE_STATES
        if state != "done" and entry.count(state)
    ]
    if lacking and (entry.n or len(lacking) > 1):
        notes.append(f"{entry.n} of {entry.n_expected} runs have a score: {', '.join(lacking)}.")
    files = sorted({trace.imported for trace in entry.traces if trace.imported})
    if files:
        notes.append(
            f"Imported from {', '.join(files)}, not run here; protocol as stated there: "
            f"{_list(entry.protocols)}."
        )
    if entry.status == "mixed":
        notes.append(
            "Seeds were scored under different protocols and are not averaged: "
            f"{_list(entry.protocols)}."
        )
    elif column_is_mixed and entry.protocols:
        notes.append(
            f"Protocol {_list(entry.protocols)}. This column holds scores of several protocols: "
            "compare only those with the same mark."
        )
    done = [trace for trace in entry.traces if trace.state == "done" and not trace.imported]
    versions = sorted({trace.code_version or "unknown" for trace in done if trace.dirty})
    several = "by several versions of the code" if entry.has_several_codes else ""
    if versions:
        also = f", and {several}" if several else ""
        on = ", ".join(versions)
        notes.append(f"Made by code with uncommitted changes (on top of {on}){also}.")
    elif several:
        notes.append(f"Made {several}.")
    cut = [t for t in entry.traces if t.state == "done" and t.micro_batches]
    if cut:
        factors = ", ".join(
            sorted({t.micro_batches for t in cut}, key=lambda factor: (len(factor), factor))
        )
        notes.append(
            f"{len(cut)} of {entry.n} runs cut their steps into {factors} times as many "
            "micro-batches, because the device's memory was too small: BatchNorm saw smaller "
            "batches."
        )
    return notes


def stale_notes(entry: Entry, result_version: int | None) -> list[str]:
    """Why our own score is stale; nothing where it is not.

    Args:
        result_version: version of the results that is not stale.
    """
    notes = []
    made = {t.result_version for t in entry.traces if t.state == "done" and t.stale}
    if made:
        notes.append(
            f"Stale: made by version {_numbers(made)} of the results; version {result_version} is "
            "that of this program. Launch the study again."
        )
    if entry.earlier and entry.n:
        seeds = _numbers({trace.seed for trace in entry.earlier})
        notes.append(
            f"Stale: of seed {seeds} only runs of an earlier plan of the study have a score, made "
            "with other settings, data or results; they are not part of the mean."
        )
    elif entry.earlier:
        notes.append(
            "Stale: the scores behind `was` are of runs of an earlier plan of the study, made with "
            "other settings, data or results. The runs that it has now have none yet."
        )
    return notes


def close_rows(entry: Entry, column: Sequence[Entry], floor: NoiseFloor | None) -> tuple[str, ...]:
    """Rows of a column whose scores, under the same protocol, are no further away than what
    rounding alone does."""
    if floor is None or entry.mean is None:
        return ()
    return tuple(
        other.row
        for other in column
        if other.row != entry.row
        and other.mean is not None
        and other.protocols == entry.protocols
        and floor.hides(entry.mean - other.mean, entry.column)
    )


def close_notes(close: Sequence[str], entry: Entry, table: Table) -> list[str]:
    """That an entry's difference from other rows is within the noise floor."""
    if not close or table.floor is None:
        return []
    more = f" and {len(close) - MOST_NAMED} more rows" if len(close) > MOST_NAMED else ""
    size = f"{table.floor.of(entry.column):.{table.spec.digits + 2}f}"
    return [
        f"No further from {', '.join(close[:MOST_NAMED])}{more} than rounding alone moves a run "
        f"({size})."
    ]


def reported_notes(
    reported: ReportedNumber, column: Sequence[str], whose: str, name_source: bool
) -> list[str]:
    """What must be known about a reported number: its source (when there are several), its note,
    its protocol.

    `column` are the protocols that it meets there: of our scores, or of the reported ones while
    there are none of ours.
    """
    notes = [f"Reported by {reported.source}."] if name_source and reported.source else []
    if reported.note:
        notes.append(reported.note if reported.note.endswith(".") else f"{reported.note}.")
    if not all(reported.comparable_with(protocol) for protocol in column):
        notes.append(
            f"Reported under protocol `{reported.protocol}`: not comparable with {whose} of this "
            "column."
        )
    return notes


def _is_mixed(column: Sequence[Entry], protocols: Sequence[str]) -> bool:
    """Whether a column holds scores that must not be ranked with each other."""
    is_stale = {entry.is_stale for entry in column if entry.mean is not None}
    return len(protocols) > 1 or len(is_stale) > 1


def _leading(
    column: Sequence[Entry], is_mixed: bool, higher_is_better: bool, emphasis: Emphasis
) -> tuple[set[str], set[str]]:
    """Rows that hold the column's best score, and its second best where it is wanted; none while
    the competition is open, protocols mix or nothing competes.

    Open: a cell without any score may still get one, or an incomplete cell leads. Reported numbers
    do not compete: their protocol, splits and seeds are somebody else's. With `supported`, a rank
    counts only where its scores are told apart from those of the next rank.
    """
    scored = [entry for entry in column if entry.mean is not None]
    if is_mixed or len(scored) < 2 or any(entry.status in OPEN for entry in column):
        return set(), set()
    means = in_steps([_mean(entry) for entry in scored])
    ranks = [
        [entry for entry, own in zip(scored, means, strict=True) if own == mean]
        for mean in sorted(set(means), reverse=higher_is_better)
    ]
    wanted = ranks[: 1 if emphasis == "best" else 2]
    found = [set[str](), set[str]()]
    for place, rank in enumerate(wanted):
        if any(entry.status != "complete" for entry in rank):
            break
        if emphasis == "supported" and not _are_told_apart(rank, ranks[place + 1 : place + 2]):
            continue
        found[place] = {entry.row for entry in rank}
    return found[0], found[1]


def _are_told_apart(rank: Sequence[Entry], following: Sequence[Sequence[Entry]]) -> bool:
    """Whether the 95 % interval of the difference of means (Welch's) leaves out zero for every pair
    of a rank and the one after it; the last rank has nobody to be told apart from, and a tie is
    told apart from nobody."""
    if not following or len(rank) > 1:
        return False
    return all(
        is_told_apart(_sample(one), _sample(other)) for one in rank for other in following[0]
    )


def _sample(entry: Entry) -> tuple[float, float, int]:
    return _mean(entry), np.nan if entry.std is None else entry.std, entry.n


def _mean(entry: Entry) -> float:
    assert entry.mean is not None, "only cells with a score are ranked"
    return entry.mean


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _list(protocols: Iterable[str]) -> str:
    return ", ".join(f"`{protocol}`" if protocol else "unknown" for protocol in protocols)
