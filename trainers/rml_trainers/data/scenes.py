"""Embedded street-like scenes, drawn by the program itself: deterministic by seed and index, nothing to download."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class ScenesConfig:
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
