"""Random-intensity colour noise: a random number of operations, each of a strength drawn from a
continuous range (Zhao et al., 2023).

Source: ZhenZHAO/AugSeg, `augseg/dataset/augs_TIBA.py`, `strong_img_aug` with its narrow ranges.
Differs from it: images stay floating point in between, and hue is turned by any angle instead of by
whole steps of 1/256.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rml_trainers.noise.photometric import ALL_OPERATIONS, IDENTITY, PhotometricDraw


def _factor(share: float, sign: float) -> float:
    """0.05 to 0.95: always weaker than the image itself."""
    return 0.95 - 0.9 * share


_OWN: dict[str, Callable[[float, float], float]] = {
    "brightness": _factor,
    "contrast": _factor,
    "colour": _factor,
    "sharpness": _factor,
    "posterize": lambda share, sign: 8.0 - max(1, math.ceil(4 * share)),
    "solarize": lambda share, sign: (256.0 - max(1, math.ceil(255 * share))) / 255.0,
}
"""Where the range is another than RandAugment's."""
STRENGTHS = {one.name: _OWN.get(one.name, one.strength) for one in ALL_OPERATIONS}
"""Of every operation, from a share uniform in [0, 1] and a sign: factor, 4 to 7 bits, threshold of
1/255 to 1, turn of the colour circle, deviation in pixels."""
_OF_OPERATIONS = tuple(STRENGTHS[operation.name] for operation in ALL_OPERATIONS)


@dataclass(frozen=True)
class RandomIntensity:
    """Recipe: 1 to `max_operations` operations for every image, with repetition."""

    max_operations: int = 3

    def draw(self, rng: np.random.Generator, num_images: int) -> PhotometricDraw:
        shape = (self.max_operations, num_images)
        indices = rng.integers(len(ALL_OPERATIONS), size=shape)
        count = rng.integers(1, self.max_operations, size=num_images, endpoint=True)
        indices[np.arange(self.max_operations)[:, None] >= count] = IDENTITY
        shares = rng.random(shape)
        signs = rng.choice((-1.0, 1.0), size=shape)
        strengths = np.empty(shape, dtype=np.float32)
        for at in np.ndindex(shape):
            strength = _OF_OPERATIONS[indices[at]]
            strengths[at] = strength(float(shares[at]), float(signs[at]))
        return PhotometricDraw.from_indices(
            tuple(map(tuple, indices.tolist())), torch.from_numpy(strengths)
        )
