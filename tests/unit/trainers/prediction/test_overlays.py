"""Overlay pictures: colours that differ, stay the same, and never hide what is ignored."""

import numpy as np
import pytest

from rml_trainers.prediction.overlays import OKABE_ITO, _as_seen, colour_mask, overlay, palette


def test_the_palette_is_stable_and_begins_with_okabe_and_itos_colours() -> None:
    assert palette(3).tolist() == [list(colour) for colour in OKABE_ITO[:3]]
    for smaller, larger in ((5, 11), (11, 19), (19, 40)):
        assert np.array_equal(palette(smaller), palette(larger)[:smaller])


@pytest.mark.parametrize("num_classes", [8, 11, 19, 21])
def test_all_colours_differ_for_normal_and_for_colour_blind_eyes(num_classes: int) -> None:
    for seen in _as_seen(palette(num_classes).astype(np.int64)):
        gaps = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(num_classes) * 9
        # 0.02 is just noticeable; Okabe and Ito's own seven leave 0.076 to deuteranope eyes.
        assert gaps.min() > 0.07


def test_oklab_of_known_colours() -> None:
    normal, _ = _as_seen(np.array(((255, 255, 255), (255, 0, 0), (0, 0, 255))))
    expected = (
        (1.0, 0.0, 0.0),
        (0.6279, 0.2249, 0.1258),
        (0.4520, -0.0324, -0.3115),
    )  # Ottosson, 2020
    np.testing.assert_allclose(normal, expected, atol=2e-3)


def test_an_overlay_shows_class_and_image_and_leaves_ignored_pixels_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, size=(6, 8, 3), dtype=np.uint8)
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[:, 4:] = 2
    mask[0] = 255
    colours = palette(3)
    picture = overlay(image, mask, colours)
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    assert np.array_equal(picture[0], image[0])
    expected = np.rint(0.4 * image[3, 6] + 0.6 * colours[2].astype(float))
    assert np.array_equal(picture[3, 6], expected)
    assert (picture[3, 4] < expected.max()).all(), "borders between classes are dark"
    assert np.array_equal(colour_mask(mask, colours)[0], np.zeros((8, 3)))
    assert np.array_equal(colour_mask(mask, colours)[3, 0], colours[0])
