"""Groups of worker processes that train together, each group a contender of its own."""

import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import distributed as dist

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.processes.memory import (
    forget_peak,
    fresh_processes,
    peak_resident,
    resident_after_warm_up,
    run_a_little,
    settled_peak_on_gpu,
)
from rml_benchmarks.settings import Setting
from rml_benchmarks.workload.contenders import contender
from rml_trainers.errors import RmlError
from rml_trainers.runtime.distributed import leave_group

MAX_WORKERS = 8


def num_workers_here(device: torch.device) -> int:
    """Workers that do not get into each other's way: one per GPU, or two on a CPU of at least two
    cores."""
    if device.type == "cuda":
        return min(MAX_WORKERS, torch.cuda.device_count())
    return min(2, os.cpu_count() or 1)


class WorkerGroup:
    """Workers (gloo, or NCCL on GPUs) that wait for the word to make a step.

    Raises:
        RmlError: a worker failed; the message is its error.
    """

    def __init__(self, num_workers: int, name: str, setting: Setting, folder: Path) -> None:
        self.num_workers = num_workers
        context = fresh_processes()
        meeting = Path(tempfile.mkdtemp(dir=folder)) / "meeting"
        self._connections: list[Connection] = []
        self._processes = []
        for rank in range(num_workers):
            ours, theirs = context.Pipe()
            arguments = (
                rank,
                num_workers,
                meeting,
                theirs,
                name,
                setting.scaled(num_workers),
                folder,
            )
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
        self.peak_bytes = self._answers()[0]

    def step(self, index: int) -> None:
        """One step of all workers; returns when the last is done."""
        for connection in self._connections:
            connection.send(index)
        self._answers()

    def close(self) -> None:
        """End the workers."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(timeout=30)
            process.terminate()

    def _answers(self) -> list[int]:
        answers = []
        for rank, connection in enumerate(self._connections):
            try:
                answer = connection.recv()
            except EOFError:
                answer = "its process died"
            if not isinstance(answer, int):
                raise RmlError(f"benchmark: worker {rank} of {self.num_workers} failed: {answer}")
            answers.append(answer)
        return answers


def _peak(call: Call, *, is_on_gpu: bool) -> int:
    if is_on_gpu:
        return settled_peak_on_gpu(call)
    forget_peak()
    run_a_little(call)
    return peak_resident()


def _work(
    rank: int,
    num_workers: int,
    meeting: Path,
    connection: Connection,
    name: str,
    setting: Setting,
    folder: Path,
) -> None:
    """Body of a worker: first the peak memory of a few steps, then an answer to every step."""
    try:
        torch.set_num_threads(1)
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(rank)
            before = torch.cuda.memory_allocated()
        else:
            before = resident_after_warm_up()
        dist.init_process_group(
            backend, init_method=f"file://{meeting}", rank=rank, world_size=num_workers
        )
        call = contender(name, setting, folder)
        connection.send(_peak(call, is_on_gpu=backend == "nccl") - before)
        while True:
            call(connection.recv())
            if backend == "nccl":
                torch.cuda.synchronize()
            connection.send(0)
    except EOFError:  # the group is closed
        del call
        leave_group()
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
