"""Footnotes and bold type: what a reader must know before comparing two numbers of a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rml_dashboards.contract.states import TABLE_STATES, TableState
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.specification import ReportedValue

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
    best = [
        _best_of(entries, len(found) > 1, table.spec.is_higher_better(column))
        for column, entries, found in zip(table.spec.columns, columns, protocols, strict=True)
    ]
    name_source = len({value.source for entry in table.cells() for value in entry.reported}) > 1
    lines = []
    for line in table.entries:
        marked = []
        for index, entry in enumerate(line):
            own = notes.numbers(own_notes(entry, column_is_mixed=len(protocols[index]) > 1))
            among, whose = (
                (protocols[index], "our scores") if protocols[index] else (stated[index], "others")
            )
            quoted = tuple(
                notes.numbers(reported_notes(value, among, whose, name_source))
                for value in entry.reported
            )
            marked.append(
                replace(entry, best=entry.row in best[index], marks=own, reported_marks=quoted)
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
    versions = sorted(
        {
            trace.code_version or "unknown"
            for trace in entry.traces
            if trace.state == "done" and trace.dirty
        }
    )
    if versions:
        notes.append(f"Made by code with uncommitted changes (on top of {', '.join(versions)}).")
    cut = [t for t in entry.traces if t.state == "done" and t.micro_batches]
    if cut:
        factors = ", ".join(sorted({trace.micro_batches for trace in cut}, key=int))
        notes.append(
            f"{len(cut)} of {entry.n} runs cut their steps into {factors} times as many "
            "micro-batches, because the device's memory was too small: BatchNorm saw smaller "
            "batches."
        )
    return notes


def reported_notes(
    reported: ReportedValue, column: Sequence[str], whose: str, name_source: bool
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


def _best_of(column: Sequence[Entry], is_mixed: bool, higher_is_better: bool) -> set[str]:
    """Rows that hold the column's best score; none while the competition is open, protocols mix or
    nothing competes.

    Open: a cell without any score may still get one, or an incomplete cell leads. Reported numbers
    do not compete: their protocol, splits and seeds are somebody else's.
    """
    scored = [entry for entry in column if entry.mean is not None]
    if is_mixed or len(scored) < 2 or any(entry.status in OPEN for entry in column):
        return set()
    pick = max if higher_is_better else min
    leading = pick(entry.mean for entry in scored if entry.mean is not None)
    leaders = [entry for entry in scored if entry.mean == leading]
    return (
        {entry.row for entry in leaders}
        if all(entry.status == "complete" for entry in leaders)
        else set()
    )


def _list(protocols: Iterable[str]) -> str:
    return ", ".join(f"`{protocol}`" if protocol else "unknown" for protocol in protocols)
