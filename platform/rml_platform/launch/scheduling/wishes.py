"""What people ask of the runs of a study: priorities and cancelled runs, in
`studies/<study>/wishes.json` beside its plan.

Commands write the file; a launch reads it again before every start, so a wish holds for the launch
that runs as well as for the next one. Nothing in it decides the result of a run.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from rml_dashboards.contract.freshness import ReadFiles
from rml_dashboards.contract.launches import CANCELLED as CANCELLED
from rml_dashboards.contract.launches import wishes_file
from rml_dashboards.contract.study_plan import STUDIES, plan_file_name
from rml_platform.planning.plan_file.written_plan import read_plan
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.files.locked import locked
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError

if TYPE_CHECKING:
    from rml_platform.study.cells import Study

T = TypeVar("T")
WAITS_FOR_ROOM = "resources"
"""Why a run waits."""
LOOK_EVERY_S = 0.5
LOOK_EVERY_REMOTE_S = 10.0
SETTLES_IN_S = 2.0
"""Longer than a command takes between reading the wishes and writing them."""
TRIES = 5
"""Of writing wishes where others write, too."""


@dataclass(frozen=True, kw_only=True)
class AskedPriority:
    """A row's priority as `rml prioritise` gave it."""

    priority: int
    instead_of: int
    """What the study's file said at that moment. Once the file says something else, it is the newer
    word and counts."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What people ask of the runs of one study."""

    priorities: dict[str, AskedPriority] = field(default_factory=dict)
    """By the row's label."""
    cancelled: tuple[str, ...] = ()
    """Ids of runs that are not to be started, in the order in which they were cancelled."""

    def priority_of(self, row: str, in_file: int) -> int:
        """The priority that counts for a row."""
        asked = self.priorities.get(row)
        return asked.priority if asked is not None and asked.instead_of == in_file else in_file


WISHES = Codec[Wishes](Wishes)


def read_wishes(storage: str, study: str, profile: str | None) -> Wishes:
    """The wishes for a study. Raises ConfigError for a damaged file, and says what to do."""
    folder = Folder.open(storage).child(STUDIES, study)
    name = wishes_file(profile)
    content = folder.read(name)
    try:
        return Wishes() if content is None else WISHES.decode(content, f"{folder.path}/{name}")
    except DamagedFileError as error:
        raise ConfigError(
            f"{error}. Delete it: the wishes in it (priorities, cancelled runs) are lost, and can "
            "be given again with `rml prioritise` and `rml cancel`"
        ) from error


def write_wishes(storage: str, study: str, profile: str | None, wishes: Wishes) -> None:
    """Write the wishes for a study, whole or not at all."""
    Folder.open(storage).child(STUDIES, study).write(wishes_file(profile), WISHES.encode(wishes))


def change_wishes(
    storage: str,
    study: str,
    profile: str | None,
    change: Callable[[Wishes], Wishes],
    pause: Callable[[], None] = lambda: time.sleep(SETTLES_IN_S),
) -> Wishes:
    """Change the wishes for a study, whoever else does so at the same time; returns what they were
    before.

    On a disk one waits for the other. Object storage knows no locks: there the wishes are read
    again once another's writing would have come through, and changed again where it did.

    Args:
        change: the wishes with the change; of those that have it already, the same.
        pause: waits as long as another may take between reading and writing.
    Raises:
        ConfigError: the file is damaged, somebody else keeps asking for the contrary, or holds the
            file's lock.
    """
    folder = Folder.open(storage).child(STUDIES, study)
    if folder.local is not None:
        folder.local.mkdir(parents=True, exist_ok=True)
        with locked(folder.local / f".{wishes_file(profile)}.lock", ConfigError):
            before = read_wishes(storage, study, profile)
            write_wishes(storage, study, profile, change(before))
        return before
    before = known = read_wishes(storage, study, profile)
    for _ in range(TRIES):
        if change(known) == known:
            return before
        write_wishes(storage, study, profile, change(known))
        pause()
        known = read_wishes(storage, study, profile)
    if change(known) == known:
        return before
    raise ConfigError(
        f"{folder.path}/{wishes_file(profile)}: somebody else asks for the contrary at the same "
        "time; ask again when they are done"
    )


def with_cancelled(wishes: Wishes, run_ids: Iterable[str]) -> Wishes:
    """The wishes with further runs cancelled."""
    return replace(wishes, cancelled=tuple(dict.fromkeys((*wishes.cancelled, *run_ids))))


def without_cancelled(wishes: Wishes, run_ids: Iterable[str]) -> Wishes:
    """The wishes with runs taken back."""
    back = set(run_ids)
    return replace(wishes, cancelled=tuple(i for i in wishes.cancelled if i not in back))


def with_priority(wishes: Wishes, row: str, priority: int, in_file: int) -> Wishes:
    """The wishes with a row's priority given."""
    asked = AskedPriority(priority=priority, instead_of=in_file)
    return replace(wishes, priorities={**wishes.priorities, row: asked})


@dataclass(frozen=True)
class StudyWishes:
    """What counts for one study at the moment."""

    priorities: Mapping[str, int]
    """By the row's label."""
    cancelled: frozenset[str]


class LiveWishes:
    """The wishes for one study while a launch runs: its file's priorities as the written plan has
    them now, and what commands have asked for since."""

    def __init__(
        self,
        storage: str,
        study: str,
        profile: str | None,
        priorities: Mapping[str, int],
        on_note: Callable[[str], None],
        every_s: float | None = None,
    ) -> None:
        """
        Args:
            priorities: of the rows, as the file says at the start of the launch.
            every_s: how long what was read holds; default: half a second on a local disk.
        """
        self._where = (storage, study, profile)
        self._folder = Folder.open(storage).child(STUDIES, study)
        self._plan_name = plan_file_name(profile)
        self._wishes_name = wishes_file(profile)
        self._in_file = dict(priorities)
        self._on_note = on_note
        self._told: set[str] = set()
        self._files = ReadFiles()
        self._wishes = Wishes()
        self._read_at = -float("inf")
        is_local = self._folder.local is not None
        usual_s = LOOK_EVERY_S if is_local else LOOK_EVERY_REMOTE_S
        self._every_s = usual_s if every_s is None else every_s

    @classmethod
    def of(cls, study: "Study", storage: str, on_note: Callable[[str], None]) -> "LiveWishes":
        """The wishes for a study as it was read for a launch."""
        priorities = {row.label: row.priority for row in study.rows}
        return cls(storage, study.name, study.profile, priorities, on_note)

    def now(self) -> StudyWishes:
        """What counts now. A file that cannot be read is told once; what it said before counts."""
        if time.monotonic() - self._read_at >= self._every_s:
            with contextlib.suppress(OSError):  # a storage that is away is asked again next time
                self._read()
            self._read_at = time.monotonic()
        wishes = self._wishes
        rows = {row: wishes.priority_of(row, in_file) for row, in_file in self._in_file.items()}
        return StudyWishes(rows, frozenset(wishes.cancelled))

    def _read(self) -> None:
        plan = self._latest(self._plan_name, read_plan)
        rows = plan.rows if plan else ()
        self._in_file |= {row.label: row.priority for row in rows if row.label in self._in_file}
        self._wishes = self._latest(self._wishes_name, read_wishes) or self._wishes

    def _latest(self, name: str, read: Callable[[str, str, str | None], T]) -> T | None:
        """What a file of the study says now; None where it is damaged, which is told once."""
        found = self._folder.filesystem.get_file_info(f"{self._folder.path}/{name}")
        try:
            return self._files.content(name, found.size, found.mtime_ns, lambda: read(*self._where))
        except ConfigError as error:
            if str(error) not in self._told:
                self._on_note(str(error))
            self._told.add(str(error))
            return None
