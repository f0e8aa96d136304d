"""Everything a run measured, as small files in its folder: one piece per checkpoint, written just
before it.

A killed run loses only what came after its newest checkpoint, and measures that again when it
resumes; so the pieces up to a stored checkpoint hold every value exactly once, and the tracker can
be filled from them at any time.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from rml_dashboards.contract.metric_keys import is_of_the_moment
from rml_dashboards.contract.run_folder import (
    END_PIECE,
    PIECES,
    piece_name,
    pieces_between,
    step_of_piece,
)
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.storage import Folder


@dataclass(frozen=True)
class Measurement:
    """One value of one metric at one step."""

    key: str
    step: int
    time_ms: int
    value: float


Point = tuple[str, int, float]
"""Metric, step, value: a measurement without its time."""
Row = tuple[str, int, int, float]
"""A measurement in a file: key, step, time in ms, value; a long run has a hundred thousand."""
PIECE = Codec[list[Row]](list[Row], indent=None)


class MetricLog:
    """Collects measurements and writes them piece by piece."""

    def __init__(self, run_folder: Folder) -> None:
        self.folder = run_folder.child(PIECES)
        self._rows: list[Measurement] = []

    def add(self, step: int, values: dict[str, float]) -> None:
        """Values that are not finite are left out: they mean "does not occur" (IoU) or end the run
        (loss)."""
        now = int(time.time() * 1000)
        self._rows += [
            Measurement(key, step, now, v) for key, v in values.items() if math.isfinite(v)
        ]

    def close_piece(self, step: int) -> None:
        """Write what was collected since the last piece; the checkpoint of `step` is about to be
        stored."""
        self._write(piece_name(step))

    def close(self) -> None:
        """Write the rest of a finished run."""
        self._write(END_PIECE)

    def _write(self, name: str) -> None:
        if self._rows:
            rows = [(row.key, row.step, row.time_ms, row.value) for row in self._rows]
            self.folder.write(name, PIECE.encode(rows))
        self._rows = []

    def forget_after(self, step: int) -> None:
        """Delete the pieces beyond the checkpoint that the run resumes from: they will be measured
        again."""
        for name in self.folder.files():
            covered = step_of_piece(name)
            if covered is not None and covered > step:
                self.folder.delete(name)


def pieces(
    run_folder: Folder,
    first: int,
    last: float,
    on_damaged: Callable[[str], None],
) -> list[tuple[int, list[Measurement]]]:
    """Pieces with first < step <= last in order, with their steps; `last` = infinity includes the
    end piece.

    `on_damaged` is told about a piece that cannot be read; the others are not affected.
    """
    folder = run_folder.child(PIECES)
    found = pieces_between(folder.files(), first, last)
    return [(step, _rows_of(folder, name, on_damaged)) for step, name in found]


def history(run_folder: Folder, on_damaged: Callable[[str], None]) -> list[Point]:
    """Everything that a run measured, apart from times and what its machine was busy with;
    `on_damaged` as in `pieces`."""
    found = pieces(run_folder, -1, math.inf, on_damaged)
    return [
        (r.key, r.step, r.value) for _, rows in found for r in rows if not is_of_the_moment(r.key)
    ]


def write_history(place: Folder, name: str, run_folder: Folder, step: int) -> None:
    """Write everything that a run has measured up to the checkpoint of a step into one file.

    Raises:
        DamagedFileError: a piece cannot be read; nothing is written.
    """
    folder = run_folder.child(PIECES)
    rows = [
        row
        for _, piece in pieces_between(folder.files(), -1, step)
        for row in PIECE.decode(folder.read(piece) or b"[]", f"{folder.path}/{piece}")
    ]
    place.write(name, PIECE.encode(rows))


def take_history(place: Folder, name: str, run_folder: Folder, step: int) -> None:
    """Make what `write_history` wrote the first piece of another run's log; again: the same.

    Raises:
        DamagedFileError: the file is damaged or gone; nothing is written.
    """
    rows = PIECE.decode(place.read(name) or b"", f"{place.path}/{name}")
    run_folder.child(PIECES).write(piece_name(step), PIECE.encode(rows))


def _rows_of(folder: Folder, name: str, on_damaged: Callable[[str], None]) -> list[Measurement]:
    try:
        rows = PIECE.decode(folder.read(name) or b"[]", f"{folder.path}/{name}")
    except DamagedFileError as error:
        on_damaged(f"{error}; what was measured in it is left out")
        return []
    return [Measurement(*row) for row in rows]
