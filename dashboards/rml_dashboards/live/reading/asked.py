"""What people ask of the runs of studies, and which runs the launches keep waiting, read anew when
files change."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import ArrowException, fs

from rml_dashboards.contract import launches
from rml_dashboards.contract.freshness import ReadFiles
from rml_dashboards.contract.states import STALE_AFTER_S
from rml_dashboards.contract.study_plan import STUDIES
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.plans import ShownStudy

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What people ask of the runs of one study."""

    cancelled: frozenset[str] = frozenset()
    """Ids of runs that are not to be started."""
    priorities: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Row → priority, and what the study's file said when it was given."""

    def priority_of(self, row: str, in_file: int) -> int:
        """The priority that counts for a row: what the file says, where it was changed since."""
        asked, instead_of = self.priorities.get(row, (in_file, in_file))
        return asked if instead_of == in_file else in_file


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of all studies at one moment."""

    wishes: Mapping[str, Wishes] = field(default_factory=dict)
    """By the study's key."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Run id → why it waits, for the runs of launches that are at work."""


class AskedFolder:
    """Wishes and queues below a storage."""

    def __init__(self, storage: str) -> None:
        """`storage`: a path, or a URI that pyarrow understands. Raises DashboardError."""
        text = storage if "://" in storage else str(Path(storage).resolve())
        self._shown = without_secrets(storage)
        try:
            self._filesystem, path = fs.FileSystem.from_uri(text)
        except (ArrowException, OSError, ValueError) as error:
            raise DashboardError(f"the storage {self._shown} cannot be opened: {error}") from error
        self._root = path.rstrip("/")
        self._files = ReadFiles()

    def read(self, studies: Mapping[str, ShownStudy], now: float) -> tuple[Asked, tuple[str, ...]]:
        """What is asked of these studies, and which files are damaged; these count as absent.

        Raises:
            DashboardError: the storage cannot be read at all.
        """
        try:
            return self._read(studies, now)
        except (ArrowException, OSError) as error:
            message = f"what is asked under {self._shown} cannot be read: {error}"
            raise DashboardError(without_secrets(message)) from error

    def _read(self, studies: Mapping[str, ShownStudy], now: float) -> tuple[Asked, tuple[str, ...]]:
        problems: list[str] = []
        wishes = {}
        for key, study in studies.items():
            name = launches.wishes_file(study.plan.profile)
            path = f"{self._root}/{STUDIES}/{study.plan.name}/{name}"
            (info,) = self._filesystem.get_file_info([path])
            found = self._checked(info, _wishes, problems)
            if found is not None:
                wishes[key] = found
        waiting: dict[str, str] = {}
        folder = fs.FileSelector(f"{self._root}/{launches.LAUNCHES}", allow_not_found=True)
        for info in sorted(self._filesystem.get_file_info(folder), key=lambda one: str(one.path)):
            if not info.base_name.startswith(".") and info.path.endswith(launches.QUEUE_SUFFIX):
                told, time = self._checked(info, _queue, problems) or ({}, 0.0)
                if now - time < STALE_AFTER_S:
                    waiting |= told
        return Asked(wishes=wishes, waiting=waiting), tuple(problems)

    def _checked(self, info: Any, check: Callable[[Any], T], problems: list[str]) -> T | None:
        """What a file says; None where there is none, or a damaged one."""
        if info.type != fs.FileType.File:
            return None
        value = self._files.content(
            info.path, info.size, info.mtime_ns, lambda: self._content(info.path, check)
        )
        if isinstance(value, DashboardError):
            problems.append(f"{value}; it counts as absent")
            return None
        return value

    def _content(self, path: str, check: Callable[[Any], T]) -> T | DashboardError | None:
        """What a file says, or that it is damaged; None where it has gone since it was listed."""
        try:
            with self._filesystem.open_input_stream(path) as stream:
                return check(json.loads(stream.read()))
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return DashboardError(f"{path} is damaged ({error})")


def _wishes(value: Any) -> Wishes:
    return Wishes(
        cancelled=frozenset(str(run_id) for run_id in value.get("cancelled", ())),
        priorities={
            str(row): (int(asked["priority"]), int(asked["instead_of"]))
            for row, asked in value.get("priorities", {}).items()
        },
    )


def _queue(value: Any) -> tuple[dict[str, str], float]:
    """Why runs wait, and when that was written."""
    waiting = {str(run_id): str(why) for run_id, why in value["waiting"].items()}
    started = {str(run_id): launches.STARTING for run_id in value["under_way"]}
    return waiting | started, float(value["time"])
