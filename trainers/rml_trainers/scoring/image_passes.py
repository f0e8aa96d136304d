"""How a batch of images goes through one network to be scored: whole, padded to a canvas, or window
by window.

Every function takes images float [B, 3, H, W] in [0, 1] and returns scores float32 [B, K, H, W]
whose softmax over the classes is the network's probability, and whose largest is the prediction.
None of them waits for the device.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rml_trainers.settings.evaluation import EvaluationConfig


class ScoredNetwork(NamedTuple):
    """What is needed of a network."""

    forward: Callable[[Tensor], Tensor]
    """Images [B, 3, H, W] in [0, 1] → logits float32 [B, K, H, W], upsampled with the network's own
    alignment."""
    zero_colour: Tensor
    """[1, 3, 1, 1]: the colour that the network normalises to zero."""


Inference = Callable[[ScoredNetwork, Tensor, Tensor | None, EvaluationConfig], Tensor]
"""(network, images [B, 3, H, W], inside bool [B, H, W] where images are padded, configuration) →
scores."""


def whole(
    network: ScoredNetwork, images: Tensor, inside: Tensor | None, evaluation: EvaluationConfig
) -> Tensor:
    """The images as they are."""
    return network.forward(images)


def padded(
    network: ScoredNetwork, images: Tensor, inside: Tensor | None, evaluation: EvaluationConfig
) -> Tensor:
    """Zeros around the images, at the bottom and on the right, so that images of all sizes share
    one canvas.

    Zero after normalisation, as in the public VOC code, which pads what it has normalised: so the
    padding has the network's own mean colour. Logits come at the size of the canvas; what lies
    outside an image has the label 255.
    """
    assert inside is not None, "padded images come with the mask of what is image"
    return network.forward(torch.where(inside.unsqueeze(1), images, network.zero_colour))


def sliding(
    network: ScoredNetwork, images: Tensor, inside: Tensor | None, evaluation: EvaluationConfig
) -> Tensor:
    """Windows of `inference_px` at `stride_px`, in chunks of `evaluation.batch`; probabilities
    averaged over overlaps.

    Probabilities and not logits, as UniMatch and its relatives do it. Their last windows are cut
    off by the border; ours are moved back to lie flush with it (as mmsegmentation does), so that
    all have one shape and run as batches, and no network sees a sliver. An image smaller than the
    window is one window of its own size.
    """
    assert evaluation.inference_px is not None
    size = (images.shape[-2], images.shape[-1])
    height, width = (min(px, own) for px, own in zip(evaluation.inference_px, size, strict=True))
    rows, columns = (
        window_starts(own, window, stride)
        for own, window, stride in zip(size, (height, width), evaluation.stride_px, strict=True)
    )
    places = [(i, top, left) for top in rows for left in columns for i in range(len(images))]
    total: Tensor | None = None
    for start in range(0, len(places), evaluation.batch):
        chunk = places[start : start + evaluation.batch]
        crops = torch.stack(
            [images[i, :, top : top + height, left : left + width] for i, top, left in chunk]
        )
        prob = network.forward(crops).softmax(dim=1)
        if total is None:
            total = prob.new_zeros(len(images), prob.shape[1], *size)
        for (i, top, left), one in zip(chunk, prob.unbind(), strict=True):
            total[i, :, top : top + height, left : left + width] += one
    assert total is not None, "a batch of at least one image"
    # The sums over the classes of a pixel are its number of windows: the softmax of the logarithm
    # divides by it.
    return total.log_()


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """First pixel of every window along one axis; the last window ends where the image does."""
    last = max(0, size - window)
    return [*range(0, last, stride), last]


INFERENCES: dict[str, Inference] = {"whole": whole, "padded": padded, "sliding": sliding}
