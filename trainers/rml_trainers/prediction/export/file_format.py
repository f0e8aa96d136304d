"""What every format of exported files offers, and what is asked of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rml_trainers.data.dataset import SizePx
from rml_trainers.prediction.export.image_to_scores import ImageToScores

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One file to write."""

    module: ImageToScores
    fixed_px: SizePx | None
    """The only size that the file shall take; None: any."""
    usual_px: SizePx
    """Size of the images that the network was trained for: what a file takes whose format cannot
    leave the size open."""
    metadata: Mapping[str, str]
    """Where the network comes from and what its classes are."""


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """One format."""

    suffixes: tuple[str, ...]
    """Endings of its files, the usual one first."""
    has_graph: bool
    """Whether the file holds the computation; else it has weights alone."""
    require_packages: Callable[[], None]
    """Raises ConfigError when a package is not installed."""
    write: Callable[[Request, Path], SizePx | None]
    """Writes the file; gives the only size of images that it takes, None for any. Raises
    ConfigError for a network that the format cannot hold."""
    scores: Callable[[Path, Sequence[Tensor]], list[Scores]]
    """What a written file makes of batches of images, uint8 [B, 3, H, W], on the CPU."""
    checked_with: Callable[[], str]
    """In words: what runs the file there."""
