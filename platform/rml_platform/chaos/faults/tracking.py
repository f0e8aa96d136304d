"""An MLflow server that is away, slow, broken, or whose answers are lost."""

import time
from random import Random

from rml_platform.chaos.arena import Arena, MissedError
from rml_platform.chaos.faults.fault import Strike
from rml_platform.chaos.tracking_server import Mode


def server_is(mode: Mode) -> Strike:
    """For some seconds; then it is as it was."""

    def strike(arena: Arena, rng: Random) -> str:
        if arena.tracking is None:
            raise MissedError("the launches of this round use no MLflow server")
        seconds = rng.uniform(3, 15)
        arena.tracking.mode = mode
        time.sleep(seconds)
        arena.tracking.heal()
        return f"MLflow {mode} for {seconds:.1f} s"

    return strike
