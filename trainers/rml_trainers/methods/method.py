"""What a method is: it owns a step. The trainer owns time, the reporters what is told to whom."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.loading.loaders import Batch, InitialLabels, LabelledCrops
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.settings.optimisation import (
    LabelledLossConfig,
    OptimiserConfig,
    TeacherConfig,
)
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import labelled_cross_entropy, log_softmax, valid_counts
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.own_networks import OwnNetwork
from rml_trainers.students.pixel_losses import pixel_losses


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Loss to minimise and what to report of it. Everything stays on the device."""

    loss: Tensor
    """Scalar whose `backward()` brings every gradient that is not in the parameters yet (see
    `Learners.learn`)."""
    scalars: dict[str, Tensor]
    """Detached scalars; the trainer averages them between reports."""
    confusions: dict[str, Tensor] = field(default_factory=dict)
    """[K, K] pixel counts by name (pseudo labels against hidden truth); the trainer sums them
    between reports."""
    own_losses: dict[str, Tensor] = field(default_factory=dict)
    """Loss of each of the method's own networks, by name: on detached predictions, so that it
    reaches no student. They are minimised in this order, after the students' step."""
    taught: tuple[str, ...] = ()
    """Names of the method's own networks that `loss` has gradients for, as a head of a student;
    they take their step after the students'."""
    afterwards: Callable[[], "StepResult"] | None = None
    """What other students learn once this loss has been taken, from the weights as they are then.
    Gradients were cleared; a student without any in either loss stands still in it."""


@dataclass(frozen=True, kw_only=True)
class MethodContext:
    """What a method needs to know of its run, apart from its own settings."""

    num_classes: int
    unsupervised_weight: float = 1.0
    """The run's own weight of L_u."""
    monitor_pseudo_labels: bool = False
    """See `EvaluationConfig`."""
    monitor_coupling: Literal["off", "batch", "train_set"] = "batch"
    """See `EvaluationConfig`."""
    labelled_loss: LabelledLossConfig = field(default_factory=LabelledLossConfig)
    """The run's own L_s."""
    feature_widths: tuple[int, ...] = ()
    """Channels of each student's feature (`SegmentationOutput.feature`), for a head of the method's
    own."""
    last_map_widths: tuple[int, ...] = ()
    """Channels of the last map that each student's head begins with
    (`SegmentationOutput.head_input`)."""
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    """Of the students, for a head of the method's own."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """How mean teachers move, for that of a head of the method's own."""
    seed: int = 0
    """Of the run, for networks of the method's own."""
    crops_overhang: bool = False
    """Whether crops may overhang their images (`may_overhang`); where none does, nobody has to look
    for padding."""


class Method(Protocol):
    """One way to learn from unlabelled images. `METHODS` maps a name to its builder."""

    def own_networks(self) -> dict[str, OwnNetwork]:
        """Networks beside the students that have losses of their own, by name; the trainer saves
        and restores them."""
        ...

    def begin_stage(self, context: StageContext) -> None:
        """Compute what stays fixed or starts afresh in a stage (p⁰, prototypes)."""

    def resume_stage(self, context: StageContext) -> None:
        """The same after a restart in the middle of the stage: `load_tensors` has been called
        before."""

    def initial_labels(self) -> tuple[InitialLabels, ...]:
        """Readers of the stored p⁰, one per network, for the loader; empty when the method stores
        none."""
        ...

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """Forward passes and loss of one step: no `.item()`, no input or output, no Ray. Gradients
        were cleared.

        The students are run inside `Learners.learn`, which cuts the step into micro-batches.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """State beyond all networks that exact resume needs."""
        ...

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


class Supervision(NamedTuple):
    """Labelled images of one student on the device."""

    images: Tensor
    label: Tensor


def labelled_images(crops: LabelledCrops) -> Supervision:
    """γ(x_l) as float [B, 3, H, W] in [0, 1] and y_l as int64 [B, H, W]."""
    return Supervision(to_unit_range(crops.image), crops.label.long())


def supervised_loss(
    logits: Tensor,
    label: Tensor,
    count: Tensor,
    network: SegmentationNetwork,
    learners: Learners,
    settings: LabelledLossConfig,
) -> Tensor:
    """L_s = CE(y_l, h_θ(γ(x_l))) at label resolution (paper, Eq. 1).

    Args:
        count: valid pixels of the whole batch, see `valid_counts`.
        settings: what is made of the cross entropy.
    """
    size = (label.shape[-2], label.shape[-1])

    def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
        log_prob = log_softmax(network.upsample(some[0], size))
        return [labelled_cross_entropy(log_prob, label[part], count, settings)]

    return pixel_losses(losses, [logits], size, learners.loss_chunk_mib)[0]


def supervised_step(
    batch: Batch, learners: Learners, settings: LabelledLossConfig | None = None
) -> StepResult:
    """The step of stage 0 for any number of students: each learns from its own labelled images
    alone.

    Args:
        settings: the run's `labelled_loss`; default: the plain cross entropy.
    """
    settings = settings or LabelledLossConfig()
    labelled = [labelled_images(crops) for crops in batch.labelled]
    counts = valid_counts(*(own.label != IGNORE_LABEL for own in labelled))

    def loss_of(micro_batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = learners.forward_students(
            [micro_batch.of(labelled[i].images) for i in micro_batch.students], micro_batch.students
        )
        losses = [
            supervised_loss(
                output.logits,
                micro_batch.of(labelled[i].label),
                counts[i],
                learners.student(i),
                learners,
                settings,
            )
            for i, output in zip(micro_batch.students, outputs, strict=True)
        ]
        told = {
            f"loss_supervised_{i + 1}": loss
            for i, loss in zip(micro_batch.students, losses, strict=True)
        }
        return torch.stack(losses).sum(), told

    loss, scalars = learners.learn(loss_of)
    return StepResult(loss=loss, scalars={"loss": loss.detach(), **scalars})


class Stateless:
    """Base of methods that keep nothing beyond the networks."""

    config: MethodConfig
    """Its own settings; a subclass names their class."""

    def __init__(self, config: MethodConfig, context: MethodContext) -> None:
        self.config = config
        self.context = context

    @property
    def num_classes(self) -> int:
        return self.context.num_classes

    def own_networks(self) -> dict[str, OwnNetwork]:
        return {}

    def begin_stage(self, context: StageContext) -> None:
        pass

    def resume_stage(self, context: StageContext) -> None:
        pass

    def initial_labels(self) -> tuple[InitialLabels, ...]:
        return ()

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        assert not tensors, f"{type(self).__name__} keeps no tensors, got {sorted(tensors)}"
