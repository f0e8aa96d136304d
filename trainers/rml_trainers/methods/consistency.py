"""The step that all consistency methods share: label weak views, mix, learn from the strong views.

A method says who labels, who is taught by whom, and what becomes of a labeller's output. Everything is batched: one
forward per labelling network without gradient, one forward per student over labelled and mixed images together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from rml_trainers.learners import Labeller, Learners, to_unit_range
from rml_trainers.losses import log_softmax
from rml_trainers.methods.method import Stateless, StepResult, labelled_part, supervised_loss
from rml_trainers.metrics import confusion_matrix
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.input_noise import mix, photometric
from rml_trainers.pseudo_labels import PseudoLabel, make_pseudo_label

if TYPE_CHECKING:
    from rml_trainers.data.loaders import Batch, UnlabelledCrops


class Consistency(Stateless):
    """Base of every method that teaches students on strong views with labels made on weak views."""

    uses_unlabelled = True
    labeller: ClassVar[Labeller] = "teachers"

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        """Numbers of the labelling networks that teach a student."""
        raise NotImplementedError

    def pseudo_labels(
        self, outputs: Sequence[SegmentationOutput], unlabelled: "UnlabelledCrops", learners: Learners
    ) -> list[PseudoLabel]:
        """Target of each labelling network from its output on the unmixed weak views."""
        soft = bool(getattr(self.config.method, "soft_labels", False))
        return [
            make_pseudo_label(output.logits, unlabelled.inside, learners.student(i), soft=soft)
            for i, output in enumerate(outputs)
        ]

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
        return StepResult(loss=loss, scalars=scalars, confusions=self._monitor(targets, batch.unlabelled))

    def _student_losses(
        self, batch: "Batch", weak: Tensor, targets: Sequence[PseudoLabel], learners: Learners
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = [labelled_part(crops) for crops in batch.labelled]
        with torch.no_grad():
            strong = [mix(photometric(weak, draw), draw) for draw in batch.noise]
        students = learners.forward_students([torch.cat([p.images, s]) for p, s in zip(parts, strong, strict=True)])
        total = weak.new_zeros(())
        scalars: dict[str, Tensor] = {}
        for i, (output, part, draw) in enumerate(zip(students, parts, batch.noise, strict=True)):
            network, num_labelled = learners.student(i), part.images.shape[0]
            supervised = supervised_loss(output.logits[:num_labelled], part.label, network)
            size = (weak.shape[-2], weak.shape[-1])
            log_prob = log_softmax(network.upsample(output.logits[num_labelled:], size))
            teachers = self.taught_by(i, learners.num_students)
            taught = torch.stack([targets[j].mixed(draw).cross_entropy(log_prob) for j in teachers]).sum()
            total = total + supervised + self.config.unsupervised_weight * taught
            scalars[f"loss_supervised_{i + 1}"] = supervised.detach()
            scalars[f"loss_unsupervised_{i + 1}"] = taught.detach()
        scalars["loss"] = total.detach()
        scalars["pseudo_label_kept"] = torch.stack([(t.hard != 255).float().mean() for t in targets]).mean()
        if len(targets) == 2:
            both = targets[0].hard != targets[1].hard
            scalars["disagreement"] = both.float().mean()
        return total, scalars

    def _monitor(self, targets: Sequence[PseudoLabel], unlabelled: "UnlabelledCrops") -> dict[str, Tensor]:
        if not self.config.evaluation.monitor_pseudo_labels:
            return {}
        return {
            f"pseudo_label_{i + 1}": confusion_matrix(target.hard, unlabelled.truth, self.num_classes)
            for i, target in enumerate(targets)
        }
