"""`rml launch` stopped by Ctrl-C and SIGTERM, killed, bereft of its Ray: nothing is lost, nothing
hangs, nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from rml_platform.run.run_folder import Heartbeat, RunFolder
from rml_platform.run.task import Process
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.recorded import recorded_runs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

STEPS = 2000
"""Steps of the run; so many that a fast machine is not done before it is stopped the third time."""
FEW_STEPS = 500
"""Steps of a run that is stopped once, at its first checkpoint."""
HEAD = """\
name: stopped
execution: direct
"""
REST = f"""\
  schedule: {{warm_up_steps: {STEPS}, stage_steps: []}}
  runtime: {{device: cpu, log_every_steps: 10, checkpoint_every_steps: 50, num_read_ahead: 0}}
seeds: [0]
"""
STUDY = HEAD + SMALLEST + REST


class Launch:
    """`rml launch` in a process group of its own, as a terminal starts it."""

    def __init__(self, folder: Path, *options: str, sigint_ignored: bool = False) -> None:
        """`sigint_ignored`: as a shell starts what it puts into the background."""
        self.folder = folder
        rml = Path(sys.executable).with_name("rml")
        out = str(folder / "out")
        command = [str(rml), "launch", str(folder / "study.yaml"), "--out", out, *options]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(
                signal.SIGINT, signal.SIG_IGN if sigint_ignored else signal.SIG_DFL
            ),
        )

    def wait_for_step(self, beyond: int) -> Heartbeat:
        """Heartbeat of the running run once a checkpoint beyond a step is stored."""
        while self.process.poll() is None:
            for path in (self.folder / "out" / "runs").glob("*"):
                beat = RunFolder.of(str(self.folder / "out"), path.name).heartbeat()
                if (
                    beat is not None
                    and beat.launcher.pid == self.process.pid
                    and beat.checkpoint_step > beyond
                ):
                    return beat
            time.sleep(0.1)
        raise AssertionError(self.process.communicate()[0])

    def end(self) -> tuple[int, str]:
        said, _ = self.process.communicate()
        return self.process.returncode, said


def wait_until_gone(process: Process) -> None:
    while not process.is_gone():
        time.sleep(0.1)


def test_a_launch_can_be_stopped_and_killed_and_still_finishes(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY)

    step = 0
    for attempt, (signum, expected) in enumerate({signal.SIGINT: 130, signal.SIGTERM: 143}.items()):
        stopped = Launch(tmp_path, sigint_ignored=signum != signal.SIGINT)
        beat = stopped.wait_for_step(step)
        assert beat.attempt == attempt + 1
        step = beat.checkpoint_step
        os.killpg(stopped.process.pid, signum)  # as a terminal does, and schedulers do
        code, said = stopped.end()
        assert code == expected, said
        assert "stopped" in said
        assert not re.search("Traceback|Stack trace|@ 0x", said), said
        wait_until_gone(beat.worker)

    killed = Launch(tmp_path)
    beat = killed.wait_for_step(beat.checkpoint_step)
    assert beat.attempt == 3
    killed.process.kill()
    killed.end()
    wait_until_gone(beat.worker)

    (run_id,) = (path.name for path in (tmp_path / "out" / "runs").iterdir())
    run = RunFolder.of(str(tmp_path / "out"), run_id)
    assert run.record().state == "cut_off"

    code, said = Launch(tmp_path).end()
    assert code == 0, said
    result = run.result()
    assert result is not None
    assert (result.steps, result.attempt) == (STEPS, 4)
    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    (recorded,) = recorded_runs(client)
    assert recorded.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(recorded.info.run_id, "train/loss")]
    assert sorted(steps) == list(range(10, STEPS + 1, 10))


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_launch_whose_ray_died_says_so_instead_of_waiting_for_ever(
    tmp_path: Path, part: str
) -> None:
    write_study(tmp_path, STUDY)
    launch = Launch(tmp_path, "--set", "schedule.warm_up_steps=50000")
    launch.wait_for_step(0)
    (found,) = (
        child
        for child in psutil.Process(launch.process.pid).children()
        if Path(child.cmdline()[0]).name == part
    )
    found.kill()
    code, said = launch.end()
    assert code == 75, said
    assert f"rml: Ray died on this machine ({part}; memory full?); nothing is lost" in said
    assert "Traceback" not in said


def test_a_worker_that_hangs_is_killed_and_its_run_goes_on(tmp_path: Path) -> None:
    rules = "retry: {hang: unlimited, hang_factor: 2, hang_at_least_s: 15}\n"
    write_study(tmp_path, STUDY + rules)
    launch = Launch(tmp_path, "--set", f"schedule.warm_up_steps={FEW_STEPS}")
    beat = launch.wait_for_step(0)
    os.kill(beat.worker.pid, signal.SIGSTOP)
    code, said = launch.end()
    assert code == 0, said
    words = " ".join(said.split())
    assert "has reported nothing since step" in words
    assert f"process {beat.worker.pid} on {beat.worker.host} is killed" in words
    assert "(hang)" in words
    assert beat.worker.is_gone()
    (run_id,) = (path.name for path in (tmp_path / "out" / "runs").iterdir())
    run = RunFolder.of(str(tmp_path / "out"), run_id)
    result = run.result()
    assert result is not None
    assert result.attempt > 1
    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    (recorded,) = recorded_runs(client)
    steps = [m.step for m in client.get_metric_history(recorded.info.run_id, "train/loss")]
    assert sorted(steps) == list(range(10, FEW_STEPS + 1, 10))
