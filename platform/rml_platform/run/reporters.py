"""Reporters of the platform: what a run tells its folder, and how its checkpoints reach the
storage."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from rml_dashboards.contract.metric_keys import TRAIN, VAL, score_metrics
from rml_platform.run.faults.claims import FencedError
from rml_platform.run.faults.outages import through_outages
from rml_platform.run.metric_log import MetricLog
from rml_platform.run.run_folder import Heartbeat, Result, RunFolder, StopWish
from rml_trainers.errors import RmlError
from rml_trainers.runtime.device_use import DeviceUse
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import Progress

Deliver = Callable[[Progress, Path | None], None]
"""Brings a checkpoint folder (None off rank 0) into the storage; every rank calls it."""

WRITE_EVERY_S = 2.0
ALIVE_EVERY_S = 15.0


DEADLINE = "deadline"


class Cancelled(RmlError):
    """Somebody asked the run to stop; launching again goes on from its newest checkpoint."""


class Heart:
    """Keeps heartbeat.json fresh from a thread of its own, so that a long evaluation does not look
    like death.

    The same thread looks for the wish to cancel, so that training never waits for the storage.
    """

    def __init__(
        self,
        run: RunFolder,
        heartbeat: Heartbeat,
        holds: Callable[[], bool] = lambda: True,
        device_use: Callable[[], DeviceUse | None] = lambda: None,
    ) -> None:
        """
        Args:
            holds: whether the run still is this attempt's to write to.
            device_use: what the process uses of its device.
        """
        self.run = run
        self.heartbeat = heartbeat
        self.stop_wish: StopWish = "never"
        self.is_fenced = False
        self._holds = holds
        self._device_use = device_use
        self._started = time.monotonic()
        self._seconds_before = heartbeat.seconds
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def update(self, **changes: object) -> None:
        self.heartbeat = replace(self.heartbeat, **changes)  # type: ignore[arg-type]
        self._changed.set()

    @property
    def seconds(self) -> float:
        """Wall time spent on the run, earlier attempts included."""
        return self._seconds_before + time.monotonic() - self._started

    def end_start_up(self, step: int) -> None:
        """This attempt reports steps for the first time: where it is."""
        beat = self.heartbeat
        own_s = self.seconds - self._seconds_before
        made = step - max(beat.step, beat.first_step)
        self.update(start_up_s=beat.start_up_s + own_s, start_up_steps=beat.start_up_steps + made)

    def write(self) -> None:
        self.check()
        use = self._device_use()
        beat = replace(
            self.heartbeat,
            seconds=self.seconds,
            gpu_percent=use.busy_percent if use else None,
            gpu_memory_bytes=use.memory_bytes if use else None,
        )
        self.run.write_heartbeat(beat)

    def check(self) -> None:
        """Raises FencedError when the run is another attempt's by now."""
        self.is_fenced = self.is_fenced or not self._holds()
        if self.is_fenced:
            raise FencedError(f"another attempt is at run {self.run.run_id} by now")

    def _beat(self) -> None:
        while not self._stop.is_set():
            self._changed.wait(ALIVE_EVERY_S)
            self._changed.clear()
            if not self._stop.is_set():
                self._try_write()
            self._stop.wait(WRITE_EVERY_S)

    def _try_write(self) -> None:
        """A full disk or a storage that is away for a moment must not end a run over its
        heartbeat."""
        try:
            self.write()
            self.stop_wish = self.run.stop_requested()
        except FencedError:
            self._stop.set()  # the trainer finds it at its next report
        except OSError:
            self._changed.set()

    def __enter__(self) -> "Heart":
        through_outages(self.write)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._changed.set()
        self._thread.join()
        self.heartbeat = replace(self.heartbeat, state="stopped")
        self._try_write()


class WorkerReporter:
    """Reporter of the ranks other than 0: takes part in delivering checkpoints, says nothing."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None: ...

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None: ...

    def on_note(self, kind: str, text: str) -> None: ...

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        self._deliver(progress, folder)


def note(run: RunFolder, kind: str, text: str) -> None:
    """Add a line to the log of a run that has no reporter yet."""
    before = run.folder.read("log.txt") or b""
    run.folder.write("log.txt", before + f"{_log_line(kind, text)}\n".encode())


def _log_line(kind: str, text: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {kind}: {' '.join(text.split())}"


class RunReporter(WorkerReporter):
    """Reporter of rank 0: heartbeat, metrics, notes, the wish to cancel, and the order around a
    checkpoint."""

    def __init__(
        self,
        run: RunFolder,
        heart: Heart,
        deliver: Deliver,
        stop_by: float | None = None,
        system_use: Callable[[], dict[str, float]] | None = None,
    ) -> None:
        """
        Args:
            stop_by: Unix time at which the run has to have stopped, done or not.
            system_use: what else is measured wherever steps report, by full key.
        """
        super().__init__(deliver)
        self._system_use = system_use
        self._stop_by = stop_by
        self._saved_at = time.time()
        self._run = run
        self._heart = heart
        self._has_reported = False
        self.metrics = MetricLog(run.folder)
        log = through_outages(lambda: run.folder.read("log.txt")) or b""
        # What is damaged in it is no reason to fail a run.
        self._notes = [line for line in log.decode(errors="replace").splitlines() if line]

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None:
        if not self._has_reported:
            self._heart.end_start_up(progress.step)
            self._has_reported = True
        speed = (
            {"seconds_per_step": progress.seconds_per_step} if progress.seconds_per_step > 0 else {}
        )
        own = {f"{TRAIN}/{key}": value for key, value in (scalars | speed).items()}
        self.metrics.add(progress.step, own | (self._system_use() if self._system_use else {}))
        loss = scalars.get("loss", math.nan)
        self._advance(progress, loss=loss if math.isfinite(loss) else None)
        if self._heart.is_fenced:
            self._heart.check()
        if self._heart.stop_wish == "report":
            raise Cancelled(f"cancelled at step {progress.step} of {progress.num_steps}")
        if self._stop_by is not None and time.time() > self._stop_by:
            raise Cancelled(f"stopped at step {progress.step} of {progress.num_steps}: {DEADLINE}")

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None:
        self.metrics.add(progress.step, score_metrics(evaluations, VAL))
        self._advance(progress, miou=evaluations[0].miou)

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        """Metrics first, then the checkpoint: whatever moment the process dies at, no value is lost
        or told twice. Neither is written once another attempt has the run."""
        self._write(lambda: self.metrics.close_piece(progress.step))
        self._deliver(progress, folder)
        self._advance(progress, checkpoint_step=progress.step)
        if progress.step < progress.num_steps:
            self._stop_here(progress)

    def close(self) -> None:
        """Write the rest of a finished run's metrics. Raises FencedError."""
        self._write(self.metrics.close)

    def finish(self, result: Result) -> None:
        """Write the result of a finished run. Raises FencedError."""
        self._write(lambda: self._run.write_result(result))

    def _write(self, work: Callable[[], None]) -> None:
        """Write something that may be written twice, once the storage answers, unless the run is
        another attempt's by then. Raises FencedError."""

        def checked() -> None:
            self._heart.check()
            work()

        through_outages(checked)

    def _stop_here(self, progress: Progress) -> None:
        """Stop where nothing is lost, if somebody asks for it or the next checkpoint would come
        after the deadline."""
        now = time.time()
        pause = now - self._saved_at
        self._saved_at = now
        where = f"after the checkpoint of step {progress.step} of {progress.num_steps}"
        if self._heart.stop_wish != "never":
            why = through_outages(self._run.why_stopped)
            raise Cancelled(f"stopped {where}: {why}" if why else f"cancelled {where}")
        if self._stop_by is not None and now + pause > self._stop_by:
            raise Cancelled(f"stopped {where}: {DEADLINE}")

    def on_note(self, kind: str, text: str) -> None:
        self._notes.append(_log_line(kind, text))
        content = ("\n".join(self._notes) + "\n").encode()
        self._write(lambda: self._run.folder.write("log.txt", content))

    def _advance(self, progress: Progress, **more: object) -> None:
        place = {
            key: getattr(progress, key) for key in ("stage", "num_stages", "step", "num_steps")
        }
        if progress.seconds_per_step > 0:
            place["seconds_per_step"] = progress.seconds_per_step
        self._heart.update(
            **place, **{key: value for key, value in more.items() if value is not None}
        )
