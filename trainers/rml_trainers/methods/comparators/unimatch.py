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
from dataclasses import replace
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional

from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import UnlabelledCrops
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.methods.consistency import Consistency
from rml_trainers.methods.student_targets import View
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.colour_jitter import ColourJitter
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import InputNoiseDraw
from rml_trainers.noise.mixing import CutMix
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.learners import Learners

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

    P drops channels of every map that the head begins with, each by itself: the backbone's early
    and last map for Deeplabv3+, as the authors do; the last one for Deeplabv2, the decoder's for
    SETR. Differs from the authors' code: the CutMix partner is another image of the batch instead
    of one of a second batch, and the student labels all weak views in evaluation mode, where theirs
    labels the partner so and the image itself in training mode.
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
    """Smallest and largest fraction of the image that the box covers (authors' code)."""
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
        require_boxes(self.box_area, self.box_probability)

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        return boxes_view(self.photometric, self.box_area, self.box_probability, noise)


def require_boxes(area: tuple[float, float], probability: float) -> None:
    """Raise ValueError unless boxes of such shares of an image can be drawn."""
    require(0 < area[0] <= area[1] < 1, "box_area", area, "shares in (0, 1)")
    require(0 <= probability <= 1, "box_probability", probability, "a number in [0, 1]")


def boxes_view(
    photometric: Photometry, area: tuple[float, float], probability: float, noise: NoiseConfig
) -> StrongView:
    """The strong view of both versions: the authors' colour noise, and one box of another image."""
    mixing = CutMix(area=area, aspect=BOX_ASPECT, probability=probability)
    return StrongView(photometric=colour_noise(photometric, noise, STRONG_COLOUR), mixing=mixing)


class UniMatch(Consistency):
    """The student labels its weak views and learns from all its views in one forward; of the weak
    images only the feature is needed, perturbed."""

    config: UniMatchConfig

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return (student,)

    def loss_factor(self) -> float:
        return 0.5

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """Their means go over all pixels that are image."""
        labels = super().pseudo_labels(outputs, unlabelled, learners)
        return [label._replace(inside=unlabelled.inside) for label in labels]

    def views(
        self, weak: Tensor, draws: Sequence[InputNoiseDraw], targets: Sequence[PseudoLabel]
    ) -> list[View]:
        """P(f(γ(x_u))), then the strong views."""
        strong = super().views(weak, draws, targets)
        of_each = self.config.strong_weight / len(strong)
        return [
            View(
                weak,
                list(targets),
                weight=self.config.feature_weight,
                perturb=self._drop_channels,
                name="feature",
            ),
            *(replace(view, weight=of_each) for view in strong),
        ]

    def _drop_channels(self, feature: Tensor, images: slice) -> Tensor:
        return functional.dropout2d(feature, self.config.channel_dropout)
