"""`meta_pseudo_label`: a teacher labels, and learns from how well its student then does on labels
(Pham et al., CVPR 2021; the paper's Fig. 1b).

Sources: "Meta Pseudo Labels", Eq. 10 to 12 and its UDA teacher; order of a step, moving average and
values from the public code for CIFAR (kekmodel/MPL-pytorch), which is for whole images: here every
loss is a mean over pixels.

The first network is the student, which is scored, the second its teacher; both begin from the
warm-up. The authors' last phase, finetuning the student on labels, is not here.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.method import Stateless, StepResult, Supervision, labelled_images
from rml_trainers.noise.input_noise import strengthen
from rml_trainers.runtime.distributed import mean_over_workers
from rml_trainers.scoring.metrics import confusion_matrix, most_likely
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import (
    hard_cross_entropy,
    labelled_cross_entropy,
    log_softmax,
    soft_cross_entropy,
    valid_counts,
)
from rml_trainers.students.micro_batches import MicroBatch

STUDENT = 0
TEACHER = 1
MOMENTUM = 0.99
"""Of the usual feedback, which is taken off (public code: 0.99)."""


@configuration
class MetaPseudoLabelConfig(MethodConfig):
    """Student: L = CE(ŷ, s(Γ(x_u))), ŷ = argmax t(γ(x_u)). Then, teacher:

        L = CE(y_l, t(x_l)) + λ · weight · 1[max q ≥ τ] · CE(q, t(Γ(x_u)))
            + h · CE(argmax t(Γ(x_u)), t(Γ(x_u)))

    q = softmax(t(γ(x_u)) / T), h = [CE(y_l, s(x_l)) before the student's update − after it] − its
    moving average: labels that made the student better on labelled images become likelier.

    Differs from the public code: h has the sign of the paper's Eq. 12 (there it is turned round),
    its last factor has a gradient (there it is detached, so that it teaches nothing), the average
    begins at 0, weak views are labelled in a forward of their own (in the mode of `teacher.mode`),
    and both networks see one unlabelled image per labelled one unless `batch` says otherwise
    (there 7).
    """

    num_students: ClassVar[int] = 2
    labeller: ClassVar[Labeller] = "students"
    shared_views: ClassVar[bool] = True
    students_apart: ClassVar[bool] = True
    name: Literal["meta_pseudo_label"] = "meta_pseudo_label"
    uda_weight: float = 8.0
    """λ (public code for CIFAR-10: 8)."""
    uda_threshold: float = 0.6
    """τ (public code: 0.6)."""
    uda_temperature: float = 0.7
    """T (public code: 0.7)."""
    uda_ramp_steps: int = 5000
    """Steps of the stage over which λ grows from 0 (public code: 5000); 0: none."""

    def __post_init__(self) -> None:
        require(self.uda_weight >= 0, "uda_weight", self.uda_weight, "zero or more")
        threshold = self.uda_threshold
        require(0 <= threshold < 1, "uda_threshold", threshold, "a number in [0, 1)")
        temperature = self.uda_temperature
        require(temperature > 0, "uda_temperature", temperature, "a positive number")
        require(self.uda_ramp_steps >= 0, "uda_ramp_steps", self.uda_ramp_steps, "zero or more")


class _Views:
    """What both networks of one step see, and the teacher's labels of it, mixed as the view is."""

    def __init__(self, labelled: Supervision, strong: Tensor, hard: PseudoLabel, soft: PseudoLabel):
        self.labelled = labelled
        self.strong = strong
        self.hard = hard
        self.soft = soft
        counts = valid_counts(labelled.label != IGNORE_LABEL, hard.valid)
        self.num_known = counts[0]
        self.num_inside = counts[1]

    def images(self, piece: MicroBatch) -> Tensor:
        """Labelled images of a piece, then strong ones."""
        return torch.cat([piece.of(self.labelled.images), piece.of(self.strong)])


class MetaPseudoLabels(Stateless):
    """Keeps the usual feedback and the number of steps of the stage, on the device."""

    config: MetaPseudoLabelConfig
    _usual: Tensor | None = None
    _num_steps: Tensor | None = None

    def begin_stage(self, context: StageContext) -> None:
        self._usual = torch.zeros((), device=context.learners.device)
        self._num_steps = torch.zeros((), device=context.learners.device)

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """The student's loss; once it is taken, the teacher's (`StepResult.afterwards`)."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        scores = learners.label_one("students", TEACHER, weak).logits
        views = self._views(batch, weak, scores, learners)
        before: list[Tensor] = []

        def loss_of(piece: MicroBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
            (output,) = learners.forward_students([views.images(piece)], piece.students)
            on_labelled, on_strong = _maps(output.logits, piece, views, learners, STUDENT)
            known = hard_cross_entropy(
                on_labelled.detach(), piece.of(views.labelled.label), views.num_known
            )
            before.append(known)
            label = piece.of(views.hard.hard)
            loss = hard_cross_entropy(on_strong, label, views.num_inside)
            return loss, {"loss_supervised_1": known, "loss_unsupervised_1": loss}

        learnt = learners.learn(loss_of, students=(STUDENT,))
        old = torch.stack(before).sum()
        return StepResult(
            loss=learnt.loss,
            scalars={**learnt.scalars, "loss": learnt.loss.detach()},
            confusions=self._monitor(scores, batch, learners),
            afterwards=lambda: self._teach(views, old, learners),
        )

    def _views(self, batch: Batch, weak: Tensor, scores: Tensor, learners: Learners) -> _Views:
        assert batch.unlabelled is not None
        draw = batch.noise[STUDENT]
        inside = batch.unlabelled.inside
        network = learners.student(TEACHER)
        with torch.no_grad():
            hard = make_pseudo_label(scores, inside, network)
            soft = make_pseudo_label(
                scores / self.config.uda_temperature,
                inside,
                network,
                soft=True,
                threshold=self.config.uda_threshold,
            )
            draw = draw.given(hard.hard)
            strong = strengthen(weak, draw)
            labelled = labelled_images(batch.labelled[STUDENT])
            return _Views(labelled, strong, hard.mixed(draw), soft.mixed(draw))

    def _teach(self, views: _Views, before: Tensor, learners: Learners) -> StepResult:
        """The teacher's loss, from the student as it is now."""
        config = self.config
        feedback = self._feedback(views, before, learners)
        uda = config.uda_weight * self.context.unsupervised_weight * self._ramp()

        def loss_of(piece: MicroBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
            (output,) = learners.forward_students([views.images(piece)], piece.students)
            on_labelled, on_strong = _maps(output.logits, piece, views, learners, TEACHER)
            supervised = labelled_cross_entropy(
                on_labelled,
                piece.of(views.labelled.label),
                views.num_known,
                self.context.labelled_loss,
            )
            assert views.soft.soft is not None
            consistency = soft_cross_entropy(
                on_strong, piece.of(views.soft.soft), piece.of(views.soft.valid), views.num_inside
            )
            own = torch.where(
                piece.of(views.hard.valid), most_likely(on_strong.detach()), IGNORE_LABEL
            )
            meta = hard_cross_entropy(on_strong, own, views.num_inside)
            loss = supervised + uda * consistency + feedback * meta
            return loss, {"loss_supervised_2": supervised, "loss_unsupervised_2": consistency}

        learnt = learners.learn(loss_of, students=(TEACHER,))
        assert self._num_steps is not None, "the stage has not begun"
        self._num_steps = self._num_steps + 1
        kept = views.soft.valid.float().mean()
        scalars = {"loss_teacher": learnt.loss.detach(), "feedback": feedback}
        return StepResult(
            loss=learnt.loss, scalars={**learnt.scalars, **scalars, "pseudo_label_kept": kept}
        )

    def _feedback(self, views: _Views, before: Tensor, learners: Learners) -> Tensor:
        """h, of all workers together; moves its average."""
        assert self._usual is not None, "the stage has not begun"
        output = learners.replay(STUDENT, views.labelled.images)
        label = views.labelled.label
        network = learners.student(STUDENT)
        with torch.no_grad():
            log_prob = log_softmax(network.upsample(output.logits, _size(label)))
            after = hard_cross_entropy(log_prob, label, views.num_known)
            gained = mean_over_workers(before - after)
            self._usual = torch.lerp(gained, self._usual, MOMENTUM)
            return gained - self._usual

    def _ramp(self) -> Tensor | float:
        if self.config.uda_ramp_steps == 0:
            return 1.0
        assert self._num_steps is not None, "the stage has not begun"
        return ((self._num_steps + 1) / self.config.uda_ramp_steps).clamp(max=1)

    def _monitor(self, scores: Tensor, batch: Batch, learners: Learners) -> dict[str, Tensor]:
        if not self.context.monitor_pseudo_labels or batch.unlabelled is None:
            return {}
        label = make_pseudo_label(scores, batch.unlabelled.inside, learners.student(TEACHER)).hard
        counts = confusion_matrix(label, batch.unlabelled.truth, self.num_classes)
        return {"pseudo_label_2": counts}

    def tensors(self) -> dict[str, Tensor]:
        if self._usual is None or self._num_steps is None:
            return {}
        return {"usual_feedback": self._usual, "num_steps": self._num_steps}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._usual = tensors["usual_feedback"].clone() if tensors else None
        self._num_steps = tensors["num_steps"].clone() if tensors else None


def _maps(
    logits: Tensor, piece: MicroBatch, views: _Views, learners: Learners, number: int
) -> tuple[Tensor, Tensor]:
    """Log-probabilities at pixel resolution on the labelled and on the strong images of a piece."""
    network = learners.student(number)
    size = _size(views.labelled.label)
    num_labelled = len(piece.of(views.labelled.images))
    parts = torch.split(logits, [num_labelled, len(logits) - num_labelled])
    on_labelled, on_strong = (log_softmax(network.upsample(maps, size)) for maps in parts)
    return on_labelled, on_strong


def _size(label: Tensor) -> tuple[int, int]:
    return (label.shape[-2], label.shape[-1])
