"""The photometric operations as batched tensor maths.

Each takes images [n, 3, H, W] in [0, 1] and strengths [n, 1, 1, 1] and agrees with Pillow's
operation of the same name up to its rounding to grey levels (torchvision's take one strength for a
whole batch).
"""

import torch
from torch import Tensor

NUM_LEVELS = 255.0


# torchvision is loaded where it is used: it brings torch's compiler along, and takes as long as
# torch itself, which commands that only read configurations do without.


def grey(images: Tensor) -> Tensor:
    """One channel of luminance, as torchvision weighs the colours."""
    from torchvision.transforms.v2 import functional

    luminance: Tensor = functional.rgb_to_grayscale_image(images)
    return luminance


def equalize(images: Tensor) -> Tensor:
    """Histograms of all channels made flat, as torchvision does."""
    from torchvision.transforms.v2 import functional

    equalized: Tensor = functional.equalize_image(images)
    return equalized


def _blend(degenerate: Tensor | float, images: Tensor, factor: Tensor) -> Tensor:
    """Pillow's `Image.blend`: factor 0 gives the degenerate image, 1 the image itself, more
    exaggerates it."""
    return (degenerate + factor * (images - degenerate)).clamp(0.0, 1.0)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to [0, 1]; a channel of one value stays (no boolean
    indexing, hence not torchvision's)."""
    smallest = images.amin(dim=(-2, -1), keepdim=True)
    spread = images.amax(dim=(-2, -1), keepdim=True) - smallest
    return torch.where(spread > 0, (images - smallest) / spread, images).clamp(0.0, 1.0)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(0.0, images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey level of each image."""
    return _blend(grey(images).mean(dim=(-2, -1), keepdim=True), images, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    return _blend(grey(images), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image smoothed by Pillow's SMOOTH kernel (5 in the middle, 1 around, over 13);
    borders stay."""
    if min(images.shape[-2:]) < 3:
        return images
    centre = images[..., 1:-1, 1:-1]
    smooth = images.clone()
    # A mean over the window instead of a convolution: autocast would run the latter in low
    # precision.
    smooth[..., 1:-1, 1:-1] = (
        9.0 * torch.nn.functional.avg_pool2d(images, 3, stride=1) + 4.0 * centre
    ) / 13.0
    return _blend(smooth, images, factor)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` of the 8 bits of every channel."""
    step = torch.exp2(8.0 - bits)
    levels = (images * NUM_LEVELS).round()
    return (levels / step).floor() * step / NUM_LEVELS


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert every channel value at or above the threshold."""
    return torch.where(images >= threshold, 1.0 - images, images)
