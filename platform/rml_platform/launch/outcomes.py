"""Around a launch: which runs it is to carry out, and what became of them."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rml_dashboards.contract.uris import without_secrets
from rml_platform.launch.scheduling.search import BY_THE_SEARCH
from rml_platform.launch.scheduling.wishes import CANCELLED
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.faults.ending import Ending
from rml_platform.run.faults.outages import is_outage
from rml_platform.run.run_folder import Failure, RunFolder, RunRecord
from rml_trainers.errors import RmlError, is_disk_full
from rml_trainers.settings.plugins import plugins_with_metrics

OVER_BUDGET = 3
"""Exit code of a launch that a budget or a deadline ended with runs left."""


@dataclass(kw_only=True)
class LaunchReport:
    """What became of a launch: run ids by outcome."""

    done: list[str] = field(default_factory=list)
    """Finished in this launch."""
    done_before: list[str] = field(default_factory=list)
    done_elsewhere: list[str] = field(default_factory=list)
    """Finished by another launch while this one followed it."""
    running_elsewhere: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    """Stopped on the way or never started; launching again goes on with them."""
    held_back: dict[str, str] = field(default_factory=dict)
    """Those of them that were not started for a reason of their own, and those of another launch
    that the deadline ended this one before, with the reason."""
    untracked: list[str] = field(default_factory=list)
    """Not yet in MLflow, because it was away; the next launch sends them."""
    stopped_with: int | None = None
    """Exit code of the stop (Ctrl-C: 130, SIGTERM: 143, SIGHUP: 129), None where nobody asked for
    one."""
    seconds: float = 0.0

    def settled(self) -> set[str]:
        """Ids of the runs of which it is known what became of them."""
        lists = (self.done, self.done_before, self.done_elsewhere, self.left)
        return {run_id for ids in lists for run_id in ids} | self.failed.keys()

    def of(self, run_ids: Collection[str]) -> "LaunchReport":
        """The report about some of the runs, such as those of one study."""
        own: dict[str, Any] = {}
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, list):
                own[part.name] = [run_id for run_id in value if run_id in run_ids]
            elif isinstance(value, dict):
                own[part.name] = {i: what for i, what in value.items() if i in run_ids}
        return replace(self, **own)

    @property
    def exit_code(self) -> int:
        """What the command line ends with: 0 all well, 1 a run failed, 3 a budget or deadline
        left runs, 128 + n stopped by signal n."""
        if self.stopped_with is not None:
            return self.stopped_with
        if self.failed:
            return 1
        return OVER_BUDGET if self.over_budget else 0

    @property
    def over_budget(self) -> dict[str, str]:
        """Runs that a budget or a deadline left, with what it says."""
        left = self.held_back.keys() - self.by_the_search.keys()
        return {i: why for i, why in self.held_back.items() if i in left and why != CANCELLED}

    @property
    def by_the_search(self) -> dict[str, str]:
        """Runs that the search of their study stopped, with what it says."""
        return {i: why for i, why in self.held_back.items() if why.startswith(BY_THE_SEARCH)}


def triage(
    folders: Mapping[str, RunFolder], report: LaunchReport, on_note: Callable[[str], None]
) -> list[str]:
    """Ids of the runs that have no result yet; the others go to the report. `on_note` is told about
    files of a run that are damaged."""
    pending = []
    for run_id, folder in folders.items():
        record = folder.record()
        for text in record.damaged:
            on_note(f"{text}; it counts as absent")
        if record.result is not None:
            report.done_before.append(run_id)
        else:
            pending.append(run_id)
    return pending


def note_old_metrics(done: Iterable[RunFolder], on_note: Callable[[str], None]) -> None:
    """Tell which finished runs were scored without a plug-in with metrics that is loaded now, or
    with another content of it: their records stay as they are."""
    now = set(plugins_with_metrics())
    if not now:
        return
    for run in done:
        try:
            task = run.task()
        except DamagedFileError:  # told by the publisher, which needs it more
            continue
        for plugin in sorted(now - set(task.plugins if task else ()), key=lambda p: p.name):
            on_note(
                f"{run.run_id} was scored before plug-in {plugin.name} had its present content "
                f"({plugin.hash}); what is recorded of the run stays as it is"
            )


def write_losses(lost: Mapping[str, str], folders: Mapping[str, RunFolder], launch_id: str) -> None:
    """Note what Ray says about runs that could not write down their failure themselves."""
    for run_id, text in lost.items():
        record = folders[run_id].record()
        if record.result is None and record.failure_of(launch_id) is None:
            attempt = record.heartbeat.attempt if record.heartbeat else 0
            last_line = text.strip().splitlines()[-1] if text.strip() else "no reason given"
            folders[run_id].write_failure(
                Failure(
                    kind="WorkerLost",
                    message=f"its process was lost: {last_line}",
                    traceback=text,
                    attempt=attempt,
                    launch_id=launch_id,
                    time=time.time(),
                )
            )


def close_all(
    runs: Sequence[RunFolder], launch_id: str, report: LaunchReport, ending: Ending
) -> None:
    """Sort runs into the report, and say in their folders that whoever of this launch was at them
    is gone now. A run of which the storage does not tell how it stands counts as left."""
    folders = {run.run_id: run for run in runs}
    records = ending.of_each(lambda run_id: folders[run_id].record(), folders)
    for run_id in folders:
        _sort_in(run_id, records.get(run_id), launch_id, report)
    beats = {
        run_id: record.heartbeat
        for run_id, record in records.items()
        if record.result is None
        and record.heartbeat is not None
        and record.heartbeat.launch_id == launch_id
    }
    ending.of_each(
        lambda run_id: folders[run_id].write_heartbeat(replace(beats[run_id], state="stopped")),
        beats,
    )


def _sort_in(run_id: str, record: RunRecord | None, launch_id: str, report: LaunchReport) -> None:
    failure = record.failure_of(launch_id) if record is not None else None
    if record is not None and record.result is not None:
        report.done.append(run_id)
    elif failure is not None and failure.kind != "Cancelled":
        report.failed[run_id] = failure
    else:
        report.left.append(run_id)


class StorageError(RmlError):
    """The storage, or the disk of the launch, lets nothing be written or read."""


def storage_error(error: OSError, storage: str) -> StorageError:
    """An error of the system as a sentence for a person."""
    what = without_secrets(f"{storage}: {error}")
    advice = "Mend that"
    if is_disk_full(error):
        advice = "The disk is full: free some space"
    elif is_outage(str(error)):
        advice = "The storage is away: see that it answers"
    return StorageError(f"{what}. {advice} and launch again; what the runs have stored is kept")


@contextlib.contextmanager
def told_as_one_sentence(storage: str) -> Iterator[None]:
    """A disk that is full, or a storage that stays away, ends what is done in the context with a
    sentence instead of a traceback. Raises StorageError."""
    try:
        yield
    except OSError as error:
        if not (is_disk_full(error) or is_outage(str(error))):
            raise
        raise storage_error(error, storage) from error
