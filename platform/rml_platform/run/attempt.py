"""One start of one run on one rank: what it resumes from, what it trains with, what it writes down.
Knows no Ray."""

import contextlib
import functools
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch

from rml_platform.plugins import load_again
from rml_platform.run.checkpoints import CheckpointStore, SoundCheckpoint
from rml_platform.run.faults.claims import Claim, ClaimBoard, FencedError, give_back
from rml_platform.run.faults.given_device import given_device
from rml_platform.run.faults.non_finite import NonFinite, write_non_finite
from rml_platform.run.faults.outages import through_outages
from rml_platform.run.files.inputs import on_this_node
from rml_platform.run.files.node_disk import work_folder
from rml_platform.run.files.pictures import write_pictures
from rml_platform.run.files.temporary import first_free
from rml_platform.run.metric_log import MetricLog
from rml_platform.run.reporters import Heart, RunReporter, WorkerReporter, note
from rml_platform.run.run_folder import (
    DeviceMemory,
    Failure,
    Heartbeat,
    Result,
    RunFolder,
    going_on,
)
from rml_platform.run.shared_stages import SharedStages
from rml_platform.run.task import Process, RunTask
from rml_platform.system_use import SystemUse
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split, make_split
from rml_trainers.errors import ConfigError, NonFiniteLossError
from rml_trainers.runtime.device import peak_memory, watch_peak_memory
from rml_trainers.runtime.device_use import device_use
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import Progress, Reporter

T = TypeVar("T")
Outcome = Literal["done", "failed", "cancelled", "fenced"]
"""`fenced`: another launch or attempt has the run by now; nothing was written."""


class TrainerLike(Protocol):
    """What is needed of `rml_trainers.training.trainer.Trainer`."""

    def fit(self) -> tuple[Evaluation, ...]: ...


@dataclass(frozen=True, kw_only=True)
class WorkerContext:
    """Where in the machinery this process stands."""

    writer: str
    """Name of the checkpoint folder that this launch adds to."""
    rank: int = 0
    world_size: int = 1
    node: str = ""
    """Of the cluster; empty without one."""
    local_index: int = 0
    """Which of the devices that this process sees is its own."""
    agree: Callable[[Any], Any] = lambda value: value
    """Rank 0's value, on every rank; none goes on before all have asked."""


class Attempt:
    """One start of one run on one rank."""

    def __init__(self, task: RunTask, context: WorkerContext) -> None:
        self.task = task
        self.context = context
        self.run = RunFolder.of(task.storage, task.run_id)
        self.store = CheckpointStore(self.run.folder, context.writer)
        self.claims = ClaimBoard(self.run.folder)
        self.is_first = context.rank == 0
        self._worker = Process.current()  # asked twice, its times may differ by a little
        record = self.run.record()
        self.warnings = [f"{text}; it counts as absent" for text in record.damaged]
        earlier = record.heartbeat
        self._claimed_alone = False
        self._earlier = earlier
        self.number = self._attempts_before(earlier) + 1
        same_launch = earlier is not None and earlier.launch_id == task.launch_id
        self.launch_number = earlier.launch_attempt + 1 if earlier and same_launch else 1
        self.first_step = earlier.first_step if earlier else 0
        # What did not fit into memory once is not tried whole again by the next launch.
        self.micro_batches = max(task.micro_batches, earlier.micro_batches if earlier else 1)

    def _attempts_before(self, earlier: Heartbeat | None) -> int:
        """How often the run was started. Where no heartbeat tells, its checkpoints do: the number
        is a part of their names, and none may be given out twice."""
        if earlier is not None:
            return earlier.attempt
        return max((checkpoint.attempt for checkpoint in self.store.stored()), default=0)

    def outcome_so_far(self) -> Outcome | None:
        """`done` or `fenced` where there is nothing to do, else None."""
        if self.run.record().result is not None:
            return "done"
        if not self._claim():
            return "fenced"
        self.run.begin(self.task)
        return None

    def _claim(self) -> bool:
        """Make the run this attempt's. Its launch has claimed it, or nobody has; an attempt before
        this one may not write any more from here on. One that its launch has handed out later,
        because this one was taken for dead, keeps the run, whenever this one looks first."""
        held = self.claims.newest()
        claim = Claim(
            launch_id=self.task.launch_id,
            launcher=self.task.launcher,
            worker=self._worker,
            attempt=self.task.hand_out,
        )
        known = held.claim if held else None
        is_lost = known is not None and known.excludes(claim.launch_id, claim.attempt)
        is_free = known is None or known.is_given_back
        self._claimed_alone = self._claimed_alone or is_free  # asked again after an outage
        return not is_lost and self.claims.take(claim, held)

    def is_fenced(self) -> bool:
        """Whether another launch or attempt has the run by now. Only rank 0 holds a claim; the
        others see whose it is."""
        if self.is_first:
            return not self.claims.is_mine()
        held = self.claims.newest()
        known = held.claim if held else None
        return known is not None and known.excludes(self.task.launch_id, self.task.hand_out)

    def give_back(self) -> None:
        """Leave the run to anybody, unless it belongs to a launch, which does so in the end."""
        if self._claimed_alone and self.claims.is_mine():
            give_back(self.claims, self.task.launch_id)

    @functools.cached_property
    def shared_stages(self) -> SharedStages:
        """Not known before the run's plug-ins are loaded, because its configuration is not."""
        return SharedStages(self.task)

    def train(self, trainer_class: Callable[..., TrainerLike]) -> None:
        """Train what is left of the run, and write its result on the first rank.

        Raises:
            Exception: whatever comes between; the run's folder holds what was done before it.
        """
        load_again(self.task.plugins)
        with on_this_node(self.task, self._note) as self.task:
            self._train(trainer_class)

    def _note(self, text: str) -> None:
        """Write into the log before there is a reporter. Raises FencedError."""
        if self.is_first:
            self._guarded(lambda: note(self.run, "info", text))

    def _guarded(self, work: Callable[[], T]) -> T:
        """The result of work at the run's folder that may be done twice, once the storage answers,
        unless the run is another attempt's by then. Raises FencedError."""

        def checked() -> T:
            self.claims.check()
            return work()

        return through_outages(checked)

    def _train(self, trainer_class: Callable[..., TrainerLike]) -> None:
        config = self.task.config
        context = self.context
        device = given_device(self.task, context.local_index)
        if device.type == "cpu":
            torch.set_num_threads(self.task.threads(config))
        with self._scratch() as scratch, contextlib.ExitStack() as stack:
            found = self.resume_point(scratch)
            if self.is_first:
                log = MetricLog(self.run.folder)
                self._guarded(lambda: log.forget_after(found.step if found else -1))
            begin_from = None if found else self.shared_stage(scratch)
            reporter: Reporter = WorkerReporter(self.deliver)
            if self.is_first:
                beat = self._heartbeat(device, found, begin_from)
                heart = stack.enter_context(
                    Heart(self.run, beat, self.claims.is_mine, lambda: device_use(device))
                )
                reporter = RunReporter(
                    self.run,
                    heart,
                    self.deliver,
                    self.task.stop_by,
                    SystemUse(lambda: device_use(device)) if self.task.system_metrics else None,
                )
            for warning in self.warnings:
                reporter.on_note("warning", warning)
            data = PreparedData.open(self.task.prepared_path)
            trainer = trainer_class(
                config,
                data,
                self._split(config, data),
                device=device,
                reporter=reporter,
                work_dir=scratch,
                resume_from=found.folder if found else None,
                begin_from=begin_from,
                **({"micro_batches": self.micro_batches} if self.micro_batches > 1 else {}),
            )
            watch_peak_memory(device)
            evaluations = trainer.fit()
            if isinstance(reporter, RunReporter):
                reporter.close()
                self._write_pictures(scratch, data, device, reporter)
                is_whole = found is None and begin_from is None
                memory = _device_memory(device) if is_whole else None
                reporter.finish(replace(self._result(evaluations, heart, device), memory=memory))

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Working folder of this attempt on this rank: beside the run when that is local.

        After a kill nothing is left in /tmp then. What the trainer kept there is found again where
        the attempt before is known to be dead; one that may yet wake up keeps its own. Until one of
        them has given its first sign of life, two attempts may have one number: of their folders
        nobody knows which is whose, and nothing is taken over.
        """
        local = self.run.folder.local
        if local is None:
            with work_folder() as folder:
                yield folder
            return
        own = first_free(local / f"work-{self.number:03d}-{self.context.rank}")
        before = list(local.glob(f"work-{self.number - 1:03d}-0*"))
        earlier = self._earlier
        if self.is_first and earlier and earlier.worker.is_gone() and len(before) == 1:
            for kept in before[0].iterdir():
                kept.replace(own / kept.name)
            before[0].rmdir()
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)
            if self.is_first and through_outages(self.run.has_result):
                for left in local.glob("work-*"):
                    shutil.rmtree(left, ignore_errors=True)

    def _write_pictures(
        self, scratch: Path, data: PreparedData, device: torch.device, reporter: Reporter
    ) -> None:
        try:
            warn = functools.partial(reporter.on_note, "warning")
            found = through_outages(lambda: self.store.newest_sound(scratch, warn))
            if found is not None:
                of = (found.folder, self.task.config, data, device)
                self._guarded(lambda: write_pictures(self.run.folder, *of))
        except FencedError:
            raise
        # Whatever it is, the run itself is finished: it is told, and no reason to fail the run.
        except Exception as error:
            reporter.on_note(
                "warning", f"no pictures of predictions: {type(error).__name__}: {error}"
            )

    def deliver(self, progress: Progress, folder: Path | None) -> None:
        if folder is not None and self.micro_batches == 1:  # otherwise its bits are its own
            self._guarded(lambda: self.shared_stages.leave(progress.step, folder))
        self.context.agree(None)  # no rank is left behind by a step that is stored
        if folder is not None:
            self.store.save(progress.step, self.number, folder, self.claims.check)

    def resume_point(self, scratch: Path) -> SoundCheckpoint | None:
        """Newest sound checkpoint, chosen by rank 0 for all; on storage that is not local every
        rank downloads it."""
        if not self.is_first:
            name: str | None = self.context.agree(None)
            if name is None:
                return None
            writer, checkpoint = name.split("/")
            place = self.store.folder.child(writer, checkpoint)
            folder = through_outages(lambda: place.download(scratch / checkpoint))
            return SoundCheckpoint(0, name, folder)
        found = through_outages(lambda: self.store.newest_sound(scratch, self.warnings.append))
        self.context.agree(found.name if found else None)
        self._guarded(lambda: self.store.discard_newer_than(found.step if found else -1))
        return found

    def shared_stage(self, scratch: Path) -> Path | None:
        """Checkpoint of another run that begins as this one does, chosen by rank 0 for all."""
        shared = self.shared_stages
        found = None
        if self.is_first:
            found = self._guarded(lambda: shared.find(scratch, self.warnings.append))
        name: str | None = self.context.agree(found[0] if found else None)
        if found is not None or name is None:
            return found[1] if found else None
        return through_outages(lambda: shared.fetch(name, scratch))

    def failure(self, error: Exception) -> Failure:
        """Why this attempt failed. Where it met a loss that is no number, what `rml replay` needs
        is written down first."""
        message = str(error) or type(error).__name__
        if isinstance(error, NonFiniteLossError) and error.last_step is not None:
            newest = self.store.stored()[-1:]
            write_non_finite(
                self.run,
                NonFinite(
                    checkpoint=newest[0].place if newest else None,
                    checkpoint_step=newest[0].step if newest else 0,
                    first_step=error.first_step or 1,
                    last_step=error.last_step,
                    num_workers=self.context.world_size,
                    micro_batches=self.micro_batches,
                ),
            )
            message += (
                f". `rml replay {self.task.run_id}` (with --out or --storage as the launch had "
                "them) shows what became of it first"
            )
        return Failure(
            kind=type(error).__name__,
            message=message,
            traceback="".join(traceback.format_exception(error)),
            attempt=self.number,
            launch_id=self.task.launch_id,
            time=time.time(),
            node=self.context.node,
        )

    def _split(self, config: RunConfig, data: PreparedData) -> Split:
        root = Path(self.task.data_root) if self.task.data_root else None
        split = make_split(
            data.names("train"),
            config.split,
            data_root=root,
            without_label=data.names_without_label(),
            class_pixels=data.class_pixels,
        )
        if (split.hash, data.content_hash) != (self.task.split_hash, self.task.data_hash):
            raise ConfigError(
                f"run {self.task.run_id}: the prepared data in {self.task.prepared_path} or its "
                "split changed since the launch was planned; launch again"
            )
        return split

    def _heartbeat(
        self, device: torch.device, found: SoundCheckpoint | None, begin_from: Path | None
    ) -> Heartbeat:
        taken_over = self.shared_stages.step_of(begin_from.name) if begin_from else 0
        beat = Heartbeat(
            launch_id=self.task.launch_id,
            launcher=self.task.launcher,
            worker=Process.current(),
            device=_device_name(device),
            num_workers=self.context.world_size,
            attempt=self.number,
            launch_attempt=self.launch_number,
            node=self.context.node,
            micro_batches=self.micro_batches,
            num_steps=self.task.config.schedule.total_steps,
            step=found.step if found else 0,
            checkpoint_step=found.step if found else -1,
            first_step=self.first_step if found else taken_over,
        )
        return going_on(beat, self._earlier) if self._earlier else beat

    def _result(
        self, evaluations: tuple[Evaluation, ...], heart: Heart, device: torch.device
    ) -> Result:
        return Result(
            evaluations=evaluations,
            steps=self.task.config.schedule.total_steps,
            seconds=heart.seconds,
            device=_device_name(device),
            host=heart.heartbeat.worker.host,
            num_workers=self.context.world_size,
            attempt=self.number,
            code_version=self.task.code_version,
            dirty=self.task.dirty,
            time=time.time(),
            micro_batches=self.micro_batches,
        )


def _device_memory(device: torch.device) -> DeviceMemory | None:
    found = peak_memory(device)
    return None if found is None else DeviceMemory(peak_bytes=found[0], device_bytes=found[1])


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
