"""Boxes of half an image and mixing that a whole batch has or has not, against plain loops."""

import numpy as np
import pytest
import torch

from rml_trainers.noise.mixing import BoxDraw
from rml_trainers.noise.mixing_masks import ClassDraw, ClassMix
from rml_trainers.noise.sometimes import HalfBox, Sometimes, SometimesDraw

CROP_PX = (30, 40)
HALF_BOX = Sometimes(mixing=HalfBox(), probability=0.5)


def drawn(seed: int, num_images: int = 4) -> SometimesDraw:
    return HALF_BOX.draw(np.random.default_rng(seed), num_images, CROP_PX)


def test_a_box_has_half_of_the_area_and_every_width_above_half() -> None:
    boxes = HalfBox().draw(np.random.default_rng(0), 4000, CROP_PX).boxes[:, 0].tolist()
    widths = []
    tops = set()
    for top, left, bottom, right in boxes:
        assert 0 <= top < bottom <= CROP_PX[0]
        assert 0 <= left < right <= CROP_PX[1]
        widths.append(right - left)
        assert bottom - top == round(CROP_PX[0] * CROP_PX[1] / 2 / widths[-1])
        tops.add(top)
    counts = [widths.count(width) for width in range(41)]
    assert all(count == 0 for count in [*counts[:21], counts[40]])
    fair = len(boxes) / 19
    assert all(abs(count - fair) < 5 * fair**0.5 for count in counts[21:40])
    assert min(tops) == 0
    assert max(tops) == CROP_PX[0] - 15, "the lowest boxes stand on the bottom"


@pytest.mark.parametrize("crop_px", [(2, 2), (3, 3), (1, 2), (2, 1)])
def test_boxes_fit_into_the_smallest_crops(crop_px: tuple[int, int]) -> None:
    boxes = HalfBox().draw(np.random.default_rng(0), 9, crop_px).boxes[:, 0].tolist()
    for top, left, bottom, right in boxes:
        assert 0 <= top < bottom <= crop_px[0]
        assert 0 <= left < right <= crop_px[1]


def test_a_batch_is_mixed_or_it_is_not() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, *CROP_PX)
    label = torch.arange(4)[:, None, None].expand(4, *CROP_PX)
    mixed = []
    for seed in range(200):
        draw = drawn(seed)
        mixed.append(bool(draw.mixed[0]))
        assert draw.mixed.tolist() == [mixed[-1]] * 4
        assert isinstance(draw.mixing, BoxDraw)
        expected = images.clone()
        covered = torch.zeros(4, *CROP_PX, dtype=torch.bool)
        for i, (top, left, bottom, right) in enumerate(draw.mixing.boxes[:, 0].tolist()):
            if mixed[-1]:
                expected[i, :, top:bottom, left:right] = [1, 0, 3, 2][i]
                covered[i, top:bottom, left:right] = True
        assert torch.equal(draw.apply(images), expected)
        assert torch.equal(draw.apply(label), expected[:, 0].long())
        assert torch.equal(draw.covered(CROP_PX), covered)
    assert 70 <= sum(mixed) <= 130


def test_workers_take_their_shares_of_the_draw() -> None:
    images = torch.rand(4, 3, *CROP_PX)
    for seed in range(4):
        draw = drawn(seed)
        parts = [draw.slice(start, start + 2).apply(images[start : start + 2]) for start in (0, 2)]
        assert torch.equal(torch.cat(parts), draw.apply(images))


def test_classes_to_paste_are_chosen_once_the_labels_are_known() -> None:
    recipe = Sometimes(mixing=ClassMix(), probability=1.0)
    draw = recipe.draw(np.random.default_rng(0), 2, (2, 2))
    assert isinstance(draw.mixing, ClassDraw)
    label = torch.tensor([[[0, 0], [1, 1]], [[2, 2], [3, 3]]])
    assert torch.equal(draw.given(label).apply(label), draw.mixing.given(label).apply(label))
    never = Sometimes(mixing=ClassMix(), probability=0.0)
    draw = never.draw(np.random.default_rng(0), 2, (2, 2))
    assert torch.equal(draw.given(label).apply(label), label)
