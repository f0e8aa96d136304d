"""What a fault is."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rml_platform.chaos.arena import Arena

PROCESS = "process"
LOCAL = "local"
CLUSTER = "cluster"
GROUNDS = (PROCESS, LOCAL, CLUSTER)
"""One process (`--without-ray`), a Ray of the launch's own, and a cluster."""

Strike = Callable[[Arena, Random], str]
"""Does the fault while runs are trained; returns what it did, in words. Raises MissedError."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way in which something goes wrong."""

    what: str
    """In a few words, for the list of faults."""
    strike: Strike
    grounds: tuple[str, ...] = GROUNDS
    needs_server: bool = False
    """It is done to an MLflow server, so there has to be one."""
    owns_cluster: bool = False
    """It breaks nodes, which is done to a cluster of chaos's own only."""
    needs_hook: bool = False
    """Processes have to be started with a hook for it (`holding.py`), so it is not done where they
    are started by a cluster that was there before."""
