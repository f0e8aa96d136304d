"""Peak memory of a contender that runs alone.

On a GPU: what torch's allocator held at most during a step, networks and optimiser included, once
cuDNN has chosen its kernels: what it tries them with may be gigabytes, once. On a CPU: how far the
resident memory of a fresh process rises above what it held once a tiny network had been trained in
it. That is what a machine needs to have, and it counts what torch's own bookkeeping does not see
(scratch memory of the convolutions).
"""

import multiprocessing
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.settings import SMALLEST
from rml_benchmarks.workload.contenders import contender
from rml_benchmarks.workload.workload import NUM_BATCHES
from rml_trainers.errors import RmlError
from rml_trainers.runtime.device import release_memory

NUM_CALLS = 2
PRELOADED = ("timm", "torchvision", "rml_benchmarks.workload.contenders")

Build = Callable[..., Call]
"""Builds a contender: a function of a module, so that a fresh process can find it."""


def peak_bytes(build: Build, *arguments: Any) -> int:
    """Peak memory of the contender `build(*arguments)` over a few calls.

    Raises:
        RmlError: the contender failed in its process; the message is its error.
    """
    if torch.cuda.is_available():
        return _peak_on_gpu(build, arguments)
    context = fresh_processes()
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_peak_in_process, args=(theirs, torch.get_num_threads(), build, arguments)
    )
    process.start()
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        answer = "its process died"
    process.join()
    if not isinstance(answer, int):
        raise RmlError(f"benchmark: peak memory of {arguments[0]!r} cannot be measured: {answer}")
    return answer


def fresh_processes() -> Any:
    """Processes that begin with the libraries loaded and nothing else: forked from a server that
    computes nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _peak_on_gpu(build: Build, arguments: tuple[Any, ...]) -> int:
    release_memory()
    before = torch.cuda.memory_allocated()
    call = build(*arguments)
    peak = settled_peak_on_gpu(call) - before
    del call
    release_memory()
    return peak


def settled_peak_on_gpu(call: Call) -> int:
    """Most bytes that torch's allocator holds of the current GPU while the calls are made that have
    been made before with the same inputs."""
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        for index in range(NUM_BATCHES):
            call(index)
        torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def _peak_in_process(
    connection: Connection, threads: int, build: Build, arguments: tuple[Any, ...]
) -> None:
    """Body of the fresh process: sends a number of bytes, or the text of an error."""
    try:
        torch.set_num_threads(threads)
        before = resident_after_warm_up()
        call = build(*arguments)
        forget_peak()
        run_a_little(call)
        connection.send(peak_resident() - before)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")


def run_a_little(call: Call) -> None:
    """The calls that memory is measured over."""
    for index in range(NUM_CALLS):
        call(index)


def resident_after_warm_up() -> int:
    """Resident bytes once the smallest network has been trained: libraries and whatever they load
    on first use."""
    with tempfile.TemporaryDirectory() as folder:
        run_a_little(contender("step/rml", SMALLEST, Path(folder)))
    forget_peak()
    return peak_resident()


def forget_peak() -> None:
    """Let the peak of this process begin anew at what it holds now (Linux; elsewhere building
    counts too).

    What was freed goes back to the system first: it would count as held otherwise.
    """
    release_memory()
    if Path("/proc/self/clear_refs").exists() and os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident() -> int:
    """Largest resident memory of this process in bytes since it began, or since `forget_peak`.

    Read from the system by hand: psutil knows what is resident now, but no peak that can be reset.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
