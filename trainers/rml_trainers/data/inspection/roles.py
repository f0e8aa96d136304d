"""Whether pictures are images or masks: by what folder or name says, else by their content."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from rml_trainers.data.pictures.opening import opened
from rml_trainers.errors import DataError

Role = Literal["image", "mask"]

MAX_MASK_VALUES = 64
"""Different values or colours from which on a lossless picture is a photograph rather than a
mask."""
NUM_SAMPLED = 6
"""Pictures of a group whose content is looked at."""
MAX_KINDS = 8
"""Endings of names in one folder from which on they are no kinds of files but names."""

_MASK_WORDS = re.compile(
    r"(mask|label|annot|truth|groundtruth|segm|seg$|^gt|[_-]gt|class|target|manual)", re.IGNORECASE
)
_IMAGE_WORDS = re.compile(
    r"(image|img|photo|picture|jpeg|^rgb|input|scan|training$|frames)", re.IGNORECASE
)
_AFTER_LAST_DIGIT = re.compile(r"\d([^\d]*)$")


@dataclass(frozen=True)
class Group:
    """Pictures of one folder that are named alike."""

    folder: PurePosixPath
    ending: str
    """What their names end in."""
    role: Role
    because: str
    """Why they were taken for that."""
    files: tuple[PurePosixPath, ...]


def groups_of(root: Path, pictures: Sequence[PurePosixPath]) -> list[Group]:
    """Pictures by folder and kind of name, each group with its role."""
    by_folder = defaultdict[PurePosixPath, list[PurePosixPath]](list)
    for path in pictures:
        by_folder[path.parent].append(path)
    groups = []
    for folder, files in sorted(by_folder.items()):
        for ending, of_kind in sorted(_kinds(files).items()):
            role, because = _role(root, folder, ending, of_kind)
            groups.append(Group(folder, ending, role, because, tuple(of_kind)))
    return groups


def _kinds(files: Sequence[PurePosixPath]) -> dict[str, list[PurePosixPath]]:
    """Files of one folder by the ending that tells kinds apart, such as `_mask.png`."""
    stems = {path.stem for path in files}
    kinds = defaultdict[str, list[PurePosixPath]](list)
    for path in files:
        kinds[_ending(path.stem, stems) + path.suffix.lower()].append(path)
    if len(kinds) <= MAX_KINDS:
        return dict(kinds)
    by_suffix = defaultdict[str, list[PurePosixPath]](list)
    for path in files:
        by_suffix[path.suffix.lower()].append(path)
    return dict(by_suffix)


def _ending(stem: str, stems: set[str]) -> str:
    """What a name has after the name of another file, or after its last digit."""
    for length in range(len(stem) - 1, 0, -1):
        if not stem[length].isalnum() and stem[:length] in stems:
            return stem[length:]
    match = _AFTER_LAST_DIGIT.search(stem)
    return match[1] if match else ""


def _role(
    root: Path, folder: PurePosixPath, ending: str, files: Sequence[PurePosixPath]
) -> tuple[Role, str]:
    words: tuple[str, ...] = (PurePosixPath(ending).stem if ending else "", *reversed(folder.parts))
    for word in words:
        is_mask = bool(_MASK_WORDS.search(word))
        if is_mask != bool(_IMAGE_WORDS.search(word)):
            return ("mask" if is_mask else "image"), f"by the name {word!r}"
    step = max(1, len(files) // NUM_SAMPLED)
    votes = Counter(role_by_content(root / path) for path in files[::step][:NUM_SAMPLED])
    return votes.most_common(1)[0][0], "by content"


@lru_cache(maxsize=4096)
def role_by_content(path: Path) -> Role:
    """A mask is lossless and has few values; what cannot be opened counts as an image."""
    try:
        with opened(path, "image") as file:
            if file.lossy:
                return "image"
            pixels = np.asarray(file.picture)
    except DataError:
        return "image"
    if pixels.dtype == bool:
        return "mask"
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.ravel()
    num_values = len(np.unique(flat, axis=0))
    return "mask" if num_values <= MAX_MASK_VALUES else "image"
