"""`classmix`: mean teacher whose predicted classes are pasted from image to image (Olsson et al.,
WACV 2021).

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 with COCO weights (2
ASPP branches, `batchnorm: frozen_affine`, teacher `mode: train`), `ema_decay: 0.99` (they begin
with the plain mean of the first steps); SGD 2.5e-4 (head ×10), momentum 0.9, weight decay 5e-4,
poly 0.9; 40k steps without warm-up; Cityscapes batch 2 and whole images 512×1024, VOC batch 10 and
crops 321×321. They score the student.
"""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.methods.paper.mean_teacher import MeanTeacher
from rml_trainers.noise.colour_jitter import ColourJitter
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing_masks import ClassMix
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import MethodConfig

JITTER_AND_BLUR = ColourJitter(
    brightness=0.25,
    contrast=0.25,
    saturation=0.25,
    hue=0.25,
    probability=0.8,
    blur_probability=0.5,
    blur_sigma=(0.15, 1.15),
)
"""Olsson et al.'s colour jitter and Gaussian blur on Cityscapes."""


@configuration
class ClassMixConfig(MethodConfig):
    """L_u = c · CE(Mix(ŷ), h_θ(Γ(Mix(x_u)))), ŷ = argmax h_θ̃(γ(x_u)), c = fraction of pixels with
    max p ≥ τ.

    Mix pastes the pixels of half of the classes (rounded down, chosen at random) of each ŷ into the
    partner image. Weight 1. Differs from the authors' code: padding is never pasted and counts
    neither in the mean nor in c.
    """

    num_students: ClassVar[int] = 1
    name: Literal["classmix"] = "classmix"
    confidence: float = 0.968
    """τ (authors' code: 0.968, `threshold_uniform`: the fraction is over the batch)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of Γ, after the mixing: jitter and blur on Cityscapes; on VOC the authors have
    `none`."""

    def __post_init__(self) -> None:
        require(0 <= self.confidence <= 1, "confidence", self.confidence, "a number in [0, 1]")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        colour = colour_noise(self.photometric, noise, JITTER_AND_BLUR)
        return StrongView(photometric=colour, mixing=ClassMix(), photometric_last=True)


class ClassMixMethod(MeanTeacher):
    """The mean teacher's hard labels decide what is pasted, and teach."""
