"""Images: what a picture library does by itself is done on purpose, and told."""

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rml_trainers.data.pictures.images import read_image
from rml_trainers.errors import ConfigError, DataError
from tests.support.image_folders import UInt8Array, image
from tests.support.own_data.picture_files import png, save_turned

TURNS: dict[int, Callable[[UInt8Array], UInt8Array]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}
"""What a viewer shows for each EXIF orientation (EXIF 2.3, tag 0x0112), written by hand."""


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_images_are_turned_by_their_exif_orientation(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    stored = image(1)
    save_turned(stored, tmp_path / f"a{suffix}", orientation)
    found = read_image(tmp_path / f"a{suffix}")
    turn = TURNS.get(orientation, np.asarray)
    assert np.array_equal(found.pixels, turn(stored))
    turned = [note for note in found.notes if "EXIF" in note]
    assert turned == ([] if orientation == 1 else [f"turned by EXIF orientation {orientation}"])


def test_a_photograph_is_turned_too(tmp_path: Path) -> None:
    save_turned(image(1), tmp_path / "upright.jpg", 1)
    save_turned(image(1), tmp_path / "turned.jpg", 6)
    upright = read_image(tmp_path / "upright.jpg").pixels
    assert np.array_equal(read_image(tmp_path / "turned.jpg").pixels, TURNS[6](upright))


def test_damaged_exif_data_are_told_and_do_not_stop_a_sound_picture(tmp_path: Path) -> None:
    stored = image(1)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    found = read_image(tmp_path / "a.png")
    assert np.array_equal(found.pixels, stored)


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        ("RGB", None),
        ("L", None),
        ("P", None),
        ("1", None),
        ("RGBA", "alpha channel dropped"),
        ("LA", "alpha channel dropped"),
    ],
)
def test_every_mode_becomes_rgb(mode: str, note: str | None, tmp_path: Path) -> None:
    picture = Image.fromarray(image(2)).convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(40)
    picture.save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert found.notes == (() if note is None else (note,))
    assert found.pixels.shape == (40, 56, 3)
    without = picture.convert("RGB") if mode != "RGBA" else Image.fromarray(image(2))
    assert np.array_equal(found.pixels, np.asarray(without)), "colours below alpha stay"


def test_a_transparent_colour_of_a_palette_is_told(tmp_path: Path) -> None:
    Image.fromarray(image(2)).convert("P").save(tmp_path / "a.png", transparency=0)
    assert read_image(tmp_path / "a.png").notes == ("alpha channel dropped",)


def test_cmyk_is_converted_by_the_plain_formula(tmp_path: Path) -> None:
    cmyk = np.full((40, 56, 4), (255, 51, 0, 102), np.uint8)
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.tif")
    found = read_image(tmp_path / "a.tif")
    assert found.notes == ("CMYK converted without colour profile",)
    wanted = [round((255 - ink) * (255 - 102) / 255) for ink in (255, 51, 0)]
    assert np.abs(found.pixels[0, 0].astype(int) - wanted).max() <= 1


def test_of_sixteen_bits_in_colour_the_upper_eight_are_kept(tmp_path: Path) -> None:
    values = np.full((3, 4, 3), 0x1234, ">u2")
    png(tmp_path / "a.png", values, depth=16, colour_type=2)
    found = read_image(tmp_path / "a.png")
    assert set(found.pixels.ravel().tolist()) == {0x12}
    assert found.notes == ("16 bits per channel: the upper 8 are kept",)


def test_deep_grey_is_refused_until_its_range_is_given(tmp_path: Path) -> None:
    values = np.linspace(0, 4000, 40 * 56).reshape(40, 56).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png: image of mode I;16.*data.grey_range.*0 to 4000"):
        read_image(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", (1000, 3000))
    wanted = np.clip((values.astype(float) - 1000) / 2000, 0, 1) * 255
    assert np.abs(found.pixels - wanted[..., None]).max() <= 0.5
    assert found.notes == ("deep grey mapped by grey_range",)


def test_floating_point_and_lab_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f.tif: image of mode F"):
        read_image(tmp_path / "f.tif")
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match=r"lab.tif: image of mode LAB; expected RGB"):
        read_image(tmp_path / "lab.tif")


def test_of_several_frames_the_first_counts_and_it_is_told(tmp_path: Path) -> None:
    first = Image.fromarray(image(1))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(image(2))])
    found = read_image(tmp_path / "a.tif")
    assert np.array_equal(found.pixels, image(1))
    assert found.notes == ("several frames or pages: the first counts",)


def test_a_picture_too_large_names_the_limit_and_how_to_raise_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("1", (2000, 1500)).save(tmp_path / "a.png")
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("RML_MAX_MEGAPIXELS", "2.5")
    wanted = r"a.png: too large: 2000×1500 are 3 megapixels, the limit is 2.*RML_MAX_MEGAPIXELS"
    with pytest.raises(DataError, match=wanted):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("RML_MAX_MEGAPIXELS", "3")
    assert read_image(tmp_path / "a.png").pixels.shape == (1500, 2000, 3)
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("RML_MAX_MEGAPIXELS", "many")
    with pytest.raises(ConfigError, match="RML_MAX_MEGAPIXELS = 'many': expected a number"):
        read_image(tmp_path / "a.png")


def test_the_limit_is_ours_and_not_the_library_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user of the process may have set Pillow's own limit lower or higher."""
    Image.new("L", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").pixels.shape == (300, 300, 3)


def _huge_header(path: Path) -> None:
    """A PNG that says it has 182 megapixels."""
    header = struct.pack(">IIBBBBB", 13_500, 13_500, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    first = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + first + struct.pack(">I", 1000) + b"IDAT")


def test_the_default_limit_is_seen_before_anything_is_decoded(tmp_path: Path) -> None:
    _huge_header(tmp_path / "a.png")
    with pytest.raises(DataError, match="too large: 13500×13500 are 182 megapixels"):
        read_image(tmp_path / "a.png")


def _truncated(path: Path) -> None:
    Image.fromarray(image(1)).save(path)
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "image missing"),
        (lambda path: path.symlink_to("nowhere"), "a broken symbolic link"),
        (lambda path: path.mkdir(), "is a folder; expected one image file"),
        (lambda path: path.write_bytes(b""), r"corrupt or truncated image \(the file is empty\)"),
        (lambda path: path.write_text("hello"), r"corrupt or truncated image \(not a picture"),
        (lambda path: path.write_text("x\n"), r"corrupt or truncated image \(not a picture"),
        (_truncated, "corrupt or truncated image"),
    ],
)
def test_what_is_no_picture_is_named(make: object, message: str, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: {message}"):
        read_image(tmp_path / "a.png")
