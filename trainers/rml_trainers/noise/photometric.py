"""Photometric RandAugment: colour operations drawn per image on the CPU, applied to a batch on its
device.

Source: RandAugment (Cubuk et al., 2020), its photometric operations only, in the form of FixMatch
and ProDA: every image draws its own operations and strengths, and each is applied with a
probability. Geometry is left out, because pseudo labels and strong view must stay aligned pixel by
pixel.

What is drawn is known on the CPU, so images can be grouped by operation there and no result ever
has to come back from the device: the batch is sorted so that equal operations lie together, and
each runs once on its slice. By hand, because torchvision's RandAugment draws one list of operations
for a whole batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from rml_trainers.noise import operations
from rml_trainers.noise.colour_jitter import blur_by, shift_hue
from rml_trainers.noise.config import NoiseConfig

MAX_MAGNITUDE = 30.0
"""RandAugment's scale. ProDA writes its strengths on a scale of 10, so its `RandAugmentMC(2, 10)`
is 30 here."""


@dataclass(frozen=True)
class Operation:
    """One operation: `apply(images [n, 3, H, W], strength [n, 1, 1, 1])` in [0, 1], and what a
    magnitude means."""

    name: str
    apply: Callable[[Tensor, Tensor], Tensor]
    strength: Callable[[float, float], float]
    """From a share of the full scale in [0, 1] and a sign of -1 or 1."""


def _unused(share: float, sign: float) -> float:
    return 0.0


def _factor(share: float, sign: float) -> float:
    """Enhancement factor 0.1 to 1.9; 1 changes nothing."""
    return 1.0 + 0.9 * share * sign


OPERATIONS: tuple[Operation, ...] = (
    Operation("identity", lambda images, strength: images, _unused),
    Operation("autocontrast", lambda images, strength: operations.autocontrast(images), _unused),
    Operation("equalize", lambda images, strength: operations.equalize(images), _unused),
    Operation("brightness", operations.brightness, _factor),
    Operation("contrast", operations.contrast, _factor),
    Operation("colour", operations.colour, _factor),
    Operation("sharpness", operations.sharpness, _factor),
    Operation("posterize", operations.posterize, lambda share, sign: float(8 - round(4 * share))),
    Operation("solarize", operations.solarize, lambda share, sign: 1.0 - share),
)
"""RandAugment draws from these."""
IDENTITY = 0
ALL_OPERATIONS: tuple[Operation, ...] = (
    *OPERATIONS,
    Operation("hue", shift_hue, lambda share, sign: 0.5 * share * sign),
    Operation("blur", blur_by, lambda share, sign: 0.1 + 1.9 * share),
)
"""A draw names its operations by their places here."""


@dataclass(frozen=True, eq=False)
class PhotometricDraw:
    """Operations of N images, round by round: round r applies operation `indices[r][i]` of
    `ALL_OPERATIONS` to image i."""

    indices: tuple[tuple[int, ...], ...]
    strengths: Tensor
    """float32 [rounds, N]: factor, bits, threshold, turn or deviation, as the operation reads
    it."""
    order: Tensor
    """int64 [rounds, N]: image numbers sorted by operation."""
    position: Tensor
    """int64 [rounds, N]: place of each image in `order` (its inverse)."""

    @classmethod
    def from_indices(
        cls, indices: tuple[tuple[int, ...], ...], strengths: Tensor
    ) -> "PhotometricDraw":
        order = (
            torch.tensor(indices, dtype=torch.int64)
            .reshape(strengths.shape)
            .argsort(dim=1, stable=True)
        )
        return cls(indices, strengths, order, order.argsort(dim=1))

    def slice(self, start: int, stop: int) -> "PhotometricDraw":
        """Draw of images start to stop - 1; only before the draw is moved to a device."""
        indices = tuple(row[start:stop] for row in self.indices)
        return PhotometricDraw.from_indices(indices, self.strengths[:, start:stop])

    def map(self, move: Callable[[Tensor], Tensor]) -> "PhotometricDraw":
        """The same draw with every tensor moved (to a device, to pinned memory)."""
        return PhotometricDraw(
            self.indices, move(self.strengths), move(self.order), move(self.position)
        )

    def apply(self, images: Tensor) -> Tensor:
        return apply_photometric(images, self)


@dataclass(frozen=True)
class RandAugment:
    """Recipe with the strengths of a noise configuration."""

    noise: NoiseConfig

    def draw(self, rng: np.random.Generator, num_images: int) -> PhotometricDraw:
        return draw_photometric(rng, num_images, self.noise)


def draw_photometric(
    rng: np.random.Generator, num_images: int, config: NoiseConfig
) -> PhotometricDraw:
    """Draw `rand_augment_ops` operations for every image, each kept with
    `rand_augment_probability`."""
    shape = (config.rand_augment_ops, num_images)
    indices = rng.integers(len(OPERATIONS), size=shape)
    indices[rng.random(shape) >= config.rand_augment_probability] = IDENTITY
    shares = rng.random(shape) * config.rand_augment_magnitude / MAX_MAGNITUDE
    signs = rng.choice((-1.0, 1.0), size=shape)
    strengths = np.empty(shape, dtype=np.float32)
    for at in np.ndindex(shape):
        strengths[at] = OPERATIONS[indices[at]].strength(float(shares[at]), float(signs[at]))
    return PhotometricDraw.from_indices(
        tuple(map(tuple, indices.tolist())), torch.from_numpy(strengths)
    )


def apply_photometric(images: Tensor, draw: PhotometricDraw) -> Tensor:
    """Apply a draw to images [N, 3, H, W] in [0, 1]; the result is in [0, 1] too. No host
    synchronisation."""
    assert images.shape[0] == draw.strengths.shape[1], (
        "the draw was made for another number of images"
    )
    for row, strengths, order, position in zip(
        draw.indices, draw.strengths, draw.order, draw.position, strict=True
    ):
        runs = [(index, len(tuple(members))) for index, members in groupby(sorted(row))]
        if all(index == IDENTITY for index, _ in runs):
            continue
        counts = [count for _, count in runs]
        sorted_images = torch.split(images.index_select(0, order), counts)
        sorted_strengths = torch.split(
            strengths.index_select(0, order)[:, None, None, None], counts
        )
        changed = [
            ALL_OPERATIONS[index].apply(part, strength)
            for (index, _), part, strength in zip(
                runs, sorted_images, sorted_strengths, strict=True
            )
        ]
        images = torch.cat(changed).index_select(0, position)
    return images
