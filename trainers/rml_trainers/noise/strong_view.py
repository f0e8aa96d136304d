"""What makes a weak view strong: which colour noise, which mixing, and in which order.

The noise configuration describes the paper's own recipe. A method with a recipe of its own gives it
as `strong_view(noise)` of its settings; `noise.input` switches either off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing import CutMix, Mixing
from rml_trainers.noise.photometric import RandAugment

Photometry = Literal["none", "rand_augment", "colour_jitter"]
"""Colour noise of a strong view: none, that of `noise.rand_augment_*`, or the colour jitter of a
method's authors."""


class ColourDraw(Protocol):
    """What is drawn for the colour noise of N crops."""

    def slice(self, start: int, stop: int) -> "ColourDraw":
        """Draw of images start to stop - 1; only before the draw is moved to a device."""
        ...

    def map(self, move: Callable[[Tensor], Tensor]) -> "ColourDraw":
        """The same draw with every tensor moved (to a device, to pinned memory)."""
        ...

    def apply(self, images: Tensor) -> Tensor:
        """Colour noise on images [N, 3, H, W] in [0, 1], without host synchronisation."""
        ...


class ColourNoise(Protocol):
    """Recipe of colour noise."""

    def draw(self, rng: np.random.Generator, num_images: int) -> ColourDraw:
        """Draw for `num_images` crops."""
        ...


@dataclass(frozen=True, kw_only=True)
class StrongView:
    """Recipe of Γ, given γ; a part that is None is left out."""

    photometric: ColourNoise | None = None
    mixing: Mixing | None = None
    photometric_last: bool = False
    """Colour noise after the mixing instead of before it, one draw for the whole mixed image."""


def paper_recipe(noise: NoiseConfig) -> StrongView:
    """RandAugment and CutMix as the noise settings say (paper, 5.2)."""
    mixing = CutMix(area=noise.cutmix_area, aspect=noise.cutmix_aspect) if noise.cutmix else None
    return StrongView(photometric=colour_noise("rand_augment", noise), mixing=mixing)


def strong_view(
    noise: NoiseConfig, recipe: Callable[[NoiseConfig], StrongView] = paper_recipe
) -> StrongView:
    """Strong views by a method's recipe; none of them is noisy where `noise.input` is off."""
    return recipe(noise) if noise.input else StrongView()


def colour_noise(
    kind: Photometry, noise: NoiseConfig, jitter: ColourNoise | None = None
) -> ColourNoise | None:
    """Colour noise by name; `jitter` is what the method's authors use."""
    if kind == "colour_jitter":
        return jitter
    return RandAugment(noise) if kind == "rand_augment" and noise.rand_augment_ops else None
