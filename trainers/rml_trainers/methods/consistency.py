"""The step that all consistency methods share: label weak views, mix, learn from the strong views.

A method says who labels, who is taught by whom, what becomes of a labeller's output, and which loss ties a student to
it. Everything is batched: one forward per labelling network without gradient, one forward per student over labelled
and mixed images together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rml_trainers.coupling import total_variation
from rml_trainers.learners import Labeller, Learners, to_unit_range
from rml_trainers.losses import hard_cross_entropy, log_softmax
from rml_trainers.methods.method import Stateless, StepResult, Supervision, labelled_part
from rml_trainers.metrics import confusion_matrix
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.input_noise import InputNoiseDraw, strengthen
from rml_trainers.pseudo_labels import PseudoLabel, make_pseudo_label

if TYPE_CHECKING:
    from rml_trainers.data.loaders import Batch, UnlabelledCrops


class Consistency(Stateless):
    """Base of every method that teaches students on strong views with labels made on weak views."""

    uses_unlabelled = True
    labeller: ClassVar[Labeller] = "teachers"
    needs_confidence: ClassVar[bool] = False
    """Pseudo labels come with the largest probability of every pixel."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        """Numbers of the labelling networks that teach a student."""
        raise NotImplementedError

    def pseudo_labels(
        self, outputs: Sequence[SegmentationOutput], unlabelled: "UnlabelledCrops", learners: Learners
    ) -> list[PseudoLabel]:
        """Target of each labelling network from its output on the unmixed weak views."""
        soft, inside = bool(getattr(self.config.method, "soft_labels", False)), unlabelled.inside
        return [
            make_pseudo_label(output.logits, inside, learners.student(i), soft=soft, confidence=self.needs_confidence)
            for i, output in enumerate(outputs)
        ]

    def unsupervised_loss(self, log_prob: Tensor, targets: Sequence[PseudoLabel]) -> Tensor:
        """L_u of one student.

        Args:
            log_prob: [B, K, H, W], its log-probabilities on its strong views.
            targets: labels of the networks that teach it, mixed as the strong views are.
        """
        return torch.stack([target.cross_entropy(log_prob) for target in targets]).sum()

    def labelled_consistency(self, log_prob: Sequence[Tensor], parts: Sequence[Supervision]) -> list[Tensor]:
        """What is added to the L_u of each student on labelled images, or nothing: an empty list.

        Args:
            log_prob: log-probabilities [B, K, H, W] of every student on its labelled images.
            parts: these images with their labels.
        """
        return []

    def loss_weight(self) -> float | Tensor:
        """Weight of L_u by the method's authors, next to the run's own `unsupervised_weight`."""
        return float(getattr(self.config.method, "weight", 1.0))

    def after_loss(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        """Update whatever the method keeps, from the labellers' outputs; returns scalars to report."""
        return {}

    def step(self, batch: "Batch", learners: Learners) -> StepResult:
        """L = Σ_i [ L_s(θ_i) + weight · Σ_j∈taught_by(i) CE(ŷ_j, h_θi(Γ_i(x_u))) ]."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        outputs = learners.label(self.labeller, weak)
        with torch.no_grad():
            targets = self.pseudo_labels(outputs, batch.unlabelled, learners)
        loss, scalars = self._student_losses(batch, weak, targets, learners)
        with torch.no_grad():
            scalars.update(self.after_loss(outputs))
            scalars.update(self._coupling(outputs))
        return StepResult(loss=loss, scalars=scalars, confusions=self._monitor(targets, batch.unlabelled))

    def _student_losses(
        self, batch: "Batch", weak: Tensor, targets: Sequence[PseudoLabel], learners: Learners
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = [labelled_part(crops) for crops in batch.labelled]
        with torch.no_grad():
            draws = self._settled(batch.noise, targets, learners.num_students)
            strong = [strengthen(weak, draw) for draw in draws]
        students = learners.forward_students([torch.cat([p.images, s]) for p, s in zip(parts, strong, strict=True)])
        size, num_labelled = (weak.shape[-2], weak.shape[-1]), [part.images.shape[0] for part in parts]
        on_labelled, supervised, taught = [], [], []
        for i, (output, part, draw) in enumerate(zip(students, parts, draws, strict=True)):
            network = learners.student(i)
            on_labelled.append(log_softmax(network.upsample(output.logits[: num_labelled[i]], size)))
            supervised.append(hard_cross_entropy(on_labelled[i], part.label))
            log_prob = log_softmax(network.upsample(output.logits[num_labelled[i] :], size))
            mixed = [targets[j].mixed(draw) for j in self.taught_by(i, learners.num_students)]
            taught.append(self.unsupervised_loss(log_prob, mixed))
        for i, further in enumerate(self.labelled_consistency(on_labelled, parts)):
            taught[i] = taught[i] + further
        weight = self.config.unsupervised_weight * self.loss_weight()
        total = weak.new_zeros(())
        for own, by_others in zip(supervised, taught, strict=True):
            total = total + own + weight * by_others
        return total, self._scalars(total, supervised, taught, targets)

    def _settled(
        self, noise: Sequence[InputNoiseDraw], targets: Sequence[PseudoLabel], num_students: int
    ) -> list[InputNoiseDraw]:
        """Draws of the students; where mixing depends on labels, on those of the first network that teaches each."""
        num_views = len(noise) // num_students
        first = [self.taught_by(i // num_views, num_students)[0] for i in range(len(noise))]
        return [draw.given(targets[j].hard) for j, draw in zip(first, noise, strict=True)]

    @staticmethod
    def _scalars(
        total: Tensor, supervised: Sequence[Tensor], taught: Sequence[Tensor], targets: Sequence[PseudoLabel]
    ) -> dict[str, Tensor]:
        scalars = {f"loss_supervised_{i + 1}": loss.detach() for i, loss in enumerate(supervised)}
        scalars |= {f"loss_unsupervised_{i + 1}": loss.detach() for i, loss in enumerate(taught)}
        scalars["loss"] = total.detach()
        scalars["pseudo_label_kept"] = torch.stack([(t.hard != 255).float().mean() for t in targets]).mean()
        if len(targets) == 2:
            both = targets[0].hard != targets[1].hard
            scalars["disagreement"] = both.float().mean()
        return scalars

    def _coupling(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        """Distance of two labelling networks on the weak views; it is not part of any loss."""
        if len(outputs) != 2 or self.config.evaluation.monitor_coupling == "off":
            return {}
        return {"coupling_tv": total_variation(outputs[0].logits, outputs[1].logits).mean()}

    def _monitor(self, targets: Sequence[PseudoLabel], unlabelled: "UnlabelledCrops") -> dict[str, Tensor]:
        if not self.config.evaluation.monitor_pseudo_labels:
            return {}
        return {
            f"pseudo_label_{i + 1}": confusion_matrix(target.hard, unlabelled.truth, self.num_classes)
            for i, target in enumerate(targets)
        }
