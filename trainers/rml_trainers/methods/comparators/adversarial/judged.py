"""The step that the comparators of this folder share: one student learns on labelled and unlabelled
images, and a second network, its judge, from what it predicted."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.method import MethodContext, Stateless, StepResult, labelled_images
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import log_softmax, valid_counts
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.own_networks import OwnNetwork

ADAM_BETAS = (0.9, 0.99)
"""Of the judge's optimiser: of the training scripts of `adv_ssl` and `s4gan`; for `ecs`, whose
authors name none, ours."""


@dataclass(frozen=True)
class Predicted:
    """What the student made of some images; all maps at pixel resolution, made when they are first
    asked for."""

    student: SegmentationNetwork
    """It upsamples its own logits."""
    logits: tuple[Tensor, Tensor]
    """On labelled and on unlabelled images, [B, K, h, w] each."""
    images: Tensor
    """γ(x_l), [B_l, 3, H, W] in [0, 1]."""
    label: Tensor
    """y_l, [B_l, H, W]."""
    unlabelled: Tensor
    """γ(x_u), [B_u, 3, H, W] in [0, 1]."""
    inside: Tensor
    """bool [B_u, H, W], False where a crop overhangs its image."""
    num_pieces: int = 1
    """The step is cut into as many pieces: what is no sum over pixels is the mean of theirs."""

    @property
    def known(self) -> Tensor:
        """bool [B_l, H, W]: pixels with a label."""
        return self.label != IGNORE_LABEL

    @cached_property
    def log_prob(self) -> Tensor:
        """[B_l, K, H, W]."""
        return self._upsampled(self.logits[0])

    @cached_property
    def log_prob_unlabelled(self) -> Tensor:
        """[B_u, K, H, W]."""
        return self._upsampled(self.logits[1])

    def _upsampled(self, logits: Tensor) -> Tensor:
        """With gradient where the logits have one, whoever asks first: the map is kept."""
        size = (self.label.shape[-2], self.label.shape[-1])
        with torch.enable_grad():
            return log_softmax(self.student.upsample(logits, size))


class Judged(Stateless):
    """Base of methods whose student learns labels, and from what a network of the method's own
    makes of its predictions.

    The mean teachers move as always, but nothing here learns from them. Counts its steps in the
    stage, on the device.
    """

    judge_name: ClassVar[str] = "discriminator"
    """Of the judge, in checkpoints and reports."""

    def __init__(self, config: MethodConfig, context: MethodContext, *, lr: float) -> None:
        super().__init__(config, context)
        seed_model_noise(context.seed, "initialise", self.judge_name)
        self.judge = OwnNetwork(self.build(), adam(lr))
        self._num_steps: Tensor | None = None

    def build(self) -> nn.Module:
        """The judge."""
        raise NotImplementedError

    def student_loss(
        self, seen: Predicted, module: nn.Module, num_known: Tensor, num_inside: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Loss of the student on some images, what to report, and the labels that it gave itself.

        Args:
            module: the judge, fixed.
            num_known, num_inside: pixels of the whole batch that means go over.
        """
        raise NotImplementedError

    def judge_loss(self, seen: Predicted, module: nn.Module) -> Tensor:
        """Loss of the judge on a whole batch, on detached predictions."""
        raise NotImplementedError

    def own_networks(self) -> dict[str, OwnNetwork]:
        return {self.judge_name: self.judge}

    def begin_stage(self, context: StageContext) -> None:
        self._num_steps = torch.zeros((), device=context.learners.device)

    def started(self, after: int) -> Tensor | float:
        """1 from step `after` of the stage on, 0 before."""
        if after == 0:
            return 1.0
        assert self._num_steps is not None, "the stage has not begun"
        return (self._num_steps >= after).float()

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """One forward of the student on all images, and both losses."""
        assert batch.unlabelled is not None
        own = labelled_images(batch.labelled[0])
        inside = batch.unlabelled.inside
        weak = to_unit_range(batch.unlabelled.image)
        num_known, num_inside = valid_counts(own.label != IGNORE_LABEL, inside)
        student = learners.student(0)
        logits: list[tuple[Tensor, Tensor]] = []
        labels: list[Tensor] = []

        def loss_of(piece: MicroBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
            images = (piece.of(own.images), piece.of(weak))
            (output,) = learners.forward_students([torch.cat(images)], piece.students)
            on_labelled, on_weak = torch.split(output.logits, [len(each) for each in images])
            logits.append((on_labelled.detach(), on_weak.detach()))
            seen = Predicted(
                student,
                (on_labelled, on_weak),
                images[0],
                piece.of(own.label),
                images[1],
                piece.of(inside),
                piece.num_pieces,
            )
            with self.judge.fixed() as module:
                loss, scalars, label = self.student_loss(seen, module, num_known, num_inside)
            labels.append(label)
            return loss, scalars

        learnt = learners.learn(loss_of)
        on_labelled, on_weak = (torch.cat(pieces) for pieces in zip(*logits, strict=True))
        seen = Predicted(student, (on_labelled, on_weak), own.images, own.label, weak, inside)
        of_judge = self.judge_loss(seen, self.judge.module)
        if self._num_steps is not None:
            self._num_steps = self._num_steps + 1
        label = torch.cat(labels)
        kept = (label != IGNORE_LABEL).float().mean()
        scalars = {**learnt.scalars, "loss": learnt.loss.detach(), "pseudo_label_kept": kept}
        scalars[f"loss_{self.judge_name}"] = of_judge.detach()
        return StepResult(
            loss=learnt.loss,
            scalars=scalars,
            confusions=self._monitor(label, seen, batch.unlabelled.truth),
            own_losses={self.judge_name: of_judge},
        )

    def _monitor(self, label: Tensor, seen: Predicted, truth: Tensor) -> dict[str, Tensor]:
        """Of the labels that the student was given."""
        if not self.context.monitor_pseudo_labels:
            return {}
        return {"pseudo_label_1": confusion_matrix(label, truth, self.num_classes)}

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._num_steps is None else {"num_steps": self._num_steps}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._num_steps = tensors["num_steps"].clone() if tensors else None


def adam(lr: float) -> Callable[[Iterator[nn.Parameter]], Optimizer]:
    """The judge's optimiser, which all methods of this folder share."""
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, betas=ADAM_BETAS, fused=True)


def masked_mean(values: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """Sum of the values where the mask holds, divided by a count of at least 1."""
    return torch.where(mask, values, 0).sum() / count.clamp(min=1)
