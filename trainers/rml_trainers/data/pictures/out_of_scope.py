"""Kinds of image that only look like pictures, or are none, and that this program does not read."""

from pathlib import Path

from PIL.TiffImagePlugin import TiffImageFile

from rml_trainers.data.pictures.opening import BROKEN
from rml_trainers.errors import DataError

DICOM_SUFFIXES = (".dcm", ".dicom")
_DICOM_PLACE = 128
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GEO_TAGS = (33550, 33922, 34264, 34735)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory (OGC 19-008)."""


def refuse_out_of_scope(path: Path) -> None:
    """Raise a DataError for DICOM and GeoTIFF files; what else may be wrong is not looked at."""
    try:
        with path.open("rb") as file:
            start = file.read(_DICOM_PLACE + 4)
    except OSError:
        return  # whoever opens the picture tells it
    if start[_DICOM_PLACE:] == b"DICM" or path.suffix.lower() in DICOM_SUFFIXES:
        raise DataError(
            f"{path}: DICOM is out of scope: how its values become a picture depends on the "
            "modality; export it as PNG with the window that the training images had"
        )
    if start[:4] in _TIFF_STARTS and _has_coordinates(path):
        raise DataError(
            f"{path}: GeoTIFF is out of scope: its coordinates and bands would be lost; save it as "
            "a plain RGB picture (PNG), and give the result its coordinates again yourself"
        )


def _has_coordinates(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            tags = TiffImageFile(file, str(path)).tag_v2
            return any(tag in tags for tag in _GEO_TAGS)
    except BROKEN:
        return False
