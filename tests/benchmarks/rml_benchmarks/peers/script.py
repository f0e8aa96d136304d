"""What the peers share: plain networks, one optimiser each, and batches as their loaders deliver
them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.networks import build_network
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.input_noise import photometric
from rml_trainers.noise.mixing import BoxDraw, inside_boxes
from rml_trainers.runtime.device import autocast
from rml_trainers.students.learners import to_unit_range
from rml_trainers.training.trainer import Trainer

Kernels = Literal["our", "plain"]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One batch on the device as a peer's loaders deliver it: floating-point images, noise done,
    mixing still to do."""

    labelled: tuple[tuple[Tensor, Tensor], ...]
    """Images [B, 3, H, W] and labels int64 [B, H, W], per student."""
    weak: Tensor
    """[B, 3, H, W]."""
    strong: tuple[Tensor, ...]
    """Colour noise on the weak views, per draw: [B, 3, H, W]."""
    pasted: tuple[Tensor, ...]
    """Where each image takes its partner's pixels, per draw: bool [B, H, W]."""
    partner: Tensor
    """int64 [B]."""
    inside: Tensor
    """bool [B, H, W]."""
    initial: tuple[Tensor, ...]
    """Stored p⁰ per network: [B, K, h, w]."""


def load(batch: Batch) -> Loaded:
    """A batch of ours, turned into what a peer's loaders would give."""
    assert batch.unlabelled is not None
    weak = to_unit_range(batch.unlabelled.image).contiguous()
    draws = [draw.mixing for draw in batch.noise]
    boxes = [draw for draw in draws if isinstance(draw, BoxDraw)]
    assert boxes and len(boxes) == len(draws), "the peers mix boxes"
    size = (weak.shape[-2], weak.shape[-1])
    return Loaded(
        labelled=tuple(
            (to_unit_range(c.image).contiguous(), c.label.long()) for c in batch.labelled
        ),
        weak=weak,
        strong=tuple(photometric(weak, draw).contiguous() for draw in batch.noise),
        pasted=tuple(inside_boxes(box.boxes, size) for box in boxes),
        partner=boxes[0].partner,
        inside=batch.unlabelled.inside,
        initial=batch.unlabelled.initial,
    )


class Script(ABC):
    """A peer's networks and its step.

    Args:
        trainer: gives the initial networks and settings; it is not used for training.
        dtype: float32 as public code runs, or the precision that ours runs in.
        kernels: `our` takes the networks as our trainer runs them, `plain` as timm and torch give
            them, which differs on a CPU (`networks/accelerate/`).
    """

    style: ClassVar[str]
    """Whose structure it has."""

    def __init__(self, trainer: Trainer, dtype: torch.dtype, kernels: Kernels = "our") -> None:
        learners = trainer.learners
        settings = trainer.config.optimiser
        self.trainer = trainer
        self.device = trainer.device
        self.dtype = dtype
        numbers = range(learners.num_students)
        self.students = [self._network(learners.student(i), kernels) for i in numbers]
        self.teachers = [self._network(learners.teacher(i), kernels) for i in numbers]
        self.optimisers = [
            torch.optim.SGD(
                [
                    {"params": list(student.backbone_parameters()), "factor": 1.0},
                    {"params": list(student.head_parameters()), "factor": settings.head_lr_factor},
                ],
                lr=settings.lr,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
            )
            for student in self.students
        ]

    def _network(self, trained: SegmentationNetwork, kernels: Kernels) -> SegmentationNetwork:
        """The trainer's network itself, or the same weights in a graph that nobody prepared."""
        network = trained
        if kernels == "plain":
            config = self.trainer.config
            network = build_network(
                config.network, self.trainer.data.num_classes, config.noise, pretrained=False
            )
            network.load_state_dict(trained.state_dict())
            network.train(trained.training)
            for parameter, like in zip(network.parameters(), trained.parameters(), strict=True):
                parameter.requires_grad_(like.requires_grad)
        placed: SegmentationNetwork = network.to(self.device).to(
            memory_format=torch.contiguous_format
        )
        return placed

    @abstractmethod
    def step(self, loaded: Loaded, progress: float) -> float:
        """One training step; returns its loss."""

    def forward(self, network: SegmentationNetwork, images: Tensor) -> SegmentationOutput:
        """One forward in the script's precision."""
        with autocast(self.device, self.dtype):
            output: SegmentationOutput = network(images)
        return output

    def classify(self, network: SegmentationNetwork, feature: Tensor) -> SegmentationOutput:
        """The head alone in the script's precision."""
        with autocast(self.device, self.dtype):
            return network.classify(feature)

    def predict(self, network: SegmentationNetwork, images: Tensor) -> Tensor:
        """Logits at the resolution of the images, as these scripts' models return them: [B, K, H,
        W]."""
        logits = self.forward(network, images).logits
        return network.upsample(logits, (images.shape[-2], images.shape[-1]))

    def set_rates(self, progress: float) -> None:
        """Polynomial decay, set in every parameter group."""
        settings = self.trainer.config.optimiser
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = settings.lr * (1 - progress) ** settings.poly_power * group["factor"]


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the pixels whose label is not 255."""
    return functional.cross_entropy(logits, label, ignore_index=IGNORE_LABEL)
