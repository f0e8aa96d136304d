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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

import requests

from rml_dashboards.contract.states import CANCELLED
from rml_dashboards.contract.uris import without_secrets
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_trainers.errors import ConfigError

Event = Literal["study_ended", "run_failed", "nothing_moves"]
TIMEOUT_S = 10.0
GOODBYE_S = 20.0
"""How long a launch that is over waits for what it still has to say."""
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
            self._thread.join(GOODBYE_S)

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
) -> Iterator[Notifier]:
    """A notifier for a launch, which tells what became of each study when the context ends.

    Args:
        studies: ids of the runs of each study.
        report: as the launch fills it.
    """
    with Notifier(urls, launch_id, on_note) as notifier:
        is_whole = False
        try:
            yield notifier
            is_whole = True
        finally:
            for study, run_ids in studies.items():
                tell_end(notifier, study, report.of(run_ids), is_whole=is_whole)


def tell_end(
    notifier: Notifier, study: str, report: LaunchReport, *, is_whole: bool = True
) -> None:
    """Tell that a launch is through with a study; `is_whole`: it was not stopped on the way."""
    counts = {
        "done": len(report.done) + len(report.done_before) + len(report.done_elsewhere),
        "failed": len(report.failed),
        "left": len(report.left),
        "running_elsewhere": len(report.running_elsewhere),
    }
    parts = ", ".join(
        f"{count} {what.replace('_', ' ')}" for what, count in counts.items() if count
    )
    how = "ended" if is_whole else "was stopped"
    notifier.tell("study_ended", f"{study} {how}: {parts}", study=study, counts=counts)


def tell_failure(notifier: Notifier, run_id: str, record: RunRecord) -> None:
    """Tell that a run failed and is not tried again; one that somebody stopped did not fail."""
    failure = record.failure
    if failure is None:
        notifier.tell("run_failed", f"{run_id} failed: its process was lost", run_id=run_id)
    elif failure.kind != CANCELLED:
        why = f"{failure.kind}: {failure.message.splitlines()[0] if failure.message else ''}"
        text = without_secrets(f"{run_id} failed: {why}")
        notifier.tell("run_failed", text, run_id=run_id, kind=failure.kind)


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
