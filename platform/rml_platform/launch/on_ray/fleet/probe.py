"""What a node has to say of itself before a run is sent there: a tiny task on each, without a core
of its own."""

import contextlib
import importlib.metadata
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rml_platform.environment import code_hash, package_version
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.launch.on_ray.nodes import get_within
from rml_platform.plugins import hash_here
from rml_platform.run.faults.lease import LAUNCHES
from rml_platform.run.files.inputs import in_place
from rml_platform.run.files.node_disk import check_temporary
from rml_platform.run.files.temporary import sweep
from rml_platform.run.storage import Folder
from rml_platform.run.task import StoredInput
from rml_trainers.errors import RmlError
from rml_trainers.settings.plugins import Plugin

DECIDING = ("torchvision", "timm", "numpy", "pyarrow")
"""Packages beside torch of which another version may build another network, resize, draw or read
otherwise: the same run id would stand for another run. By pyarrow's words an outage of the storage
is told from a mistake, too."""
ANSWER_WITHIN_S = 180.0
"""A process of Ray takes seconds to start, and a minute on a machine that is very busy."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a node."""

    storage: str
    launch_id: str
    """Its sign of life lies in the storage."""
    plugins: tuple[Plugin, ...]
    inputs: tuple[StoredInput, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a node has to say."""

    version: str
    code: str
    """`code_hash`."""
    python: str
    torch: str
    packages: Mapping[str, str]
    """Those of `DECIDING`, with their versions; "missing" where one is not installed."""
    plugins: Mapping[str, str]
    """Location → hash of the content, or why there is none."""
    storage_error: str
    """Empty where the storage is the launcher's."""
    disk_error: str
    """Empty where what has to be written to disks of the node's own can be."""
    lacking: frozenset[str]
    """Names of the inputs that are not in place."""


@dataclass(frozen=True)
class NoAnswer:
    """A node that gave no answer, and why."""

    reason: str
    is_silent: bool = False
    """It said nothing at all, because it died, is very busy or lost the process that was asked: it
    may yet answer."""


SILENT = (
    ray.exceptions.GetTimeoutError,
    ray.exceptions.LocalRayletDiedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.TaskUnschedulableError,
    ray.exceptions.WorkerCrashedError,
)
"""What Ray says of a task that came to no end of its own."""


def answer(question: Question) -> Answer:
    """This machine's answer. It first removes the temporary folders that killed processes have left
    on it, which may hold whole checkpoints: no run need come here that would."""
    with contextlib.suppress(FileNotFoundError):  # no usable temporary folder, which is told below
        sweep()
    lacking = frozenset(one.name for one in question.inputs if in_place(one) is None)
    return Answer(
        version=package_version("rml"),
        code=code_hash(),
        python=".".join(map(str, sys.version_info[:2])),
        torch=_public_version("torch"),
        packages={name: _public_version(name) for name in DECIDING},
        plugins={plugin.location: _hash_or_reason(plugin) for plugin in question.plugins},
        storage_error=_storage_error(question),
        disk_error=_disk_error(question, lacking),
        lacking=lacking,
    )


def ask(nodes: Iterable[Node], question: Question) -> dict[str, Answer | NoAnswer]:
    """The answers of nodes, by id; all are asked at once."""
    task = ray.remote(num_cpus=0, max_retries=0)(answer)
    asked: dict[str, Any] = {}
    for node in nodes:
        on_it = NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        asked[node.id] = task.options(scheduling_strategy=on_it).remote(question)
    until_s = time.monotonic() + ANSWER_WITHIN_S
    return {id_: _answered(reference, until_s) for id_, reference in asked.items()}


def _answered(reference: Any, until_s: float) -> Answer | NoAnswer:
    try:
        found: Answer = get_within(reference, max(0.0, until_s - time.monotonic()))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(reference, force=True)
        return NoAnswer(f"gave no answer within {ANSWER_WITHIN_S:.0f} s", is_silent=True)
    except SILENT as error:
        return NoAnswer(f"gave no answer ({_last_line(error)})", is_silent=True)
    except ray.exceptions.RuntimeEnvSetupError as error:
        return NoAnswer(f"could not take the code that was sent along ({_last_line(error)})")
    except ray.exceptions.RayError as error:
        # A function that cannot be imported there, or an error of an rml that is not ours.
        return NoAnswer(f"has no rml, or one that does not understand this ({_last_line(error)})")
    return found


def _last_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason")


def _public_version(package: str) -> str:
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _hash_or_reason(plugin: Plugin) -> str:
    try:
        return hash_here(plugin)
    except RmlError as error:
        return str(error)


def _disk_error(question: Question, lacking: Collection[str]) -> str:
    """Asked only for what runs would write: a home that nobody may write to, as clusters have, is
    right where everything is in place."""
    try:
        if "://" in question.storage:
            check_temporary()
        if lacking:
            # Here, because its locks are those of POSIX, which this room does without.
            from rml_platform.run.files.node_cache import NodeCache

            NodeCache.of_this_node().check(lacking)
    except RmlError as error:
        return str(error)
    return ""


def _storage_error(question: Question) -> str:
    try:
        sign = Folder.open(question.storage).child(LAUNCHES).read(f"{question.launch_id}.json")
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if sign is not None else "it does not find there what this launch has written"
