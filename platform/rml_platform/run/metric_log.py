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

from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.storage import Folder
from rml_trainers.scoring.score import Evaluation

END = "end.json"
"""What was measured after the last checkpoint of a finished run."""


@dataclass(frozen=True)
class Measurement:
    """One value of one metric at one step."""

    key: str
    step: int
    time_ms: int
    value: float


Row = tuple[str, int, int, float]
"""A measurement in a file: key, step, time in ms, value; a long run has a hundred thousand."""
PIECE = Codec[list[Row]](list[Row], indent=None)


class MetricLog:
    """Collects measurements and writes them piece by piece."""

    def __init__(self, run_folder: Folder) -> None:
        self.folder = run_folder.child("metrics")
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
        self._write(END)

    def _write(self, name: str) -> None:
        if self._rows:
            rows = [(row.key, row.step, row.time_ms, row.value) for row in self._rows]
            self.folder.write(name, PIECE.encode(rows))
        self._rows = []

    def forget_after(self, step: int) -> None:
        """Delete the pieces beyond the checkpoint that the run resumes from: they will be measured
        again."""
        for name in self.folder.files():
            if name != END and step_of(name) > step:
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
    folder = run_folder.child("metrics")
    files = folder.files()
    names = [name for name in files if name != END and first < step_of(name) <= last]
    found = [(step_of(name), name) for name in names]
    if last == math.inf and END in files:
        found.append((max([first, *(step for step, _ in found)]), END))
    return [(step, _rows_of(folder, name, on_damaged)) for step, name in found]


def _rows_of(folder: Folder, name: str, on_damaged: Callable[[str], None]) -> list[Measurement]:
    try:
        rows = PIECE.decode(folder.read(name) or b"[]", f"{folder.path}/{name}")
    except DamagedFileError as error:
        on_damaged(f"{error}; what was measured in it is left out")
        return []
    return [Measurement(*row) for row in rows]


def piece_name(step: int) -> str:
    return f"{step:09d}.json"


def step_of(name: str) -> int:
    return int(name.removesuffix(".json"))


def evaluation_metrics(
    evaluations: tuple[Evaluation, ...], prefix: str = "val"
) -> dict[str, float]:
    """Metric names of an evaluation: `val/miou`, … of the first network, `val/<network>/miou`, … of
    the others.

    Where several networks are scored, the first one's mIoU has both names. Scores on a hold-out are
    `holdout/miou`, … in the same way.
    """
    values: dict[str, float] = {}
    for subset, top in (("val", prefix), ("holdout", "holdout")):
        of_subset = [evaluation for evaluation in evaluations if evaluation.subset == subset]
        for place, evaluation in enumerate(of_subset):
            if len(of_subset) > 1:
                values[f"{top}/{evaluation.network}/miou"] = evaluation.miou
            start = top if place == 0 else f"{top}/{evaluation.network}"
            values[f"{start}/miou"] = evaluation.miou
            values[f"{start}/accuracy"] = evaluation.accuracy
            values |= {f"{start}/iou/{name}": iou for name, iou in evaluation.iou_by_class.items()}
    return values
