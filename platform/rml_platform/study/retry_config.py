"""`retry:` of a study: how often each kind of failure is tried again within one launch."""

from typing import Literal

from rml_trainers.configuration import configuration, require

Retries = int | Literal["unlimited"]


@configuration
class RetryConfig:
    """Retries per kind of failure, and when a run counts as hung.

    A new launch starts afresh: a person asked for it. Wrong configurations, damaged data, errors of
    the code, a full storage and a loss that is not a number are never tried again: the run is
    deterministic and would fail again.
    """

    preempted: Retries = "unlimited"
    """Its node went away or was drained."""
    no_room: Retries = "unlimited"
    """There was no room for its workers, for about a minute each time; a number is counted from the
    last time that it was under way. Its launch says what it waits for; one whose nodes can never
    hold it is refused before anything starts."""
    lost: Retries = 5
    """Its process died and its node lives."""
    hang: Retries = 2
    """It made no step for too long and was killed."""
    communication: Retries = 3
    """NCCL or gloo broke although no worker died."""
    device: Retries = 2
    """Its GPU is broken, or is not there although the cluster gave it one; on another node."""
    node_disk: Retries = 2
    """The disk of its node (cache, temporary folder, timm's cache) is full or lets nothing be
    written; on another node. Where the storage itself is full, nothing is tried again."""
    storage: Retries = 5
    """The storage was away for more than two minutes, for which a worker waits by itself; or timm's
    hub did not give the weights of a network."""
    out_of_memory: Retries = 1
    """A neighbour on the same device may have gone; its own need does not shrink."""
    on_oom: Literal["elsewhere", "halve_batch"] = "elsewhere"
    """`halve_batch` cuts each step's images into twice as many micro-batches, again and again as
    long as they can be cut, before `out_of_memory` counts. That changes the result a little
    (BatchNorm sees smaller batches), so the table marks such runs."""
    checkpoint: Retries = 2
    """A damaged checkpoint came into use; each retry falls back to an older one, and two are
    kept."""
    node_faults: Retries = 3
    """From so many failures of several runs on one node on (processes that died or hung, broken
    GPUs, disks or communication) the whole launch keeps off it where there are others."""
    hang_factor: float = 20.0
    """A run is hung when it reports nothing for so many times the longest pause between two of its
    reports so far, evaluations and checkpoints included …"""
    hang_at_least_s: float = 1800.0
    """… and for at least so many seconds: also the time to the first report, with compilation and
    reading."""

    def __post_init__(self) -> None:
        counted = ("preempted", "no_room", "lost", "hang", "communication", "device")
        for name in (
            *counted,
            "node_disk",
            "storage",
            "out_of_memory",
            "checkpoint",
            "node_faults",
        ):
            retries = getattr(self, name)
            require(
                retries == "unlimited" or retries >= 0,
                name,
                retries,
                "unlimited, or a number of retries",
            )
        require(self.hang_factor >= 2, "hang_factor", self.hang_factor, "at least 2")
        require(
            self.hang_at_least_s > 0, "hang_at_least_s", self.hang_at_least_s, "a positive number"
        )
