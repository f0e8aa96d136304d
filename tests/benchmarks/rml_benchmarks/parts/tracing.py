"""`trace`: which operators an `rml` step spends its time in, by torch's profiler."""

from collections.abc import Iterator

from torch.profiler import ProfilerActivity, profile

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.workload import METHOD_CONFIGS, Workload

NUM_STEPS = 3
NUM_ROWS = 20


def run(bench: Bench) -> Iterator[Result]:
    """The operators that take longest themselves, summed over a few steps; the trace too where a
    file was named."""
    workload = Workload(bench.setting, METHOD_CONFIGS["rml"], bench.folder)
    on_gpu = bench.device.type == "cuda"
    for index in range(2):
        workload.step(index)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for index in range(NUM_STEPS):
            workload.step(index)
    if bench.trace_file is not None:
        profiler.export_chrome_trace(str(bench.trace_file))
    events = [
        (
            event.key,
            event.count,
            event.self_device_time_total if on_gpu else event.self_cpu_time_total,
        )
        for event in profiler.key_averages()
    ]
    total = sum(microseconds for *_, microseconds in events)
    longest = sorted(events, key=lambda event: event[2], reverse=True)[:NUM_ROWS]
    yield Table(
        title=(
            f"Operators of {NUM_STEPS} rml steps by their own time on the "
            f"{'GPU' if on_gpu else 'CPU'}"
        ),
        columns=("operator", "calls per step", "ms per step", "share"),
        rows=tuple(
            (key, n / NUM_STEPS, us / NUM_STEPS / 1000, us / total) for key, n, us in longest
        ),
        note="The profiler itself costs time: shares mean more than milliseconds.",
    )
