"""Windows with blended borders and averages of several looks, against slow loops over pixels."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.prepared.resizing import resize_image
from rml_trainers.prediction.averaging import averaged, resized, resized_rows
from rml_trainers.prediction.windows import as_input, in_windows

K = 3
CASES = [
    # image, window, stride
    ((50, 70), (32, 40), (20, 15)),
    ((33, 97), (16, 16), (16, 16)),
    ((20, 30), (64, 64), (40, 40)),
    ((64, 20), (24, 64), (7, 64)),
    ((40, 40), (32, 32), (1, 31)),
]


def picture(size_px: tuple[int, int], seed: int = 0) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (*size_px, 3), dtype=np.uint8)


def pointwise(images: Tensor) -> Tensor:
    """Numbers of a network that looks at every pixel alone, the same to the last bit wherever in
    memory a pixel lies (a softmax is not)."""
    return images * 0.3 + 0.1


def by_place(images: Tensor) -> Tensor:
    """Probabilities that depend on all of the window, and on where in it a pixel is."""
    rows = torch.linspace(0, 1, images.shape[-2]).view(-1, 1)
    columns = torch.linspace(0, 2, images.shape[-1])
    return (3 * images * rows + columns + images.mean((2, 3), keepdim=True)).softmax(dim=1)


def tiled(
    probability: Callable[[Tensor], Tensor],
    image: UInt8Array,
    window_px: tuple[int, int],
    stride_px: tuple[int, int],
    batch: int = 3,
) -> Tensor:
    return torch.cat(list(in_windows(probability, image, window_px, stride_px, batch)), dim=1)


def starts(size: int, window: int, stride: int) -> list[int]:
    """Multiples of the stride, then the last place where a window fits."""
    found = [0]
    while found[-1] + window < size:
        found.append(min(found[-1] + stride, size - window))
    return found


def reference(
    image: UInt8Array, window_px: tuple[int, int], stride_px: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """For each pixel the windows over it, each weighted by its distance to the window's borders."""
    height, width = (min(px, own) for px, own in zip(window_px, image.shape, strict=False))
    total = np.zeros((K, *image.shape[:2]))
    weights = np.zeros(image.shape[:2])
    for top in starts(image.shape[0], height, stride_px[0]):
        for left in starts(image.shape[1], width, stride_px[1]):
            crop = image[top : top + height, left : left + width]
            found = by_place(as_input([crop]))[0].double().numpy()
            for i in range(height):
                for j in range(width):
                    weight = min(i + 1, height - i) * min(j + 1, width - j)
                    total[:, top + i, left + j] += weight * found[:, i, j]
                    weights[top + i, left + j] += weight
    return total / weights


@pytest.mark.parametrize(("size_px", "window_px", "stride_px"), CASES)
def test_windows_of_a_pointwise_network_give_exactly_the_whole_image(
    size_px: tuple[int, int], window_px: tuple[int, int], stride_px: tuple[int, int]
) -> None:
    image = picture(size_px)
    whole = pointwise(as_input([image]))[0]
    assert torch.equal(tiled(pointwise, image, window_px, stride_px), whole)


@pytest.mark.parametrize(("size_px", "window_px", "stride_px"), CASES)
def test_overlaps_are_means_with_the_weights_that_are_documented(
    size_px: tuple[int, int], window_px: tuple[int, int], stride_px: tuple[int, int]
) -> None:
    image = picture(size_px, seed=1)
    found = tiled(by_place, image, window_px, stride_px)
    expected = reference(image, window_px, stride_px)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6, rtol=0)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(size_px))


def test_the_batch_changes_nothing() -> None:
    image = picture((50, 70))
    one = tiled(by_place, image, (32, 32), (20, 20), batch=1)
    for batch in (2, 100):
        torch.testing.assert_close(tiled(by_place, image, (32, 32), (20, 20), batch), one)


@pytest.mark.parametrize("height", [200, 800])
def test_no_more_rows_than_those_of_a_window_are_ever_held(
    height: int,
) -> None:
    """Every tensor that is made is counted, however high the image is."""
    largest = 0

    class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            if isinstance(made, Tensor):
                largest = max(largest, made.numel())
            return made

    image = picture((height, 64))
    with Counting():  # type: ignore[no-untyped-call]
        for strip in in_windows(pointwise, image, (32, 32), (20, 20), 4):
            assert strip.shape[1] <= 32
    assert largest == 3 * 3 * 32 * 32, "the three windows of a row, in one batch"


@pytest.mark.parametrize("size_px", [(40, 56), (23, 97), (200, 31), (17, 17)])
def test_a_strip_of_rows_is_that_strip_of_the_resized_map(size_px: tuple[int, int]) -> None:
    maps = torch.rand(K, 17, 23, generator=torch.Generator().manual_seed(0))
    expected = resized(maps[None], size_px)[0]
    bounds = [0, 1, size_px[0] // 2, size_px[0]]
    found = [resized_rows(maps, size_px, first, last) for first, last in pairwise(bounds)]
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-6, rtol=1e-5)


def test_several_looks_are_averaged_over_scales_and_mirrors() -> None:
    """At scale 0.5 an image is resized as Pillow does it; the mirror is turned back."""
    image = picture((40, 56))
    found = averaged(by_place, (1.0, 0.5), True)(as_input([image]))[0].numpy()
    total = np.zeros((K, 40, 56))
    for seen in (image, resize_image(image, (20, 28))):
        for mirrored in (False, True):
            shown = seen[:, ::-1] if mirrored else seen
            prob = by_place(as_input([np.ascontiguousarray(shown)]))[0]
            prob = prob.flip(-1) if mirrored else prob
            total += resized(prob[None], (40, 56))[0].numpy() / 4
    # Pillow rounds the resized image to 256 levels.
    np.testing.assert_allclose(found, total, atol=0.006, rtol=0)


def test_one_look_is_the_network_itself_and_a_mirror_of_a_pointwise_one_changes_nothing() -> None:
    images = as_input([picture((20, 30))])
    assert averaged(by_place, (1.0,), False) is by_place
    assert torch.equal(averaged(pointwise, (1.0,), True)(images), pointwise(images))
