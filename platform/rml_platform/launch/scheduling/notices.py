"""People are told by a POST of JSON when a study ends, a run fails for good, or nothing has moved
for an hour: `--notify URL`.

The body has the key `text`, which is all that a Slack webhook wants, and further keys for programs.
A URL that fails is told once and never stops a launch. Nothing is written down of a URL, because
webhooks carry their secret in the path; messages name its host alone.
"""

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from rml_dashboards.contract.states import CANCELLED
from rml_dashboards.contract.uris import without_secrets
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.run.faults.outages import patience_s
from rml_platform.run.faults.repeated import A_MOMENT_S, repeated
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_trainers.errors import ConfigError

Event = Literal["study_ended", "run_failed", "nothing_moves"]
End = Literal["done", "failed", "left"]
TIMEOUT_S = 10.0
GOODBYE_S = 20.0
"""How long a launch that is over waits at most for what it still has to say; one that was stopped
waits no longer than its patience is."""
STANDSTILL_S = 3600.0
LOOK_EVERY_S = 30.0


def check_urls(urls: Sequence[str]) -> None:
    """Raises ConfigError for what is no address of a web server."""
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("--notify: expected addresses that begin with http:// or https://")


class Notifier:
    """Sends notices in a thread of its own while its context is open."""

    def __init__(self, urls: Sequence[str], launch_id: str, on_note: Callable[[str], None]) -> None:
        """Raises ConfigError for what is no address of a web server."""
        check_urls(urls)
        self._urls = urls
        self._launch_id = launch_id
        self._on_note = on_note
        self._failing = set[str]()
        self._notices: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="notices", daemon=True)

    def __enter__(self) -> "Notifier":
        if self._urls:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._notices.put(None)
        if self._urls:
            self._thread.join(min(GOODBYE_S, max(A_MOMENT_S, patience_s())))

    @property
    def has_listeners(self) -> bool:
        return bool(self._urls)

    def tell(self, event: Event, text: str, **details: object) -> None:
        """Send a notice, soon; does nothing without URLs."""
        if self._urls:
            body = {"text": f"rml: {text}", "event": event, "launch_id": self._launch_id}
            self._notices.put({**body, "time": time.time(), **details})

    def _send_all(self) -> None:
        while (notice := self._notices.get()) is not None:
            for url in self._urls:
                self._send(url, notice)

    def _send(self, url: str, notice: Mapping[str, Any]) -> None:
        try:
            answer = requests.post(url, json=notice, timeout=TIMEOUT_S, allow_redirects=False)
            problem = "" if answer.ok else f"it answered {answer.status_code}"
        except requests.RequestException as error:  # its text holds the URL
            problem = type(error).__name__
        if problem and url not in self._failing:
            self._failing.add(url)
            self._on_note(
                f"--notify: {urlsplit(url).hostname} could not be told ({problem}); the launch "
                "goes on"
            )


@contextlib.contextmanager
def notifying(
    urls: Sequence[str],
    launch_id: str,
    on_note: Callable[[str], None],
    studies: Mapping[str, Collection[str]],
    report: LaunchReport,
) -> Iterator["StudyEnds"]:
    """Tells of the studies of a launch: of each as soon as the launch is through with it, of the
    others when the context ends.

    Args:
        studies: ids of the runs of each study.
        report: as the launch fills it.
    """
    with Notifier(urls, launch_id, on_note) as notifier:
        ends = StudyEnds(notifier, studies, report)
        is_whole = False
        try:
            yield ends
            is_whole = True
        finally:
            ends.tell_the_rest(is_whole=is_whole)


class StudyEnds:
    """Tells once of each study that a launch is through with it. May be asked by any thread."""

    def __init__(
        self, notifier: Notifier, studies: Mapping[str, Collection[str]], report: LaunchReport
    ) -> None:
        """Arguments as of `notifying`."""
        self.notifier = notifier
        self._untold = dict(studies)
        self._report = report
        self._ends = dict[str, End]()
        """Of runs that the report may not have yet: it is filled when nothing is under way."""
        self._lock = threading.Lock()

    def note(self, run_id: str, end: End) -> None:
        """A run has come to its end in this launch."""
        self._ends[run_id] = end

    def look(self, is_waited_for: Callable[[str], bool] = lambda run_id: True) -> None:
        """Tell of the studies that the launch is through with by now.

        Args:
            is_waited_for: whether the launch goes on with a run whose end is not known.
        """
        if not self.notifier.has_listeners:
            return
        with self._lock:
            known = self._report.settled() | self._ends.keys()
            for study, run_ids in list(self._untold.items()):
                if all(i in known or not is_waited_for(i) for i in run_ids):
                    self._tell(study, "ended")

    def tell_the_rest(self, *, is_whole: bool) -> None:
        """The launch is over; `is_whole`: it was not stopped on the way."""
        with self._lock:
            for study in list(self._untold):
                self._tell(study, "ended" if is_whole else "was stopped")

    def _tell(self, study: str, how: str) -> None:
        run_ids = self._untold.pop(study)
        own = self._report.of(run_ids)
        known = own.settled().union(own.running_elsewhere)
        more = Counter(self._ends.get(run_id, "left") for run_id in run_ids if run_id not in known)
        counts = {
            "done": len(own.done) + len(own.done_before) + len(own.done_elsewhere) + more["done"],
            "failed": len(own.failed) + more["failed"],
            "left": len(own.left) + more["left"],
            "running_elsewhere": len(own.running_elsewhere),
        }
        parts = ", ".join(
            f"{count} {what.replace('_', ' ')}" for what, count in counts.items() if count
        )
        self.notifier.tell("study_ended", f"{study} {how}: {parts}", study=study, counts=counts)


def tell_failure(notifier: Notifier, run_id: str, record: RunRecord, launch_id: str) -> None:
    """Tell that a run failed and is not tried again; one that somebody stopped did not fail. What
    an earlier launch wrote down stays until an attempt begins, and tells nothing of this one."""
    failure = record.failure_of(launch_id)
    if failure is None:
        text = f"{run_id} failed: it was lost before it could say why"
        notifier.tell("run_failed", text, run_id=run_id)
    elif failure.kind != CANCELLED:
        why = f"{failure.kind}: {failure.message.splitlines()[0] if failure.message else ''}"
        text = without_secrets(f"{run_id} failed: {why}")
        notifier.tell("run_failed", text, run_id=run_id, kind=failure.kind)


def end_without_result(record: RunRecord, launch_id: str) -> End:
    """What a run came to that this launch does not try again."""
    failure = record.failure_of(launch_id)
    return "left" if failure is not None and failure.kind == CANCELLED else "failed"


class Standstill:
    """Tells, once each time, that no run of a launch has moved for an hour."""

    def __init__(
        self,
        notifier: Notifier,
        folders: Iterable[RunFolder],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._open = {folder.run_id: folder for folder in folders}
        """Runs that have no result yet."""
        self._places: dict[str, tuple[object, ...]] = {}
        self._clock = clock
        self._moved_at = clock()
        self._is_told = False

    def look(self) -> None:
        """Once around the runs that are not done; to be called again and again.

        What cannot be read has not moved: a storage that is away is told of like any standstill.
        """
        why = ""
        try:
            self._look_around()
        except OSError as error:
            why = f"; the storage cannot be read: {without_secrets(str(error))}"
        still_s = self._clock() - self._moved_at
        if still_s >= STANDSTILL_S and not self._is_told:
            self._is_told = True
            running = [i for i in self._open if self._places.get(i, ("",))[0] == "running"]
            text = f"nothing has moved for {still_s / 60:.0f} min ({len(running)} runs under way)"
            self._notifier.tell("nothing_moves", text + why, seconds=still_s, runs=running)

    def _look_around(self) -> None:
        for run_id, folder in list(self._open.items()):
            record = folder.record()
            beat = record.heartbeat
            place = (record.state, *((beat.attempt, beat.step, beat.stage) if beat else ()))
            if self._places.get(run_id) != place:
                self._places[run_id] = place
                self._moved_at = self._clock()
                self._is_told = False
            if record.result is not None:
                del self._open[run_id]


@contextlib.contextmanager
def watching(notifier: Notifier, folders: Iterable[RunFolder]) -> Iterator[None]:
    """Tell of a standstill while the context is open, if there is anybody to be told."""
    with contextlib.ExitStack() as stack:
        if notifier.has_listeners:
            look = Standstill(notifier, folders).look
            stack.enter_context(repeated(look, LOOK_EVERY_S, "standstill"))
        yield
