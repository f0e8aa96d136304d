"""`cutmix_seg`: mean teacher and CutMix with a squared-error consistency (French et al., BMVC
2020).

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 (2 ASPP branches,
`batchnorm: frozen`, teacher `mode: train`), `ema_decay: 0.99`; Adam with a constant rate of 3e-6
(head 3e-5) where we have SGD; 40k steps without warm-up; Cityscapes batch 4 and crops 256×512, VOC
batch 10 and crops 321×321 at scale 0.5 to 1.5.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor

from rml_trainers.configuration import configuration, require
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.methods.paper.mean_teacher import MeanTeacher
from rml_trainers.noise.colour_jitter import ColourJitter
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing import CutMix
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.losses import squared_error

STRONG_COLOUR = ColourJitter(
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, probability=0.8, grey_probability=0.2
)
"""French et al.'s strong colour augmentation."""


@configuration
class CutMixSegConfig(MethodConfig):
    """L_u = c · mean over pixels of Σ_k (p_k − q_k)², c = fraction of the batch's pixels with max q
    ≥ τ.

    p = h_θ(Mix(Γ(x_u))), q = Mix(h_θ̃(γ(x_u))). Weight 1. Differs from the authors' code: the
    partner is another image of the batch instead of one of a second batch; means and c leave
    padding out instead of counting it as 0.
    """

    num_students: ClassVar[int] = 1
    soft_labels: ClassVar[bool] = True
    name: Literal["cutmix_seg"] = "cutmix_seg"
    confidence: float = 0.97
    """τ (authors' code: 0.97, averaged over the batch)."""
    box_area: tuple[float, float] = (0.5, 0.5)
    """Smallest and largest fraction of the image that the box covers (authors: always half; any
    aspect that fits)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of Γ: on VOC the authors jitter, on Cityscapes they have `none`."""

    def __post_init__(self) -> None:
        require(0 <= self.confidence <= 1, "confidence", self.confidence, "a number in [0, 1]")
        require(
            0 < self.box_area[0] <= self.box_area[1] < 1,
            "box_area",
            self.box_area,
            "shares in (0, 1)",
        )

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        colour = colour_noise(self.photometric, noise, STRONG_COLOUR)
        return StrongView(photometric=colour, mixing=CutMix(area=self.box_area))


class CutMixSeg(MeanTeacher):
    """The mean teacher's probabilities are mixed as the images are; the student's come close to
    them."""

    def unsupervised_loss(self, log_prob: Tensor, targets: Sequence[PseudoLabel]) -> Tensor:
        (target,) = targets
        assert target.soft is not None
        return squared_error(log_prob.exp(), target.soft, target.valid, target.num_valid)
