"""Protocols: what a configuration may ask for, how it is called, and what is refused before any
training."""

from pathlib import Path
from typing import Any

import pytest

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.protocols import check_canvas, data_protocol
from rml_trainers.settings.evaluation import EvaluationConfig
from tests.support.image_folders import write_mixed_sizes

PADDED: dict[str, Any] = {"inference": "padded", "inference_px": (505, 505)}
SLIDING: dict[str, Any] = {"inference": "sliding", "inference_px": (801, 801)}


@pytest.mark.parametrize(
    ("name", "size_px", "evaluation", "expected"),
    [
        ("camvid", (360, 480), {}, "camvid-360x480"),
        ("voc", None, {}, "voc-original"),
        ("voc", None, PADDED, "voc-505"),
        ("voc", None, PADDED | {"inference_px": (505, 600)}, "voc-original-padded-505x600"),
        ("voc", (321, 321), PADDED, "voc-321x321-padded-505"),
        ("cityscapes", (1024, 2048), SLIDING, "cityscapes-1024x2048-slide"),
        ("cityscapes", None, SLIDING, "cityscapes-original-slide"),
        (
            "cityscapes",
            (1024, 2048),
            SLIDING | {"window_stride": 1.0},
            "cityscapes-1024x2048-slide-801-801",
        ),
        (
            "cityscapes",
            (1024, 2048),
            SLIDING | {"inference_px": (769, 769)},
            "cityscapes-1024x2048-slide-769-513",
        ),
        (
            "a",
            (64, 64),
            SLIDING | {"inference_px": (32, 48), "window_stride": 0.5},
            "a-64x64-slide-32x48-16x24",
        ),
    ],
)
def test_every_protocol_has_a_name_of_its_own(
    name: str, size_px: tuple[int, int] | None, evaluation: dict[str, Any], expected: str
) -> None:
    assert data_protocol(name, size_px, EvaluationConfig(**evaluation)) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"inference": "padded"},
            r"inference_px = None: expected \[height, width\] for inference 'padded'",
        ),
        (
            {"inference": "sliding"},
            r"inference_px = None: expected \[height, width\] for inference 'sliding'",
        ),
        (
            {"inference_px": (64, 64)},
            r"inference_px = \(64, 64\): expected none \(inference is 'whole'\)",
        ),
        (SLIDING | {"inference_px": (31, 64)}, r"inference_px = \(31, 64\): expected at least 32"),
        (SLIDING | {"window_stride": 0.0}, r"window_stride = 0.0: expected a share"),
        (SLIDING | {"window_stride": 1.1}, r"window_stride = 1.1: expected a share"),
        (
            PADDED | {"window_stride": 0.5},
            r"window_stride = 0.5: expected its default: inference 'padded'",
        ),
        ({"moment": "best_val"}, r"every_steps = 0: expected more than 0: moment 'best_val'"),
        ({"moment": "best_holdout", "num_holdout": 5}, r"every_steps = 0: expected more than 0"),
        (
            {"moment": "best_holdout", "every_steps": 5},
            r"num_holdout = 0: expected more than 0 for moment",
        ),
        (
            {"moment": "best_val", "every_steps": 5, "num_holdout": 5},
            r"num_holdout = 5: expected 0 for moment",
        ),
        ({"num_holdout": 5}, r"num_holdout = 5: expected 0 for moment 'last'"),
        ({"num_holdout": -1}, r"num_holdout = -1: expected 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluationConfig(**wrong)


@pytest.fixture
def mixed(tmp_path: Path) -> PreparedData:
    """Images of 24×40, 40×24, 32×56 and 40×56."""
    write_mixed_sizes(tmp_path)
    config = FolderConfig(
        folder="own", class_names=("a", "b", "c"), size_px=None, train_list="train.txt"
    )
    (tmp_path / "own" / "train.txt").write_text("\n".join(f"a{i}" for i in (0, 1, 2, 3)))
    return ensure_prepared(config, tmp_path, tmp_path / "cache")


def test_an_image_larger_than_the_canvas_is_refused_by_name(mixed: PreparedData) -> None:
    check_canvas(EvaluationConfig(inference="padded", inference_px=(40, 56)), mixed)
    message = (
        r"evaluation.inference_px = \[40, 48\]: 2 of 4 images are larger, among them a6 "
        r"\(32×56.*least \[40, 56\]"
    )
    with pytest.raises(ConfigError, match=message):
        check_canvas(EvaluationConfig(inference="padded", inference_px=(40, 48)), mixed)


def test_held_out_images_must_fit_too(tmp_path: Path) -> None:
    write_mixed_sizes(tmp_path)
    (tmp_path / "own" / "val.txt").write_text("a0\na4")
    config = FolderConfig(
        folder="own", class_names=("a", "b", "c"), size_px=None, val_list="val.txt"
    )
    data = ensure_prepared(config, tmp_path, tmp_path / "cache")
    small = EvaluationConfig(inference="padded", inference_px=(32, 40))
    check_canvas(small, data)
    with pytest.raises(ConfigError, match=r"1 of 3 images are larger, among them a3"):
        check_canvas(small, data, holdout=["a3"])


def test_windows_have_no_canvas(mixed: PreparedData) -> None:
    check_canvas(EvaluationConfig(inference="sliding", inference_px=(32, 32)), mixed)
