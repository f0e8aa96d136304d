"""From images of any size to class probabilities at that size, a strip of rows at a time."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.prepared.resizing import resized_to
from rml_trainers.prediction.averaging import averaged, resized_rows
from rml_trainers.prediction.inference import Predictor
from rml_trainers.prediction.settings import PredictionSettings
from rml_trainers.prediction.windows import as_input, in_windows

ROWS = 256
"""Rows that are brought to the image's own size at once."""


def strips_of_each(
    predictor: Predictor, images: Sequence[UInt8Array], settings: PredictionSettings
) -> Iterator[Iterator[Tensor]]:
    """Class probabilities of images of one size, image by image, each in strips.

    Images in one piece go through the network together, all that are given.

    Args:
        images: [H, W, 3] each.
    Yields:
        For each image its strips from top to bottom, float32 [K, rows, W]; together its H rows.
    """
    probability = averaged(predictor.probability, settings.scales, settings.flip)
    sized = [resized_to(image, settings.resize_px) for image in images]
    own_px = (images[0].shape[0], images[0].shape[1])
    window_px = settings.window_px
    if window_px is None:
        for maps in probability(as_input(sized)).unbind():
            yield _at_own_size(maps, own_px)
        return
    assert settings.stride_px is not None, "windows come with their stride"
    batch = settings.pieces_at_once(own_px)
    for image in sized:
        strips = in_windows(probability, image, window_px, settings.stride_px, batch)
        if image.shape[:2] == own_px:
            yield strips
        else:
            yield _at_own_size(torch.cat(list(strips), dim=1), own_px)


def _at_own_size(maps: Tensor, own_px: tuple[int, int]) -> Iterator[Tensor]:
    """Maps [K, h, w] as strips of maps [K, *own_px]."""
    for first in range(0, own_px[0], ROWS):
        yield resized_rows(maps, own_px, first, min(first + ROWS, own_px[0]))
