"""The sheet of a comparison: panels, headings, scores, the legend, and which file it may be written
to."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rml_platform.views.comparison import Comparison, RunColumn
from rml_platform.views.comparison_sheet import check_target, draw, write_sheet
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.overlays import colour_mask, overlay, palette

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
TRUTH = np.repeat(np.array([[0, 2, 255]], dtype=np.uint8), 10, axis=1).repeat(20, axis=0)
MASKS = (np.zeros((20, 30), np.uint8), TRUTH % 255)


def comparison(num_images: int = 2) -> Comparison:
    """Two runs; the second is right, and has not finished."""
    runs = tuple(
        RunColumn(
            label=label,
            run_id=f"scenes-4-{label}-s0",
            network="teacher_1",
            is_finished=label == "supervised",
            masks=(mask,) * num_images,
            miou=(score,) * num_images,
        )
        for label, mask, score in zip(
            ("supervised", "rml"), MASKS, (0.25, float("nan")), strict=True
        )
    )
    names = tuple(f"scene_{i}" for i in range(num_images))
    return Comparison(
        data="scenes",
        class_names=("sky", "road", "car"),
        names=names,
        images=(IMAGE,) * num_images,
        truths=(TRUTH,) * num_images,
        runs=runs,
    )


def shown(figure: Figure) -> list[np.ndarray]:
    """Pictures of the panels, row by row."""
    return [np.asarray(panel.images[0].get_array()) for panel in figure.axes]


def test_every_row_is_image_truth_and_one_panel_per_run() -> None:
    figure = draw(comparison(), as_overlay=False)
    colours = palette(3)
    row = [IMAGE, *(colour_mask(mask, colours) for mask in (TRUTH, *MASKS))]
    for panel, expected in zip(shown(figure), [*row, *row], strict=True):
        assert np.array_equal(panel, expected)
    assert [panel.get_title() for panel in figure.axes[:4]] == [
        "image",
        "truth",
        "supervised",
        "rml (unfinished)",
    ]
    assert [panel.get_xlabel() for panel in figure.axes[4:]] == [
        "scene_1",
        "",
        "mIoU 25.0 %",
        "unscored",
    ]


def test_the_legend_names_what_occurs_and_what_is_ignored() -> None:
    texts = [
        text.get_text() for text in draw(comparison(), as_overlay=False).legends[0].get_texts()
    ]
    assert texts == ["sky", "car", "ignored"], "no road anywhere"


def test_an_overlay_shows_the_image_through_the_classes() -> None:
    panels = shown(draw(comparison(1), as_overlay=True))
    assert np.array_equal(panels[1], overlay(IMAGE, TRUTH, palette(3)))
    texts = [
        text.get_text() for text in draw(comparison(1), as_overlay=True).legends[0].get_texts()
    ]
    assert texts == ["sky", "car"], "ignored pixels keep the image"


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_file_is_what_its_name_says(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "new" / f"sheet.{kind}"
    check_target(path)
    write_sheet(comparison(), path)
    head = path.read_bytes()[:5]
    assert head == {"png": b"\x89PNG\r", "svg": b"<?xml", "pdf": b"%PDF-"}[kind]
    if kind == "png":
        picture = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        for colour in (*palette(3)[[0, 2]], (0, 0, 0)):
            assert (picture == colour).all(1).sum() > 500


def test_another_ending_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--to sheet\.pgn: .*did you mean 'png'\?"):
        check_target(Path("sheet.pgn"))
