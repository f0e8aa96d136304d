"""Several runs on one GPU: only where what a run takes of its memory has been measured, because
nothing keeps one run from taking the memory of another."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rml_dashboards.contract.run_folder import RUNS
from rml_platform.planning.costs.measured import is_of_kind
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.run_folder import DeviceMemory, RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_trainers.errors import ConfigError

OUTSIDE_BYTES = 1_000_000_000
"""Of a process beside what torch reserves: the CUDA context, libraries, fragments."""
_NO_MATTER = ("seed", "split", "schedule", "runtime.threads", "runtime.log_every_steps")
"""Settings that decide nothing about the memory of a step."""


@dataclass(frozen=True)
class Measured:
    """What a finished run took."""

    run_id: str
    device: str
    memory: DeviceMemory


def check_share(tasks: Sequence[RunTask], kinds: Iterable[str]) -> None:
    """Refuse a part of a GPU that is not known to be enough for each of the runs.

    Args:
        tasks: with their resources; all of one storage.
        kinds: of GPU that the cluster has and a run may get, as Ray names them.
    Raises:
        ConfigError: no run like one of these was measured on this kind of GPU, or it took more.
    """
    share = tasks[0].gpus_per_worker
    if not 0 < share < 1:
        return
    names = sorted({tasks[0].accelerator} if tasks[0].accelerator else set(kinds))
    if len(names) > 1:
        raise ConfigError(
            f"resources.gpus_per_worker = {share:g}: the cluster has GPUs of several kinds "
            f"({', '.join(names)}); say which one with resources.accelerator"
        )
    by_kind = {_kind_of(task): task for task in tasks}
    for kind, task in by_kind.items():
        found = [m for m in _measured(task, kind) if all(is_of_kind(m.device, n) for n in names)]
        if not found:
            where = f" on a whole {names[0]}" if names else " on a whole GPU"
            raise ConfigError(
                f"resources.gpus_per_worker = {share:g}: no run like {task.run_id} has been "
                f"measured{where}. Train one without a break first, for example with --set "
                "resources.gpus_per_worker=1 --set seeds=[0], and launch again"
            )
        _require_enough(task, max(found, key=lambda m: m.memory.peak_bytes), share)


def _require_enough(task: RunTask, measured: Measured, share: float) -> None:
    needed = measured.memory.peak_bytes + OUTSIDE_BYTES
    there = share * measured.memory.device_bytes
    if needed > there:
        raise ConfigError(
            f"resources.gpus_per_worker = {share:g}: a run like {task.run_id} takes "
            f"{needed / 1e9:.1f} GB of a {measured.device} (measured: {measured.run_id}, and 1 GB "
            f"beside it), and {share:g} of its memory are {there / 1e9:.1f} GB. Ask for at least "
            f"{needed / measured.memory.device_bytes:.2f}, or for a whole GPU"
        )


def _measured(task: RunTask, kind: str) -> Iterator[Measured]:
    """Finished runs of the storage that differ from a task in nothing that takes memory."""
    data, _, _ = task.run_id.partition("-")
    method = json.loads(task.config_json)["method"]["name"]
    for run_id in Folder.open(task.storage).child(RUNS).folders():
        if not (run_id.startswith(f"{data}-") and f"-{method}-s" in run_id):
            continue
        run = RunFolder.of(task.storage, run_id)
        try:
            result = run.result()
            recorded = run.task() if result is not None and result.memory is not None else None
        except DamagedFileError:  # told where the run itself is looked at
            continue
        if result is None or result.memory is None or recorded is None:
            continue
        if _kind_of(recorded) == kind and result.micro_batches == task.micro_batches:
            yield Measured(run_id, result.device, result.memory)


def _kind_of(task: RunTask) -> str:
    """Equal for runs whose steps take the same memory."""
    config = json.loads(task.config_json)
    for path in _NO_MATTER:
        block, _, key = path.partition(".")
        if key:
            config.get(block, {}).pop(key, None)
        else:
            config.pop(block, None)
    return json.dumps([config, task.num_workers, task.data_hash], sort_keys=True)
