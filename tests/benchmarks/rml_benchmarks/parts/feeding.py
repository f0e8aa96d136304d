"""The loader against the step that it feeds, and who should read: the step, a thread, or worker
processes."""

import contextlib
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from rml_benchmarks.measuring.timing import Call, Comparison, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.workload import METHOD_CONFIGS, PROGRESS, Workload, warm_up_rounds
from rml_trainers.data.loading.loaders import Batch, read_ahead

ALONE = "reading its batch, one core"
NUM_STEPS = 3
"""Steps in a row with reading in or beside them."""
NUM_BATCHES = 16
NUM_PROCESSES = 2


def feeding(bench: Bench) -> Iterator[Comparison]:
    """The loader alone on one core, reading beside steps, and batches through worker processes."""
    workload = Workload(bench.setting, METHOD_CONFIGS["rml"], bench.folder)
    calls: dict[str, Call] = {"step": workload.step, ALONE: _alone(workload)}
    if workload.trainer.device.type == "cuda":
        calls["reading, pinning and copying it"] = lambda index: to_device(
            workload, workload.read(index)
        )
    facts = {ALONE: Facts(target="≤ 0.20")}
    yield compare(
        "Loader against the rml step",
        calls,
        num_rounds=bench.num_rounds(8),
        num_warm_up=warm_up_rounds(2),
        settle=True,
        facts=facts,
    )
    yield compare(
        f"{NUM_STEPS} rml steps in a row",
        {
            "batches ready": _ready(workload),
            "read by a thread": _training(workload, 2),
            "read in the step": _training(workload, 0),
        },
        num_rounds=bench.num_rounds(3),
        num_warm_up=1,
    )
    processes = f"{NUM_PROCESSES} persistent worker processes"
    yield compare(
        f"{NUM_BATCHES} batches, nothing else to do",
        {"read here": _reading(workload), processes: _from_processes(workload)},
        num_rounds=bench.num_rounds(5),
    )


class Endless(IterableDataset[Batch]):
    """Batches without end; worker processes take turns."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        step = first
        while True:
            yield self._workload.read(step)
            step += stride


def _from_processes(workload: Workload) -> Call:
    """Takes batches from workers of torch's DataLoader, which read on while others are timed, and
    end with the call."""
    loader = DataLoader(
        Endless(workload),
        batch_size=None,
        num_workers=NUM_PROCESSES,
        prefetch_factor=1,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    batches = iter(loader)

    def take(index: int) -> None:
        for _ in range(NUM_BATCHES):
            next(batches)

    return take


def _alone(workload: Workload) -> Call:
    def read(index: int) -> None:
        with one_thread():
            workload.read(index)

    return read


def _reading(workload: Workload) -> Call:
    def read(index: int) -> None:
        with one_thread():
            for step in range(NUM_BATCHES):
                workload.read(index + step)

    return read


def _ready(workload: Workload) -> Call:
    def train(index: int) -> None:
        for step in range(index, index + NUM_STEPS):
            workload.step(step)

    return train


def _training(workload: Workload, num_ahead: int) -> Call:
    """Steps with reading, as a run has them."""

    def train(index: int) -> None:
        for _, batch in read_ahead(workload.read, range(index, index + NUM_STEPS), num_ahead):
            result = workload.trainer.train_on(
                to_device(workload, batch), warm_up=False, progress=PROGRESS
            )
            workload.trainer.meter.add(result)

    return train


def to_device(workload: Workload, batch: Batch) -> Batch:
    """A batch on the device, through page-locked memory where that is a GPU."""
    device = workload.trainer.device
    return (batch.pin_memory() if device.type == "cuda" else batch).to(device, non_blocking=True)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread, as the reading thread of a run that leaves the cores to the step."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
