"""What one student learns from in a step: everything that is known before its forward."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.losses import valid_counts
from rml_trainers.methods.method import Supervision
from rml_trainers.students.micro_batches import MicroBatch


@dataclass(frozen=True)
class StudentTargets:
    """Labelled images and strong views of one student with their targets."""

    images: Tensor
    """γ(x_l): float [B_l, 3, H, W] in [0, 1]."""
    label: Tensor
    """int64 [B_l, H, W], 255 ignored."""
    num_valid: Tensor
    """Scalar: valid labelled pixels of the whole batch, see `valid_counts`."""
    strong: Tensor
    """Γ(x_u): [B_u, 3, H, W]."""
    targets: list[PseudoLabel]
    """Labels of the networks that teach it, mixed as the strong views are, with their valid pixels
    counted."""
    importance: Tensor | None = None
    """Scalar factor of L_u."""

    def share(self, micro_batch: MicroBatch) -> "StudentTargets":
        """That of a micro-batch's images; counts stay those of the whole batch."""
        targets = [target.part(micro_batch.slice(len(self.strong))) for target in self.targets]
        images, label, strong = (
            micro_batch.of(tensor) for tensor in (self.images, self.label, self.strong)
        )
        return replace(self, images=images, label=label, strong=strong, targets=targets)


def make_student_targets(
    parts: Sequence[Supervision],
    strong: Sequence[Tensor],
    targets: Sequence[list[PseudoLabel]],
    importance: Sequence[Tensor | None] | None = None,
) -> list[StudentTargets]:
    """One per student, with their valid pixels counted: one all-reduce for all."""
    masks = [part.label != IGNORE_LABEL for part in parts]
    masks += [target.valid for labels in targets for target in labels]
    counts = iter(valid_counts(*masks))
    of_labelled = [next(counts) for _ in parts]
    counted = [[target._replace(num_valid=next(counts)) for target in labels] for labels in targets]
    factors = importance or [None] * len(parts)
    return [
        StudentTargets(part.images, part.label, num_valid, views, labels, factor)
        for part, num_valid, views, labels, factor in zip(
            parts, of_labelled, strong, counted, factors, strict=True
        )
    ]
