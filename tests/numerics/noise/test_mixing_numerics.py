"""CutMix with several boxes, CowMix, ClassMix and interpolation against loops over pixels."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.noise.mixing import CutMix, inside_boxes, partners
from rml_trainers.noise.mixing_masks import (
    ClassMix,
    CowMix,
    Interpolation,
    chosen_classes,
    cow_mask,
)


def test_overlapping_boxes_cancel_each_other() -> None:
    boxes = np.array(
        [[[0, 0, 4, 4], [2, 2, 6, 7], [3, 0, 4, 8]], [[1, 1, 2, 2], [1, 1, 2, 2], [5, 5, 6, 6]]]
    )
    ours = inside_boxes(torch.from_numpy(boxes), (6, 8)).numpy()
    for i, y, x in np.ndindex(2, 6, 8):
        count = sum(
            top <= y < bottom and left <= x < right for top, left, bottom, right in boxes[i]
        )
        assert ours[i, y, x] == (count % 2 == 1)


def test_boxes_of_every_aspect_that_fits() -> None:
    """French et al.: half of the area, height share log-uniform between one half and the whole."""
    boxes = (
        CutMix(area=(0.5, 0.5)).draw(np.random.default_rng(0), 4000, (400, 600)).boxes[:, 0].numpy()
    )
    height = (boxes[:, 2] - boxes[:, 0]) / 400
    width = (boxes[:, 3] - boxes[:, 1]) / 600
    np.testing.assert_allclose(height * width, 0.5, atol=0.003)
    exponent = np.log(height) / math.log(0.5)
    counts = np.histogram(exponent, bins=10, range=(0, 1.0001))[0]
    assert abs(counts / 400 - 1).max() < 0.2


def test_several_boxes_cover_the_drawn_area_together() -> None:
    boxes = (
        CutMix(area=(0.25, 0.5), num_boxes=3)
        .draw(np.random.default_rng(0), 2000, (300, 300))
        .boxes.numpy()
    )
    assert boxes.shape == (2000, 3, 4)
    share = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])).sum(axis=1) / 300**2
    assert share.min() > 0.24 and share.max() < 0.51
    assert abs(share.mean() - 0.375) < 0.01


@pytest.mark.parametrize("sigma", [1.5, 3.0, 5.0])
def test_cow_mask_is_smoothed_noise_below_a_threshold(sigma: float) -> None:
    height = 12
    width = 15
    noise = np.random.default_rng(1).standard_normal((height, width))
    smooth = np.zeros_like(noise)
    reach = range(-40, 41)  # opposite edges meet, as often as the window goes round
    weights = {d: math.exp(-0.5 * (d / sigma) ** 2) for d in reach}
    for y, x in np.ndindex(height, width):
        across = [
            sum(weights[d] * noise[row, (x + d) % width] for d in reach) for row in range(height)
        ]
        smooth[y, x] = sum(weights[d] * across[(y + d) % height] for d in reach)
    normal = {0.5: 0.0, 0.3: -0.524400512708041, 0.8: 0.8416212335729143}
    for proportion, quantile in normal.items():
        expected = smooth <= smooth.mean() + quantile * smooth.std()
        ours = cow_mask(noise.astype(np.float32), sigma, proportion)
        assert ours.dtype == np.bool_
        assert (ours == expected).mean() > 0.99, (
            "only pixels at the threshold may differ by rounding"
        )
        assert 0 < ours.sum() < ours.size


def test_cow_masks_have_the_drawn_scales_and_proportions() -> None:
    draw = CowMix(sigma=(1 / 32, 1 / 8), proportion=(0.2, 0.8)).draw(
        np.random.default_rng(0), 60, (64, 96)
    )
    masks = draw.pasted.numpy()
    share = masks.mean(axis=(1, 2))
    assert share.min() < 0.3 and share.max() > 0.7 and abs(share.mean() - 0.5) < 0.06
    fine, coarse = (
        CowMix(sigma=(s, s), proportion=(0.5, 0.5))
        .draw(np.random.default_rng(0), 20, (64, 96))
        .pasted.numpy()
        for s in (1 / 32, 1 / 8)
    )
    edges = [(mask[:, :, 1:] != mask[:, :, :-1]).mean() for mask in (fine, coarse)]
    assert edges[0] > 2 * edges[1], "patches grow with sigma"


def _labels(num_images: int) -> npt.NDArray[np.int64]:
    """Label maps with 1, 2, … classes of 9, some pixels without any."""
    rng = np.random.default_rng(3)
    labels = [rng.choice(rng.permutation(9)[: 1 + i], size=(7, 8)) for i in range(num_images)]
    return np.where(rng.random((num_images, 7, 8)) < 0.1, 255, np.stack(labels)).astype(np.int64)


@pytest.mark.parametrize("num_images", [1, 5, 6])
def test_class_mix_pastes_half_of_the_partners_classes(num_images: int) -> None:
    labels = _labels(num_images)
    draw = ClassMix().draw(np.random.default_rng(0), num_images, (7, 8))
    settled = draw.given(torch.from_numpy(labels))
    for i in range(num_images):
        giver = i - 1 if i % 2 else (i + 1 if i + 1 < num_images else 0)
        keys = draw.keys[giver]
        classes = sorted(set(labels[giver].ravel()) - {255}, key=lambda k, of=keys: float(of[k]))  # type: ignore[misc]
        chosen = set(classes[: len(classes) // 2])
        expected = np.array([[label in chosen for label in row] for row in labels[giver]])
        np.testing.assert_array_equal(settled.pasted[i].numpy(), expected)


def test_every_present_class_is_chosen_equally_often_and_no_other() -> None:
    label = torch.tensor([[0, 3, 4, 7, 255]]).expand(6000, 1, 5)
    keys = ClassMix().draw(np.random.default_rng(0), 6000, (1, 5)).keys
    share = chosen_classes(label, keys).float().mean(dim=0)
    present = torch.tensor([0, 3, 4, 7])
    torch.testing.assert_close(share[present], torch.full((4,), 0.5), atol=0.03, rtol=0)
    share[present] = 0
    assert not share.any()


def test_class_mix_needs_the_labels_first() -> None:
    draw = ClassMix().draw(np.random.default_rng(0), 2, (4, 4))
    with pytest.raises(AssertionError, match="given"):
        draw.apply(torch.zeros(2, 4, 4))


def test_interpolation_is_a_weighted_mean_and_classes_follow_the_larger_share() -> None:
    rng = np.random.default_rng(0)
    maps = rng.random((5, 3, 4, 6))
    labels = rng.integers(0, 9, size=(5, 4, 6))
    draw = Interpolation(alpha=0.5).draw(rng, 5, (4, 6))
    ours = draw.apply(torch.from_numpy(maps)).numpy()
    ours_label = draw.apply(torch.from_numpy(labels)).numpy()
    for i, share in enumerate(draw.share.tolist()):
        other = i - 1 if i % 2 else (i + 1 if i + 1 < 5 else 0)
        for c, y, x in np.ndindex(3, 4, 6):
            assert ours[i, c, y, x] == pytest.approx(
                (1 - share) * maps[i, c, y, x] + share * maps[other, c, y, x]
            )
        np.testing.assert_array_equal(ours_label[i], labels[other] if share > 0.5 else labels[i])


def test_shares_follow_a_beta_law() -> None:
    """Mean 1/2 and variance 1 / (4 (2α + 1))."""
    for alpha in (0.1, 1.0):
        share = (
            Interpolation(alpha=alpha).draw(np.random.default_rng(0), 20_000, (4, 4)).share.numpy()
        )
        assert share.min() >= 0 and share.max() <= 1
        assert share.mean() == pytest.approx(0.5, abs=0.01)
        assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


@pytest.mark.parametrize("num_workers", [2, 4])
@pytest.mark.parametrize(
    "recipe",
    [
        CutMix(area=(0.3, 0.5), num_boxes=2),
        CowMix(sigma=(0.1, 0.3), proportion=(0.5, 0.5)),
        ClassMix(),
        Interpolation(alpha=1.0),
    ],
    ids=lambda recipe: type(recipe).__name__,
)
def test_workers_mix_as_one_process_does(
    recipe: CutMix | CowMix | ClassMix | Interpolation, num_workers: int
) -> None:
    rng = np.random.default_rng(4)
    images = torch.from_numpy(rng.random((8, 3, 7, 8)))
    labels = torch.from_numpy(_labels(8))
    draw = recipe.draw(rng, 8, (7, 8))
    share = 8 // num_workers
    together = draw.given(labels).apply(images)
    assert not torch.equal(together, images)
    for start, stop in itertools.pairwise(range(0, 9, share)):
        own = draw.slice(start, stop).map(lambda tensor: tensor.clone()).given(labels[start:stop])
        assert torch.equal(own.partner, partners(share))
        assert torch.equal(own.apply(images[start:stop]), together[start:stop])
