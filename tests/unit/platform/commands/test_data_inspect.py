"""`rml data inspect`: what it prints loads and prepares, on every layout; it never guesses in
silence."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.study.schema import load_run_config
from rml_trainers.data.prepared.cache import PreparedData, check_prepared
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.errors import DataError
from tests.support.image_folders import image, mask, save, write_camvid
from tests.support.own_data.own_layouts import OWN_LAYOUTS, colours, numbers
from tests.support.published_trees import write_cityscapes, write_voc

runner = CliRunner()
REST = "split: {num_labelled: 1}\nmethod: {name: supervised}\n"


def inspected(folder: Path) -> str:
    done = runner.invoke(app, ["data", "inspect", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def prepared_as_printed(folder: Path, tmp_path: Path) -> PreparedData:
    """The set that the printed block prepares, put into a run file as it is."""
    text = inspected(folder)
    (tmp_path / "run.yaml").write_text(text + REST)
    config = load_run_config(tmp_path / "run.yaml")
    data = ensure_prepared(config.data, folder.parent, tmp_path / "cache")
    check_prepared(data.folder)
    return data


@pytest.mark.parametrize("name", OWN_LAYOUTS)
def test_the_printed_block_loads_and_prepares(name: str, tmp_path: Path) -> None:
    layout = OWN_LAYOUTS[name]
    folder = tmp_path / "their data"
    folder.mkdir()
    layout.write(folder)
    data = prepared_as_printed(folder, tmp_path)
    num_images = {subset: len(data.names(subset)) for subset in ("train", "val")}
    assert sum(num_images.values()) == layout.num_labelled
    assert not data.names_without_label()
    assert data.class_names == layout.class_names
    if layout.num_train is not None:
        assert num_images["train"] == layout.num_train
    counts = data.subset_class_pixels("train") + data.subset_class_pixels("val")
    assert np.all(np.asarray(counts) > 0), "every class that was found occurs"


@pytest.mark.parametrize("name", ["two_folders", "several_kinds_of_masks", "in_colour", "prefixes"])
def test_the_labels_are_those_of_the_right_image(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    OWN_LAYOUTS[name].write(folder)
    data = prepared_as_printed(folder, tmp_path)
    for subset in ("train", "val"):
        for i, image_name in enumerate(data.names(subset)):
            digits = "".join(letter for letter in image_name if letter.isdigit())
            label = data.label(subset, i)
            assert label is not None
            assert np.array_equal(label, numbers(int(digits)))


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_camvid, "camvid"), (write_cityscapes, "cityscapes"), (write_voc, "voc")],
)
def test_public_layouts_are_recognised(write: object, name: str, tmp_path: Path) -> None:
    assert callable(write)
    folder = write(tmp_path)
    block = yaml.safe_load(inspected(folder))["data"]
    assert block["name"] == name
    data = prepared_as_printed(folder, tmp_path)
    assert data.name == name


def test_other_readings_are_printed_as_comments(tmp_path: Path) -> None:
    for i in range(4):
        save(image(i), tmp_path / "own" / "images" / f"a{i}.jpg")
        save(mask(i, (0, 1, 255)), tmp_path / "own" / "masks" / f"a{i}.png")
    text = inspected(tmp_path / "own")
    assert yaml.safe_load(text)["data"]["class_names"] == ["class_0", "class_1"]
    assert "every value is the number of its class, 255 is ignored" in text
    assert "1 other reading(s)" in text
    assert "255 is a class of its own, and nothing is ignored" in text
    assert "value 255: 4 masks, " in text
    other = text[text.index("255 is a class of its own") :].splitlines()[1:]
    block = "\n".join(line.removeprefix("#   ") for line in other)
    (tmp_path / "run.yaml").write_text(block + "\n" + REST)
    data = ensure_prepared(
        load_run_config(tmp_path / "run.yaml").data, tmp_path, tmp_path / "cache"
    )
    assert data.class_names == ("value_0", "value_1", "value_255")


def test_what_was_found_and_left_out_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    OWN_LAYOUTS["cvat_export"].write(folder)
    (folder / "README.docx").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    text = inspected(folder)
    assert "JPEGImages/: 6 taken for images" in text
    assert "by the name 'JPEGImages'" in text
    assert "class file labelmap.txt: 3 classes: background, road, car" in text
    assert "colour 128,64,128: 6 masks, " in text
    assert "left out: 1 hidden folder (for example .hidden)" in text
    assert "README.docx" in text


def _lossy(root: Path) -> None:
    for i in range(3):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(numbers(i), root / "masks" / f"a{i}.jpg")


def _smoothed(root: Path) -> None:
    for i in range(3):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(image(i + 9)[..., 0], root / "masks" / f"a{i}.png")


def _unmatched(root: Path) -> None:
    for i in range(3):
        save(image(i), root / "images" / f"x{i}.jpg")
        save(numbers(i), root / "masks" / f"other{i + 40}.png")


def _images_only(root: Path) -> None:
    save(image(1), root / "x.jpg")


def _mixed(root: Path) -> None:
    for i in range(3):
        save(image(i), root / "images" / f"a{i}.jpg")
        save(numbers(i) if i else colours(numbers(i)), root / "masks" / f"a{i}.png")


def _nothing(root: Path) -> None:
    (root / "notes.txt").write_text("nothing here")


def _of_a_tool(root: Path) -> None:
    _images_only(root)
    (root / "x.json").write_text('{"shapes": [], "imagePath": "x.jpg"}')


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_lossy, "mask in a lossy format"),
        (_smoothed, "values, more than classes would"),
        (_unmatched, "none of the 3 masks holds an image's name"),
        (_images_only, "no picture looks like a mask"),
        (_mixed, "some masks are in colour and some hold numbers"),
        (_nothing, "there are no pictures"),
        (_of_a_tool, "no picture looks like a mask"),
    ],
)
def test_a_folder_that_cannot_be_read_says_why(write: object, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    assert callable(write)
    write(folder)
    with pytest.raises(DataError, match=message):
        runner.invoke(app, ["data", "inspect", str(folder)], catch_exceptions=False)


def test_a_test_folder_taken_for_validation_is_said(tmp_path: Path) -> None:
    for subset, num in (("train", 4), ("test", 2)):
        for i in range(num):
            save(image(i), tmp_path / "own" / subset / "images" / f"{i}.png")
            save(numbers(i), tmp_path / "own" / subset / "masks" / f"{i}.png")
    text = inspected(tmp_path / "own")
    assert yaml.safe_load(text)["data"]["val_names"] == "test/*"
    assert "nothing is called val: test/* is for validation" in text


def test_files_of_a_tool_are_named_with_what_to_export(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    OWN_LAYOUTS["two_folders"].write(folder)
    (folder / "images" / "a0.json").write_text('{"shapes": [], "imagePath": "a0.jpg"}')
    assert "1 files of labelme (one JSON per image), which are not read: export" in inspected(
        folder
    )


def test_no_folder_and_a_data_root_around_it(tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "own"
    folder.mkdir(parents=True)
    OWN_LAYOUTS["two_folders"].write(folder)
    done = runner.invoke(app, ["data", "inspect", str(folder), "--data-root", str(tmp_path)])
    assert yaml.safe_load(done.output)["data"]["folder"] == "sets/own"
    with pytest.raises(DataError, match="no such folder"):
        runner.invoke(app, ["data", "inspect", str(tmp_path / "no")], catch_exceptions=False)
