"""The noise of the strong view Γ: photometric RandAugment, then CutMix inside the unlabelled batch (paper, 5.2)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing import MixingDraw, apply_mixing, draw_boxes
from rml_trainers.noise.photometric import PhotometricDraw, apply_photometric, draw_photometric


@dataclass(frozen=True, kw_only=True, eq=False)
class InputNoiseDraw:
    """Everything random about the strong views of N crops; a part is None where that noise is off."""

    num_images: int
    photometric: PhotometricDraw | None = None
    mixing: MixingDraw | None = None

    def slice(self, start: int, stop: int) -> "InputNoiseDraw":
        """Draw of the crops start to stop - 1 (one worker's share); only before the draw is moved to a device."""
        assert 0 <= start < stop <= self.num_images, "slice outside the batch"
        return InputNoiseDraw(
            num_images=stop - start,
            photometric=self.photometric and self.photometric.slice(start, stop),
            mixing=self.mixing and self.mixing.slice(start, stop),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "InputNoiseDraw":
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "InputNoiseDraw":
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, move: Callable[[Tensor], Tensor]) -> "InputNoiseDraw":
        return InputNoiseDraw(
            num_images=self.num_images,
            photometric=self.photometric and self.photometric.map(move),
            mixing=self.mixing and self.mixing.map(move),
        )


def draw_input_noise(
    rng: np.random.Generator, num_images: int, crop_px: tuple[int, int], config: NoiseConfig
) -> InputNoiseDraw:
    """Draw the strong views of the global batch; the result is empty when `noise.input` is off."""
    if not config.input:
        return InputNoiseDraw(num_images=num_images)
    photometric = draw_photometric(rng, num_images, config) if config.rand_augment_ops else None
    mixing = draw_boxes(rng, num_images, crop_px, config) if config.cutmix else None
    return InputNoiseDraw(num_images=num_images, photometric=photometric, mixing=mixing)


def photometric(images: Tensor, draw: InputNoiseDraw) -> Tensor:
    """Colour noise on images [B, 3, H, W] in [0, 1], on their device and without host synchronisation."""
    return images if draw.photometric is None else apply_photometric(images, draw.photometric)


def mix(maps: Tensor, draw: InputNoiseDraw) -> Tensor:
    """CutMix of images [B, 3, H, W], labels [B, H, W] or masks [B, H, W] with the same boxes."""
    return maps if draw.mixing is None else apply_mixing(maps, draw.mixing)
