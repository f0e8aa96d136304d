"""`cowmix`: as `cutmix_seg`, with patches of smoothed noise instead of boxes (French, Oliver and
Salimans, 2020).

Settings of the run as in `cutmix_seg`; the Cityscapes numbers of the tables begin with COCO
weights.
"""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.methods.comparators.cutmix_seg import STRONG_COLOUR, CutMixSeg
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing_masks import CowMix
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import MethodConfig


@configuration
class CowMixConfig(MethodConfig):
    """L_u as in `cutmix_seg`. What is pasted: G_σ ∗ ε ≤ its mean + Φ⁻¹(p) · its deviation, ε white
    noise."""

    num_students: ClassVar[int] = 1
    soft_labels: ClassVar[bool] = True
    name: Literal["cowmix"] = "cowmix"
    confidence: float = 0.97
    """τ, as in `cutmix_seg` (for classification the authors' code has 0.6 and weight 30)."""
    sigma: tuple[float, float] = (1 / 32, 1 / 8)
    """Smallest and largest σ, log-uniform, as a fraction of the crop's shorter side: 8 to 32 pixels
    at 256, the range of Olsson et al.'s CowMix on Cityscapes (authors' classification code: 4 to 16
    pixels of CIFAR's 32)."""
    proportion: tuple[float, float] = (0.5, 0.5)
    """Smallest and largest p, uniform (Olsson et al. on Cityscapes: 0.5; authors' classification
    code: 0.2 to 0.8)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of Γ, as in `cutmix_seg`."""

    def __post_init__(self) -> None:
        require(0 <= self.confidence <= 1, "confidence", self.confidence, "a number in [0, 1]")
        require(
            0 < self.sigma[0] <= self.sigma[1], "sigma", self.sigma, "positive shares of the crop"
        )
        require(
            0 < self.proportion[0] <= self.proportion[1] < 1,
            "proportion",
            self.proportion,
            "shares in (0, 1)",
        )

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        colour = colour_noise(self.photometric, noise, STRONG_COLOUR)
        return StrongView(
            photometric=colour, mixing=CowMix(sigma=self.sigma, proportion=self.proportion)
        )


class CowMixSeg(CutMixSeg):
    """Nothing but the masks differs."""
