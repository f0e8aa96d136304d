"""The file of scores, and which mask is scored against which image."""

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from rml_platform.views.prediction.inputs import Input
from rml_platform.views.prediction.scores import ScoreSheet
from rml_platform.views.prediction.truth import find_truth
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.scoring.boundary import boundary_counts, boundary_iou
from tests.support.image_folders import image, mask, save

CLASSES = ("sky", "road", "car")
DATA = FolderConfig(folder="own", class_names=CLASSES, size_px=(40, 56))


def lines_of(sheet: ScoreSheet) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (line["image"], line["class"]): line for line in csv.DictReader(io.StringIO(sheet.text()))
    }


def test_scores_of_an_image_and_of_all_are_those_of_their_pixels() -> None:
    truths = [mask(0, (0, 1, 255)), mask(1, (0, 1, 2))]
    found = [mask(5, (0, 1)), mask(6, (0, 1, 2))]
    sheet = ScoreSheet(CLASSES)
    for name, predicted, truth in zip(("a", "b,ü"), found, truths, strict=True):
        sheet.add(name, predicted, truth)
    summary = sheet.summary()
    lines = lines_of(sheet)
    pixels = {
        "a": (found[0].ravel(), truths[0].ravel()),
        "b,ü": (found[1].ravel(), truths[1].ravel()),
    }
    pixels[""] = tuple(np.concatenate(both) for both in zip(*pixels.values(), strict=True))  # type: ignore[assignment]
    for image_name, (predicted, truth) in pixels.items():
        labelled = truth != 255
        ious = []
        for k, class_name in enumerate(CLASSES):
            own = (truth == k) & labelled
            other = (predicted == k) & labelled
            if not (own | other).any():
                assert (image_name, class_name) not in lines
                continue
            line = lines[image_name, class_name]
            ious.append((own & other).sum() / (own | other).sum())
            assert float(line["iou"]) == pytest.approx(ious[-1], abs=1e-6)
            assert int(line["truth_pixels"]) == own.sum()
            assert int(line["predicted_pixels"]) == other.sum()
            if own.any():
                accuracy = (own & other).sum() / own.sum()
                assert float(line["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
        whole = lines[image_name, ""]
        assert float(whole["iou"]) == pytest.approx(np.mean(ious), abs=1e-6)
        right = (predicted == truth)[labelled].mean()
        assert float(whole["accuracy"]) == pytest.approx(right, abs=1e-6)
    counts = [boundary_counts(p, t, 3) for p, t in zip(found, truths, strict=True)]
    total = counts[0]._replace(
        intersection=counts[0].intersection + counts[1].intersection,
        union=counts[0].union + counts[1].union,
    )
    assert float(lines["", ""]["boundary_iou"]) == pytest.approx(
        boundary_iou(total).mean(), abs=1e-6
    )
    assert f"mIoU {100 * float(lines['', '']['iou']):.1f}" in summary
    assert "2 images" in summary


def test_an_image_without_a_labelled_pixel_is_unscored() -> None:
    sheet = ScoreSheet(CLASSES)
    sheet.add("a", mask(0, (0, 1)), np.full((40, 56), 255, np.uint8))
    assert sheet.summary().startswith(
        "mIoU unscored, boundary IoU unscored, pixel accuracy unscored"
    )
    lines = lines_of(sheet)
    assert set(lines) == {("a", ""), ("", "")}
    assert lines["a", ""]["iou"] == lines["a", ""]["accuracy"] == ""


def inputs_of(*names: str) -> list[Input]:
    return [Input(Path(name), PurePosixPath(name)) for name in names]


def test_a_mask_lies_at_its_images_place_and_is_called_as_the_template_says(tmp_path: Path) -> None:
    for name in ("city/a_mask.png", "b_mask.png", "unused_mask.png"):
        save(image(0), tmp_path / name)
    inputs = inputs_of("city/a.jpg", "b.png", "bare.png")
    found = find_truth(tmp_path, "{stem}_mask.png", inputs, DATA)
    assert found == {"city/a": tmp_path / "city/a_mask.png", "b": tmp_path / "b_mask.png"}


def test_truth_that_fits_no_image_is_told_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_truth(tmp_path / "nix", None, inputs_of("a.png"), DATA)
    save(image(0), tmp_path / "a_labels.png")
    with pytest.raises(DataError, match=r"expected .* for 'a', found a_labels\.png.*--truth-name"):
        find_truth(tmp_path, None, inputs_of("a.png"), DATA)
    with pytest.raises(ConfigError, match="--truth-name"):
        find_truth(tmp_path, "no placeholder", inputs_of("a.png"), DATA)
