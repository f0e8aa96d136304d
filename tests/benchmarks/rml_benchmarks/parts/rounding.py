"""What storing p⁰ with fewer bits does to the labels, for networks that have learnt a little."""

from dataclasses import replace

import torch
from torch import Tensor

from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.workload import begin_stage
from rml_trainers.config import (
    BatchConfig,
    EvaluationConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
    SplitConfig,
    TeacherConfig,
)
from rml_trainers.data.loading.whole_images import whole_images
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.labels.initial_labels import InitialLabelStore
from rml_trainers.labels.pseudo_labels import make_pseudo_label
from rml_trainers.methods.paper.rml import RmlConfig, RobustMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.students.learners import to_unit_range
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer

BITS = (16, 8)
NUM_STEPS = 80
SCENES = ScenesConfig(size_px=(96, 128), num_train=32, num_val=4)
CROP_PX = (64, 96)


def agreement(bench: Bench) -> Table:
    """Share of labels that rounding leaves as they are."""
    taught = teach(bench)
    rows = []
    for bits in BITS:
        trainer = scenes_trainer(bench, bits)
        trainer.learners.teachers.load_state_dict(taught.learners.teachers.state_dict())
        begin_stage(trainer)
        rows.append((f"{bits} bits", *compare_labels(trainer)))
    return Table(
        title=(
            f"What rounding p⁰ does to labels, after {NUM_STEPS} supervised steps on drawn scenes"
        ),
        columns=(
            "stored with",
            "largest error of a probability",
            "same class in p⁰ (cells)",
            "same label after rectification (pixels)",
            "mean confidence",
        ),
        rows=tuple(rows),
        note="Against p⁰ as the network gave it, in float32.",
    )


def scenes_trainer(bench: Bench, bits: int) -> Trainer:
    """A trainer of `rml` on scenes that stores p⁰ with 8 or 16 bits."""
    data = ensure_prepared(SCENES, None, bench.folder / "scenes")
    config = RunConfig(
        data=SCENES,
        split=SplitConfig(num_labelled=16),
        method=replace(RmlConfig(), initial_label_bits=8 if bits == 8 else 16),
        network=bench.setting.network,
        geometry=GeometryConfig(crop_px=CROP_PX),
        batch=BatchConfig(labelled=4, unlabelled=4),
        schedule=ScheduleConfig(warm_up_steps=NUM_STEPS, stage_steps=(1,)),
        evaluation=EvaluationConfig(batch=8),
        optimiser=OptimiserConfig(lr=0.01),
        teacher=TeacherConfig(ema_decay=0.9),  # the mean of few steps
        precision=bench.setting.precision,
    )
    work_dir = bench.folder / f"rounding-{bits}"
    work_dir.mkdir(exist_ok=True)
    split = make_split(data.names("train"), config.split)
    return Trainer(
        config, data, split, device=bench.device, reporter=MemoryReporter(), work_dir=work_dir
    )


def teach(bench: Bench) -> Trainer:
    """A trainer after its warm-up."""
    trainer = scenes_trainer(bench, BITS[0])
    for step in range(NUM_STEPS):
        batch = trainer.batches.batch(0, step, with_unlabelled=False).to(trainer.device)
        trainer.train_on(batch, warm_up=True, progress=step / NUM_STEPS)
    return trainer


@torch.no_grad()
def compare_labels(trainer: Trainer) -> tuple[float, str, str, float]:
    """Largest error, agreement of p⁰'s classes and of rectified labels, mean largest
    probability."""
    learners = trainer.learners
    reader = trainer.method.initial_labels()[0]
    assert isinstance(reader, InitialLabelStore)
    errors = []
    confidence = []
    same_cells = []
    same_pixels = []
    for names, images in whole_images(trainer.data, sorted(trainer.split.unlabelled), 8):
        output = learners.predict("teachers", to_unit_range(images.to(trainer.device)))[0]
        exact = output.logits.float().softmax(dim=1)
        stored = torch.stack([reader.whole(name) for name in names]).to(exact.device)
        size = (images.shape[-2], images.shape[-1])
        labels = [_rectified(trainer, output, prob, size) for prob in (exact, stored)]
        errors.append((exact - stored).abs().amax())
        confidence.append(exact.amax(dim=1).mean())
        same_cells.append((exact.argmax(1) == stored.argmax(1)).float().mean())
        same_pixels.append((labels[0] == labels[1]).float().mean())
    certain, cells, pixels = (
        float(torch.stack(v).mean()) for v in (confidence, same_cells, same_pixels)
    )
    return float(torch.stack(errors).amax()), f"{cells:.3%}", f"{pixels:.3%}", certain


def _rectified(
    trainer: Trainer, output: SegmentationOutput, prob: Tensor, size_px: tuple[int, int]
) -> Tensor:
    """Labels [B, H, W] of the first network from p⁰ [B, K, h, w]."""
    assert isinstance(trainer.method, RobustMutualLearning)
    scores, _ = trainer.method.rectifiers[0].rectify(output, prob.clamp(min=1e-4).log())
    inside = torch.ones(len(prob), *size_px, dtype=torch.bool, device=prob.device)
    return make_pseudo_label(scores, inside, trainer.learners.student(0)).hard
