"""What the parts of an `rml` step take, each timed alone between whole steps."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from rml_benchmarks.measuring.timing import Call, Comparison, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.workload import METHOD_CONFIGS, Workload, warm_up_rounds
from rml_trainers.data.loading.loaders import Batch, UnlabelledCrops
from rml_trainers.methods.paper.rml import RobustMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.input_noise import strengthen
from rml_trainers.settings.contract import Labeller
from rml_trainers.students.learners import Learners, to_unit_range

TARGETS = {"rectification and prototypes": "≤ 0.03", "mean teachers": "≤ 0.01"}
NOTE = (
    "Each part alone, on what the step before it gave; on a GPU parts that overlap inside a step "
    "do not overlap here. "
    "`method without networks` holds noise, rectification, pseudo labels, upsampling, losses and "
    "their gradients."
)


class Replay:
    """Learners whose networks answer at once with what they answered before; everything else is the
    learners' own.

    The students' answers are leaves that want a gradient, so that a backward pass ends where the
    networks would begin.
    """

    def __init__(self, learners: Learners) -> None:
        self._learners = learners
        self._students: dict[int, SegmentationOutput] = {}
        self._labels: tuple[SegmentationOutput, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learners, name)

    def forward_students(
        self, images: Sequence[Tensor], students: Sequence[int] | None = None
    ) -> tuple[SegmentationOutput, ...]:
        numbers = tuple(range(self._learners.num_students)) if students is None else tuple(students)
        if not self._students.keys() >= set(numbers):
            outputs = self._learners.forward_students(images, numbers)
            self._students |= {
                i: _leaves(output) for i, output in zip(numbers, outputs, strict=True)
            }
        for i in numbers:
            self._students[i].logits.grad = None
        return tuple(self._students[i] for i in numbers)

    def label(self, labeller: Labeller, images: Tensor) -> tuple[SegmentationOutput, ...]:
        if self._labels is None:
            self._labels = self._learners.label(labeller, images)
        return self._labels


def _leaves(output: SegmentationOutput) -> SegmentationOutput:
    return SegmentationOutput(
        output.logits.detach().requires_grad_(), output.feature.detach(), None
    )


def shares(bench: Bench) -> Comparison:
    """Parts of the step of `rml` as shares of the whole."""
    workload = Workload(bench.setting, METHOD_CONFIGS["rml"], bench.folder)
    calls = {"step": workload.step, "networks": workload.floor(), **parts_of(workload)}
    facts = {name: Facts(target=target) for name, target in TARGETS.items()}
    return compare(
        "Parts of the rml step",
        calls,
        num_rounds=bench.num_rounds(6),
        num_warm_up=warm_up_rounds(2),
        settle=True,
        facts=facts,
        note=NOTE,
    )


def parts_of(workload: Workload) -> dict[str, Call]:
    """Everything beside the networks, part by part."""
    trainer = workload.trainer
    learners = workload.learners
    method = workload.trainer.method
    assert isinstance(method, RobustMutualLearning)
    replays = [cast(Learners, Replay(learners)) for _ in workload.batches]
    for batch, replay in zip(workload.batches, replays, strict=True):
        result = method.step(batch, replay)

    def without_networks(index: int) -> None:
        i = index % len(replays)
        method.step(workload.batches[i], replays[i]).loss.backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def rectification(index: int) -> None:
        i = index % len(replays)
        unlabelled = _unlabelled(workload.batches[i])
        outputs = replays[i].label("teachers", unlabelled.image)
        for output, rectifier, prob in zip(
            outputs, method.rectifiers, unlabelled.initial, strict=True
        ):
            rectifier.rectify(output, prob.clamp(min=1e-4).log())
        method.after_loss(outputs)

    @torch.no_grad()
    def noise(index: int) -> None:
        batch = workload.batches[index % len(replays)]
        weak = to_unit_range(_unlabelled(batch).image)
        for draw in batch.noise:
            strengthen(weak, draw)

    return {
        "method without networks": without_networks,
        "noise of the strong views": noise,
        "rectification and prototypes": rectification,
        "optimiser": lambda index: trainer.optimiser.inner.step(),
        "mean teachers": lambda index: learners.after_step(index),
        "sums for reports": lambda index: trainer.meter.add(result),
    }


def _unlabelled(batch: Batch) -> UnlabelledCrops:
    assert batch.unlabelled is not None
    return batch.unlabelled
