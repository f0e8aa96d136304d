"""Further ways to mix (see `mixing.py`): CowMix, ClassMix and interpolation."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.noise.mixing import Move, partners, paste


@dataclass(frozen=True, eq=False)
class MaskDraw:
    """Pixels that N crops take from their partners."""

    pasted: Tensor
    """bool [N, H, W]."""
    partner: Tensor

    def slice(self, start: int, stop: int) -> "MaskDraw":
        return MaskDraw(self.pasted[start:stop], partners(stop - start))

    def map(self, move: Move) -> "MaskDraw":
        return MaskDraw(move(self.pasted), move(self.partner))

    def given(self, label: Tensor) -> "MaskDraw":
        return self

    def apply(self, maps: Tensor) -> Tensor:
        return paste(maps, self.pasted, self.partner)


@dataclass(frozen=True, kw_only=True)
class CowMix:
    """Masks of irregular patches: Gaussian-smoothed noise against a threshold (French, Oliver and
    Salimans, 2020)."""

    sigma: tuple[float, float]
    """Smallest and largest scale of the patches, as a share of the crop's shorter side; drawn
    log-uniformly."""
    proportion: tuple[float, float]
    """Smallest and largest share of the image that is pasted, drawn uniformly."""

    def draw(self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]) -> MaskDraw:
        smallest, largest = self.sigma
        sigmas = min(crop_px) * np.exp(
            rng.uniform(math.log(smallest), math.log(largest), size=num_images)
        )
        proportions = rng.uniform(*self.proportion, size=num_images)
        noise = rng.standard_normal((num_images, *crop_px), dtype=np.float32)
        masks = [
            cow_mask(*image)
            for image in zip(noise, sigmas.tolist(), proportions.tolist(), strict=True)
        ]
        return MaskDraw(torch.from_numpy(np.stack(masks)), partners(num_images))


def cow_mask(
    noise: npt.NDArray[np.float32], sigma_px: float, proportion: float
) -> npt.NDArray[np.bool_]:
    """True where smoothed noise [H, W] lies below the quantile `proportion` of a normal law of its
    mean and deviation.

    Smoothed in the frequency domain, where the cost does not grow with sigma; opposite edges
    therefore meet, which the authors' convolution does not have.
    """
    from scipy import fft  # takes a moment to load
    from scipy.ndimage import fourier_gaussian

    width = noise.shape[1]
    spectrum = fourier_gaussian(fft.rfft2(noise), sigma_px, n=width)
    smooth = fft.irfft2(spectrum, s=noise.shape)
    threshold = smooth.mean() + smooth.std() * NormalDist().inv_cdf(proportion)
    return np.asarray(smooth <= threshold)


@dataclass(frozen=True, eq=False)
class ClassDraw:
    """In which order each crop gives away its classes. Has to be `given` the labels before it is
    applied."""

    keys: Tensor
    """float32 [N, 255]: the present classes of image i with the smallest keys are pasted into its
    partner."""
    partner: Tensor

    def slice(self, start: int, stop: int) -> "ClassDraw":
        return ClassDraw(self.keys[start:stop], partners(stop - start))

    def map(self, move: Move) -> "ClassDraw":
        return ClassDraw(move(self.keys), move(self.partner))

    def given(self, label: Tensor) -> MaskDraw:
        given_away = chosen_classes(label, self.keys).gather(1, label.flatten(1)).view_as(label)
        return MaskDraw(given_away.index_select(0, self.partner), self.partner)

    def apply(self, maps: Tensor) -> Tensor:
        raise AssertionError("the classes to paste depend on the labels: call `given` first")


def chosen_classes(label: Tensor, keys: Tensor) -> Tensor:
    """Random half, rounded down, of the classes in each label map.

    Args:
        label: int64 [N, H, W], 255 ignored.
        keys: [N, 255] in [0, 1), one for each possible class.
    Returns:
        bool [N, 256]; 255 is never chosen.
    """
    present = torch.zeros(len(label), IGNORE_LABEL + 1, dtype=torch.bool, device=label.device)
    present = present.scatter(1, label.flatten(1), True)[:, :IGNORE_LABEL]
    place = torch.where(present, keys, 2.0).argsort(dim=1, stable=True).argsort(dim=1)
    chosen = place < present.sum(dim=1, keepdim=True) // 2
    return torch.nn.functional.pad(chosen, (0, 1))


@dataclass(frozen=True)
class ClassMix:
    """Half of the classes predicted in an image, pasted into its partner (Olsson et al., 2021)."""

    def draw(
        self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]
    ) -> ClassDraw:
        keys = rng.random((num_images, IGNORE_LABEL), dtype=np.float32)
        return ClassDraw(torch.from_numpy(keys), partners(num_images))


@dataclass(frozen=True, eq=False)
class ShareDraw:
    """Share of the partner in each of N crops."""

    share: Tensor
    """float32 [N] in [0, 1]."""
    partner: Tensor

    def slice(self, start: int, stop: int) -> "ShareDraw":
        return ShareDraw(self.share[start:stop], partners(stop - start))

    def map(self, move: Move) -> "ShareDraw":
        return ShareDraw(move(self.share), move(self.partner))

    def given(self, label: Tensor) -> "ShareDraw":
        return self

    def apply(self, maps: Tensor) -> Tensor:
        """(1 − λ) x_i + λ x_j of floating-point maps; classes and masks come from the image with
        the larger share."""
        share = self.share.view(-1, *(1,) * (maps.ndim - 1))
        other = maps.index_select(0, self.partner)
        if not maps.is_floating_point():
            return torch.where(share > 0.5, other, maps)
        return torch.lerp(maps, other, share.to(maps.dtype))


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Weighted means of two images, λ ~ Beta(α, α) (Zhang et al., 2018; for consistency Verma et
    al., 2019)."""

    alpha: float

    def draw(
        self, rng: np.random.Generator, num_images: int, crop_px: tuple[int, int]
    ) -> ShareDraw:
        share = rng.beta(self.alpha, self.alpha, size=num_images).astype(np.float32)
        return ShareDraw(torch.from_numpy(share), partners(num_images))
