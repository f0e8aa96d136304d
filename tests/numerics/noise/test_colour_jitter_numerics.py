"""Colour jitter against the standard library's and Pillow's colour maths, blur against scipy's."""

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter

from rml_trainers.noise.colour_jitter import ColourJitter, blur, gaussian_windows, shift_hue

JITTER = ColourJitter(
    brightness=0.4,
    contrast=0.3,
    saturation=0.5,
    hue=0.1,
    probability=0.8,
    grey_probability=0.2,
    blur_probability=0.5,
)


def _images(num_images: int, height: int = 9, width: int = 13) -> torch.Tensor:
    return torch.rand(num_images, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_hue_is_turned_as_in_hsv() -> None:
    images = _images(4, 5, 6)
    images[0, :, 0, 0] = 0.4  # grey: has no hue
    images[1, :, 0, 1] = torch.tensor((0.7, 0.7, 0.1))  # two channels equal
    turns = [0.0, 0.25, -0.4, 0.1]
    ours = shift_hue(images, torch.tensor(turns).view(-1, 1, 1, 1))
    for i, y, x in np.ndindex(4, 5, 6):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[i, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb((hue + turns[i]) % 1.0, saturation, value)
        np.testing.assert_allclose(ours[i, :, y, x].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(9, 13), (3, 4), (1, 5)], ids=str)
def test_blur_is_a_gaussian_window_of_each_image(size: tuple[int, int]) -> None:
    sigma = np.array((0.0, 0.5, 1.7))
    images = _images(3, *size)
    ours = blur(images, torch.from_numpy(gaussian_windows(sigma, 6).astype(np.float32))).numpy()
    np.testing.assert_array_equal(ours[0], images[0].numpy())
    for i, c in np.ndindex(3, 3):
        if sigma[i] > 0:
            expected = gaussian_filter(
                images[i, c].double().numpy(), sigma[i], mode="mirror", radius=6
            )
            np.testing.assert_allclose(ours[i, c], expected, atol=1e-5)


def test_jitter_is_pillows_enhancement_one_after_the_other() -> None:
    pictures = np.random.default_rng(0).integers(60, 200, size=(6, 9, 13, 3)).astype(np.uint8)
    no_hue = ColourJitter(
        brightness=0.3, contrast=0.3, saturation=0.3, hue=0.0, probability=1.0, grey_probability=0.5
    )
    draw = no_hue.draw(np.random.default_rng(1), 6)
    assert 0 < draw.grey.sum() < 6
    ours = (
        draw.apply(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
        .permute(0, 2, 3, 1)
        .numpy()
        * 255
    )
    for i, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        for enhance, factor in zip(
            (
                ImageEnhance.Brightness,
                ImageEnhance.Contrast,
                ImageEnhance.Color,
                ImageEnhance.Color,
            ),
            (draw.brightness[i], draw.contrast[i], draw.saturation[i], draw.grey[i]),
            strict=True,
        ):
            image = enhance(image).enhance(float(factor))
        np.testing.assert_allclose(ours[i], np.asarray(image, dtype=np.float64), atol=4.0)


def test_draws_have_the_strengths_and_chances_of_the_recipe() -> None:
    draw = JITTER.draw(np.random.default_rng(0), 4000)
    assert draw.blur is not None
    for factor, width in (
        (draw.brightness, 0.4),
        (draw.contrast, 0.3),
        (draw.saturation, 0.5),
        (draw.hue + 1, 0.1),
    ):
        spared = (factor == 1).float().mean()
        assert abs(float(spared) - 0.2) < 0.03
        assert 0.98 * width < float((factor - 1).abs().max()) <= width + 1e-6
    assert abs(float((draw.grey == 0).float().mean()) - 0.2) < 0.03
    middle = draw.blur[:, draw.blur.shape[1] // 2]
    assert abs(float((middle == 1).float().mean()) - 0.5) < 0.06, (
        "a very small sigma blurs nothing either"
    )
    torch.testing.assert_close(draw.blur.sum(dim=1), torch.ones(4000))
    sharp = ColourJitter(brightness=0.4, contrast=0.3, saturation=0.5, hue=0.1, probability=0.0)
    images = _images(3)
    torch.testing.assert_close(sharp.draw(np.random.default_rng(0), 3).apply(images), images)


def test_workers_jitter_as_one_process_does_and_nothing_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = _images(6)
    draw = JITTER.draw(np.random.default_rng(2), 6)
    parts = [draw.slice(start, start + 2) for start in (0, 2, 4)]

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read on the host")

    for name in (
        "item",
        "tolist",
        "cpu",
        "numpy",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "nonzero",
    ):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        together = draw.apply(images)
    apart = [part.apply(images[2 * i : 2 * i + 2]) for i, part in enumerate(parts)]
    monkeypatch.undo()
    assert together.dtype == torch.float32
    assert float(together.min()) >= -1e-6 and float(together.max()) <= 1 + 1e-6
    torch.testing.assert_close(torch.cat(apart), together)
