"""`labels`: the store of soft labels p⁰: time to write, time to read, size, and what rounding does to the labels."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rml_trainers.bench.part import Bench
from rml_trainers.bench.publishing import Result
from rml_trainers.bench.tables import Table, readable_bytes
from rml_trainers.bench.timing import Call, Comparison, Facts, compare
from rml_trainers.bench.workload import Workload, begin_stage
from rml_trainers.config import BatchConfig, EvaluationConfig, OptimiserConfig, RunConfig, ScheduleConfig, SplitConfig
from rml_trainers.data.prepare import ensure_prepared
from rml_trainers.data.scenes import ScenesConfig
from rml_trainers.data.splits import make_split
from rml_trainers.data.whole import whole_images
from rml_trainers.device import choose_device
from rml_trainers.initial_labels import InitialLabelStore
from rml_trainers.learners import Learners, to_unit_range
from rml_trainers.methods.rml import RmlConfig, RobustMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.geometry import draw_windows
from rml_trainers.pseudo_labels import make_pseudo_label
from rml_trainers.randomness import generator
from rml_trainers.reporting import MemoryReporter
from rml_trainers.trainer import Trainer

STORES = {
    "prototypes only": RmlConfig(initial_label="online"),
    "prototypes and p⁰, 16 bits": RmlConfig(initial_label_bits=16),
    "prototypes and p⁰, 8 bits": RmlConfig(initial_label_bits=8),
}
CITYSCAPES = (2875, 19, 64, 128)
"""Unlabelled images at 100 labelled ones, classes, and cells of an image of 512×1024 at stride 8."""
NUM_LEARNT_STEPS = 60
LEARNT = ScenesConfig(size_px=(96, 128), num_train=32, num_val=4)


def run(bench: Bench) -> Iterator[Result]:
    """Writing against a bare pass, reading against the step, bytes, and agreement of labels."""
    workloads = {name: Workload(bench.setting, method, bench.folder) for name, method in STORES.items()}
    yield writing(bench, workloads)
    yield reading(bench, workloads["prototypes and p⁰, 16 bits"])
    yield sizes(workloads)
    yield agreement(bench)


def writing(bench: Bench, workloads: dict[str, Workload]) -> Comparison:
    """The pass at the start of a stage, against forwards over the same images alone."""
    plain = next(iter(workloads.values()))
    names = sorted({*plain.trainer.split.labelled, *plain.trainer.split.unlabelled})

    def bare(index: int) -> None:
        for _, images in whole_images(plain.trainer.data, names, plain.trainer.config.evaluation.batch):
            plain.learners.predict("teachers", to_unit_range(images.to(plain.trainer.device)))

    calls: dict[str, Call] = {"forwards alone": bare}
    calls |= {name: _begin(workload) for name, workload in workloads.items()}
    return compare(
        f"Start of a stage, both mean teachers over {len(names)} images of {bench.setting.size_px}",
        calls,
        num_rounds=bench.num_rounds(5),
        num_warm_up=1,
        facts={name: Facts(images=len(names)) for name in calls},
    )


def _begin(workload: Workload) -> Call:
    return lambda index: begin_stage(workload.trainer)


def reading(bench: Bench, workload: Workload) -> Comparison:
    """Windows of p⁰ for one step, and the whole batch with and without them, against the step."""
    trainer, setting = workload.trainer, bench.setting
    readers, pool = trainer.method.initial_labels(), trainer.split.unlabelled

    def windows(index: int) -> None:
        names = [pool[(index + i) % len(pool)] for i in range(setting.batch[1])]
        drawn = draw_windows(generator(index), [setting.size_px] * len(names), trainer.config.geometry)
        for reader in readers:
            torch.stack([reader.crop(n, w, setting.crop_px) for n, w in zip(names, drawn, strict=True)])

    calls: dict[str, Call] = {
        "step": workload.step,
        "windows of p⁰": windows,
        "whole batch": workload.read,
        "whole batch without p⁰": lambda index: trainer.batches.batch(1, index, with_unlabelled=True),
    }
    return compare("Reading for one step", calls, num_rounds=bench.num_rounds(8))


def sizes(workloads: dict[str, Workload]) -> Table:
    """Bytes of one network's file, measured, and for Cityscapes by its number of cells."""
    rows, cells = [], math.prod(CITYSCAPES)
    for name, method in STORES.items():
        if method.initial_label == "stage":
            trainer, bits = workloads[name].trainer, method.initial_label_bits
            file = next(trainer.work_dir.glob("initial-labels-*.arrow"))
            per_image = file.stat().st_size / len(trainer.split.unlabelled)
            rows.append((f"{bits} bits", readable_bytes(per_image), readable_bytes(cells * bits / 8)))
    return Table(
        title="Size of p⁰, one network",
        columns=("stored with", "an image here (file ÷ images)", "Cityscapes, 2,875 images at 512×1024"),
        rows=tuple(rows),
    )


def agreement(bench: Bench) -> Table:
    """Share of labels that rounding leaves as they are, for networks that have learnt a little."""
    rows = []
    for bits in (16, 8):
        trainer = learnt(bench, bits)
        rows.append((f"{bits} bits", *compare_labels(trainer)))
    return Table(
        title=f"What rounding p⁰ does to labels, after {NUM_LEARNT_STEPS} supervised steps on drawn scenes",
        columns=(
            "stored with",
            "largest error of a probability",
            "cells with the same class in p⁰",
            "pixels with the same label after rectification",
            "mean confidence",
        ),
        rows=tuple(rows),
    )


def learnt(bench: Bench, bits: int) -> Trainer:
    """A trainer of `rml` on scenes after a short warm-up, at the beginning of stage 1."""
    data = ensure_prepared(LEARNT, None, bench.folder / "scenes")
    config = RunConfig(
        data=LEARNT,
        split=SplitConfig(num_labelled=16),
        method=replace(RmlConfig(), initial_label_bits=8 if bits == 8 else 16),
        network=bench.setting.network,
        geometry=GeometryConfig(crop_px=(64, 96)),
        batch=BatchConfig(labelled=4, unlabelled=4),
        schedule=ScheduleConfig(warm_up_steps=NUM_LEARNT_STEPS, stage_steps=(1,)),
        evaluation=EvaluationConfig(batch=8),
        optimiser=OptimiserConfig(lr=0.01),
        precision=bench.setting.precision,
    )
    work_dir = bench.folder / f"learnt-{bits}"
    work_dir.mkdir(exist_ok=True)
    split = make_split(data.names("train"), config.split)
    device, reporter = choose_device("auto"), MemoryReporter()
    trainer = Trainer(config, data, split, device=device, reporter=reporter, work_dir=work_dir)
    for step in range(NUM_LEARNT_STEPS):
        batch = trainer.batches.batch(0, step, with_unlabelled=False).to(device)
        trainer.train_on(batch, warm_up=True, progress=0.0)
    begin_stage(trainer)
    return trainer


@torch.no_grad()
def compare_labels(trainer: Trainer) -> tuple[float, str, str, float]:
    """Largest error, agreement of p⁰'s classes and of rectified labels, mean largest probability."""
    method, learners, reader = trainer.method, trainer.learners, trainer.method.initial_labels()[0]
    assert isinstance(method, RobustMutualLearning) and isinstance(reader, InitialLabelStore)
    names = sorted(trainer.split.unlabelled)
    errors, confidence, same_cells, same_pixels = [], [], [], []
    for batch_names, images in whole_images(trainer.data, names, 8):
        output = learners.predict("teachers", to_unit_range(images.to(trainer.device)))[0]
        exact = output.logits.float().softmax(dim=1)
        stored = torch.stack([reader.whole(name) for name in batch_names]).to(exact.device)
        inside = torch.ones(len(images), *images.shape[-2:], dtype=torch.bool, device=exact.device)
        labels = [_rectified(method, learners, output, prob, inside) for prob in (exact, stored)]
        errors.append((exact - stored).abs().amax())
        confidence.append(exact.amax(dim=1).mean())
        same_cells.append((exact.argmax(1) == stored.argmax(1)).float().mean())
        same_pixels.append((labels[0] == labels[1]).float().mean())
    error, certain, cells, pixels = (
        torch.stack(errors).amax(),
        *(torch.stack(v).mean() for v in (confidence, same_cells, same_pixels)),
    )
    return float(error), f"{float(cells):.3%}", f"{float(pixels):.3%}", float(certain)


def _rectified(
    method: RobustMutualLearning, learners: Learners, output: SegmentationOutput, prob: Tensor, inside: Tensor
) -> Tensor:
    scores, _ = method.rectifiers[0].rectify(output, prob.clamp(min=1e-4).log())
    return make_pseudo_label(scores, inside, learners.student(0)).hard
