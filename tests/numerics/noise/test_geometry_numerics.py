"""Crops and resizing against slow references that loop over pixels."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rml_trainers.data import build_dataset
from rml_trainers.data.prepared.prepare import prepare
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.noise.geometry import CropWindow, cut_image, cut_label, inside_mask
from tests.support.image_folders import image, write_camvid

FILL = (7, 80, 200)
WINDOWS = [
    CropWindow(3, 5, 24, 32, flip=False),
    CropWindow(3, 5, 24, 32, flip=True),
    CropWindow(0, 0, 40, 56, flip=True),
    CropWindow(1, 2, 17, 19, flip=False),
    CropWindow(20, 0, 36, 64, flip=True),
    CropWindow(0, 30, 48, 64, flip=False),
    CropWindow(0, 0, 90, 130, flip=True),
]
CROP_PX = (24, 32)


def _padded(picture: npt.NDArray[np.uint8], window: CropWindow) -> npt.NDArray[np.float64]:
    """The window cut pixel by pixel, with the fill colour beyond the image."""
    out = np.empty((window.height, window.width, 3))
    for y in range(window.height):
        for x in range(window.width):
            inside = window.top + y < picture.shape[0] and window.left + x < picture.shape[1]
            out[y, x] = picture[window.top + y, window.left + x] if inside else FILL
    return out


def _weights(source: int, target: int) -> npt.NDArray[np.float64]:
    """[target, source] weights of a triangle filter as wide as the reduction; half-pixel
    centres."""
    scale = source / target
    support = max(scale, 1.0)
    weights = np.zeros((target, source))
    for i in range(target):
        centre = (i + 0.5) * scale
        for j in range(source):
            weights[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / support)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _resized(picture: npt.NDArray[np.float64], size_px: tuple[int, int]) -> npt.NDArray[np.float64]:
    rows = _weights(picture.shape[0], size_px[0])
    columns = _weights(picture.shape[1], size_px[1])
    resized: npt.NDArray[np.float64] = np.einsum("iy,jx,yxc->ijc", rows, columns, picture)
    return resized


@pytest.mark.parametrize("window", WINDOWS)
def test_image_crops_equal_the_reference(window: CropWindow) -> None:
    picture = image(1)
    expected = _resized(_padded(picture, window), CROP_PX)
    if window.flip:
        expected = expected[:, ::-1]
    crop = cut_image(picture, window, CROP_PX, FILL).permute(1, 2, 0).numpy().astype(float)
    exact = (window.height, window.width) == CROP_PX
    assert np.abs(crop - expected).max() <= (1e-9 if exact else 1.5), (
        "at most rounding in each of two passes"
    )


@pytest.mark.parametrize("window", WINDOWS)
def test_label_crops_and_padding_equal_the_reference(window: CropWindow) -> None:
    label = np.random.default_rng(0).integers(0, 8, (40, 56), dtype=np.uint8)
    expected = np.full(CROP_PX, 255)
    inside = np.zeros(CROP_PX, bool)
    for y in range(CROP_PX[0]):
        for x in range(CROP_PX[1]):
            row = window.top + int((y + 0.5) * window.height / CROP_PX[0])
            column = window.left + int((x + 0.5) * window.width / CROP_PX[1])
            target = CROP_PX[1] - 1 - x if window.flip else x
            if row < 40 and column < 56:
                expected[y, target] = label[row, column]
                inside[y, target] = True
    assert np.array_equal(cut_label(label, window, CROP_PX, 255).numpy(), expected)
    assert np.array_equal(inside_mask((40, 56), window, CROP_PX).numpy(), inside)


@pytest.mark.parametrize("size_px", [(32, 32), (33, 50), (80, 60)])
def test_prepared_images_equal_the_reference(tmp_path: Path, size_px: tuple[int, int]) -> None:
    write_camvid(tmp_path)
    data = prepare(build_dataset(CamvidConfig(size_px=size_px), tmp_path), tmp_path / "prepared")
    expected = _resized(image(2).astype(float), size_px)
    assert np.abs(data.image("train", 2) - expected).max() <= 1.5
