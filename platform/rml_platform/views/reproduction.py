"""Recorded runs trained again here, and what came out otherwise than was recorded."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.run_alone import run_alone
from rml_platform.planning.plan import OnPrepare, PlannedRun, plan_run
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.files.record_archive import unpack_records
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.run.metric_log import history
from rml_platform.run.run_folder import Result, RunFolder
from rml_platform.run.task import RunTask
from rml_platform.views.prediction.recorded import no_such_run
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError

FOLDER = "reproduced"
"""Below an output folder: apart from its runs, among which may be the recorded ones themselves."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A recorded value that is not equal to the bit here."""

    key: str
    step: int
    recorded: float
    found: float | None
    """None: it was not measured here."""


@dataclass(frozen=True, kw_only=True)
class Reproduced:
    """A run beside its record."""

    run_id: str
    num_values: int
    """That were recorded, apart from times."""
    num_further: int
    """That came out here and were not recorded: a later version measures more."""
    differing: tuple[Difference, ...]
    """In the order of steps."""
    score: tuple[float, float]
    """mIoU in [0, 1] of the network that is scored first, recorded and found."""
    same_scores: bool
    """Whether the confusion matrices of all final evaluations are the same."""
    recorded_by: str
    """Version of the code and device that the record names."""
    found_on: str
    """Device here."""
    earlier: Path | None = None
    """Folder of the run, where it had been trained here before."""

    @property
    def is_same(self) -> bool:
        return self.same_scores and not self.differing


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What an archive says of a run, and the run that is to be trained."""

    folder: RunFolder
    planned: PlannedRun
    micro_batches: int


@contextlib.contextmanager
def recorded_runs(
    archive: Path,
    run_ids: Sequence[str],
    *,
    out: Path,
    data_root: Path | None,
    on_prepare: OnPrepare | None = None,
) -> Iterator[list[Recorded]]:
    """Runs of an archive of records, all checked, laid in a temporary folder while the context is
    open; images are prepared below `out`/cache.

    Raises:
        ConfigError: it is no such archive; it lacks one of the runs or its result; or this version
            of the program, or the images, cannot make one of them again.
        DataError: the images of one of them are not there or damaged.
    """
    with temporary_folder("rml-records-") as laid:
        unpack_records(archive, laid, str(laid))
        yield [
            _recorded(archive, str(laid), run_id, data_root, out, on_prepare)
            for run_id in dict.fromkeys(run_ids)
        ]


def reproduce(
    recorded: Recorded, *, out: Path, data_root: Path | None, console: Console
) -> Reproduced:
    """Train a run again, with as many threads and micro-batches as it had, below `out`/reproduced,
    and compare every value. A run that was cut off there goes on; one that is done there is only
    compared.

    Raises:
        ConfigError: it came to no end here.
        StorageError, HubAwayError, KeyboardInterrupt: as `run_alone`.
    """
    layout = OutputLayout(root=out / FOLDER, storage=str(out / FOLDER))
    planned = recorded.planned
    folder = RunFolder.of(layout.storage, planned.run_id)
    was_done = folder.result() is not None
    record = run_alone(
        planned,
        layout=layout,
        data_root=data_root,
        tracking_uri=NO_TRACKER,
        console=console,
        micro_batches=recorded.micro_batches,
    )
    if record.result is None:
        why = record.failure.message if record.failure else "it was stopped"
        raise ConfigError(f"run {planned.run_id} has no result here: {why}")
    compared = compare(recorded.folder, folder)
    return replace(compared, earlier=Path(folder.folder.path)) if was_done else compared


def _recorded(
    archive: Path,
    laid: str,
    run_id: str,
    data_root: Path | None,
    out: Path,
    on_prepare: OnPrepare | None,
) -> Recorded:
    folder = RunFolder.of(laid, run_id)
    task = folder.task()
    if task is None:
        raise no_such_run(run_id, laid, f"in {archive}")
    result = folder.result()
    if result is None:
        raise ConfigError(f"run {run_id} has no result in {archive}: nothing to compare with")
    if task.num_workers > 1:
        raise ConfigError(
            f"run {run_id} was trained by {task.num_workers} workers, whose sums round in another "
            "way than those of one; launch its study and compare"
        )
    # A run here has all cores of the machine, and would round in another way with their threads.
    runtime = replace(task.config.runtime, threads=task.threads(task.config))
    planned = plan_run(
        replace(task.config, runtime=runtime),
        data_root=data_root,
        cache_root=out / "cache",
        on_prepare=on_prepare,
    )
    if planned.run_id != run_id:
        raise ConfigError(f"run {run_id} cannot be made again: {_why_other(task, planned)}")
    return Recorded(folder=folder, planned=planned, micro_batches=result.micro_batches)


def _why_other(task: RunTask, planned: PlannedRun) -> str:
    """Why the recorded settings are another run here."""
    if task.run_id.startswith(f"{planned.run_id}-"):
        return f"it repeats {planned.run_id} with other rounding; name that one"
    if task.result_version != RESULT_VERSION:
        return (
            f"it has version {task.result_version} of the results, this program makes version "
            f"{RESULT_VERSION}; take the version of the code that its record names, "
            f"{task.code_version}"
        )
    if task.data_hash != planned.data_hash:
        return (
            f"its images have the hash {task.data_hash}, those here {planned.data_hash}; "
            "`--data-root` names the folder of the data sets"
        )
    if task.split_hash != planned.split_hash:
        return f"its split has the hash {task.split_hash}, here it is {planned.split_hash}"
    return f"with its settings and plug-ins it is {planned.run_id} here"


def compare(recorded: RunFolder, found: RunFolder) -> Reproduced:
    """Two finished runs, value by value.

    Raises:
        ConfigError: one of them is not finished.
        DamagedFileError: values of one of them cannot be read.
    """
    task = recorded.task()
    before = recorded.result()
    after = found.result()
    if task is None or before is None or after is None:
        raise ConfigError(f"run {found.run_id}: only runs with a result can be compared")
    old = _values(recorded)
    new = _values(found)
    differing = [
        Difference(key=key, step=step, recorded=value, found=new.get((key, step)))
        for (key, step), value in old.items()
        if new.get((key, step)) != value
    ]
    return Reproduced(
        run_id=found.run_id,
        num_values=len(old),
        num_further=len(new.keys() - old.keys()),
        differing=tuple(sorted(differing, key=lambda one: (one.step, one.key))),
        score=(before.evaluations[0].miou, after.evaluations[0].miou),
        same_scores=_confusions(before) == _confusions(after),
        recorded_by=f"code {task.code_version} on {before.device}",
        found_on=after.device,
    )


def _values(run: RunFolder) -> dict[tuple[str, int], float]:
    """Everything that was measured, by metric and step."""

    def refuse(text: str) -> None:
        raise DamagedFileError(f"run {run.run_id}: {text}")

    return {(key, step): value for key, step, value in history(run.folder, refuse)}


def _confusions(result: Result) -> dict[tuple[str, str], Any]:
    """Pixel counts of each evaluation, by protocol and images."""
    return {(one.protocol, one.subset): one.confusion.tolist() for one in result.evaluations}


def told(run: Reproduced) -> str:
    """A line for a person."""
    if run.is_same:
        text = f"all {run.num_values} values and the scores are equal to the bit"
    else:
        text = _told_differences(run)
    if run.num_further:
        text += f"; {run.num_further} that are measured today were not recorded"
    if run.earlier is not None:
        text += f"; it had been trained here before: remove {run.earlier} to train it again"
    return f"{run.run_id}: {text}"


def _told_differences(run: Reproduced) -> str:
    before, after = (f"{100 * score:.2f}" for score in run.score)
    text = (
        f"mIoU {before} recorded by {run.recorded_by}, {after} here on {run.found_on}; "
        f"{len(run.differing)} of {run.num_values} values differ"
    )
    if run.differing:
        first = run.differing[0]
        here = "none" if first.found is None else f"{first.found:.9g}"
        text += (
            f", first at step {first.step}: {first.key} {first.recorded:.9g} recorded, {here} here"
        )
    return text
