"""`step`: whole training steps against their compute floor and against the structure of public
scripts."""

from collections.abc import Iterator, Mapping

from rml_benchmarks.measuring.arithmetic import count_flops
from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.measuring.timing import Comparison, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.step_breakdown import shares
from rml_benchmarks.processes.memory import peak_bytes
from rml_benchmarks.workload.contenders import contender, images_per_call, title
from rml_benchmarks.workload.workload import warm_up_rounds

FLOOR_TARGET = "≤ 1.10"
NUM_STAGES = 2
"""Of the paper's schedule."""
FLOOR_NOTE = (
    "Floor: the bare forwards and backwards of the same networks on the same batches in "
    "the same precision."
)
SHIPPED_TARGET = "≥ 2"
SAME_TARGET = "≥ 1.3"
"""For a peer in float32 with torch's own kernels, as public code runs, and in our precision with
our kernels."""
PEER_NOTES = {
    "cps": "The CPS-style step has the same loss as cps.",
    "unimatch": (
        "The UniMatch-style step has the same loss and mean teacher as unimatch, which "
        "trains one network."
    ),
    "rml": "The ProDA-style step has the same loss, prototypes and mean teachers as rml.",
}


def run(bench: Bench) -> Iterator[Result]:
    """Our steps against their floors, the shares of the `rml` step, and the peers."""
    yield from against_floor(bench)
    yield shares(bench)
    yield from against_peers(bench)


def against_floor(bench: Bench) -> Iterator[Result]:
    """One comparison per method with the memory of its step, and what the paper's schedule costs at
    the rate of `rml`."""
    for method in bench.methods:
        step = f"step/{method}"
        peaks: dict[str, int | None] = {f"floor/{method}": None}
        peaks[step] = peak_bytes(contender, step, bench.setting, bench.folder)
        targets = {step: FLOOR_TARGET}
        comparison = _compare(bench, f"{method} against its floor", peaks, targets, FLOOR_NOTE)
        yield comparison
        if method == "rml" and bench.setting.paper_steps is not None:
            yield paper_cost(bench, comparison.seconds(title("step/rml")))


def against_peers(bench: Bench) -> Iterator[Comparison]:
    """Our step first; the ratio of a peer says how many times longer it takes."""
    own = str(bench.dtype).removeprefix("torch.")
    peaks = dict[str, int | None]()
    for method, note in PEER_NOTES.items():
        shipped = f"peer/{method}/float32/plain"
        same = f"peer/{method}/{own}/our"
        names = dict.fromkeys(("step/rml", f"step/{method}", shipped, same))
        for name in names:
            if name not in peaks:
                peaks[name] = peak_bytes(contender, name, bench.setting, bench.folder)
        targets = {same: SAME_TARGET, shipped: SHIPPED_TARGET}
        heading = f"rml against {title(shipped).split(',')[0]}"
        yield _compare(bench, heading, {name: peaks[name] for name in names}, targets, note)


def _compare(
    bench: Bench,
    heading: str,
    peaks: Mapping[str, int | None],
    targets: Mapping[str, str],
    note: str,
) -> Comparison:
    """All named contenders in turn; their peak memory, where it is known, was measured with each
    alone."""
    calls = {name: contender(name, bench.setting, bench.folder) for name in peaks}
    facts = {
        title(name): Facts(
            images=images_per_call(name, bench.setting),
            flops=count_flops(call),
            peak_bytes=peaks[name],
            target=targets.get(name),
        )
        for name, call in calls.items()
    }
    return compare(
        heading,
        {title(name): call for name, call in calls.items()},
        num_rounds=bench.num_rounds(6),
        num_warm_up=warm_up_rounds(1),
        settle=True,
        facts=facts,
        yardstick=bench.yardstick(),
        note=note,
    )


def paper_cost(bench: Bench, seconds_per_step: float) -> Table:
    """The paper's two stages on this device at the measured step time, beside what the paper
    reports."""
    steps = NUM_STAGES * (bench.setting.paper_steps or 0)
    days = steps * seconds_per_step / 86_400
    return Table(
        title=f"Two stages of {bench.setting.paper_steps:,} steps of rml",
        columns=("device", "seconds per step", "days"),
        rows=(
            ("this device, one of it", seconds_per_step, days),
            ("4 Tesla V100 (paper, 5.2)", "", "about 1.5"),
        ),
        note=(
            "Warm-up, reading and evaluation not included; the paper does not say what its "
            "figure "
            "includes."
        ),
    )
