"""Padded and sliding inference against slow NumPy loops, with a network that notices every mistake.

Its logits depend on where a pixel lies in what the network is given, and through zero-padded sums
on what surrounds it.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rml_trainers.scoring.image_passes import INFERENCES, ScoredNetwork, window_starts
from rml_trainers.settings.evaluation import EvaluationConfig

Array = npt.NDArray[np.float64]
K = 3
STRIDE = 4
MEAN = np.array([0.3, 0.5, 0.6])
WEIGHT = np.random.default_rng(0).normal(size=(K, 3, 5, 5))
RAMPS = np.random.default_rng(1).normal(size=(K, 2))


def network(align_corners: bool) -> ScoredNetwork:
    """5×5 convolution with zero padding and a ramp over the input, at every fourth pixel."""
    weight = torch.from_numpy(WEIGHT).float()
    mean = torch.from_numpy(MEAN).float().view(1, 3, 1, 1)

    def forward(images: Tensor) -> Tensor:
        size = (images.shape[-2], images.shape[-1])
        cells = torch.nn.functional.conv2d(images - mean, weight, stride=STRIDE, padding=2)
        down = torch.linspace(0, 1, cells.shape[-2]).view(-1, 1)
        across = torch.linspace(0, 1, cells.shape[-1]).view(1, -1)
        ramps = torch.stack([float(a) * down + float(b) * across for a, b in RAMPS])
        return torch.nn.functional.interpolate(
            cells + ramps, size=size, mode="bilinear", align_corners=align_corners
        )

    return ScoredNetwork(forward, mean)


def reference_logits(normalised: Array, align_corners: bool) -> Array:
    """The same network, pixel by pixel: [3, H, W] after normalisation → [K, H, W]."""
    _, height, width = normalised.shape
    around = np.zeros((3, height + 4, width + 4))
    around[:, 2:-2, 2:-2] = normalised
    rows = (height - 1) // STRIDE + 1
    columns = (width - 1) // STRIDE + 1
    cells = np.empty((K, rows, columns))
    for r, c in np.ndindex(rows, columns):
        patch = around[:, r * STRIDE : r * STRIDE + 5, c * STRIDE : c * STRIDE + 5]
        ramp = RAMPS[:, 0] * r / max(1, rows - 1) + RAMPS[:, 1] * c / max(1, columns - 1)
        cells[:, r, c] = (WEIGHT * patch).sum(axis=(1, 2, 3)) + ramp
    out = np.empty((K, height, width))
    for y, x in np.ndindex(height, width):
        at = []
        for pixel, size, count in ((y, height, rows), (x, width, columns)):
            cell = (
                pixel * (count - 1) / (size - 1)
                if align_corners
                else (pixel + 0.5) * count / size - 0.5
            )
            at.append(min(max(cell, 0.0), count - 1.0))
        (top, down), (left, right) = ((int(a), a - int(a)) for a in at)
        below = min(top + 1, rows - 1)
        beside = min(left + 1, columns - 1)
        upper = cells[:, top, left] * (1 - right) + cells[:, top, beside] * right
        lower = cells[:, below, left] * (1 - right) + cells[:, below, beside] * right
        out[:, y, x] = upper * (1 - down) + lower * down
    return out


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))


def pictures(*sizes: tuple[int, int]) -> list[Array]:
    rng = np.random.default_rng(2)
    return [rng.random((3, *size)) for size in sizes]


def probability(
    inference: str, images: Tensor, inside: Tensor | None, align: bool, **config: object
) -> Array:
    evaluation = EvaluationConfig(inference=inference, **config)  # type: ignore[arg-type]
    scores = INFERENCES[inference](network(align), images, inside, evaluation)
    return scores.softmax(dim=1).double().numpy()


@pytest.mark.parametrize("align", [True, False])
def test_padded_images_of_many_sizes_share_a_canvas(align: bool) -> None:
    canvas_px = (33, 41)
    sizes = [(33, 41), (20, 40), (32, 13)]
    images = torch.rand(3, 3, *canvas_px)  # what lies in the padding must not matter
    inside = torch.zeros(3, *canvas_px, dtype=torch.bool)
    for i, picture in enumerate(pictures(*sizes)):
        images[i, :, : sizes[i][0], : sizes[i][1]] = torch.from_numpy(picture)
        inside[i, : sizes[i][0], : sizes[i][1]] = True
    found = probability("padded", images, inside, align, inference_px=canvas_px)
    for i, picture in enumerate(pictures(*sizes)):
        canvas = np.zeros((3, *canvas_px))
        canvas[:, : sizes[i][0], : sizes[i][1]] = picture - MEAN.reshape(3, 1, 1)
        expected = softmax(reference_logits(canvas, align)[:, : sizes[i][0], : sizes[i][1]])
        np.testing.assert_allclose(found[i, :, : sizes[i][0], : sizes[i][1]], expected, atol=2e-5)


def reference_windows(
    picture: Array, window: tuple[int, int], stride: tuple[int, int], align: bool
) -> Array:
    """Walk over the image; a window that would leave it is moved back; add up and divide by how
    often."""
    _, height, width = picture.shape
    total = np.zeros((K, height, width))
    times = np.zeros((height, width))
    tall = min(window[0], height)
    wide = min(window[1], width)
    visited = set()
    for top in range(0, height, stride[0]):
        for left in range(0, width, stride[1]):
            place = min(top, height - tall), min(left, width - wide)
            if place in visited:
                continue
            visited.add(place)
            rows = slice(place[0], place[0] + tall)
            columns = slice(place[1], place[1] + wide)
            part = picture[:, rows, columns] - MEAN.reshape(3, 1, 1)
            total[:, rows, columns] += softmax(reference_logits(part, align))
            times[rows, columns] += 1
    assert times.min() >= 1
    return np.asarray(total / times)


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("batch", [1, 5, 100])
def test_windows_are_averaged_where_they_overlap(align: bool, batch: int) -> None:
    images = pictures((40, 70), (40, 70))
    config = {"inference_px": (32, 33), "window_stride": 0.5, "batch": batch}
    found = probability(
        "sliding", torch.from_numpy(np.stack(images)).float(), None, align, **config
    )
    for i, picture in enumerate(images):
        np.testing.assert_allclose(
            found[i], reference_windows(picture, (32, 33), (16, 16), align), atol=2e-5
        )


def test_an_image_lower_than_the_window_is_cut_across_only() -> None:
    (picture,) = pictures((20, 75))
    config: dict[str, object] = {"inference_px": (32, 32)}
    found = probability("sliding", torch.from_numpy(picture[None]).float(), None, True, **config)
    np.testing.assert_allclose(
        found[0], reference_windows(picture, (32, 32), (21, 21), True), atol=2e-5
    )


@pytest.mark.parametrize("inference", ["padded", "sliding"])
def test_one_window_and_a_canvas_of_the_images_size_are_the_whole_image(inference: str) -> None:
    images = torch.from_numpy(np.stack(pictures((33, 41), (33, 41)))).float()
    inside = torch.ones(2, 33, 41, dtype=torch.bool)
    found = probability(inference, images, inside, True, inference_px=(33, 41))
    whole = probability("whole", images, None, True)
    np.testing.assert_allclose(found, whole, atol=1e-6)
    assert np.array_equal(found.argmax(1), whole.argmax(1))
    np.testing.assert_allclose(
        whole[0],
        softmax(reference_logits(pictures((33, 41))[0] - MEAN.reshape(3, 1, 1), True)),
        atol=2e-5,
    )


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        (1024, 801, 534, [0, 223]),
        (2048, 801, 534, [0, 534, 1068, 1247]),
        (801, 801, 534, [0]),
        (500, 500, 1, [0]),
        (10, 4, 3, [0, 3, 6]),
        (11, 4, 3, [0, 3, 6, 7]),
        (10, 4, 4, [0, 4, 6]),
    ],
)
def test_the_last_window_ends_where_the_image_does(
    size: int, window: int, stride: int, expected: list[int]
) -> None:
    assert window_starts(size, window, stride) == expected
