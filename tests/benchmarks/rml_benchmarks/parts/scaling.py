"""`scaling`: how time and memory of the `rml` step grow with batch, crop, classes and workers."""

from collections.abc import Iterator
from dataclasses import replace

from rml_benchmarks.measuring.arithmetic import count_flops
from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.timing import Comparison, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.processes.memory import peak_bytes
from rml_benchmarks.processes.workers import WorkerGroup, num_workers_here
from rml_benchmarks.settings import Setting
from rml_benchmarks.workload.contenders import contender, images_per_call
from rml_benchmarks.workload.workload import warm_up_rounds

STEP = "step/rml"
CLASSES = (8, 150)
"""CamVid has 11, Cityscapes 19, ADE20K 150."""


def run(bench: Bench) -> Iterator[Result]:
    """One table over the sizes of a step, one over workers."""
    yield over_sizes(bench)
    if num_workers_here(bench.device) > 1:
        yield over_workers(bench)


def sizes(setting: Setting) -> dict[str, Setting]:
    """The setting itself and others that differ from it in one size."""
    (labelled, unlabelled) = setting.batch
    (height, width) = setting.crop_px
    large = (height * 3 // 2, width * 3 // 2)
    image_px = (max(large[0], setting.size_px[0]), max(large[1], setting.size_px[1]))
    return {
        "base": setting,
        f"batch {labelled // 2} + {unlabelled // 2}": replace(
            setting, batch=(labelled // 2, unlabelled // 2)
        ),
        f"batch {labelled * 2} + {unlabelled * 2}": replace(
            setting, batch=(labelled * 2, unlabelled * 2)
        ),
        f"crop {large[0]}×{large[1]} (2.25 × the pixels)": replace(
            setting, crop_px=large, size_px=image_px
        ),
        **{f"{k} classes": replace(setting, num_classes=k) for k in CLASSES},
    }


def over_sizes(bench: Bench) -> Comparison:
    """Steps of several sizes in turn; memory of each alone."""
    settings = sizes(bench.setting)
    peaks = {
        name: peak_bytes(contender, STEP, setting, bench.folder)
        for name, setting in settings.items()
    }
    calls = {name: contender(STEP, setting, bench.folder) for name, setting in settings.items()}
    facts = {
        name: Facts(
            images=images_per_call(STEP, settings[name]),
            flops=count_flops(call),
            peak_bytes=peaks[name],
        )
        for name, call in calls.items()
    }
    rounds = bench.num_rounds(3)
    return compare(
        "rml step",
        calls,
        num_rounds=rounds,
        num_warm_up=warm_up_rounds(1),
        settle=True,
        facts=facts,
        yardstick=bench.yardstick(),
    )


def over_workers(bench: Bench) -> Comparison:
    """The same share of the batch for each worker: with perfect scaling every row takes as long as
    the first."""
    groups = {}
    try:
        for count in range(1, num_workers_here(bench.device) + 1):
            groups[f"{count} worker{'s' * (count > 1)}"] = WorkerGroup(
                count, STEP, bench.setting, bench.folder
            )
        images = images_per_call(STEP, bench.setting)
        facts = {
            name: Facts(images=images * group.num_workers, peak_bytes=group.peak_bytes)
            for name, group in groups.items()
        }
        return compare(
            "rml step, the batch for each worker",
            {name: group.step for name, group in groups.items()},
            num_rounds=bench.num_rounds(4),
            num_warm_up=4,  # the memory that still has to settle is that of other processes
            facts=facts,
            note=(
                "Scaling efficiency is 1 ÷ ratio. Memory is that of the first worker. One torch "
                "thread per worker."
            ),
        )
    finally:
        for group in groups.values():
            group.close()
