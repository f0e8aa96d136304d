"""Processes that are killed, crash, hang, or come twice."""

import contextlib
import signal
import time
from random import Random

import psutil

from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults.fault import Strike
from rml_platform.chaos.holding import HOLD_S, awaits_signal, hold_signal
from rml_platform.chaos.launches import is_at_rest, wait_until_gone
from rml_platform.chaos.targets import Target

CRASHES = (signal.SIGSEGV, signal.SIGABRT)
"""A process that one of them ends says where it was."""

STANDS_STILL_S = 150.0
"""Longer than a run may be silent in a round (`retry.hang_at_least_s` of `monkey.QUICK_RULES`)."""


def on_worker(signum: signal.Signals) -> Strike:
    """A signal to the process that trains one of the runs."""

    def strike(arena: Arena, rng: Random) -> str:
        run_id, target = any_worker(arena, rng)
        _send(target, signum)
        return f"{signum.name} to {target}, which trains {run_id}"

    return strike


def any_worker(arena: Arena, rng: Random) -> tuple[str, Target]:
    """One of the runs that are trained, and the process that does so."""
    workers = arena.workers()
    if not workers:
        raise MissedError("no run is trained at the moment")
    run_id = rng.choice(sorted(workers))
    return run_id, arena.grounds.trainer(workers[run_id])


def on_actor(name: str, signum: signal.Signals) -> Strike:
    """A signal to one of Ray's processes whose title holds a name."""

    def strike(arena: Arena, rng: Random) -> str:
        found = arena.grounds.actors(name, arena.living)
        if not found:
            raise MissedError(f"there is no process of Ray with {name} in its title")
        target = rng.choice(sorted(found, key=lambda one: (one.node, one.process.pid)))
        _send(target, signum)
        return f"{signum.name} to {target} ({target.name})"

    return strike


def _send(target: Target, signum: int) -> None:
    if not target.send(signum):
        raise MissedError(f"{target} had ended by then")


def on_launch(signum: signal.Signals) -> Strike:
    """A signal to the launch; when it is gone, another is started at once."""

    def strike(arena: Arena, rng: Random) -> str:
        launch = arena.launches[-1]
        if launch.exit_code is not None:
            raise MissedError("the launch has ended already")
        launch.is_crash_meant = signum in CRASHES
        launch.send(signum)
        if not launch.wait(arena.patience_s):
            raise arena.stuck()
        arena.launch()
        return f"{signum.name} to the launch, and another launch at once"

    return strike


def launch_paused(arena: Arena, rng: Random) -> str:
    """A launch and all that it has started stand still, as on a machine that is suspended or in a
    container that is paused: no run of it has hung."""
    launch = arena.launches[-1]
    if launch.exit_code is not None:
        raise MissedError("the launch has ended already")
    stopped = launch.stand_still()
    moving = sum(not is_at_rest(process) for process in stopped)
    try:
        time.sleep(STANDS_STILL_S)
    finally:
        for process in reversed(stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    text = f"{len(stopped)} processes of the launch stood still for {STANDS_STILL_S:.0f} s"
    return f"{text}, but for {moving} that did not stop" if moving else text


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
    run_id, target = any_worker(arena, rng)
    seconds = rng.uniform(2, 6)
    _send(target, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        target.send(signal.SIGCONT)
    return f"{target}, which trains {run_id}, stood still for {seconds:.1f} s"


def worker_locked(arena: Arena, rng: Random) -> str:
    """A call into C holds Python's lock for more than a minute: no thread of Python says anything,
    while those of Ray, which are C++, answer."""
    run_id, target = any_worker(arena, rng)
    if not awaits_signal(target.process.pid):
        raise MissedError(f"{target} was not started with the hook, or had ended by then")
    _send(target, hold_signal())
    time.sleep(HOLD_S)
    return f"{target}, which trains {run_id}, held Python's lock for {HOLD_S} s"
