"""Masks of SBD (Semantic Boundaries), the extra labels of VOC's `train_aug`: PNG files or the
original .mat files.

The .mat files have no 255 border around objects as VOC's own masks do: every pixel of theirs is
trained on.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from rml_trainers.data.dataset import UInt8Array, read_class_numbers
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.errors import DataError

PNG_FOLDER = "SegmentationClassAug"
MAT_FOLDERS = ("benchmark_RELEASE/dataset/cls", "dataset/cls", "cls")
"""Where .mat files lie: the archive as it unpacks, and with its outer folders taken off."""


def sbd_masks(voc_folder: Path, sbd_folder: Path) -> dict[str, Path]:
    """Mask file of every image that has one, by name; PNG files come before .mat files. Empty where
    nothing is found.

    Masks that somebody put among VOC's own are found too.
    """
    pngs = (voc_folder / PNG_FOLDER, sbd_folder / PNG_FOLDER, voc_folder / "SegmentationClass")
    places = [(folder, ".png") for folder in pngs] + [
        (sbd_folder / place, ".mat") for place in MAT_FOLDERS
    ]
    masks: dict[str, Path] = {}
    for folder, suffix in places:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.suffix.lower() == suffix and not path.name.startswith("."):
                masks.setdefault(path.stem, path)
    return masks


def read_sbd_mask(path: Path) -> tuple[UInt8Array, MaskFile]:
    """Class numbers [H, W] of a PNG or .mat file. Raises DataError for a missing or damaged
    file."""
    if path.suffix.lower() == ".mat":
        numbers = _read_mat(path)
        return numbers, MaskFile(numbers, None, None, "MAT uint8", ())
    return read_class_numbers(path)


def _read_mat(path: Path) -> UInt8Array:
    from scipy.io import loadmat  # not at the top: it takes a moment, and only these files need it
    from scipy.io.matlab import MatReadError

    # What scipy raises on bytes that are not the MATLAB file they claim to be.
    broken = (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        zlib.error,
        struct.error,
    )
    try:
        mask = loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    except (*broken, MatReadError, EOFError) as error:
        raise DataError(
            f"{path}: corrupt or truncated .mat file, or without GTcls.Segmentation ({error})"
        ) from error
    if mask.dtype != np.uint8 or mask.ndim != 2:
        raise DataError(
            f"{path}: GTcls.Segmentation is {mask.dtype} {mask.shape}; expected uint8 [H, W]"
        )
    return np.ascontiguousarray(mask)
