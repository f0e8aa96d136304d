"""Reads runs from their folders alone: no tracker, nothing but the files that the runs wrote.

A run is what its folder says now, so nothing can be out of date or lost on the way: a killed run is
seen as soon as its heartbeat is old, and what was measured counts as far as a stored checkpoint
covers it, as in a tracker.
"""

import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import ArrowException, fs

from rml_dashboards.contract import run_folder as files
from rml_dashboards.contract.metric_keys import FINAL, FINAL_STEP, final_metrics
from rml_dashboards.contract.names import RUN_ID
from rml_dashboards.contract.states import ALIVE, STALE_AFTER_S, STATUS_OF_STATE, run_state
from rml_dashboards.contract.tags import (
    Tag,
    failure_text,
    heartbeat_tags,
    studies_text,
    task_tags,
)
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.reader import Histories, Point, to_histories
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records, records_of
from rml_dashboards.records.run_table import join_tables, to_run_table

T = TypeVar("T")
Json = Mapping[str, Any]
NUM_READERS = 16
"""Folders read at once; what an object store needs is time, not cores."""
RUNS_AT_ONCE = 1000
"""Runs that are Python values at a time; a table of them takes a tenth of the memory."""


class RunFolderReader:
    """Reads `<storage>/runs/`, a local path or a URI that pyarrow understands."""

    def __init__(self, storage: str) -> None:
        self._storage = storage
        text = storage if "://" in storage else str(Path(storage).resolve())
        try:
            self._filesystem, path = fs.FileSystem.from_uri(text)
        except (ArrowException, OSError, ValueError) as error:
            raise DashboardError(
                without_secrets(f"the storage {storage} cannot be opened: {error}")
            ) from error
        self._runs = f"{path.rstrip('/')}/{files.RUNS}"

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        """Wanted runs; what was measured on the way is read where a metric outside `final/` is
        wanted."""
        is_final = metrics is not None and all(key.startswith(f"{FINAL}/") for key in metrics)
        names = sorted(self._names() if run_ids is None else set(run_ids))
        tables = []
        warnings = []
        for start in range(0, len(names), RUNS_AT_ONCE):
            runs, own = self.recorded_runs(
                names[start : start + RUNS_AT_ONCE], with_measured=not is_final
            )
            tables.append(to_run_table(runs))
            warnings += own
        return records_of(join_tables(tables), warnings, metrics)

    def recorded_runs(
        self, run_ids: Collection[str] | None = None, *, with_measured: bool = True
    ) -> tuple[list[RecordedRun], list[str]]:
        """The runs that have begun, as a tracker would have them, and what is damaged.

        `with_measured`: with the last values of what was measured on the way, too.
        """
        found = self._each(run_ids, lambda folder: folder.recorded_run(with_measured=with_measured))
        warnings = [warning for _, own in found for warning in own]
        return [run for run, _ in found if run is not None], warnings

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        """Everything measured of the wanted metrics."""
        points: list[Point] = []
        keys: dict[str, frozenset[str]] = {}
        wanted = sorted(set(run_ids))
        kept = frozenset(metrics)
        found = self._each(wanted, lambda folder: folder.points(kept))
        for run_id, ((own, known), _) in zip(wanted, found, strict=True):
            if known:
                keys[run_id] = known
                points += own
        return to_histories(points, keys)

    def _each(
        self, run_ids: Collection[str] | None, read: "Callable[[_RunFolder], T]"
    ) -> list[tuple[T, list[str]]]:
        """What is read of every wanted folder, with its warnings, by run id."""
        names = sorted(self._names() if run_ids is None else set(run_ids))

        for name in names:
            if not RUN_ID.fullmatch(name):
                raise DashboardError(f"{name!r} is not the id of a run: it names a folder, no path")

        def read_one(name: str) -> tuple[T, list[str]]:
            folder = _RunFolder(self._filesystem, f"{self._runs}/{name}", name)
            return read(folder), folder.warnings

        try:
            with ThreadPoolExecutor(NUM_READERS) as pool:
                return list(pool.map(read_one, names))
        except OSError as error:
            raise DashboardError(
                without_secrets(f"the run folders under {self._storage} cannot be read: {error}")
            ) from error

    def _names(self) -> Iterable[str]:
        selected = fs.FileSelector(self._runs, allow_not_found=True)
        return [
            info.base_name
            for info in self._filesystem.get_file_info(selected)
            if info.type == fs.FileType.Directory and not info.base_name.startswith(".")
        ]


class _RunFolder:
    """The files of one run. One that is damaged counts as absent, and a warning names it."""

    def __init__(self, filesystem: Any, path: str, run_id: str) -> None:
        self._filesystem = filesystem
        self._path = path
        self._run_id = run_id
        self.warnings: list[str] = []

    def recorded_run(self, *, with_measured: bool) -> RecordedRun | None:
        """The run as a tracker would have it; None where it has not begun."""
        task = self._read(files.TASK_FILE, _checked_task)
        heartbeat = self._read(files.HEARTBEAT_FILE, _checked_heartbeat)
        result = self._read(files.RESULT_FILE, _checked_result)
        failure = None if result else self._read(files.FAILURE_FILE, _checked_failure)
        if task is None or not (result or failure or heartbeat):
            return None
        state = run_state(
            has_result=result is not None,
            failure_kind=failure["kind"] if failure else None,
            is_alive=_is_alive(heartbeat) if heartbeat else None,
        )
        newest = (result or failure or heartbeat or {})["time"]
        return RecordedRun(
            experiment=task["study"],
            status=STATUS_OF_STATE[state],
            start_ms=int(1000 * (newest - (result or heartbeat or {}).get("seconds", 0.0))),
            end_ms=None if state == "running" else int(1000 * newest),
            tags=self._tags(task, heartbeat, failure, result),
            scores=self._last_values(heartbeat, result) if with_measured else self._final(result),
        )

    def _tags(
        self, task: Json, heartbeat: Json | None, failure: Json | None, result: Json | None
    ) -> dict[str, str]:
        tags = task_tags(task) | {Tag.RUN_ID.value: self._run_id}
        tags[Tag.STUDIES] = studies_text(task["study"], *self._names_in(files.STUDIES))
        if heartbeat is not None:
            tags |= heartbeat_tags(heartbeat)
        elif result is not None and result.keys() >= files.PLACE_IN_RESULT:
            tags |= heartbeat_tags({**result, "worker": {"host": result["host"]}})
        if result is not None:
            tags[Tag.PROTOCOL] = files.recorded_scores(result)[0].protocol
        if failure is not None:
            tags[Tag.FAILURE] = failure_text(failure["kind"], failure["message"])
        return tags

    def _last_values(self, heartbeat: Json | None, result: Json | None) -> dict[str, float]:
        measured = [row for piece in self._pieces(heartbeat, result) for row in piece]
        measured.sort(key=lambda row: row[1:3])
        return {key: value for key, _, _, value in measured} | self._final(result)

    def points(self, metrics: Collection[str]) -> tuple[list[Point], frozenset[str]]:
        """What was measured of some metrics as far as it counts, final scores at step 0; and
        every metric that was measured."""
        heartbeat = self._read(files.HEARTBEAT_FILE, _checked_heartbeat)
        result = self._read(files.RESULT_FILE, _checked_result)
        pieces = list(self._pieces(heartbeat, result))
        if result is not None:
            time_ms = int(1000 * result["time"])
            final = self._final(result).items()
            pieces.append([(key, FINAL_STEP, time_ms, value) for key, value in final])
        wanted = [(self._run_id, *row) for piece in pieces for row in piece if row[0] in metrics]
        return wanted, frozenset(row[0] for piece in pieces for row in piece)

    def _pieces(self, heartbeat: Json | None, result: Json | None) -> Iterator[files.Piece]:
        """What was measured, as far as it counts."""
        covered = -1 if heartbeat is None else heartbeat["checkpoint_step"]
        last = math.inf if result is not None else covered
        for _, name in files.pieces_between(self._names_in(files.PIECES), -1, last):
            yield self._read(f"{files.PIECES}/{name}", _checked_piece) or []

    @staticmethod
    def _final(result: Json | None) -> dict[str, float]:
        if result is None:
            return {}
        return final_metrics(files.recorded_scores(result), result["seconds"])

    def _read(self, name: str, check: Callable[[Any], T]) -> T | None:
        try:
            with self._filesystem.open_input_stream(f"{self._path}/{name}") as stream:
                content = stream.read()
        except FileNotFoundError:
            return None
        try:
            return check(json.loads(content))
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
            self.warnings.append(
                f"run {self._run_id}: {name} is damaged and counts as absent ({reason})"
            )
            return None

    def _names_in(self, name: str) -> list[str]:
        selected = fs.FileSelector(f"{self._path}/{name}", allow_not_found=True)
        return sorted(
            info.base_name
            for info in self._filesystem.get_file_info(selected)
            if info.type == fs.FileType.File and not info.base_name.startswith(".")
        )


def _is_alive(heartbeat: Json) -> bool:
    """As far as its own word and its age tell; the rest only its host knows."""
    is_fresh = time.time() - heartbeat["time"] < STALE_AFTER_S
    return bool(heartbeat["state"] == ALIVE and is_fresh)


def _checked_task(value: Any) -> Json:
    task_tags(value)
    return dict(value)


def _checked_heartbeat(value: Any) -> Json:
    heartbeat_tags(value)
    float(value["time"]) + float(value["seconds"]) + int(value["checkpoint_step"])
    return {**value, "state": str(value["state"])}


def _checked_result(value: Any) -> Json:
    final_metrics(files.recorded_scores(value), float(value["seconds"]))
    return {**value, "time": float(value["time"]), "steps": int(value["steps"])}


def _checked_failure(value: Any) -> Json:
    return {
        "kind": str(value["kind"]),
        "message": str(value["message"]),
        "time": float(value["time"]),
    }


def _checked_piece(value: Any) -> files.Piece:
    return [(str(key), int(step), int(ms), float(number)) for key, step, ms, number in value]
