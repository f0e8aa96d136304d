"""Processes that are killed, crash, hang, or come twice."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import psutil

from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults.fault import Strike
from rml_platform.chaos.launches import title, wait_until_gone

SOON_S = 10.0
"""How long a fault looks for something to strike."""


def on_worker(signum: signal.Signals) -> Strike:
    """A signal to the process that trains one of the runs."""

    def strike(arena: Arena, rng: Random) -> str:
        run_id, pid = any_worker(arena, rng)
        psutil.Process(pid).send_signal(signum)
        return f"{signum.name} to process {pid}, which trains {run_id}"

    return strike


def any_worker(arena: Arena, rng: Random) -> tuple[str, int]:
    """Run and process number of one of the runs that are trained on this machine."""
    workers = arena.workers()
    if not workers:
        raise MissedError("no run is trained on this machine at the moment")
    run_id = rng.choice(sorted(workers))
    return run_id, workers[run_id].worker.pid


def on_actor(name: str, signum: signal.Signals) -> Strike:
    """A signal to one of Ray's processes whose title holds a name."""

    def strike(arena: Arena, rng: Random) -> str:
        found = soon(lambda: [p for p in arena.processes() if name in title(p)])
        if not found:
            raise MissedError(f"there is no process of Ray with {name} in its title")
        target = rng.choice(sorted(found, key=lambda process: process.pid))
        said = title(target)
        with suppress(psutil.NoSuchProcess):
            target.send_signal(signum)
        return f"{signum.name} to process {target.pid} ({said})"

    return strike


def soon(look: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """What is found, as soon as something is."""
    end = time.monotonic() + SOON_S
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def on_launch(signum: signal.Signals) -> Strike:
    """A signal to the launch; when it is gone, another is started at once."""

    def strike(arena: Arena, rng: Random) -> str:
        launch = arena.launches[-1]
        if launch.exit_code is not None:
            raise MissedError("the launch has ended already")
        launch.send(signum)
        if not launch.wait(arena.patience_s):
            raise arena.stuck()
        arena.launch()
        return f"{signum.name} to the launch, and another launch at once"

    return strike


def second_launch(arena: Arena, rng: Random) -> str:
    """Another launch of the same study beside the one that is under way."""
    arena.launch()
    return "a second launch beside the first"


def launch_and_follower_killed(arena: Arena, rng: Random) -> str:
    """A launch is killed while another one follows it, which takes its runs over."""
    first = arena.launches[-1]
    arena.launch()
    time.sleep(rng.uniform(2, 8))
    process = psutil.Process(first.process.pid)
    first.send(signal.SIGKILL)
    first.wait(arena.patience_s)
    wait_until_gone(process)
    return "SIGKILL to a launch that another one follows"


def worker_stopped_for_a_while(arena: Arena, rng: Random) -> str:
    """A process stands still for some seconds and goes on, as in a swap storm or on a file system
    that hangs."""
    run_id, pid = any_worker(arena, rng)
    seconds = rng.uniform(2, 6)
    worker = psutil.Process(pid)
    worker.suspend()
    try:
        time.sleep(seconds)
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.resume()
    return f"process {pid}, which trains {run_id}, stood still for {seconds:.1f} s"
