"""A few steps of a kind of run, measured on this machine."""

import dataclasses
import socket
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import torch

from rml_platform.planning.costs.kinds import kind_of
from rml_platform.planning.costs.measured import (
    Probe,
    device_text,
    probes_for,
    read_probes,
    write_probe,
)
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import PlannedRun
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.checkpoints import NUM_TO_KEEP
from rml_platform.run.faults.given_device import device_with
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.config import RunConfig, ScheduleConfig, replace
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.runtime.device import release_memory
from rml_trainers.scoring.score import Evaluation
from rml_trainers.training.reporting import Progress
from rml_trainers.training.trainer import Trainer

STEPS = 20
"""Of each stage; the second half is measured, when everything is warm."""


NO_GPU = "no GPU"
"""Stands for the device where runs are given GPUs and this machine has none: no probe is kept
under it."""


def probed_machine(resources: ResourcesConfig, local_index: int = 0) -> str:
    """What a probe of a study is measured on: the device, the cores of a worker, and the host."""
    host = socket.gethostname()
    gpus = Machine.here().gpus
    if resources.gpus(gpus) > 0:
        return f"{torch.cuda.get_device_name(local_index) if gpus else NO_GPU} of {host}"
    return f"{device_text('cpu', resources.cpus_per_worker)} of {host}"


def gpu_kinds_here() -> tuple[str, ...]:
    """Names of the GPUs that torch sees, each once."""
    names = (torch.cuda.get_device_name(index) for index in range(Machine.here().gpus))
    return tuple(dict.fromkeys(names))


def probes_of(
    plan: WrittenPlan, out: Path, *, is_local: bool, gpu_kinds: Collection[str] | None = None
) -> Mapping[str, Probe]:
    """By kind, the probes that tell of the devices that the runs of a plan get.

    Args:
        is_local: on this machine; else on a cluster.
        gpu_kinds: kinds of GPU that they may get there, as Ray names them; None where they get
            none. Of several kinds, or where nobody knows them, no probe tells: each has its pace.
    """
    kinds = [run.kind for run in plan.runs]
    if is_local:
        return read_probes(out, probed_machine(plan.resources), kinds)
    if gpu_kinds is None:
        return probes_for(out, kinds, None, plan.resources.cpus_per_worker)
    if len(gpu_kinds) != 1:
        return {}
    return probes_for(out, kinds, next(iter(gpu_kinds)), 0)


def probe(run: PlannedRun, resources: ResourcesConfig, local_index: int = 0) -> Probe:
    """Train 20 steps of the warm-up and of each stage of the method, of which the second half
    counts, with an evaluation and a checkpoint; nothing of it is kept.

    Args:
        local_index: which of the GPUs that this process sees, where the run is given one.
    Raises:
        Exception: what training raises; a run of this kind would end in it, too.
    """
    config = shortened(run.config)
    device = _device_of(config, resources, local_index)
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(config.runtime.threads or max(1, int(resources.cpus_per_worker)))
    watch = Stopwatch()
    try:
        with temporary_folder("rml-probe-") as scratch:
            data = PreparedData.open(run.prepared_folder)
            Trainer(config, data, run.split, device=device, reporter=watch, work_dir=scratch).fit()
    finally:
        torch.set_num_threads(threads)
        release_memory()
    stages = [pace for stage, pace in watch.pace.items() if stage > 0]
    return Probe(
        kind=kind_of(run.config),
        machine=probed_machine(resources, local_index),
        warm_up_s=watch.pace.get(0, 0.0),
        stage_s=statistics.mean(stages or watch.pace.values()),
        evaluation_s=watch.evaluation_s,
        evaluation_every=run.config.evaluation.every_steps,
        run_bytes=NUM_TO_KEEP * watch.checkpoint_bytes,
        time=time.time(),
    )


def needs_gpu(runs: Iterable[PlannedRun], resources: ResourcesConfig) -> bool:
    """Whether probes of some runs are made on a GPU."""
    if resources.gpus(Machine.here().gpus) == 0:
        return False
    return any(run.config.runtime.device != "cpu" for run in runs)


def _device_of(config: RunConfig, resources: ResourcesConfig, local_index: int) -> torch.device:
    """The device that a run would be given. Raises ConfigError, MissingGpuError."""
    gpus = resources.gpus(Machine.here().gpus)
    if gpus == 0 and config.runtime.device == "cuda":
        raise ConfigError(
            "--probe: runtime.device = 'cuda' asks for a GPU, and resources.gpus_per_worker gives "
            "the runs none; change one of them"
        )
    return device_with(config.runtime.device, gpus, local_index)


def probe_all(
    runs: Iterable[PlannedRun],
    resources: ResourcesConfig,
    out: Path,
    on_note: Callable[[str], None],
    local_index: int = 0,
) -> dict[str, Probe]:
    """Measure each kind of run once and keep what was found below the output folder.

    Args:
        local_index: which of the GPUs that this process sees; the caller holds it.
    Raises:
        ConfigError: the runs are given GPUs, and this machine has none.
        Exception: what training raises.
    """
    machine = probed_machine(resources, local_index)
    if machine.startswith(f"{NO_GPU} of "):
        raise ConfigError(
            "--probe: the study gives its runs GPUs, and torch sees none here; probe on a machine "
            "that has one of the kind, with the same --out"
        )
    found: dict[str, Probe] = {}
    for run in runs:
        kind = kind_of(run.config)
        if kind not in found:
            on_note(f"probing {kind} on {machine}")
            found[kind] = probe(run, resources, local_index)
            write_probe(out, found[kind])
    return found


def shortened(config: RunConfig) -> RunConfig:
    """The run with 20 steps of warm-up and of each of its stages."""
    schedule = config.schedule
    if not config.method.uses_unlabelled:
        short = ScheduleConfig(warm_up_steps=STEPS, stage_steps=())
    else:
        short = ScheduleConfig(
            warm_up_steps=min(schedule.warm_up_steps, STEPS),
            stage_steps=(STEPS,) * len(schedule.stage_steps),
        )
    runtime = dataclasses.replace(
        config.runtime, log_every_steps=STEPS // 2, checkpoint_every_steps=STEPS * STEPS
    )
    return replace(config, schedule=short, runtime=runtime)


class Stopwatch:
    """Reporter that keeps times and sizes."""

    def __init__(self) -> None:
        self.pace = dict[int, float]()
        """By stage: seconds per step, of its last reported steps."""
        self.evaluation_s = 0.0
        """From the last step's report to its checkpoint: evaluation and checkpoint."""
        self.checkpoint_bytes = 0
        self._reported_at = time.perf_counter()

    def on_step(self, progress: Progress, scalars: dict[str, float]) -> None:
        if progress.seconds_per_step > 0:
            self.pace[progress.stage] = progress.seconds_per_step
        self._reported_at = time.perf_counter()

    def on_evaluation(self, progress: Progress, evaluations: tuple[Evaluation, ...]) -> None: ...

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        self.evaluation_s = time.perf_counter() - self._reported_at
        if folder is not None:
            self.checkpoint_bytes = sum(file.stat().st_size for file in folder.iterdir())

    def on_note(self, kind: str, text: str) -> None: ...
