"""Windows: where crops are drawn, and that an image smaller than the crop is padded."""

import numpy as np
import pytest
import torch

from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.geometry import (
    CropWindow,
    cut_image,
    cut_label,
    draw_windows,
    inside_mask,
    may_overhang,
)
from tests.support.image_folders import image


def _draw(
    count: int, size: tuple[int, int], config: GeometryConfig, seed: int = 0
) -> list[CropWindow]:
    return draw_windows(np.random.default_rng(seed), [size] * count, config)


def test_windows_without_scale_have_the_size_of_the_crop_and_reach_every_place() -> None:
    windows = _draw(500, (20, 40), GeometryConfig(crop_px=(16, 32)))
    assert {(window.height, window.width) for window in windows} == {(16, 32)}
    assert {window.top for window in windows} == set(range(5))
    assert {window.left for window in windows} == set(range(9))
    assert 200 < sum(window.flip for window in windows) < 300


def test_the_scale_enlarges_the_image() -> None:
    windows = _draw(500, (400, 400), GeometryConfig(crop_px=(60, 60), scale=(0.5, 1.5)))
    sizes = np.array([window.height for window in windows])
    assert (sizes.min(), sizes.max()) == pytest.approx((40, 120), abs=2)
    assert np.mean(60 / sizes) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("probability", "flipped"), [(0.0, 0), (1.0, 50)])
def test_the_flip_can_be_never_or_always(probability: float, flipped: int) -> None:
    windows = _draw(50, (32, 32), GeometryConfig(crop_px=(16, 16), flip_probability=probability))
    assert sum(window.flip for window in windows) == flipped


def test_one_setting_changes_only_what_it_is_about() -> None:
    base = _draw(20, (64, 64), GeometryConfig(crop_px=(16, 16)))
    mirrored = _draw(20, (64, 64), GeometryConfig(crop_px=(16, 16), flip_probability=1.0))
    assert [(window.top, window.left) for window in base] == [
        (window.top, window.left) for window in mirrored
    ]


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 1.5)])
def test_an_image_smaller_than_the_crop_is_padded(scale: tuple[float, float]) -> None:
    config = GeometryConfig(crop_px=(64, 96), scale=scale)
    label = np.zeros((40, 56), np.uint8)
    for window in _draw(30, (40, 56), config):
        assert 0 <= window.top < 40
        assert 0 <= window.left < 56
        inside = inside_mask((40, 56), window, config.crop_px)
        crop = cut_image(image(0), window, config.crop_px, (9, 9, 9))
        assert crop.shape == (3, 64, 96)
        assert inside.any()
        assert torch.equal(cut_label(label, window, config.crop_px, 255) == 255, ~inside)
        if window.height == 64:
            assert bool((crop[:, ~inside] == 9).all())


def test_image_and_label_of_one_window_show_the_same_place() -> None:
    """A picture whose colour is its own label stays so through scale, crop, flip and padding."""
    label = np.kron(np.arange(35, dtype=np.uint8).reshape(5, 7), np.ones((16, 16), np.uint8))
    picture = np.repeat(label[..., None] * 7, 3, axis=2)
    config = GeometryConfig(crop_px=(48, 64), scale=(0.5, 1.5))
    for window in _draw(40, label.shape, config):
        crop = cut_image(picture, window, config.crop_px, (255, 255, 255))[0].float() / 7
        found = cut_label(label, window, config.crop_px, 255)
        valid = found != 255
        agree = (crop.round() == found.float())[valid].float().mean()
        assert agree > 0.7, "apart from the borders between two blocks"


def test_nothing_but_the_given_buffers_is_written() -> None:
    window = CropWindow(2, 3, 16, 16, flip=True)
    buffer = torch.zeros(3, 16, 16, 3, dtype=torch.uint8)
    crop = cut_image(image(0), window, (16, 16), (0, 0, 0), buffer[1])
    assert torch.equal(buffer[1].permute(2, 0, 1), crop)
    assert not buffer[0].any()
    assert not buffer[2].any()
    assert crop.data_ptr() == buffer[1].data_ptr()


@pytest.mark.parametrize("size", [(40, 56), (64, 96), (65, 97), (127, 192), (128, 192), (300, 400)])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 1.5), (1.2, 1.5)])
def test_whether_a_crop_may_overhang_is_known_beforehand(
    size: tuple[int, int], scale: tuple[float, float]
) -> None:
    config = GeometryConfig(crop_px=(64, 96), scale=scale)
    windows = _draw(3000, size, config)
    do_overhang = any(w.height > size[0] or w.width > size[1] for w in windows)
    assert may_overhang(config, size) == do_overhang
    assert may_overhang(config, None), "of images of their own sizes nothing is known"
