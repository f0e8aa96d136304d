"""manifest.json of a prepared folder: written last, so a folder without one was never finished."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rml_trainers.data.dataset import SUBSETS
from rml_trainers.errors import DataError

FORMAT = 1
"""Raised when the layout of a prepared folder changes; older folders are prepared again."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds."""

    format: int
    name: str
    class_names: tuple[str, ...]
    size_px: tuple[int, int] | None
    """Height and width of every image; None where each keeps its own, which stands with its row."""
    mean_colour: tuple[int, int, int]
    fingerprint: str
    """Of the source files, to notice when the prepared set is out of date."""
    num_images: dict[str, int]
    file_bytes: dict[str, int]
    content: dict[str, str]
    """sha256 per subset over all names, sizes, pixels and labels, in order."""

    @property
    def content_hash(self) -> str:
        """12 hex digits over images, labels, their order and their classes."""
        parts = [self.content[subset] for subset in SUBSETS] + list(self.class_names)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        """Write atomically, with a checksum of its own."""
        fields = asdict(self)
        temporary = folder / "manifest.json.writing"
        temporary.write_text(json.dumps({**fields, "checksum": _checksum(fields)}, indent=1))
        temporary.replace(folder / "manifest.json")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Raises DataError where the folder is not finished, damaged, or of another version of the
        program."""
        path = folder / "manifest.json"
        if not path.is_file():
            state = "was never finished" if folder.is_dir() else "does not exist"
            raise DataError(
                f"prepared data {folder} {state} (no manifest.json): run `rml data prepare`"
            )
        try:
            fields: dict[str, Any] = json.loads(path.read_text())
            if fields["format"] != FORMAT:
                raise damaged(
                    folder, f"written in format {fields['format']}, this version reads {FORMAT}"
                )
            if fields.pop("checksum") != _checksum(fields):
                raise damaged(folder, "manifest.json has been changed since it was written")
            for key in ("class_names", "size_px", "mean_colour"):
                fields[key] = None if fields[key] is None else tuple(fields[key])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(folder, f"manifest.json is not readable ({error!r})") from error


def damaged(folder: Path, what: str) -> DataError:
    """The one error for prepared data that cannot be trusted, with its remedy."""
    return DataError(
        f"prepared data {folder} cannot be used: {what}. Delete the folder and run `rml data "
        "prepare` again"
    )


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
