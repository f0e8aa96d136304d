"""Masks: numbers as they are stored, and no format that changes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rml_trainers.data.pictures.masks import read_mask
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, save
from tests.support.own_data.own_layouts import save_palette
from tests.support.own_data.picture_files import png, save_turned


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("colour_type", [0, 3])
def test_numbers_of_few_and_many_bits_are_kept(
    depth: int, colour_type: int, tmp_path: Path
) -> None:
    if colour_type == 3 and depth == 16:
        colour_type = 0  # the format has no palette of 16 bits
    values = np.arange(24).reshape(4, 6) * (977 if depth == 16 else 1) % 2**depth
    palette = bytes(range(256)) * 3 if colour_type == 3 else b""
    png(
        tmp_path / "a.png",
        values,
        depth=depth,
        colour_type=colour_type,
        palette=palette[: 3 * 2**depth],
    )
    found = read_mask(tmp_path / "a.png")
    assert found.numbers is not None
    assert np.array_equal(found.numbers, values)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif", ".pgm", ".webp"])
def test_every_lossless_format_keeps_its_numbers(suffix: str, tmp_path: Path) -> None:
    values = mask(1, (0, 1, 2, 7, 255))
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(values).save(tmp_path / f"a{suffix}", **options)
    found = read_mask(tmp_path / f"a{suffix}")
    if suffix == ".gif":
        shown = found.colours()[..., 0]
        assert np.array_equal(shown, values), "a GIF has a palette of its own"
    else:
        assert found.numbers is not None
        assert np.array_equal(found.numbers, values)


def test_a_palette_number_is_kept_and_its_colour_known(tmp_path: Path) -> None:
    values = mask(1, (0, 1, 2))
    save_palette(values, tmp_path / "a.png")
    found = read_mask(tmp_path / "a.png")
    assert found.numbers is not None
    assert np.array_equal(found.numbers, values)
    assert found.colours()[values == 1].tolist()[0] == [128, 64, 128]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("a.png", {"format": "JPEG"}),
        ("a.webp", {"quality": 80}),
        ("a.tif", {"compression": "jpeg"}),
    ],
)
def test_lossy_formats_are_refused_whatever_the_suffix_says(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    Image.fromarray(mask(1, (0, 1, 2))).save(tmp_path / name, **options)
    with pytest.raises(DataError, match=rf"{name}: mask in a lossy format \((JPEG|WEBP|TIFF)\)"):
        read_mask(tmp_path / name)


def test_alpha_is_dropped_with_a_note(tmp_path: Path) -> None:
    values = mask(1, (0, 3))
    for mode in ("LA", "RGBA"):
        picture = Image.fromarray(values).convert(mode)
        picture.putalpha(9)
        picture.save(tmp_path / f"{mode}.png")
        found = read_mask(tmp_path / f"{mode}.png")
        assert found.numbers is not None
        assert np.array_equal(found.numbers, values)
        assert "alpha channel of a mask dropped" in found.notes


def test_grey_stored_as_rgb_is_grey_and_colours_have_no_numbers(tmp_path: Path) -> None:
    values = mask(1, (0, 3))
    save(np.repeat(values[..., None], 3, axis=2), tmp_path / "grey.png")
    found = read_mask(tmp_path / "grey.png")
    assert found.numbers is not None
    assert np.array_equal(found.numbers, values)
    assert found.notes == ("grey mask stored as RGB",)
    save(image(1), tmp_path / "colour.png")
    assert read_mask(tmp_path / "colour.png").numbers is None


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_that_carries_an_orientation_is_turned(orientation: int, tmp_path: Path) -> None:
    values = mask(1, (0, 1, 2))
    save_turned(values, tmp_path / "a.png", orientation)
    found = read_mask(tmp_path / "a.png").numbers
    wanted = values[::-1, ::-1] if orientation == 3 else values.T[:, ::-1]
    assert found is not None
    assert np.array_equal(found, wanted)


def test_what_has_no_one_reading_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float.tif: mask of mode TIFF F"):
        read_mask(tmp_path / "float.tif")
    page = Image.fromarray(mask(1, (0, 1)))
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match=r"pages.tif: mask with 2 frames or pages"):
        read_mask(tmp_path / "pages.tif")
    inverted = Image.fromarray(mask(1, (0, 1)))
    inverted.save(tmp_path / "inverted.tif", tiffinfo={262: 0})
    with pytest.raises(DataError, match=r"inverted.tif: mask with inverted grey"):
        read_mask(tmp_path / "inverted.tif")
    png(tmp_path / "deep.png", np.full((2, 2, 3), 700), depth=16, colour_type=2)
    with pytest.raises(DataError, match=r"deep.png: mask of mode PNG RGB;16B"):
        read_mask(tmp_path / "deep.png")


def test_a_bmp_that_would_be_read_wrongly_is_refused(tmp_path: Path) -> None:
    """A palette of black and white and one byte a pixel: Pillow takes it for one bit a pixel."""
    picture = Image.fromarray(mask(1, (0, 1)), "L").convert("P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.putdata(mask(1, (0, 1)).ravel().tolist())
    picture.save(tmp_path / "a.bmp")
    with pytest.raises(DataError, match="BMP with a grey palette and 8 bits"):
        read_mask(tmp_path / "a.bmp")
