"""Photometric operations against Pillow, CutMix against a loop over pixels."""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from rml_trainers.noise.mixing import BoxDraw, CutMix, inside_boxes
from rml_trainers.noise.photometric import OPERATIONS, PhotometricDraw, apply_photometric

NAMES = [operation.name for operation in OPERATIONS]
Reference = Callable[[Image.Image, float], Image.Image]

PILLOW: dict[str, Reference] = {
    "identity": lambda image, strength: image,
    "autocontrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(strength),
    "colour": lambda image, strength: ImageEnhance.Color(image).enhance(strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(strength),
    "posterize": lambda image, strength: ImageOps.posterize(image, int(strength)),
    # Pillow inverts values at or above an integer threshold.
    "solarize": lambda image, strength: ImageOps.solarize(image, int(np.ceil(strength * 255))),
}


def _photographs() -> npt.NDArray[np.uint8]:
    """Four smooth, noisy, low-contrast and saturated pictures [4, 40, 56, 3]."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[0:40, 0:56]
    waves = 127 + 90 * np.sin(row[..., None] / (3.0, 5.0, 7.0)) * np.cos(
        column[..., None] / (9.0, 4.0, 6.0)
    )
    pictures = [
        waves,
        rng.integers(0, 256, size=waves.shape),
        100 + waves / 8 + rng.normal(0, 3, size=waves.shape),
        waves * 3 - 200,
    ]
    return np.stack(pictures).clip(0, 255).astype(np.uint8)


def _to_tensor(pictures: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_does_what_pillow_does(name: str, sign: float, share: float) -> None:
    pictures = _photographs()
    number = NAMES.index(name)
    strength = OPERATIONS[number].strength(share, sign)
    draw = PhotometricDraw.from_indices(((number,) * 4,), torch.full((1, 4), strength))
    ours = apply_photometric(_to_tensor(pictures), draw).permute(0, 2, 3, 1).numpy() * 255
    for picture, result in zip(pictures, ours, strict=True):
        expected = np.asarray(PILLOW[name](Image.fromarray(picture), strength), dtype=np.float64)
        # Pillow truncates to grey levels after (and for contrast and colour also before) blending;
        # we do not round.
        np.testing.assert_allclose(result, expected, atol=2.0)


def test_every_image_gets_its_own_operations_in_their_order() -> None:
    pictures = _photographs()
    rounds = (
        ("posterize", "brightness", "identity", "solarize"),
        ("colour", "posterize", "sharpness", "contrast"),
    )
    strengths = torch.tensor([[5.0, 1.4, 0.0, 0.7], [0.2, 4.0, 1.9, 0.5]])
    draw = PhotometricDraw.from_indices(
        tuple(tuple(map(NAMES.index, row)) for row in rounds), strengths
    )
    ours = apply_photometric(_to_tensor(pictures), draw).permute(0, 2, 3, 1).numpy() * 255
    for i, picture in enumerate(pictures):
        image = Image.fromarray(picture)
        for row, strength in zip(rounds, strengths.tolist(), strict=True):
            image = PILLOW[row[i]](image, strength[i])
        expected = np.asarray(image, dtype=np.float64)
        # A rounded value may fall into the next level of a later posterize or cross the threshold
        # of solarize.
        close = np.abs(ours[i] - expected) <= 3.0
        assert close.mean() > 0.97, rounds


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64, torch.bool], ids=str)
@pytest.mark.parametrize(
    "shape", [(4, 9, 11), (5, 3, 9, 11), (3, 2, 4, 9, 11), (1, 9, 11)], ids=str
)
def test_cutmix_copies_exactly_the_partners_box(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    maps = torch.from_numpy(rng.integers(0, 2 if dtype == torch.bool else 200, size=shape)).to(
        dtype
    )
    draw = CutMix(area=(0.25, 0.5), aspect=(0.5, 2.0)).draw(rng, shape[0], (9, 11))
    mixed = draw.apply(maps)
    expected = maps.clone()
    for i, (top, left, bottom, right) in enumerate(draw.boxes[:, 0].tolist()):
        partner = i - 1 if i % 2 else (i + 1 if i + 1 < shape[0] else 0)
        for y, x in itertools.product(range(top, bottom), range(left, right)):
            expected[i, ..., y, x] = maps[partner, ..., y, x]
    assert mixed.dtype == dtype
    assert torch.equal(mixed, expected)


def test_boxes_cover_the_drawn_share_of_the_crop_and_stay_inside() -> None:
    height = 100
    width = 160
    recipe = CutMix(area=(0.25, 0.5), aspect=(0.25, 4.0))
    boxes = recipe.draw(np.random.default_rng(0), 2000, (height, width)).boxes[:, 0].numpy()
    top, left, bottom, right = boxes.T
    assert top.min() == 0 and left.min() == 0 and bottom.max() == height and right.max() == width
    share = (bottom - top) * (right - left) / (height * width)
    assert share.min() > 0.24 and share.max() < 0.51
    assert abs(share.mean() - 0.375) < 0.01
    aspect = (bottom - top) / height / ((right - left) / width)
    assert aspect.min() < 0.4 and aspect.max() > 2.5
    covered = inside_boxes(torch.from_numpy(boxes)[:, None], (height, width)).float().mean(dim=0)
    assert covered.min() > 0, "some pixel is never pasted"
    assert float(covered.mean()) == pytest.approx(float(share.mean()), abs=1e-6)


def test_a_box_of_one_pixel_is_one_pixel() -> None:
    draw = BoxDraw.from_boxes(torch.tensor([[[2, 3, 3, 4]], [[0, 0, 1, 1]]]))
    mixed = draw.apply(torch.stack((torch.zeros(4, 5), torch.ones(4, 5))))
    assert mixed[0].nonzero().tolist() == [[2, 3]]
    assert (mixed[1] == 0).nonzero().tolist() == [[0, 0]]


def test_a_share_of_the_images_is_spared() -> None:
    often, always = (
        CutMix(area=(0.25, 0.5), probability=p).draw(np.random.default_rng(3), 1000, (32, 48)).boxes
        for p in (0.3, 1.0)
    )
    spared = (often == 0).all(dim=(1, 2))
    assert 650 < int(spared.sum()) < 750
    assert torch.equal(often[~spared], always[~spared]), (
        "the boxes are those that would be drawn anyway"
    )
    maps = torch.arange(1000)[:, None, None].expand(-1, 32, 48)
    draw = BoxDraw.from_boxes(often)
    changed = (draw.apply(maps) != maps).any(dim=(1, 2))
    assert torch.equal(changed, ~spared)
