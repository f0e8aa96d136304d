"""`unimatch`: the student teaches itself on two strong views and on a perturbed feature (Yang et
al., 2023, version 1).

Sources: "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation", sections
3.2 to 3.4, and the authors' code where the text leaves a choice open.

Their settings of the run, to be written in a study: Deeplabv3+ on ResNet-101; SGD, momentum 0.9,
weight decay 1e-4, poly 0.9; VOC lr 0.001 (head ×10), crops 321×321; Cityscapes lr 0.005 (head ×1),
crops 801×801, online hard example mining; scales 0.5 to 2; no warm-up, no model noise. They score
the student.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.losses import log_softmax, valid_counts
from rml_trainers.methods.consistency import Consistency
from rml_trainers.methods.method import StepResult, Supervision, labelled_part, supervised_losses
from rml_trainers.noise.colour_jitter import ColourJitter
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import mix, strengthen
from rml_trainers.noise.mixing import CutMix
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.pixel_losses import pixel_losses

STRONG_COLOUR = ColourJitter(
    brightness=0.5,
    contrast=0.5,
    saturation=0.5,
    hue=0.25,
    probability=0.8,
    grey_probability=0.2,
    blur_probability=0.5,
)
"""The authors' strong colour noise, in their order."""
BOX_ASPECT = (0.3, 1 / 0.3)
"""Smallest and largest height-to-width ratio of a box (authors' code)."""


@configuration
class UniMatchConfig(MethodConfig):
    """L = ½ [ L_s + weight · ( μ/2 · CE(ŷ, h_θ(Γ_1(x_u))) + μ/2 · CE(ŷ, h_θ(Γ_2(x_u))) + λ · CE(ŷ,
    g(P(f(γ(x_u)))) ) ].

    ŷ = argmax p where max p > τ, p = h_θ(γ(x_u)), no teacher; P drops channels; `weight` is
    `unsupervised_weight`. With the authors' μ = λ = ½ this is ½ (L_x + ¼ L_s1 + ¼ L_s2 + ½ L_fp).
    Each CE is divided by the number of *valid* pixels, confident or not (authors' code), so that
    few confident pixels weigh little.

    The feature is what `SegmentationOutput.feature` is: the backbone's map for Deeplabv2, the
    decoder's for SETR. Differs from the authors' code: the CutMix partner is another image of the
    batch instead of one of a second batch, and the student labels all weak views in evaluation
    mode, where theirs labels the partner so and the image itself in training mode.
    """

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    num_strong_views: ClassVar[int] = 2
    name: Literal["unimatch"] = "unimatch"
    threshold: float = 0.95
    """τ (authors' code: 0.95; its last version takes 0 for Cityscapes)."""
    strong_weight: float = 0.5
    """μ, of both strong views together (authors: 0.5)."""
    feature_weight: float = 0.5
    """λ, of the perturbed feature (authors: 0.5)."""
    channel_dropout: float = 0.5
    """Chance that P drops a channel of the feature (authors: 0.5)."""
    box_area: tuple[float, float] = (0.02, 0.4)
    """Smallest and largest share of the image that the box covers (authors' code)."""
    box_probability: float = 0.5
    """Chance that an image gets a box at all (authors' code)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of both strong views (authors: jitter, greyscale and blur)."""

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, "threshold", self.threshold, "a number in [0, 1)")
        require(self.strong_weight >= 0, "strong_weight", self.strong_weight, "zero or more")
        require(self.feature_weight >= 0, "feature_weight", self.feature_weight, "zero or more")
        require(
            0 <= self.channel_dropout < 1,
            "channel_dropout",
            self.channel_dropout,
            "a number in [0, 1)",
        )
        require(
            0 < self.box_area[0] <= self.box_area[1] < 1,
            "box_area",
            self.box_area,
            "shares in (0, 1)",
        )
        require(
            0 <= self.box_probability <= 1,
            "box_probability",
            self.box_probability,
            "a number in [0, 1]",
        )

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        mixing = CutMix(area=self.box_area, aspect=BOX_ASPECT, probability=self.box_probability)
        return StrongView(
            photometric=colour_noise(self.photometric, noise, STRONG_COLOUR), mixing=mixing
        )


class UniMatch(Consistency):
    """One labelling forward, then one student forward over labelled, weak and both strong images
    together.

    Of the weak images only the feature is needed, perturbed, so the head alone runs once more on
    it.
    """

    config: UniMatchConfig

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        assert batch.unlabelled is not None
        network = learners.student(0)
        inside = batch.unlabelled.inside
        weak = to_unit_range(batch.unlabelled.image)
        (labelling,) = learners.label(self.config.labeller, weak)
        with torch.no_grad():
            target = make_pseudo_label(
                labelling.logits, inside, network, threshold=self.config.threshold
            )
            strong = [strengthen(weak, draw) for draw in batch.noise]
            part = labelled_part(batch.labelled[0])
            labels = [target.hard, *(mix(target.hard, draw) for draw in batch.noise)]
            valid = [inside, *(mix(inside, draw) for draw in batch.noise)]
            count, *counts = valid_counts(part.label != IGNORE_LABEL, *valid)
        targets = [
            PseudoLabel(label, None, num_valid=n) for label, n in zip(labels, counts, strict=True)
        ]
        views = list(zip([weak, *strong], targets, strict=True))
        learnt = learners.learn(partial(self._learn, part, count, views, learners))
        scalars = {**learnt.scalars, "loss": learnt.loss.detach(), **self._about([target])}
        return StepResult(
            loss=learnt.loss, scalars=scalars, confusions=self._monitor([target], batch.unlabelled)
        )

    def _learn(
        self,
        part: Supervision,
        count: Tensor,
        views: Sequence[tuple[Tensor, PseudoLabel]],
        learners: Learners,
        micro_batch: MicroBatch,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a micro-batch; `views` are the weak one and the strong ones with their labels,
        `count` is of L_s."""
        shares = [
            (micro_batch.of(images), target.part(micro_batch.slice(len(images))))
            for images, target in views
        ]
        images = [micro_batch.of(part.images), *(view for view, _ in shares)]
        (output,) = learners.forward_students([torch.cat(images)], micro_batch.students)
        sizes = [len(some) for some in images]
        labelled, _, *strong = torch.split(output.logits, sizes)
        feature = torch.split(output.feature, sizes)[1]
        perturbed = learners.classify(
            0, functional.dropout2d(feature, self.config.channel_dropout)
        ).logits
        own = supervised_losses(
            labelled, micro_batch.of(part.label), count, learners.student(0), learners, factor=0.5
        )
        weights = [
            self.config.feature_weight,
            *[self.config.strong_weight / len(strong)] * len(strong),
        ]
        taught = torch.stack(
            [
                self._taught(target, logits, weight, learners)
                for (_, target), logits, weight in zip(
                    shares, [perturbed, *strong], weights, strict=True
                )
            ]
        )
        total, unsupervised, _ = taught.sum(dim=0)
        told = {
            "loss_supervised_1": own[1],
            "loss_unsupervised_1": unsupervised,
            "loss_feature_1": taught[0, 2],
        }
        return own[0] + total, told

    def _taught(
        self, target: PseudoLabel, logits: Tensor, weight: float, learners: Learners
    ) -> Tensor:
        """Of one view: what it adds to L, what it adds to L_u, and its cross entropy: [3]."""
        network = learners.student(0)
        size = (target.hard.shape[-2], target.hard.shape[-1])

        def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
            loss = target.part(part).cross_entropy(log_softmax(network.upsample(some[0], size)))
            return [self.context.unsupervised_weight * weight / 2 * loss, weight * loss, loss]

        return pixel_losses(losses, [logits], size, learners.loss_chunk_mib)
