"""Whether a written file computes what torch computes: images to try it on, and the difference."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers.data.dataset import SizePx
from rml_trainers.data.prepared.resizing import resized_to
from rml_trainers.prediction.export.file_format import Scores
from rml_trainers.prediction.export.image_to_scores import ImageToScores

TOLERANCE = 1e-3
"""Largest difference of scores that is allowed, as a share of the largest score of torch. Rounding
of float32 stays a hundred times below it; another alignment of the upsampling does not."""
RANDOM_BATCHES = ((1, 65, 97), (2, 96, 128), (3, 64, 64))
"""Images, height and width of batches for files that take any size: odd, oblong and square."""
LARGEST_RANDOM_PX = 512
"""A random batch has the size that the network was trained for, but no longer side than this."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a file makes of images, against torch."""

    num_batches: int
    num_pixels: int
    largest: float
    """Largest absolute difference of the scores."""
    allowed: float
    changed_pixels: int
    """Pixels whose most likely class differs."""

    @property
    def is_tolerable(self) -> bool:
        """False for NaN too."""
        return self.largest <= self.allowed

    @property
    def changed_share(self) -> float:
        return self.changed_pixels / self.num_pixels


def random_images(fixed_px: SizePx | None, usual_px: SizePx) -> list[Tensor]:
    """Batches of noise, uint8 [B, 3, H, W], the same every time."""
    generator = torch.Generator().manual_seed(0)
    if fixed_px is not None:
        shapes: Iterable[tuple[int, int, int]] = [(count, *fixed_px) for count in (1, 2, 3)]
    else:
        height, width = (min(px, LARGEST_RANDOM_PX) for px in usual_px)
        shapes = (*RANDOM_BATCHES, (1, height, width))

    def noise(count: int, height: int, width: int) -> Tensor:
        shape = (count, 3, height, width)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    return list(starmap(noise, shapes))


def image_batches(images: Sequence[npt.NDArray[np.uint8]], fixed_px: SizePx | None) -> list[Tensor]:
    """One batch uint8 [1, 3, H, W] per image [H, W, 3], at the size that the file takes."""
    return [_batch(image, fixed_px) for image in images]


def _batch(image: npt.NDArray[np.uint8], fixed_px: SizePx | None) -> Tensor:
    pixels = torch.from_numpy(resized_to(image, fixed_px).copy())  # cached images are read-only
    return pixels.permute(2, 0, 1).unsqueeze(0).contiguous()


@torch.no_grad()
def torch_scores(module: ImageToScores, batches: Sequence[Tensor]) -> list[Scores]:
    """What torch makes of the batches, in float32 on the CPU."""
    return [module(batch).numpy() for batch in batches]


def compare(expected: Sequence[Scores], found: Sequence[Scores]) -> Difference:
    """Difference of scores [B, K, H, W], batch by batch; a file that gives other shapes is a bug
    and no matter of rounding."""
    pairs = list(zip(expected, found, strict=True))
    for wanted, given in pairs:
        assert wanted.shape == given.shape, f"scores {given.shape} instead of {wanted.shape}"
    # np.max hands a NaN on, where Python's max would depend on the order.
    return Difference(
        num_batches=len(pairs),
        num_pixels=sum(wanted[:, 0].size for wanted, _ in pairs),
        largest=float(np.max([np.abs(wanted - given).max() for wanted, given in pairs])),
        allowed=TOLERANCE * float(np.max([np.abs(wanted).max() for wanted, _ in pairs])),
        changed_pixels=sum(int((a.argmax(1) != b.argmax(1)).sum()) for a, b in pairs),
    )
