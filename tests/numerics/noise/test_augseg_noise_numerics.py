"""Random-intensity colour noise and the boxes of label injection: their distributions are those of
the authors' code; hue and blur are those of the colour jitter."""

import numpy as np
import pytest
import torch

from rml_trainers.noise.colour_jitter import blur, gaussian_windows, shift_hue
from rml_trainers.noise.label_injection import LabelInjection
from rml_trainers.noise.photometric import (
    ALL_OPERATIONS,
    IDENTITY,
    PhotometricDraw,
    apply_photometric,
)
from rml_trainers.noise.random_intensity import STRENGTHS, RandomIntensity

NAMES = [operation.name for operation in ALL_OPERATIONS]
RANGES = {
    **dict.fromkeys(("brightness", "contrast", "colour", "sharpness"), (0.05, 0.95)),
    "posterize": (4.0, 7.0),
    "solarize": (1 / 255, 1.0),
    "hue": (-0.5, 0.5),
    "blur": (0.1, 2.0),
}


def test_strengths_fill_the_authors_ranges() -> None:
    draw = RandomIntensity(3).draw(np.random.default_rng(0), 6000)
    indices = np.array(draw.indices)
    strengths = draw.strengths.numpy()
    for name, (smallest, largest) in RANGES.items():
        found = strengths[indices == NAMES.index(name)]
        width = largest - smallest
        assert smallest - 1e-6 <= found.min() < smallest + 0.02 * width, name
        assert largest - 0.02 * width < found.max() <= largest + 1e-6, name
        assert abs(found.mean() - (smallest + largest) / 2) < 0.04 * width, name
    assert {STRENGTHS[name](0.7, 1.0) for name in NAMES if name not in RANGES} == {0.0}


def test_one_to_three_operations_are_drawn_with_equal_chances() -> None:
    draw = RandomIntensity(3).draw(np.random.default_rng(0), 9000)
    indices = np.array(draw.indices)
    first = np.bincount(indices[0], minlength=len(NAMES)) / 9000
    np.testing.assert_allclose(first, 1 / 11, atol=0.012)
    for number, share in ((1, 2 / 3), (2, 1 / 3)):
        drawn = (indices[number] != IDENTITY).mean()
        assert drawn == pytest.approx(share * 10 / 11, abs=0.02)


def test_hue_and_blur_are_those_of_the_colour_jitter() -> None:
    images = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    strengths = torch.tensor([[-0.3, 0.8]])
    draw = PhotometricDraw.from_indices(((NAMES.index("hue"), NAMES.index("blur")),), strengths)
    found = apply_photometric(images, draw)
    torch.testing.assert_close(found[:1], shift_hue(images[:1], strengths[:, 0].view(1, 1, 1, 1)))
    windows = torch.from_numpy(gaussian_windows(np.array([0.8]), 6)).float()
    torch.testing.assert_close(found[1:], blur(images[1:], windows))


def test_boxes_are_as_large_as_the_beta_distributions_say() -> None:
    """Shares left: Beta(8, 2) with mean 0.8, Beta(4, 4) with mean 0.5; one size for a batch,
    centres from an eighth of the crop on."""
    recipe = LabelInjection(image_beta=(4.0, 4.0), label_beta=(8.0, 2.0))
    rng = np.random.default_rng(0)
    taken: dict[str, list[float]] = {"image": [], "label": []}
    for _ in range(400):
        draw = recipe.draw(rng, 16, (400, 600))
        for name, boxes in (("image", draw.boxes), ("label", draw.label_boxes)):
            top, left, bottom, right = boxes[:, 0].unbind(dim=1)
            assert int(boxes.min()) >= 0 and int(bottom.max()) <= 400 and int(right.max()) <= 600
            whole = ((bottom - top).max() * (right - left).max()) / (400 * 600)
            taken[name].append(float(whole))
            assert float((top + bottom).float().min() / 2) >= 25, "half of an eighth, where cut off"
        assert float(draw.coins.min()) >= 0 and float(draw.coins.max()) < 1
    assert np.mean(taken["image"]) == pytest.approx(0.5, abs=0.04)
    assert np.mean(taken["label"]) == pytest.approx(0.2, abs=0.03)


def test_a_workers_share_keeps_its_boxes_and_finds_its_own_partners() -> None:
    recipe = LabelInjection(image_beta=(4.0, 4.0), label_beta=(8.0, 2.0))
    draw = recipe.draw(np.random.default_rng(1), 6, (24, 32))
    part = draw.slice(2, 6)
    assert torch.equal(part.boxes, draw.boxes[2:6])
    assert torch.equal(part.label_boxes, draw.label_boxes[2:6])
    assert torch.equal(part.coins, draw.coins[2:6])
    assert part.partner.tolist() == [1, 0, 3, 2]
