"""The words in which a person says how images go through the network."""

import re
from dataclasses import dataclass

from rml_trainers.config import RunConfig
from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.settings import (
    PredictionSettings,
    settings_of_run,
    window_of_run,
)

AS_RUN = "run"
_SIZE = re.compile(r"(\d{1,6})(?:[x×](\d{1,6}))?")


@dataclass(frozen=True)
class Sizing:
    """Options as they were typed."""

    resize: str = "trained"
    """trained, original, or HxW."""
    window: str = AS_RUN
    """run, none, or HxW."""
    stride: str | None = None
    """HxW."""
    scales: str = "1"
    """Numbers separated by commas."""
    flip: bool = False
    batch: int | None = None


def settings_of(config: RunConfig, sizing: Sizing) -> PredictionSettings:
    """What the options mean for a run. Raises ConfigError naming the option."""
    if sizing.resize == "trained":
        resize_px = config.data.size_px
    elif sizing.resize == "original":
        resize_px = None
    else:
        resize_px = _size(sizing.resize, "--resize", "trained, original")
    if sizing.window == AS_RUN:
        window_px = window_of_run(config)
    elif sizing.window == "none":
        window_px = None
    else:
        window_px = _size(sizing.window, "--window", "run, none")
    stride_px = None if sizing.stride is None else _size(sizing.stride, "--stride")
    try:
        return settings_of_run(
            config,
            resize_px=resize_px,
            window_px=window_px,
            stride_px=stride_px,
            scales=_scales(sizing.scales),
            flip=sizing.flip,
            batch=sizing.batch,
        )
    except ConfigError as error:
        raise ConfigError(f"--{error}") from error


def _size(text: str, option: str, words: str = "") -> SizePx:
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        also = f"{words} or " if words else ""
        raise ConfigError(f"{option} {text}: expected {also}height x width such as 512x1024")
    return int(match[1]), int(match[2] or match[1])


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--scales {text}: expected numbers separated by commas, such as 0.75,1,1.25"
        ) from error
