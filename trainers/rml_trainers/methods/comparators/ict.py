"""`ict`: interpolation consistency training (Verma et al., IJCAI 2019), as French et al. (2020)
apply it to pixels.

Settings of the run as in `cutmix_seg`.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers.configuration import configuration, require
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.comparators.cutmix_seg import STRONG_COLOUR, CutMixSeg
from rml_trainers.methods.method import MethodContext
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing_masks import Interpolation
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.settings.contract import MethodConfig


@configuration
class IctConfig(MethodConfig):
    """L_u as in `cutmix_seg`, with Mix(a_i, a_j) = (1 − λ) a_i + λ a_j of images, probabilities and
    confidences.

    Differs from both: a pixel counts where the image with the larger weight is inside, not by
    its weight.
    """

    num_students: ClassVar[int] = 1
    soft_labels: ClassVar[bool] = True
    name: Literal["ict"] = "ict"
    alpha: float = 0.1
    """λ ~ Beta(α, α) (French et al.: 0.1; Verma et al. try 0.1 to 1)."""
    weight: float = 0.01
    """Weight of L_u (French et al. on VOC: 0.01; Verma et al. ramp it up to 10 to 100)."""
    confidence: float = 0.97
    """τ (French et al.: 0.97); 0 leaves the weight to the ramp alone, as Verma et al. have it."""
    ramp_up_steps: int = 0
    """Steps of each stage over which the weight grows as exp(−5 (1 − t)²); Verma et al. take a
    quarter of the training, French et al. none."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of Γ, as in `cutmix_seg`."""

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", self.alpha, "a positive number")
        require(self.weight >= 0, "weight", self.weight, "zero or more")
        require(0 <= self.confidence <= 1, "confidence", self.confidence, "a number in [0, 1]")
        require(self.ramp_up_steps >= 0, "ramp_up_steps", self.ramp_up_steps, "zero or more")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        colour = colour_noise(self.photometric, noise, STRONG_COLOUR)
        return StrongView(photometric=colour, mixing=Interpolation(alpha=self.alpha))


class InterpolationConsistency(CutMixSeg):
    """Keeps the number of steps of the stage, on the device, for the ramp."""

    config: IctConfig

    def __init__(self, config: IctConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        self._num_steps: Tensor | None = None

    def begin_stage(self, context: StageContext) -> None:
        self._num_steps = torch.zeros((), device=context.learners.device)

    def loss_weight(self) -> float | Tensor:
        method = self.config
        if method.ramp_up_steps == 0:
            return method.weight
        assert self._num_steps is not None, "the stage has not begun"
        missing = (1 - self._num_steps / method.ramp_up_steps).clamp(min=0)
        return method.weight * torch.exp(-5 * missing**2)

    def after_loss(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        if self._num_steps is not None:
            self._num_steps = self._num_steps + 1
        return {}

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._num_steps is None else {"num_steps": self._num_steps}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._num_steps = tensors["num_steps"].clone() if tensors else None
