"""How a person says how images go through the network, and what goes through it together."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from rml_platform.views.prediction.inputs import Input
from rml_platform.views.prediction.predict_files import batches
from rml_platform.views.prediction.recorded import device_of
from rml_platform.views.prediction.sizing import Sizing, settings_of
from rml_trainers.config import EvaluationConfig
from rml_trainers.errors import ConfigError, DeviceError
from tests.support.tiny import tiny_config

CONFIG = tiny_config("supervised")
"""Trained and scored at 32×48, three images at once."""
SLIDING = replace(
    CONFIG, evaluation=EvaluationConfig(inference="sliding", inference_px=(32, 32), batch=2)
)


def test_without_a_word_images_are_seen_as_the_run_was_scored() -> None:
    whole = settings_of(CONFIG, Sizing())
    assert (whole.resize_px, whole.window_px) == ((32, 48), None)
    assert whole.pieces_at_once((1000, 1000)) == 3
    windows = settings_of(SLIDING, Sizing())
    assert windows.window_px == (32, 32)
    assert windows.stride_px is not None
    assert windows.pieces_at_once((1000, 1000)) == 2


def test_every_setting_can_be_said() -> None:
    asked = Sizing("original", "64x96", "32", "0.5,1,1.5", True, 7)
    found = settings_of(CONFIG, asked)
    assert (found.resize_px, found.window_px, found.stride_px) == (None, (64, 96), (32, 32))
    assert (found.scales, found.flip, found.batch) == ((0.5, 1.0, 1.5), True, 7)
    assert settings_of(SLIDING, Sizing(window="none", resize="40x50")).resize_px == (40, 50)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Sizing(resize="big"), "--resize big: expected trained, original or height x width"),
        (Sizing(window="0x64"), "--window 0x64: expected at least 32"),
        (Sizing(window="64", stride="65"), "--stride 65x65: .* at most the window, 64x64"),
        (Sizing(stride="16"), "--stride 16x16: there are no windows"),
        (Sizing(scales="1,a"), "--scales 1,a: expected numbers"),
        (Sizing(scales="0"), "--scale 0: expected more than 0"),
        (Sizing(scales="nan"), "--scale nan"),
        (Sizing(scales="1,1"), "none twice"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked: Sizing, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_of(CONFIG, asked)


def test_images_of_one_size_go_together_as_many_as_their_size_allows() -> None:
    sizes = [(32, 48), (64, 96), (32, 48), (32, 48), (64, 96), (32, 48)]
    inputs = [Input(Path(f"{i}.png"), PurePosixPath(f"{i}.png")) for i in range(len(sizes))]
    own = settings_of(CONFIG, Sizing(resize="original"))
    taken = [[one.name for one in batch] for batch in batches(inputs, sizes, own)]
    assert taken == [["0", "2", "3"], ["5"], ["1"], ["4"]]
    windows = settings_of(CONFIG, Sizing(resize="original", window="32"))
    assert all(len(batch) == 1 for batch in batches(inputs, sizes, windows))


@pytest.mark.parametrize("text", ["gpu", "cpu:0", "cuda:x", "cuda:"])
def test_a_device_that_is_no_word_for_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {text}"):
        device_of(text)


def test_a_device_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceError, match="--device cuda:1: torch sees 0 usable GPUs"):
        device_of("cuda:1")
