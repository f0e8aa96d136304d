"""Colour jitter, grey images and blur: the strong colour noise of the published comparators.

Source: torchvision's ColorJitter, RandomGrayscale and GaussianBlur as French et al. (2020), Olsson
et al. (2021) and Yang et al. (2023) put them together. Differs from theirs: brightness, contrast,
saturation and hue are always changed in this order (they shuffle it), and images stay floating
point in between.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.noise import operations


@dataclass(frozen=True, kw_only=True, eq=False)
class ColourJitterDraw:
    """Strengths for N images; those that change nothing for images that are spared."""

    brightness: Tensor
    """float32 [N], as contrast and saturation: factors, 1 changes nothing."""
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    """float32 [N], share of the colour circle, 0 changes nothing."""
    grey: Tensor
    """float32 [N]: 0 makes grey, 1 changes nothing."""
    blur: Tensor | None
    """float32 [N, M]: weights of the window, centre in the middle; None: nothing is ever
    blurred."""

    def slice(self, start: int, stop: int) -> "ColourJitterDraw":
        return self.map(lambda tensor: tensor[start:stop])

    def map(self, move: Callable[[Tensor], Tensor]) -> "ColourJitterDraw":
        return ColourJitterDraw(
            brightness=move(self.brightness),
            contrast=move(self.contrast),
            saturation=move(self.saturation),
            hue=move(self.hue),
            grey=move(self.grey),
            blur=None if self.blur is None else move(self.blur),
        )

    def apply(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] in [0, 1], on their device and without host synchronisation."""
        images = operations.brightness(images, _per_image(self.brightness))
        images = operations.contrast(images, _per_image(self.contrast))
        images = operations.colour(images, _per_image(self.saturation))
        images = shift_hue(images, _per_image(self.hue))
        images = operations.colour(images, _per_image(self.grey))
        return images if self.blur is None else blur(images, self.blur)


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Recipe of colour jitter, drawn for every image on its own."""

    brightness: float
    """Factors of brightness, contrast and saturation are uniform in 1 ± these."""
    contrast: float
    saturation: float
    hue: float
    """The colour circle is turned by a share uniform in ± this."""
    probability: float
    """Chance that an image is jittered at all."""
    grey_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest deviation of the Gaussian window in pixels, uniform."""

    def draw(self, rng: np.random.Generator, num_images: int) -> ColourJitterDraw:
        widths = np.array((self.brightness, self.contrast, self.saturation, self.hue))[:, None]
        jitter = rng.uniform(-1.0, 1.0, size=(4, num_images)) * widths
        jitter *= rng.random(num_images) < self.probability
        grey = rng.random(num_images) >= self.grey_probability
        blurred = rng.random(num_images) < self.blur_probability
        sigma = rng.uniform(*self.blur_sigma, size=num_images)
        windows = None
        if self.blur_probability > 0:
            windows = _as_tensor(
                gaussian_windows(np.where(blurred, sigma, 0.0), math.ceil(3 * self.blur_sigma[1]))
            )
        return ColourJitterDraw(
            brightness=_as_tensor(1.0 + jitter[0]),
            contrast=_as_tensor(1.0 + jitter[1]),
            saturation=_as_tensor(1.0 + jitter[2]),
            hue=_as_tensor(jitter[3]),
            grey=_as_tensor(grey),
            blur=windows,
        )


def gaussian_windows(sigma: npt.NDArray[np.float64], radius: int) -> npt.NDArray[np.float64]:
    """[N, 2 radius + 1] weights that sum to 1; a single 1 in the middle where sigma is 0."""
    offset = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offset / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def shift_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of images [N, 3, H, W] by shares [N, 1, 1, 1] of the colour circle, in HSV as
    Pillow has it."""
    value = images.amax(dim=1, keepdim=True)
    smallest = images.amin(dim=1, keepdim=True)
    spread = value - smallest
    red, green, blue = (
        (value - channel) / torch.where(spread > 0, spread, 1.0)
        for channel in torch.split(images, 1, dim=1)
    )
    is_red = images[:, :1] == value
    is_green = images[:, 1:2] == value
    sixth = torch.where(
        is_red, blue - green, torch.where(is_green, 2.0 + red - blue, 4.0 + green - red)
    )
    # Every channel is the value less the spread, as far as the hue is from the channel's own.
    own = 5.0 - 2.0 * torch.arange(3, device=images.device).view(
        1, 3, 1, 1
    )  # made there: copying would wait
    place = (6.0 * turn + sixth + own).remainder(6.0)
    return value - spread * torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)


def blur(images: Tensor, windows: Tensor) -> Tensor:
    """Convolve each image [N, C, H, W] with its own window [N, M] along both axes; edges are
    mirrored."""
    num, channels, height, width = images.shape
    radius = windows.shape[1] // 2
    rows = _mirrored(height, radius, images.device), _mirrored(width, radius, images.device)
    padded = images.index_select(2, rows[0]).index_select(3, rows[1])
    window = windows.repeat_interleave(channels, dim=0)[:, None]
    with torch.autocast(images.device.type, enabled=False):
        flat = padded.reshape(1, num * channels, *padded.shape[2:])
        flat = functional.conv2d(flat, window[:, :, :, None], groups=num * channels)
        flat = functional.conv2d(flat, window[:, :, None, :], groups=num * channels)
    return flat.reshape(images.shape)


def blur_by(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images [N, C, H, W] by deviations [N, 1, 1, 1] of at most 2 pixels."""
    offset = torch.arange(-6, 7, device=images.device)
    weights = torch.exp(-0.5 * (offset / sigma[:, :, 0, 0]) ** 2)
    return blur(images, weights / weights.sum(dim=1, keepdim=True))


def _mirrored(length: int, radius: int, device: torch.device) -> Tensor:
    """int64 [length + 2 radius]: pixel numbers with both ends mirrored, as often as a short side
    needs."""
    period = max(1, 2 * (length - 1))
    place = torch.arange(-radius, length + radius, device=device).remainder(period)
    return torch.minimum(place, period - place)


def _per_image(strength: Tensor) -> Tensor:
    return strength[:, None, None, None]


def _as_tensor(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
