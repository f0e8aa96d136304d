"""What to do with a run that failed: pure functions from facts to a decision. The launcher gathers
the facts and obeys.

A failure that cannot get better by itself (a wrong configuration, a damaged image, a mistake in the
code, a loss that became NaN) is never retried: the run is deterministic and would fail again. What
the machine did to a run is retried, each kind with a budget of its own that a study's `retry:`
changes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rml_platform.run.faults.outages import OUTAGE, is_outage
from rml_platform.study.retry_config import Retries, RetryConfig


class FailureClass(StrEnum):
    """Why a run failed, as far as it matters for trying again."""

    CONFIG = "config"
    DATA = "data"
    CODE = "code"
    """Every error of the program that is not one of the others."""
    NON_FINITE = "non_finite"
    DISK_FULL = "disk_full"
    CANCELLED = "cancelled"
    """A person stopped it."""
    PREEMPTED = "preempted"
    """Its node went away."""
    NO_ROOM = "no_room"
    """There was no room for its workers within a minute."""
    LOST = "lost"
    """Its process died, and its node lives."""
    HANG = "hang"
    """It made no step for too long and was killed."""
    COMMUNICATION = "communication"
    """NCCL or gloo broke, and no worker died."""
    DEVICE = "device"
    """Its GPU is broken, or is not there although it was given one."""
    NODE_DISK = "node_disk"
    """The disk of its node, which is not its storage, is full or lets nothing be written."""
    STORAGE = "storage"
    """Its storage was away for longer than a worker waits for it, or timm's hub was."""
    OUT_OF_MEMORY = "out_of_memory"
    CHECKPOINT = "checkpoint"


NEVER = frozenset(
    {
        FailureClass.CONFIG,
        FailureClass.DATA,
        FailureClass.CODE,
        FailureClass.NON_FINITE,
        FailureClass.DISK_FULL,
        FailureClass.CANCELLED,
    }
)
"""Kinds that no rule makes worth another try."""
NOT_OVER_THE_RUN = frozenset(
    {
        FailureClass.PREEMPTED,
        FailureClass.NO_ROOM,
        FailureClass.NODE_DISK,
        FailureClass.STORAGE,
    }
)
"""Kinds that could have met any other run as well: this one keeps its turn."""
WORKERS_DIED = frozenset({FailureClass.LOST, FailureClass.PREEMPTED, FailureClass.COMMUNICATION})
"""Kinds that a worker may also only see because another one died."""

_BY_ERROR_TYPE = {
    "ConfigError": FailureClass.CONFIG,
    "DeviceError": FailureClass.CONFIG,
    "MissingGpuError": FailureClass.DEVICE,
    "NodeDiskError": FailureClass.NODE_DISK,
    "HubHomeError": FailureClass.NODE_DISK,
    "HubAwayError": FailureClass.STORAGE,
    "DataError": FailureClass.DATA,
    "NonFiniteLossError": FailureClass.NON_FINITE,
    "Cancelled": FailureClass.CANCELLED,
    "CheckpointError": FailureClass.CHECKPOINT,
    "OutOfMemoryError": FailureClass.OUT_OF_MEMORY,
    "MemoryError": FailureClass.OUT_OF_MEMORY,
    "ConnectionResetError": FailureClass.LOST,
    "BrokenPipeError": FailureClass.LOST,
    "DistError": FailureClass.COMMUNICATION,
    "DistNetworkError": FailureClass.COMMUNICATION,
    "DistStoreError": FailureClass.COMMUNICATION,
    "DistBackendError": FailureClass.COMMUNICATION,
}
_BY_RAYS_TYPE = {
    "WorkerCrashedError": FailureClass.LOST,
    "ActorDiedError": FailureClass.LOST,
    "ActorUnavailableError": FailureClass.LOST,
    "RayActorError": FailureClass.LOST,
    "NodeDiedError": FailureClass.PREEMPTED,
    "PreemptionError": FailureClass.PREEMPTED,
    "WorkerHealthCheckTimeoutError": FailureClass.LOST,
    "WorkerHealthCheckFailedError": FailureClass.LOST,
    "WorkerGroupStartupTimeoutError": FailureClass.NO_ROOM,
    "WorkerGroupStartupFailedError": FailureClass.LOST,
    "ObjectLostError": FailureClass.LOST,
    "OwnerDiedError": FailureClass.LOST,
}
_BY_TYPE = _BY_ERROR_TYPE | _BY_RAYS_TYPE
_OF_RAY = frozenset({*_BY_RAYS_TYPE, "RayError", "RayTrainError"})
"""Types whose text Ray wrote. Any other error's quotes what the program had to do with: paths,
hosts and keys of all kinds."""
_ANYBODY_TELLS = frozenset(
    {
        FailureClass.OUT_OF_MEMORY,
        FailureClass.DISK_FULL,
        FailureClass.STORAGE,
        FailureClass.DEVICE,
    }
)
"""Kinds that the text of an error tells whatever its type."""
_MAY_FOLLOW = (FailureClass.CODE, FailureClass.LOST, FailureClass.COMMUNICATION)
"""Kinds of error that may only follow from another one, which their text names."""
_WRITES = (FailureClass.DATA, FailureClass.CHECKPOINT)
"""Kinds of error that are also raised by who finds the disk full, or the storage away, while
reading or writing such a thing."""
_OS_ERRORS = ("OSError", "TimeoutError", "ConnectionRefusedError", "ConnectionAbortedError")
"""Types whose text says whether a storage is away. A missing file or a forbidden folder has a type
of its own, and is the code's fault or the configuration's."""
_GUESSES = re.compile(r"Some common causes include:.*")
"""What Ray writes behind every death of a process, whatever it died of: memory among others."""
_BY_MESSAGE = (
    (
        # torch and the system say of the machine's memory that it cannot be allocated.
        re.compile(
            r"out of memory|\bOOM\b|low on memory|memory pressure|can(not|'t) allocate memory|"
            r"(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED",
            re.IGNORECASE,
        ),
        FailureClass.OUT_OF_MEMORY,
    ),
    (
        re.compile(
            r"no space left on device|disk (is )?full|disk quota|file too large|ENOSPC",
            re.IGNORECASE,
        ),
        FailureClass.DISK_FULL,
    ),
    (
        re.compile(rf"\b({'|'.join(_OS_ERRORS)}): .*({OUTAGE})", re.IGNORECASE),
        FailureClass.STORAGE,
    ),
    # What is no mistake of a program. "illegal memory access" and "unspecified launch failure" may
    # be one of a kernel; ours are those of torch and its libraries, which check their indices (that
    # is told as a "device-side assert", and stays the code's), and a few tries elsewhere tell.
    (
        re.compile(
            r"uncorrectable (ECC|NVLink) error|unspecified launch failure|illegal memory access|"
            r"illegal instruction was encountered|hardware stack error|GPU is lost|"
            r"launch timed out and was terminated|"
            r"(CUDNN|CUBLAS)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|NOT_INITIALIZED)|"
            r"fallen off the bus|No CUDA GPUs are available|no CUDA-capable device|"
            r"CUDA-capable device\(s\) is/are busy|device not ready|system not yet initialized|"
            r"cudaError(DevicesUnavailable|SystemNotReady|ECCUncorrectable)|"
            r"CUDA (driver )?error: (unknown error|initialization error)|"
            r"Unexpected error from cudaGetDeviceCount|\bNVML\b|\bXid\b",
            re.IGNORECASE,
        ),
        FailureClass.DEVICE,
    ),
    (re.compile(r"WorkerGroupStartupTimeoutError"), FailureClass.NO_ROOM),
    (
        re.compile(
            # What Ray 2.60 writes. The words alone stand in names of node pools and folders too.
            r"node (has )?(died|failed)|node was (terminated|(forcibly )?preempted)|"
            r"node was inferred to be dead|node it was running on is dead|"
            r"died by preemption|node preemption|NodeDiedError|PreemptionError|marked dead",
            re.IGNORECASE,
        ),
        FailureClass.PREEMPTED,
    ),
    (
        re.compile(
            r"worker (process )?(has )?died|died unexpectedly|ActorDiedError|actor is dead", re.I
        ),
        FailureClass.LOST,
    ),
    # What gloo and NCCL say, also on the ranks that survive when one is killed.
    (
        re.compile(
            r"connection (closed|reset|refused) by peer|NCCL|gloo|"
            r"\bDist(Network|Store|Backend)Error\b|client socket has timed out|"
            r"failed to recv, got 0 bytes|waiting for clients",
            re.IGNORECASE,
        ),
        FailureClass.COMMUNICATION,
    ),
)


def class_of(error: BaseException) -> FailureClass:
    """Class of an error that is at hand, with what its types derive from."""
    return classify(tuple(c.__name__ for c in reversed(type(error).__mro__)), str(error))


def classify(error_types: Sequence[str], message: str) -> FailureClass:
    """Class of a failure from the names of its exception types (outermost first, causes after) and
    its text.

    The innermost known type decides: Ray wraps what a worker raised into errors of its own. The
    text is asked before "worker lost", because a process killed for its memory, or with its node,
    also only looks lost; and before "the connection broke", because a broken GPU breaks it, too.

    Args:
        error_types: none of them where the text is all that Ray says of a process.
    """
    known = [_BY_TYPE[name] for name in error_types if name in _BY_TYPE]
    innermost = known[-1] if known else FailureClass.CODE
    if innermost not in (*_MAY_FOLLOW, *_WRITES):
        return innermost
    facts = _GUESSES.sub("", message)
    if error_types and error_types[-1] in _OS_ERRORS:
        facts = f"{error_types[-1]}: {facts}"  # as it stands in a traceback
    tells = _told_by_text(error_types, innermost)
    by_text = next(
        (kind for pattern, kind in _BY_MESSAGE if kind in tells and pattern.search(facts)),
        FailureClass.CODE,
    )
    if innermost in _WRITES:
        if by_text is not FailureClass.DISK_FULL and is_outage(facts):
            return FailureClass.STORAGE
        return by_text if by_text is FailureClass.DISK_FULL else innermost
    return by_text if by_text is not FailureClass.CODE else innermost


def _told_by_text(error_types: Sequence[str], innermost: FailureClass) -> frozenset[FailureClass]:
    """The kinds that the text of an error may tell. Only Ray knows what became of processes and
    nodes: a program whose error has such a word in a path would be tried again without end."""
    if not error_types or not _OF_RAY.isdisjoint(error_types):
        return frozenset(FailureClass)
    # torch has no type of its own for much of what gloo and NCCL say.
    may_be_torch = error_types[-1] == "RuntimeError" or innermost in WORKERS_DIED
    return _ANYBODY_TELLS | ({FailureClass.COMMUNICATION} if may_be_torch else set())


@dataclass(frozen=True)
class Trouble:
    """One failed attempt of a run."""

    kind: FailureClass
    node: str = ""
    """Where it happened, as the cluster names its nodes; empty where that is not known."""
    led_to_halving: bool = False
    """It was answered by more micro-batches, and uses up no retry."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a run after its newest failure."""

    is_tried_again: bool = False
    avoid: tuple[str, ...] = ()
    """Nodes that the next attempt should not be on, where there are others."""
    halve_batch: bool = False
    """Cut the steps into twice as many micro-batches."""


GIVE_UP = Decision()
SPEAKS_AGAINST = frozenset(
    {
        FailureClass.LOST,
        FailureClass.HANG,
        FailureClass.COMMUNICATION,
        FailureClass.DEVICE,
        FailureClass.NODE_DISK,
    }
)
"""Kinds that, repeated on one node, are the node's."""
BLAMES_NODE = frozenset(
    {
        FailureClass.HANG,
        FailureClass.COMMUNICATION,
        FailureClass.DEVICE,
        FailureClass.NODE_DISK,
        FailureClass.OUT_OF_MEMORY,
    }
)
"""Kinds that speak against a node at once; a process that died does so the second time."""


def decide(
    history: Sequence[Trouble], rules: RetryConfig, *, can_halve_batch: bool = False
) -> Decision:
    """What becomes of a run.

    Args:
        history: its failures in this launch, the newest last; at least one.
        rules: of its study.
        can_halve_batch: whether its micro-batches can be cut once more.
    """
    kind = history[-1].kind
    wants_halving = kind is FailureClass.OUT_OF_MEMORY and rules.on_oom == "halve_batch"
    if wants_halving and can_halve_batch:
        avoid = _nodes_to_avoid(history[:-1])
        return Decision(is_tried_again=True, avoid=avoid, halve_batch=True)
    allowed = retries_for(kind, rules)
    # A run that waits for room has waited in vain only since it was under way last.
    since = _last_of_another_kind(history) if kind is FailureClass.NO_ROOM else 0
    count = sum(trouble.kind is kind and not trouble.led_to_halving for trouble in history[since:])
    if allowed != "unlimited" and count > allowed:
        return GIVE_UP
    return Decision(is_tried_again=True, avoid=_nodes_to_avoid(history))


def _last_of_another_kind(history: Sequence[Trouble]) -> int:
    """How many failures come before the newest of one kind in a row."""
    kind = history[-1].kind
    others = (number for number, trouble in enumerate(history, 1) if trouble.kind is not kind)
    return max(others, default=0)


def node_to_exclude(histories: Iterable[Sequence[Trouble]], node: str, rules: RetryConfig) -> bool:
    """Whether a whole launch should keep off a node: so many failures of several runs speak against
    it that it is more likely broken than they."""
    if rules.node_faults == "unlimited" or not node:
        return False
    against = faults_on(histories, node)
    return sum(against) >= rules.node_faults and sum(count > 0 for count in against) > 1


def faults_on(histories: Iterable[Sequence[Trouble]], node: str) -> list[int]:
    """How many failures of each run speak against a node."""
    return [
        sum(trouble.node == node and trouble.kind in SPEAKS_AGAINST for trouble in history)
        for history in histories
    ]


def retries_for(kind: FailureClass, rules: RetryConfig) -> Retries:
    """How often a kind of failure is tried again within one launch."""
    if kind in NEVER:
        return 0
    retries: Retries = getattr(rules, kind.value)
    return retries


def _nodes_to_avoid(history: Sequence[Trouble]) -> tuple[str, ...]:
    deaths = Counter(trouble.node for trouble in history if trouble.kind is FailureClass.LOST)
    blamed = {
        trouble.node
        for trouble in history
        if trouble.kind in BLAMES_NODE and not trouble.led_to_halving
    }
    return tuple(sorted((blamed | {node for node, n in deaths.items() if n > 1}) - {""}))
