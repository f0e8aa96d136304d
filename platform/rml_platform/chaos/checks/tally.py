"""The account of one round, and all of them in one table. All of it should be zero."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rml_dashboards.contract.store_uri import sqlite_file
from rml_platform.chaos.arena import Arena
from rml_platform.chaos.checks.fingerprints import (
    Fingerprint,
    differences,
    fingerprint,
    measured_twice,
)
from rml_platform.chaos.checks.left_behind import left_behind
from rml_platform.chaos.checks.tracking import tracking_faults
from rml_platform.run.codec import DamagedFileError
from rml_trainers.errors import RmlError

Column = Literal["lost", "twice", "different", "tracking", "left", "crashed"]
COLUMNS: Mapping[Column, str] = {
    "lost": "cells that have no result in the end",
    "twice": "results written again, and steps that stand in a metric log twice",
    "different": "scores, weights or metric logs with other bits than undisturbed",
    "tracking": "MLflow runs or values missing, double or not ended",
    "left": "processes, sockets, placement groups, resources and temporary folders",
    "crashed": "launches that ended in a traceback or did not end",
}


@dataclass(kw_only=True)
class Account:
    """What one round came to."""

    number: int
    grounds: str
    faults: tuple[str, ...]
    """That were drawn."""
    done: tuple[str, ...] = ()
    """Of them, those that found something to strike."""
    struck: tuple[str, ...] = ()
    """What was done, and what could not be done, in words."""
    launches: int = 0
    seconds: float = 0.0
    wrong: dict[Column, list[str]] = field(default_factory=dict)

    def note(self, column: Column, texts: Sequence[str]) -> None:
        if texts:
            self.wrong.setdefault(column, []).extend(texts)

    @property
    def is_clean(self) -> bool:
        return not self.wrong


def examine(arena: Arena, expected: Mapping[str, Fingerprint], account: Account) -> None:
    """Write down what is wrong with a round that has come to its end."""
    found = fingerprints(arena, expected, lambda text: account.note("lost", [text]))
    for run_id, own in found.items():
        wanted = expected[run_id]
        account.note("different", [f"{run_id}: {what}" for what in differences(own, wanted)])
        account.note("twice", [f"{run_id}: {what}" for what in measured_twice(own)[:3]])
    account.note("twice", [f"{i}: result written again" for i in sorted(arena.rewritten)])
    account.note("tracking", tracking(arena, found))
    account.note("left", left_behind(arena))
    unmeant = [launch for launch in arena.launches if not launch.is_crash_meant]
    account.note("crashed", [text for launch in unmeant if (text := _crash(launch.said))])
    account.launches = len(arena.launches)
    account.struck = tuple(arena.struck)
    account.done = tuple(arena.faults_done)


def fingerprints(
    arena: Arena, expected: Mapping[str, Fingerprint], on_lost: Callable[[str], None]
) -> dict[str, Fingerprint]:
    """Of the runs that are done."""
    found = {}
    for run_id in expected:
        try:
            own = fingerprint(arena.run(run_id))
        except DamagedFileError as error:
            on_lost(str(error))
            continue
        if own is None:
            on_lost(f"{run_id} has no result")
        else:
            found[run_id] = own
    return found


def tracking(arena: Arena, found: Mapping[str, Fingerprint]) -> list[str]:
    """What is wrong with the tracker."""
    server = arena.tracking
    uri = server.behind if server else arena.tracking_uri
    file = sqlite_file(uri)
    if file is not None and not Path(file).is_file():
        return ["there is no MLflow database"]
    return tracking_faults(uri, found)


def is_in_order(arena: Arena, expected: Mapping[str, Fingerprint]) -> bool:
    """Whether everything is done and recorded, so that no further launch is needed."""
    lost = list[str]()
    found = fingerprints(arena, expected, lost.append)
    with suppress(RmlError):
        return not lost and not tracking(arena, found)
    return False


def _crash(said: str) -> str:
    """The last line of a launch that ended in a traceback."""
    if "Traceback (most recent call last)" not in said and "Stack trace:" not in said:
        return ""
    return said.strip().splitlines()[-1]


def in_words(account: Account) -> str:
    """What was done in one round, and what came of it."""
    verdict = "in order" if account.is_clean else f"NOT in order: {dict(account.wrong)}"
    if account.is_clean and not account.done:
        verdict += ", but nothing was done"
    first = f"round {account.number} on {account.grounds}, {account.seconds:.0f} s: {verdict}"
    return "\n".join([first, *(f"    {text}" for text in account.struck)])


def render(accounts: Sequence[Account]) -> str:
    """The tally as plain text, in as many columns as a terminal has."""
    lines = [f"{column:>10}  {what}" for column, what in COLUMNS.items()]
    lines += ["", f"{'round':>5} {'on':<8} {'faults (not done)':<58} launches {' '.join(COLUMNS)}"]
    for one in accounts:
        counts = [f"{len(one.wrong.get(c, ())):>{len(c)}}" for c in COLUMNS]
        faults = ", ".join(name if name in one.done else f"({name})" for name in one.faults)
        lines.append(
            f"{one.number:>5} {one.grounds:<8} {faults:<58} {one.launches:>8} {' '.join(counts)}"
        )
    totals = [f"{sum(len(a.wrong.get(c, ())) for a in accounts):>{len(c)}}" for c in COLUMNS]
    launches = sum(one.launches for one in accounts)
    lines.append(f"{'all':>5} {'':<8} {'':<58} {launches:>8} {' '.join(totals)}")
    wrong = [
        f"round {one.number}: {column}: {text}"
        for one in accounts
        for column, texts in one.wrong.items()
        for text in texts
    ]
    return "\n".join([*lines, "", _verdict(accounts), *(["", *wrong] if wrong else [])])


def _verdict(accounts: Sequence[Account]) -> str:
    """A round without a fault is in order, and shows nothing."""
    clean = [one for one in accounts if one.is_clean]
    idle = sum(not one.done for one in clean)
    of_which = f", of which {idle} without a fault: nothing was done in them" if idle else ""
    return f"{len(clean)} of {len(accounts)} rounds in order{of_which}"


TALLY_HEADER = f"{'command':<37} {'round':>6}  {'time':>5}  {'faults done':<66} what was wrong"


def tally_line(account: Account, seed: int) -> str:
    """One round as one line of a file that keeps the rounds of many calls."""
    command = f"--on {account.grounds} --seed {seed}"
    faults = ", ".join(account.done) or "nothing was done"
    wrong = [
        f"{len(texts)} {column}: {'; '.join(texts)}" for column, texts in account.wrong.items()
    ]
    what = " ".join("; ".join(wrong).split()) or "0"
    seconds = f"{account.seconds:.0f} s"
    return f"{command:<37} {account.number:>6}  {seconds:>5}  {faults:<66} {what}"
