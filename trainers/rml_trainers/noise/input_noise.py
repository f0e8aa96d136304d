"""The noise of the strong view Γ as it is drawn and applied; its recipe is in `strong_view.py`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rml_trainers.noise.mixing import MixingDraw
from rml_trainers.noise.strong_view import ColourDraw, StrongView


@dataclass(frozen=True, kw_only=True, eq=False)
class InputNoiseDraw:
    """Everything random about the strong views of N crops; a part is None where that noise is
    off."""

    num_images: int
    photometric: ColourDraw | None = None
    mixing: MixingDraw | None = None
    photometric_last: bool = False

    def slice(self, start: int, stop: int) -> "InputNoiseDraw":
        """Draw of the crops start to stop - 1 (one worker's share); only before the draw is moved
        to a device."""
        assert 0 <= start < stop <= self.num_images, "slice outside the batch"
        return replace(
            self,
            num_images=stop - start,
            photometric=None if self.photometric is None else self.photometric.slice(start, stop),
            mixing=None if self.mixing is None else self.mixing.slice(start, stop),
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "InputNoiseDraw":
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "InputNoiseDraw":
        return self._map(lambda tensor: tensor.pin_memory())

    def given(self, label: Tensor) -> "InputNoiseDraw":
        """The draw once the labels of the unmixed crops are known (int64 [N, H, W], 255 ignored):
        ClassMix needs them."""
        return self if self.mixing is None else replace(self, mixing=self.mixing.given(label))

    def _map(self, move: Callable[[Tensor], Tensor]) -> "InputNoiseDraw":
        return replace(
            self,
            photometric=None if self.photometric is None else self.photometric.map(move),
            mixing=None if self.mixing is None else self.mixing.map(move),
        )


def draw_input_noise(
    rng: np.random.Generator, num_images: int, crop_px: tuple[int, int], view: StrongView
) -> InputNoiseDraw:
    """Draw the strong views of the global batch."""
    return InputNoiseDraw(
        num_images=num_images,
        photometric=None if view.photometric is None else view.photometric.draw(rng, num_images),
        mixing=None if view.mixing is None else view.mixing.draw(rng, num_images, crop_px),
        photometric_last=view.photometric_last,
    )


def strengthen(images: Tensor, draw: InputNoiseDraw) -> Tensor:
    """Γ from γ: colour noise and mixing of images [N, 3, H, W] in [0, 1], in the order of the
    recipe."""
    if draw.photometric_last:
        return photometric(mix(images, draw), draw)
    return mix(photometric(images, draw), draw)


def photometric(images: Tensor, draw: InputNoiseDraw) -> Tensor:
    """Colour noise on images [B, 3, H, W] in [0, 1], on their device and without host
    synchronisation."""
    return images if draw.photometric is None else draw.photometric.apply(images)


def mix(maps: Tensor, draw: InputNoiseDraw) -> Tensor:
    """Mix images [B, 3, H, W], labels [B, H, W] or masks [B, H, W] in the same way."""
    return maps if draw.mixing is None else draw.mixing.apply(maps)
