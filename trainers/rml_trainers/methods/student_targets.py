"""What one student learns from in a step: everything that is known before its forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.methods.method import Supervision
from rml_trainers.students.losses import valid_counts
from rml_trainers.students.micro_batches import MicroBatch

Perturb = Callable[[Tensor, slice], Tensor]
"""From a map of some images of a view [B, D, h, w] and their numbers in the view to the map that
the student's head reads instead. It is asked for each map that the head begins with in turn (see
`SegmentationOutput.head_input`): Deeplabv2's has one, DPT's four. What it draws for the whole view
is cut by the numbers; what it draws at once need not look at them."""


@dataclass(frozen=True)
class View:
    """Unlabelled images as a student sees them once, and what they should be taken for.

    Views that hold the same tensor of images share its forward: plain and perturbed, or perturbed
    in several ways. A weight of every pixel belongs to the targets (`PseudoLabel.confidence`), for
    `Consistency.on_view` to use.
    """

    images: Tensor
    """[B, 3, H, W] in [0, 1], what the network reads."""
    targets: list[PseudoLabel]
    """Labels of the networks that teach, mixed as the images are; their losses are added."""
    weight: float = 1.0
    """Factor of this view's loss in L_u."""
    importance: Tensor | None = None
    """Scalar factor that the targets of the whole batch decide."""
    perturb: Perturb | None = None
    """The student's head reads its maps perturbed by this, instead of as they are."""
    name: str = ""
    """Its loss is reported by this name; nothing of its own is reported without one."""
    first: int = 0
    """Number of the first of these images in the whole batch."""

    @property
    def numbers(self) -> slice:
        """Numbers of these images in the whole batch."""
        return slice(self.first, self.first + len(self.images))

    def of(self, images: slice) -> "View":
        """That of some of the images; counts stay those of the whole batch."""
        return replace(
            self,
            images=self.images[images],
            targets=[target.of(images) for target in self.targets],
            first=self.first + images.start,
        )


@dataclass(frozen=True)
class StudentTargets:
    """Labelled images and views of unlabelled ones for one student."""

    images: Tensor
    """γ(x_l): float [B_l, 3, H, W] in [0, 1]."""
    label: Tensor
    """int64 [B_l, H, W], 255 ignored."""
    num_valid: Tensor
    """Scalar: valid labelled pixels of the whole batch, see `valid_counts`."""
    views: list[View]
    """Their targets with their pixels counted."""

    def of(self, micro_batch: MicroBatch) -> "StudentTargets":
        """That of a micro-batch's images; counts stay those of the whole batch."""
        views = [view.of(micro_batch.slice(len(view.images))) for view in self.views]
        shared = {id(own.images): of.images for own, of in zip(self.views, views, strict=True)}
        return replace(
            self,
            images=micro_batch.of(self.images),
            label=micro_batch.of(self.label),
            views=[
                replace(of, images=shared[id(own.images)])
                for own, of in zip(self.views, views, strict=True)
            ],
        )


def count_pixels(
    labelled: Sequence[Supervision], views: Sequence[Sequence[View]]
) -> list[StudentTargets]:
    """What every student learns from, with the pixels counted that its means are over: one
    all-reduce for all."""
    masks = [images.label != IGNORE_LABEL for images in labelled]
    masks += [t.counted for of_student in views for view in of_student for t in view.targets]
    counts = iter(valid_counts(*masks))
    of_labelled = [next(counts) for _ in labelled]
    return [
        StudentTargets(
            own.images,
            own.label,
            num_valid,
            [
                replace(view, targets=[t._replace(num_valid=next(counts)) for t in view.targets])
                for view in of_student
            ],
        )
        for own, num_valid, of_student in zip(labelled, of_labelled, views, strict=True)
    ]
