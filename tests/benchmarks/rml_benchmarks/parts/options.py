"""`options`: what the settings of a run that decide its time and memory, but not its result, do to
the `rml` step."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.timing import Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.processes.memory import peak_bytes
from rml_benchmarks.settings import Setting
from rml_benchmarks.workload.contenders import contender, images_per_call, title
from rml_benchmarks.workload.workload import warm_up_rounds

STEP = "step/rml"
LEANEST_PEER = "peer/rml/float32/plain"
AS_IT_IS = "as it is"
CHECKPOINTING: tuple[Literal["none", "batchnorm", "backbone"], ...] = (
    "none",
    "batchnorm",
    "backbone",
)


def run(bench: Bench) -> Iterator[Result]:
    """One table: the options one by one, and the peer that needs the least memory."""
    ways = {name: (STEP, setting) for name, setting in settings(bench.setting).items()}
    ways[title(LEANEST_PEER)] = (LEANEST_PEER, bench.setting)
    facts = {
        name: Facts(
            images=images_per_call(what, setting),
            peak_bytes=peak_bytes(contender, what, setting, bench.folder),
        )
        for name, (what, setting) in ways.items()
    }
    calls = {name: contender(what, setting, bench.folder) for name, (what, setting) in ways.items()}
    yield compare(
        "Options of the rml step",
        calls,
        num_rounds=bench.num_rounds(4),
        num_warm_up=warm_up_rounds(1),
        settle=True,
        facts=facts,
    )


def settings(setting: Setting) -> dict[str, Setting]:
    """The same step carried out in other ways."""
    own = setting.runtime
    recomputed = CHECKPOINTING if not own.compile else ()
    ways = {
        "runtime.students: together": replace(own, students="together"),
        "runtime.loss_chunk_mib: 0": replace(own, loss_chunk_mib=0),
        "both, as public code has it": replace(own, students="together", loss_chunk_mib=0),
        **{
            f"runtime.activation_checkpointing: {what}": replace(own, activation_checkpointing=what)
            for what in recomputed
        },
    }
    return {
        AS_IT_IS: setting,
        **{name: replace(setting, runtime=runtime) for name, runtime in ways.items()},
        "batch.accumulate: 2": replace(setting, accumulate=2),
    }
