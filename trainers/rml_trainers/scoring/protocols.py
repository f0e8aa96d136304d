"""Evaluation protocols: what is scored, how a whole image goes through a network, and at which
moment.

A number without its protocol cannot be compared, so all of it is in the id of a score:

    <data>-<height>x<width>      image and label at the prepared size, the whole image at once
    <data>-original              every image at its own size
    voc-505                      padded with zeros to 505×505, scored at its own size (the VOC
                                 line of code)
    cityscapes-1024x2048-slide   windows of 801×801 at a stride of 2/3 (the modern repositories)
    …-padded-<canvas>            the same with other sizes, in pixels
    …-slide-<window>-<stride>

each followed by `/<network>/<moment>`.
"""

from collections.abc import Sequence

from rml_trainers.data.dataset import SizePx, Subset
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.settings.evaluation import EvaluationConfig

MODERN_WINDOW = (801, 801)
MODERN_STRIDE = (534, 534)
"""Sliding window of UniMatch and its relatives on Cityscapes; plain `-slide` in the id."""


def data_protocol(data_name: str, size_px: SizePx | None, evaluation: EvaluationConfig) -> str:
    """First part of the id: images, their size, and how they go through the network."""
    images = f"{data_name}-original" if size_px is None else f"{data_name}-{_pixels(size_px)}"
    inference_px = evaluation.inference_px
    if inference_px is None:
        return images
    if evaluation.inference == "padded":
        is_published = size_px is None and inference_px[0] == inference_px[1]
        return (
            f"{data_name}-{inference_px[0]}"
            if is_published
            else f"{images}-padded-{_side(inference_px)}"
        )
    if (inference_px, evaluation.stride_px) == (MODERN_WINDOW, MODERN_STRIDE):
        return f"{images}-slide"
    return f"{images}-slide-{_side(inference_px)}-{_side(evaluation.stride_px)}"


def _pixels(size_px: SizePx) -> str:
    return f"{size_px[0]}x{size_px[1]}"


def _side(size_px: SizePx) -> str:
    """One number for a square."""
    return str(size_px[0]) if size_px[0] == size_px[1] else _pixels(size_px)


def check_canvas(
    evaluation: EvaluationConfig, data: PreparedData, holdout: Sequence[str] = ()
) -> None:
    """Raise ConfigError, before any training, when an image to be scored is larger than the
    canvas."""
    canvas = evaluation.canvas_px
    if canvas is None:
        return
    scored: list[tuple[Subset, str]] = [("val", name) for name in data.names("val")]
    scored += [("train", name) for name in holdout]
    sizes = {name: data.image_size(subset, data.index(subset, name)) for subset, name in scored}
    too_large = [name for name, size in sizes.items() if size[0] > canvas[0] or size[1] > canvas[1]]
    if too_large:
        needed = [max(size[axis] for size in sizes.values()) for axis in (0, 1)]
        height, width = sizes[too_large[0]]
        raise ConfigError(
            f"evaluation.inference_px = {list(canvas)}: {len(too_large)} of {len(sizes)} images "
            "are larger, among them "
            f"{too_large[0]} ({height}×{width}, height×width); expected at least {needed}"
        )
