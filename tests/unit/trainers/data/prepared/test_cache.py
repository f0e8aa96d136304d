"""The prepared cache: views of a memory map, and no damage that goes unseen."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.data.prepared.cache import PreparedData, check_prepared
from rml_trainers.errors import DataError


@pytest.fixture
def folder(tiny_data: PreparedData, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny_data.folder, tmp_path / "prepared"))


def _flip_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_images_are_read_only_views_and_not_copies(tiny_data: PreparedData) -> None:
    first = tiny_data.image("train", 0)
    second = tiny_data.image("train", 0)
    assert np.shares_memory(first, second)
    assert not first.flags.writeable
    assert first.shape == (32, 48, 3)
    assert tiny_data.image_size("train", 0) == (32, 48)
    assert tiny_data.index("train", tiny_data.names("train")[3]) == 3


def test_class_pixels_are_summed_over_the_given_images(tiny_data: PreparedData) -> None:
    names = tiny_data.names("train")[2:5]
    labels = [tiny_data.label("train", tiny_data.index("train", name)) for name in names]
    expected = np.bincount(
        np.concatenate([label.ravel() for label in labels if label is not None]), minlength=8
    )
    assert np.array_equal(tiny_data.class_pixel_counts(names), expected)
    assert not tiny_data.class_pixel_counts(()).any()


def test_a_sound_set_passes_the_full_check(tiny_data: PreparedData) -> None:
    report = check_prepared(tiny_data.folder)
    assert report.num_images == {"train": 10, "val": 3}
    assert sum(report.class_pixels.values()) == 10 * 32 * 48


@pytest.mark.parametrize("part", ["image", "label"])
def test_a_flipped_bit_in_the_middle_is_found_and_its_image_named(folder: Path, part: str) -> None:
    data = PreparedData.open(folder)
    content = (folder / "train.arrow").read_bytes()
    label = data.label("train", 4)
    assert label is not None
    pixels = data.image("train", 4).tobytes() if part == "image" else label.tobytes()
    _flip_bit(folder / "train.arrow", content.index(pixels) + len(pixels) // 2)
    PreparedData.open(folder)  # cheap, so it sees nothing
    with pytest.raises(
        DataError,
        match=(
            rf"train.arrow has changed since it was written, in {data.names('train')[4]}\. "
            r"Delete"
        ),
    ):
        check_prepared(folder)


def test_any_flipped_bit_is_found_and_none_ends_the_process(folder: Path) -> None:
    """One bit at each of many places of the file, in pixels, offsets, names, hashes and the Arrow
    metadata."""
    path = folder / "val.arrow"
    sound = path.read_bytes()
    places = np.random.default_rng(0).integers(8, len(sound) - 8, 60).tolist() + list(
        range(len(sound) - 700, len(sound))
    )
    unseen = []
    for place in places[::3]:
        path.write_bytes(sound)
        _flip_bit(path, place)
        try:
            data = PreparedData.open(folder)
            names = data.names("val")
            images = [data.image("val", i).tobytes() for i in range(3)]
            check_prepared(folder)
        except DataError:
            continue
        path.write_bytes(sound)
        whole = PreparedData.open(folder)
        if names != whole.names("val") or images != [
            whole.image("val", i).tobytes() for i in range(3)
        ]:
            unseen.append(place)
    assert unseen == []


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.999])
def test_a_truncated_file_is_refused_at_once(folder: Path, keep: float) -> None:
    path = folder / "train.arrow"
    size = path.stat().st_size
    os.truncate(path, int(size * keep))
    with pytest.raises(
        DataError,
        match=rf"train.arrow has {int(size * keep)} bytes instead of {size}\. Delete the folder",
    ):
        PreparedData.open(folder)


def test_a_file_of_the_right_size_and_no_content_is_refused(folder: Path) -> None:
    size = (folder / "val.arrow").stat().st_size
    (folder / "val.arrow").write_bytes(bytes(size))
    with pytest.raises(DataError, match=r"prepared data .* cannot be used: val.arrow"):
        PreparedData.open(folder)


def test_an_unfinished_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"was never finished .* run `rml data prepare`"):
        PreparedData.open(folder)
    with pytest.raises(DataError, match="does not exist"):
        PreparedData.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable"),
        ("[]", "not readable"),
        ('{"format": 99}', "written in format 99, this version reads 1"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(
    folder: Path, content: str, message: str
) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=message):
        PreparedData.open(folder)


def test_a_manifest_that_was_edited_is_refused(folder: Path) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    fields["mean_colour"][0] += 1
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(DataError, match=r"manifest.json has been changed"):
        PreparedData.open(folder)


def test_the_file_of_another_set_is_not_taken_for_this_one(
    folder: Path, tiny_data: PreparedData
) -> None:
    """Two sets of equal sizes: the manifest knows which file is its own."""
    path = folder / "val.arrow"
    content = path.read_bytes()
    names = [name.encode() for name in tiny_data.names("val")]
    assert content.count(names[0]) == 1
    path.write_bytes(content.replace(names[0], b"val_99999"))
    with pytest.raises(DataError, match="val_99999"):
        check_prepared(folder)
