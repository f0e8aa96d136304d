"""`unimatch_v2`: a mean teacher labels, and two strong views drop complementary channels (Yang et
al., 2025).

Sources: "UniMatch V2: Pushing the Limit of Semi-Supervised Semantic Segmentation" and the authors'
code (LiheYoung/UniMatch-V2, `unimatch_v2.py`, `dataset/semi.py`, `configs`), which decides every
value here.

Their settings of the run, to be written in a study: `network: {name: dpt}` on DINOv2-S or -B with
the authors' weights; `optimiser: {kind: adamw, lr: 5e-6, head_lr_factor: 40, weight_decay: 0.01}`,
poly 0.9; `teacher: {ema_decay: 0.996, ema_warm_up: true}`; scales 0.5 to 2; VOC crops 518×518,
16 + 16 images, Cityscapes crops 798×798, 8 + 8 images and `labelled_loss: {hard_examples: 0.7,
hard_fraction: 0.157}` (200,000 pixels of a GPU's two crops); no warm-up, no model noise, float32.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import UnlabelledCrops
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.methods.comparators.unimatch import boxes_view, require_boxes
from rml_trainers.methods.paper.mean_teacher import MeanTeacher
from rml_trainers.methods.student_targets import View
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import InputNoiseDraw
from rml_trainers.noise.strong_view import Photometry, StrongView
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners


@configuration
class UniMatchV2Config(MethodConfig):
    """L = ½ [ L_s + weight · ½ Σ_v CE(ŷ, g(M_v ⊙ f(Γ_v(x_u)))) ], v = 1, 2.

    ŷ = argmax p where max p > τ, p = h_θ̃(γ(x_u)); each CE is divided by the number of pixels that
    are image, confident or not. M_1 is 2 or 0 per image and channel, by a fair coin; M_2 = 2 − M_1.
    A random `plain_fraction` of the images keeps M = 1 in both views. One mask serves all maps that
    the head begins with where they are equally wide (DPT's four, as the authors have it); maps of
    other widths have one each. Differs from the authors' code: the CutMix partner is the neighbour
    in the batch, not its mirror image, and the head also reads the strong views undropped, which
    nothing learns from (DPT has no statistics that it could move); their teacher averages buffers
    as well, of which a DPT has none that move, and a ResNet has BatchNorm's statistics.
    """

    num_students: ClassVar[int] = 1
    num_strong_views: ClassVar[int] = 2
    name: Literal["unimatch_v2"] = "unimatch_v2"
    threshold: float = 0.95
    """τ (authors: 0.95; where max p equals it, they keep the pixel and we do not)."""
    plain_fraction: float = 0.5
    """Images, rounded down, that are not dropped from (authors' code: 0.5)."""
    box_area: tuple[float, float] = (0.02, 0.4)
    """Smallest and largest fraction of the image that the box covers (authors' code)."""
    box_probability: float = 0.5
    """Chance that an image gets a box at all (authors' code)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of both strong views (authors: jitter, greyscale and blur)."""

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, "threshold", self.threshold, "a number in [0, 1)")
        require(
            0 <= self.plain_fraction <= 1,
            "plain_fraction",
            self.plain_fraction,
            "a number in [0, 1]",
        )
        require_boxes(self.box_area, self.box_probability)

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        return boxes_view(self.photometric, self.box_area, self.box_probability, noise)


class ComplementaryMasks:
    """Masks of the channels of one batch in two views, drawn for the whole batch when the first of
    its images asks.

    Args:
        num_images: of the batch.
        num_plain: images with mask 1 in both views, chosen at random.
    """

    def __init__(self, num_images: int, num_plain: int, device: torch.device) -> None:
        self._num_images = num_images
        order = torch.randperm(num_images, device=device)
        self._plain = torch.zeros(num_images, dtype=torch.bool, device=device)
        self._plain[order[:num_plain]] = True
        self._first: dict[int, Tensor] = {}

    def of(self, view: int, width: int) -> Tensor:
        """float32 [B, width], 0, 1 or 2; of view 0 or 1."""
        if width not in self._first:
            coins = torch.rand(self._num_images, width, device=self._plain.device) < 0.5
            self._first[width] = torch.where(self._plain[:, None], 1.0, 2.0 * coins)
        first = self._first[width]
        return first if view == 0 else 2 - first

    def drop(self, view: int, maps: Tensor, images: slice) -> Tensor:
        """Maps [B, D, h, w] of some images of the batch, masked."""
        mask = self.of(view, maps.shape[1])[images]
        return maps * mask[:, :, None, None].to(maps.dtype)


class UniMatchV2(MeanTeacher):
    """The mean teacher labels; the student's head reads complementary channels in its two strong
    views."""

    config: UniMatchV2Config

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
        """Both strong views, each with its own mask."""
        num_plain = int(self.config.plain_fraction * len(weak))
        masks = ComplementaryMasks(len(weak), num_plain, weak.device)
        return [
            replace(view, weight=0.5, perturb=partial(masks.drop, number))
            for number, view in enumerate(super().views(weak, draws, targets))
        ]
