"""`cps`: cross pseudo supervision with CutMix (Chen et al., CVPR 2021): `mutual_direct` as its
authors do it.

Their settings of the run, to be written in a study: Deeplabv3+ on ResNet-50 or 101; SGD, momentum
0.9, weight decay 1e-4, the same rate for backbone and head (`head_lr_factor: 1`), poly 0.9; VOC lr
0.0025 to 0.005, batch 8 to 16, crops 512×512, Cityscapes lr 0.02 to 0.04, crops 800×800; scales 0.5
to 2; pseudo labels in train mode (`teacher.mode: train`); no warm-up, no model noise. They score
the first student.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.methods.paper.mutual_direct import MutualDirect
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing import CutMix
from rml_trainers.noise.strong_view import StrongView, colour_noise
from rml_trainers.scoring.metrics import most_likely
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.losses import hard_cross_entropy


@configuration
class CpsConfig(MethodConfig):
    """L_u = λ Σ_i CE(Mix(ŷ_j), h_θi(Mix(x_u))), ŷ_j = argmax h_θj(x_u), j the peer of i.

    With `on_labelled`, λ Σ_i CE(argmax h_θj(x_l), h_θi(x_l)) is added. Both students see the same
    labelled images and the same mixed ones. Differs from the authors' code: the partner is another
    image of the batch instead of one of a second batch; on labelled images, pixels without label
    are left out.
    """

    num_students: ClassVar[int] = 2
    labeller: ClassVar[Labeller] = "students"
    shared_views: ClassVar[bool] = True
    name: Literal["cps"] = "cps"
    weight: float = 1.5
    """λ (authors: 1.5 for VOC, 6 for Cityscapes; their code with CutMix has 1 and 5)."""
    on_labelled: bool = False
    """Also on labelled images, as the authors' equations have it; their code with CutMix leaves it
    out. There the peer outweighs the true label (λ > 1): at a high learning rate both students
    ended with one class everywhere (tiny scenes, lr 0.02 with head ×10, November 2026), without it
    they did not."""
    box_area: tuple[float, float] = (0.25, 0.5)
    """Smallest and largest fraction that each box covers before all are shrunk to cover it together
    (authors' code)."""
    num_boxes: int = 3
    """Boxes per image (authors' code: 3)."""
    photometric: Literal["none", "rand_augment"] = "none"
    """Colour noise of Γ (authors: none)."""

    def __post_init__(self) -> None:
        require(self.weight >= 0, "weight", self.weight, "zero or more")
        require(
            0 < self.box_area[0] <= self.box_area[1] < 1,
            "box_area",
            self.box_area,
            "shares in (0, 1)",
        )
        require(self.num_boxes >= 1, "num_boxes", self.num_boxes, "at least 1")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        mixing = CutMix(area=self.box_area, num_boxes=self.num_boxes)
        return StrongView(photometric=colour_noise(self.photometric, noise), mixing=mixing)


class CrossPseudoSupervision(MutualDirect):
    """Direct mutual learning; where asked for, also on labelled images, labelled by the peer's
    training forward."""

    config: CpsConfig

    def needs_peers(self) -> bool:
        return self.config.on_labelled

    def labelled_consistency(
        self, log_prob: Sequence[Tensor], labels: Sequence[Tensor], counts: Sequence[Tensor]
    ) -> list[Tensor]:
        if not self.needs_peers():
            return []
        by_peer = [
            torch.where(label != IGNORE_LABEL, most_likely(peer.detach()), IGNORE_LABEL)
            for peer, label in zip(reversed(log_prob), labels, strict=True)
        ]
        return [
            hard_cross_entropy(*of_one) for of_one in zip(log_prob, by_peer, counts, strict=True)
        ]
