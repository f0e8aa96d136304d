"""The place of one round: a study of its own, the launches that carry it out, and whatever these
stand on."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rml_dashboards.contract.run_folder import RESULT_FILE
from rml_platform.chaos.grounds import Grounds
from rml_platform.chaos.launches import MARK, POLL_S, Launch
from rml_platform.chaos.tracking_server import TrackingServer
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_trainers.errors import RmlError

MAX_LAUNCHES = 15
"""Of one round: a study that needs more of them does not come to its end."""


class MissedError(RmlError):
    """A fault that found nothing to strike: no process of that kind, no such file yet."""


class StuckError(RmlError):
    """A launch that does not come to its end."""


@dataclass(kw_only=True)
class Arena:
    """One round of one study."""

    study: Path
    options: tuple[str, ...]
    """Of every launch."""
    folder: Path
    """Of this round alone."""
    temporary: Path
    """Where what the launches put into the system's temporary folder lands."""
    steps: Mapping[str, int]
    """Run id → how many steps the run has."""
    grounds: Grounds
    tracking_uri: str
    tracking: TrackingServer | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every launch, beside what every round sets."""
    patience_s: float = 600.0
    """How long one launch may take before it counts as stuck."""
    launches: list[Launch] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    """What was done so far, and what could not be done, in words."""
    faults_done: list[str] = field(default_factory=list)
    """Names of the faults that found something to strike."""
    rewritten: set[str] = field(default_factory=set)
    """Runs whose result was written anew although nobody had damaged it."""
    forgiven: set[str] = field(default_factory=set)
    """Runs whose result a fault has damaged."""
    _results: dict[str, int] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """Output folder of the launches."""
        return self.folder / "out"

    def launch(self) -> Launch:
        """Start one more launch."""
        number = len(self.launches) + 1
        arguments = [str(self.study), "--out", str(self.out), "--tracking-uri", self.tracking_uri]
        environment = {MARK: str(self.folder), "TMPDIR": str(self.temporary), "COLUMNS": "200"}
        launch = Launch(
            [*arguments, *self.options, *self.grounds.options()],
            self.folder / f"launch-{number}.log",
            {**environment, **self.environment},
        )
        self.launches.append(launch)
        return launch

    @property
    def living(self) -> list[Launch]:
        """The launches that have not come to their end."""
        return [launch for launch in self.launches if launch.exit_code is None]

    def run(self, run_id: str) -> RunFolder:
        return RunFolder.of(str(self.out), run_id)

    def done(self) -> list[str]:
        """Ids of the runs that have a result which can be read."""
        return [run_id for run_id in self.steps if self._has_result(run_id)]

    def _has_result(self, run_id: str) -> bool:
        run = self.run(run_id)
        with suppress(DamagedFileError):
            return run.result() is not None
        return False

    def beats(self) -> Iterator[tuple[str, Heartbeat]]:
        """Last words of the runs, damaged ones left out."""
        for run_id in self.steps:
            with suppress(DamagedFileError):
                beat = self.run(run_id).heartbeat()
                if beat is not None:
                    yield run_id, beat

    def workers(self) -> dict[str, Heartbeat]:
        """Runs whose process lives and trains."""
        done = set(self.done())
        return {
            run_id: beat
            for run_id, beat in self.beats()
            if run_id not in done and beat.state == "running" and self.grounds.trains(beat)
        }

    def progress(self) -> float:
        """How much of all steps is done, from 0 to 1."""
        done = set(self.done())
        steps = sum(self.steps[run_id] for run_id in done)
        steps += sum(beat.step for run_id, beat in self.beats() if run_id not in done)
        return steps / sum(self.steps.values())

    def look(self) -> None:
        """Notice results that are written a second time."""
        for run_id in self.steps:
            file = self.out / "runs" / run_id / RESULT_FILE
            with suppress(FileNotFoundError):
                found = file.stat().st_ino
                before = self._results.setdefault(run_id, found)
                if found != before and run_id not in self.forgiven:
                    self.rewritten.add(run_id)
                self._results[run_id] = found

    def until(self, progress: float) -> bool:
        """Let the study get on; launches again what ended. False: it came to its end before.

        Raises:
            StuckError: it does not get on.
        """
        end = time.monotonic() + self.patience_s
        while len(self.done()) < len(self.steps):
            self.look()
            if self.progress() >= progress and self.workers():
                return True
            if not self.living:
                self._launch_again()
            if time.monotonic() > end:
                raise self.stuck()
            time.sleep(POLL_S)
        return False

    def bring_to_end(self, is_in_order: Callable[[], bool]) -> None:
        """Launch again until everything is done and in order, or a launch that nothing was done to
        has not made it so.

        Raises:
            StuckError: a launch does not come to its end, or too many were needed.
        """
        self.grounds.heal()
        if self.tracking is not None:
            self.tracking.heal()
        quiet_from = len(self.launches)
        end = time.monotonic() + self.patience_s
        while True:
            self.look()
            if self.living:
                if time.monotonic() > end:
                    raise self.stuck()
                time.sleep(POLL_S)
                continue
            if self.launches[-1].exit_code == 0:
                is_quiet = len(self.launches) > quiet_from
                if is_quiet or (len(self.done()) == len(self.steps) and is_in_order()):
                    return
            self._launch_again()
            end = time.monotonic() + self.patience_s

    def _launch_again(self) -> None:
        if len(self.launches) >= MAX_LAUNCHES:
            raise StuckError(f"{MAX_LAUNCHES} launches have not brought the study to its end")
        self.grounds.make_room()
        self.launch()

    def stuck(self) -> StuckError:
        said = self.launches[-1].said.strip().splitlines() if self.launches else []
        last = said[-1] if said else "nothing"
        return StuckError(
            f"a launch did not get on for {self.patience_s:.0f} s; it said last: {last}"
        )

    def end(self) -> None:
        """Kill what still lives of the launches."""
        for launch in self.launches:
            launch.end()
