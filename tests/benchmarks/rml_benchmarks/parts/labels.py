"""`labels`: the store of soft labels p⁰: time to write, time to read, size, and what rounding does
to the labels."""

import math
from collections.abc import Iterator

import torch

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table, readable_bytes
from rml_benchmarks.measuring.timing import Call, Comparison, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.rounding import agreement
from rml_benchmarks.workload.workload import Workload, begin_stage
from rml_trainers.data.loading.whole_images import whole_images
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.noise.geometry import draw_windows
from rml_trainers.runtime.randomness import generator
from rml_trainers.students.learners import to_unit_range

STORES = {
    "prototypes only": RmlConfig(initial_label="online"),
    "prototypes and p⁰, 16 bits": RmlConfig(initial_label_bits=16),
    "prototypes and p⁰, 8 bits": RmlConfig(initial_label_bits=8),
}
CITYSCAPES = (2875, 19, 64, 128)
"""Unlabelled images at 100 labelled ones, classes, and cells of an image of 512×1024 at stride
8."""


def run(bench: Bench) -> Iterator[Result]:
    """Writing against a bare pass, reading against the step, bytes, and agreement of labels."""
    workloads = {
        name: Workload(bench.setting, method, bench.folder) for name, method in STORES.items()
    }
    yield writing(bench, workloads)
    yield reading(bench, workloads["prototypes and p⁰, 16 bits"])
    yield sizes(workloads)
    yield agreement(bench)


def writing(bench: Bench, workloads: dict[str, Workload]) -> Comparison:
    """The pass at the start of a stage, against forwards over the same images alone."""
    plain = next(iter(workloads.values()))
    names = sorted({*plain.trainer.split.labelled, *plain.trainer.split.unlabelled})

    def bare(index: int) -> None:
        for _, images in whole_images(
            plain.trainer.data, names, plain.trainer.config.evaluation.batch
        ):
            plain.learners.predict("teachers", to_unit_range(images.to(plain.trainer.device)))

    calls: dict[str, Call] = {"forwards alone": bare}
    calls |= {name: _begin(workload) for name, workload in workloads.items()}
    return compare(
        f"Start of a stage, both mean teachers over {len(names)} images of {bench.setting.size_px}",
        calls,
        num_rounds=bench.num_rounds(3),
        num_warm_up=1,
        facts={name: Facts(images=len(names)) for name in calls},
    )


def _begin(workload: Workload) -> Call:
    return lambda index: begin_stage(workload.trainer)


def reading(bench: Bench, workload: Workload) -> Comparison:
    """Windows of p⁰ for one step, and the whole batch with and without them, against the step."""
    trainer = workload.trainer
    setting = bench.setting
    readers = trainer.method.initial_labels()
    pool = trainer.split.unlabelled

    def windows(index: int) -> None:
        names = [pool[(index + i) % len(pool)] for i in range(setting.batch[1])]
        drawn = draw_windows(
            generator(index), [setting.size_px] * len(names), trainer.config.geometry
        )
        for reader in readers:
            torch.stack(
                [reader.crop(n, w, setting.crop_px) for n, w in zip(names, drawn, strict=True)]
            )

    calls: dict[str, Call] = {
        "step": workload.step,
        "windows of p⁰": windows,
        "whole batch": workload.read,
        "whole batch without p⁰": lambda index: trainer.batches.batch(
            1, index, with_unlabelled=True
        ),
    }
    return compare("Reading for one step", calls, num_rounds=bench.num_rounds(8))


def sizes(workloads: dict[str, Workload]) -> Table:
    """Bytes of one network's file, measured, and for Cityscapes by its number of cells."""
    rows = []
    cells = math.prod(CITYSCAPES)
    for name, method in STORES.items():
        if method.initial_label == "stage":
            trainer = workloads[name].trainer
            bits = method.initial_label_bits
            file = next(trainer.work_dir.glob("initial-labels-*.arrow"))
            per_image = file.stat().st_size / len(trainer.split.unlabelled)
            rows.append(
                (f"{bits} bits", readable_bytes(per_image), readable_bytes(cells * bits / 8))
            )
    return Table(
        title="Size of p⁰, one network",
        columns=(
            "stored with",
            "an image here (file ÷ images)",
            "Cityscapes, 2,875 images at 512×1024",
        ),
        rows=tuple(rows),
    )
