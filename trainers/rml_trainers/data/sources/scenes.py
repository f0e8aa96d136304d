"""Embedded street-like scenes, drawn by the program itself: deterministic by seed and index,
nothing to download."""

from pathlib import Path
from typing import Literal

import numpy as np

from rml_trainers.configuration import configuration, require
from rml_trainers.data.dataset import RawImage, Subset
from rml_trainers.data.files import Sources
from rml_trainers.data.scenes.backdrop import (
    draw_street,
    paint_building_shadow,
    paint_buildings,
    paint_far_end,
    paint_ground,
    paint_sky,
)
from rml_trainers.data.scenes.canvas import SCENE_CLASSES, Canvas
from rml_trainers.data.scenes.objects import paint_objects
from rml_trainers.runtime.randomness import generator
from rml_trainers.settings.contract import DataConfig

SCENES_VERSION = 1
"""Raised whenever the drawing changes, so that prepared scenes of an older version are drawn
again."""


@configuration
class ScenesConfig(DataConfig):
    """`num_train` training and `num_val` validation scenes of 8 classes."""

    name: Literal["scenes"] = "scenes"
    size_px: tuple[int, int] = (96, 128)
    """Height and width of a scene."""
    num_train: int = 240
    num_val: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.size_px) >= 32, "size_px", self.size_px, "at least 32 pixels each way")
        require(self.num_train >= 1, "num_train", self.num_train, "at least 1")
        require(self.num_val >= 1, "num_val", self.num_val, "at least 1")
        require(self.seed >= 0, "seed", self.seed, "zero or more")


class ScenesDataset:
    """Scenes named `train_0000`, `val_0000`, …; each is drawn from (seed, subset, index) alone."""

    name = "scenes"
    class_names = SCENE_CLASSES

    def __init__(self, config: ScenesConfig, data_root: Path | None = None) -> None:
        self.config = config

    def names(self, subset: Subset) -> tuple[str, ...]:
        count = self.config.num_train if subset == "train" else self.config.num_val
        return tuple(f"{subset}_{index:05d}" for index in range(count))

    def names_without_label(self) -> tuple[str, ...]:
        return ()

    def read(self, subset: Subset, name: str) -> RawImage:
        rng = generator(self.config.seed, "scenes", subset, int(name.rsplit("_", 1)[1]))
        return draw_scene(rng, self.config.size_px)

    def fingerprint(self) -> str:
        return f"scenes-v{SCENES_VERSION}"

    def sources(self) -> Sources:
        return Sources()


def draw_scene(rng: np.random.Generator, size_px: tuple[int, int]) -> RawImage:
    """One street scene [H, W, 3] with its label: backdrop, things from far to near, then light and
    camera."""
    canvas = Canvas(rng, *size_px)
    street = draw_street(rng)
    paint_sky(canvas)
    paint_far_end(canvas)
    paint_ground(canvas, street)
    paint_building_shadow(canvas, street)
    paint_buildings(canvas, street)
    paint_objects(canvas, street)
    return RawImage(_expose(canvas), canvas.label)


def _expose(canvas: Canvas) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Light falling off across the image, exposure, colour cast, contrast and sensor noise of one
    photograph."""
    rng = canvas.rng
    across = canvas.cols / canvas.width - 0.5
    falloff = 1 + 0.25 * canvas.sun * (-across if canvas.sun_from_left else across)
    cast = rng.normal(1, 0.07, 3) * rng.uniform(0.65, 1.25)
    image = np.clip(canvas.image * falloff[..., None] * cast, 0, 1.2) ** rng.uniform(0.8, 1.3)
    image += rng.normal(0, rng.uniform(0.008, 0.03), image.shape)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
