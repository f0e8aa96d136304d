"""`augseg`: a mean teacher, colour noise of random intensity, and labelled pixels pasted where
labels are uncertain (Zhao et al., CVPR 2023).

Sources: "Augmentation Matters: A Simple-yet-Effective Approach to Semi-supervised Semantic
Segmentation" and the authors' code (ZhenZHAO/AugSeg: `train_semi.py`, `augseg/dataset`,
`augseg/utils/loss_helper.py`, and the configurations among its training logs), which decides every
value here.

Their settings of the run, to be written in a study: Deeplabv3+ on ResNet-101 at output stride 16;
SGD, momentum 0.9, poly 0.9; `teacher: {ema_decay: 0.999, ema_warm_up: true}` (Cityscapes: 0.996);
16 + 16 images. VOC: lr 0.001 (head ×10), weight decay 1e-4, crops 513×513, longer side 250 to 1000
pixels, 80 epochs. Cityscapes: lr 0.01 (head ×1), weight decay 5e-4, crops 800×800 at scale 0.5 to
2, 240 epochs, `labelled_loss: {hard_examples: 0.7, hard_fraction: 0.039}` (100,000 pixels of a
GPU's four crops). No warm-up, no model noise. They score the mean teacher, at its best on val.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import Batch, UnlabelledCrops
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.methods.method import labelled_images
from rml_trainers.methods.paper.mean_teacher import MeanTeacher
from rml_trainers.methods.student_targets import StudentTargets, View, count_pixels
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import photometric
from rml_trainers.noise.label_injection import InjectionDraw, LabelInjection
from rml_trainers.noise.random_intensity import RandomIntensity
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners


@configuration
class AugSegConfig(MethodConfig):
    """L = L_s + weight · CE(Mix(ŷ), h_θ(Mix(Γ(x_u)))), ŷ = argmax p where max p > τ, p =
    h_θ̃(γ(x_u)).

    The mean is over all pixels that are image, with a label or without. Mix gives every image a box
    of its partner; a partner j with trust c_j = mean of (1 − H(p)/log K) · max p has, with
    probability 1 − c_j, a box of a labelled image γ(x_l) and its labels in it before. Γ is 1 to
    `max_operations` colour operations, before the mixing.

    Differs from the authors' code: partners are neighbours in the batch instead of a permutation of
    it, and labelled images come in their order; padding of unlabelled crops counts neither in the
    mean nor in c; their teacher is a copy of the student for the whole first epoch, and averages
    BatchNorm's statistics as well, which ours takes from the student.
    """

    num_students: ClassVar[int] = 1
    name: Literal["augseg"] = "augseg"
    threshold: float | None = 0.95
    """τ (authors: 0.95 on VOC, none on Cityscapes; where max p equals it, they keep the pixel and
    we do not)."""
    max_operations: int = 3
    """Largest number of colour operations of an image (authors: 3)."""
    label_beta: tuple[float, float] = (8.0, 2.0)
    """Beta distribution of the share of the area that labelled images leave (authors: 8, 2)."""
    image_beta: tuple[float, float] = (4.0, 4.0)
    """Beta distribution of the share of the area that partners leave (authors: 4, 4)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise Γ (authors: random intensity, which this names)."""

    def __post_init__(self) -> None:
        threshold = self.threshold
        given = threshold is None or 0 <= threshold < 1
        require(given, "threshold", threshold, "a number in [0, 1)")
        require(self.max_operations >= 1, "max_operations", self.max_operations, "at least 1")
        for name in ("label_beta", "image_beta"):
            require(min(getattr(self, name)) > 0, name, getattr(self, name), "two positive numbers")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        mixing = LabelInjection(image_beta=self.image_beta, label_beta=self.label_beta)
        own = RandomIntensity(self.max_operations)
        return StrongView(photometric=colour_noise(self.photometric, noise, own), mixing=mixing)


class AugSeg(MeanTeacher):
    """The mean teacher labels; what it is not sure of is partly covered with labelled images."""

    config: AugSegConfig

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """Their means go over all pixels that are image, and their `confidence` is (1 − H(p)/log K)
        · max p."""
        (output,) = outputs
        label = make_pseudo_label(
            output.logits,
            unlabelled.inside,
            learners.student(0),
            soft=True,
            threshold=self.config.threshold,
            confidence=True,
        )
        assert label.soft is not None and label.confidence is not None
        certainty = 1 - entropy(label.soft) / math.log(self.num_classes)
        return [
            label._replace(
                soft=None, confidence=certainty * label.confidence, inside=unlabelled.inside
            )
        ]

    def _student_targets(
        self, batch: Batch, weak: Tensor, labels: Sequence[PseudoLabel], num_students: int
    ) -> list[StudentTargets]:
        """The strong view, with labelled pixels in it."""
        own = labelled_images(batch.labelled[0])
        (draw,) = batch.noise
        (label,) = labels
        assert label.confidence is not None and label.inside is not None
        images = photometric(weak, draw)
        target = label._replace(confidence=None)
        if isinstance(draw.mixing, InjectionDraw):
            trust = image_means(label.confidence, label.inside)
            images = draw.mixing.inject(images, own.images, trust)
            everywhere = torch.ones_like(own.label, dtype=torch.bool)
            target = target._replace(
                hard=draw.mixing.inject(label.hard, own.label, trust),
                inside=draw.mixing.inject(label.inside, everywhere, trust),
            )
        return count_pixels([own], [[View(images, [target])]])


def entropy(prob: Tensor) -> Tensor:
    """[B, H, W] entropy in nats of probabilities [B, K, H, W]."""
    terms: Tensor = torch.special.xlogy(prob, prob)
    return -terms.sum(dim=1)


def image_means(values: Tensor, mask: Tensor) -> Tensor:
    """[B] mean of values [B, H, W] where the mask holds; 0 for an image where it never does."""
    count = mask.sum(dim=(1, 2)).clamp(min=1)
    return torch.where(mask, values, 0).sum(dim=(1, 2)) / count
