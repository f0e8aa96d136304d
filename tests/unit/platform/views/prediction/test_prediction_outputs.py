"""What is written for an image, under which name, and that nothing of a person's is lost."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from rml_platform.views.prediction.inputs import Input
from rml_platform.views.prediction.outputs import Outputs, kinds_of
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.overlays import colour_mask, overlay, palette
from tests.support.image_folders import image, save

CLASSES = ("sky", "a/b: c", "ü")
ALL = ("masks", "colours", "overlays", "probabilities", "probability-pngs")


def inputs_of(*paths: Path) -> list[Input]:
    return [Input(path, PurePosixPath(path.name)) for path in paths]


def test_every_kind_is_written_and_holds_what_it_says(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path / "to", ALL, CLASSES)
    prob = np.random.default_rng(0).dirichlet(np.ones(3), (40, 56)).astype(np.float32)
    mask = prob.argmax(-1).astype(np.uint8)
    pixels = image(3)
    colours = palette(3)
    with outputs.of_image("city 0 ü/a", (40, 56)) as output:
        for rows in (slice(0, 13), slice(13, 40)):
            output.add(mask[rows], prob[rows].transpose(2, 0, 1))
        files = outputs.write(output, pixels, colours)
    folder = tmp_path / "to" / "city 0 ü"
    assert sorted(files) == sorted(path for path in folder.rglob("*") if path.is_file())
    assert np.array_equal(np.asarray(Image.open(folder / "a_mask.png")), mask)
    assert np.array_equal(
        np.asarray(Image.open(folder / "a_colours.png")), colour_mask(mask, colours)
    )
    laid = np.asarray(Image.open(folder / "a_overlay.png"))
    assert np.array_equal(laid, overlay(pixels, mask, colours))
    stored = np.load(folder / "a_probabilities.npz")
    assert stored["class_names"].tolist() == list(CLASSES)
    assert np.array_equal(stored["probabilities"], prob.astype(np.float16))
    names = ["0_sky.png", "1_a-b-c.png", "2_.png"]
    assert sorted(path.name for path in (folder / "a_probabilities").iterdir()) == names
    for k, name in enumerate(names):
        levels = np.asarray(Image.open(folder / "a_probabilities" / name)).astype(np.float64)
        np.testing.assert_allclose(levels / 65535, prob[..., k], atol=0.5001 / 65535)


def test_a_file_that_is_there_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    save(image(1), tmp_path / "foo.png")
    save(image(2), tmp_path / "foo_mask.png")
    outputs = Outputs(tmp_path, ("masks", "overlays"), CLASSES)
    inputs = inputs_of(tmp_path / "foo.png")
    with pytest.raises(ConfigError) as caught:
        outputs.check(inputs, [], [], overwrite=False)
    assert f"{tmp_path / 'foo_mask.png'}: exists already" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert "foo_overlay" not in str(caught.value)
    outputs.check(inputs, [], [], overwrite=True)


def test_a_long_list_of_files_that_are_there_is_shortened(tmp_path: Path) -> None:
    paths = [tmp_path / f"im{number:02d}.png" for number in range(12)]
    for path in paths:
        save(image(1), path)
        save(image(2), path.with_name(f"{path.stem}_mask.png"))
    with pytest.raises(ConfigError) as caught:
        Outputs(tmp_path, ("masks",), CLASSES).check(inputs_of(*paths), [], [], overwrite=False)
    *told, more, hint = str(caught.value).splitlines()
    assert len(told) == 10 and more == "and 2 more" and "--overwrite" in hint


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_was_given_is_never_written_over(tmp_path: Path, overwrite: bool) -> None:
    save(image(1), tmp_path / "foo.png")
    save(image(2), tmp_path / "foo_mask.png")
    outputs = Outputs(tmp_path, ("masks",), CLASSES)
    truth = [tmp_path / "foo_mask.png"]
    with pytest.raises(ConfigError, match="is one of the images or masks that were given"):
        outputs.check(inputs_of(tmp_path / "foo.png"), truth, [], overwrite=overwrite)
    both = inputs_of(tmp_path / "foo.png", tmp_path / "foo_mask.png")
    with pytest.raises(ConfigError, match="is one of the images or masks that were given"):
        outputs.check(both, [], [], overwrite=overwrite)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    inputs = inputs_of(tmp_path / "x" / "a.png", tmp_path / "y" / "a.jpg")
    with pytest.raises(ConfigError, match=r"a\.png and .*a\.jpg: both would be called 'a'"):
        Outputs(tmp_path / "to", ("masks",), CLASSES).check(inputs, [], [], overwrite=True)


def test_a_target_that_is_a_file_or_lies_below_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one = [Input(tmp_path / "a.png", PurePosixPath("city/a.png"))]
    for to in ("file", "file/deeper"):
        with pytest.raises(ConfigError, match="is a file; expected a folder"):
            Outputs(tmp_path / to, ("masks",), CLASSES).check(one, [], [], overwrite=True)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "city").touch()
    with pytest.raises(ConfigError, match="city: is a file; a folder is needed"):
        Outputs(tmp_path / "to", ("masks",), CLASSES).check(one, [], [], overwrite=True)


@pytest.mark.parametrize("text", ["mask", "", "masks,colors"])
def test_an_unknown_kind_is_refused_with_the_nearest(text: str) -> None:
    with pytest.raises(ConfigError, match="--write"):
        kinds_of(text)
