"""Names of images: hashed, read from text files, and recognised in the spellings that public lists
use."""

import hashlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from rml_trainers.data.files import IMAGE_SUFFIXES, composed, read_text
from rml_trainers.errors import DataError

NUM_SHOWN = 12
"""Names that a message lists before it only counts the others."""
FILE_ENDINGS = ("_leftImg8bit",)
"""What the file of an image has after its name, in public lists (Cityscapes)."""


def names_hash(names: Iterable[str]) -> str:
    """First 12 hex digits of sha256 over the sorted bare names (no folder) joined by newlines."""
    return hash_of(bare_name(name) for name in names)


def hash_of(lines: Iterable[str]) -> str:
    """First 12 hex digits of sha256 over the sorted lines joined by newlines."""
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:12]


def bare_name(name: str) -> str:
    """Name without its folder."""
    return name.rsplit("/", 1)[-1]


def are_bare_names_unique(names: Collection[str]) -> bool:
    """Whether the folders can be left out without two images of a set becoming one."""
    return len({bare_name(name) for name in names}) == len(names)


def read_names(file: Path) -> tuple[str, ...]:
    """Sorted lines of a text file, empty ones left out, names in Unicode's composed form. Raises
    DataError for a line that comes twice."""
    text = read_text(file, "text file of names")
    lines = [composed(line.strip()) for line in text.splitlines()]
    return _each_once((line for line in lines if line), file)


def named(names: Sequence[str]) -> str:
    """Names in a message: a few of many, and how many more there are."""
    more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
    return f"{', '.join(names[:NUM_SHOWN])}{more}"


def read_names_of(
    file: Path, names: Collection[str], what: str = "the training set"
) -> tuple[str, ...]:
    """Names of a set that a text file lists, sorted, in any of the `spellings`.

    Raises DataError for lines that stand for no image of the set (or, without a folder, for
    several), and for images that are listed twice.
    """
    lines = read_names(file)
    known = dict(_by_bare_name(names)) | {name: name for name in names}
    found = {
        line: next((known[text] for text in spellings(line) if text in known), None)
        for line in lines
    }
    if unknown := [line for line, name in found.items() if name is None]:
        raise DataError(
            f"{file}: not in {what}: {named(unknown)}. A line is a name, with or without folder "
            "and suffix; what follows a space or tab is left out"
        )
    return _each_once((name for name in found.values() if name is not None), file)


def spellings(line: str) -> Iterator[str]:
    """Ways in which a line may name an image, the strictest first.

    Public lists (CPS, UniMatch) write the path of the image and, after a space or tab, that of its
    mask.
    """
    yield line
    path = PurePosixPath(line.split()[0])
    if path.suffix.lower() in IMAGE_SUFFIXES:
        path = path.with_suffix("")
    yield path.as_posix()
    yield path.name
    for ending in FILE_ENDINGS:
        yield path.name.removesuffix(ending)


def _by_bare_name(names: Collection[str]) -> Iterator[tuple[str, str]]:
    """(bare name, name) of the images whose bare name is no other's."""
    for bare, group in itertools.groupby(sorted(names, key=bare_name), bare_name):
        same = list(group)
        if len(same) == 1:
            yield bare, same[0]


def _each_once(names: Iterable[str], file: Path) -> tuple[str, ...]:
    listed = sorted(names)
    if twice := sorted({a for a, b in itertools.pairwise(listed) if a == b}):
        raise DataError(f"{file}: names that come twice: {named(twice)}. Keep one of each")
    return tuple(listed)
