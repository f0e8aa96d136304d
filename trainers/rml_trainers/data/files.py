"""Which picture files a folder holds, by name, and which of its files are left out and why.

Links are followed, hidden files and folders are not looked into, suffixes compare without case, and
names compare in Unicode's composed form (NFC): a Mac writes `ß` or `é` of a file name in another
form than a list or another machine does, and both look the same.
"""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rml_trainers.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
    | {".ppm", ".pgm", ".pbm"}
)
"""Suffixes of files that are taken as pictures, in lower case."""

OTHER_SUFFIX = "not a picture by its suffix"
HIDDEN_FILE = "hidden file"
HIDDEN_FOLDER = "hidden folder"
BROKEN_LINK = "broken link"
NO_FILE = "neither file nor folder"
OTHER_NAME = "another name than the template"
NOT_LISTED = "in neither subset"
NO_IMAGE = "mask without an image"


@dataclass
class Skipped:
    """Files that a set leaves out: how many for each reason, and one of them."""

    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason → number, and the first of them."""

    def add(self, reason: str, example: str) -> None:
        count, first = self.reasons.get(reason, (0, example))
        self.reasons[reason] = (count + 1, first)

    def add_all(self, other: "Skipped") -> None:
        """Count what another folder left out too."""
        for reason, (count, example) in other.reasons.items():
            before, first = self.reasons.get(reason, (0, example))
            self.reasons[reason] = (before + count, first)


@dataclass(frozen=True)
class Sources:
    """Everything on disk that a set is made of."""

    files: dict[str, Path] = field(default_factory=dict)
    """By a name that does not depend on where the folder lies."""
    skipped: Skipped = field(default_factory=Skipped)


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which names are compared."""
    return unicodedata.normalize("NFC", name)


def files_below(folder: Path, skipped: Skipped) -> Iterator[Path]:
    """Every file that is not hidden, in sorted order, links followed.

    Raises:
        DataError: a link that leads back to a folder around it, or a folder that cannot be read.
    """
    yield from _walk(folder, folder, (folder.resolve(),), skipped)


def _walk(folder: Path, root: Path, around: tuple[Path, ...], skipped: Skipped) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error
    for path in entries:
        shown = path.relative_to(root).as_posix()
        is_folder = path.is_dir()
        if path.name.startswith("."):
            skipped.add(HIDDEN_FOLDER if is_folder else HIDDEN_FILE, shown)
        elif is_folder:
            real = path.resolve()
            if real in around:
                raise DataError(
                    f"{path}: a link that leads back to {real}, which contains it; remove the link"
                )
            yield from _walk(path, root, (*around, real), skipped)
        elif path.is_file():
            yield path
        else:
            skipped.add(BROKEN_LINK if path.is_symlink() else NO_FILE, shown)


def pictures_below(folder: Path, skipped: Skipped) -> Iterator[Path]:
    """Every file with the suffix of a picture, in sorted order; the others are counted as
    skipped."""
    for path in files_below(folder, skipped):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            skipped.add(OTHER_SUFFIX, path.relative_to(folder).as_posix())


def image_files(folder: Path, skipped: Skipped | None = None) -> dict[str, Path]:
    """Picture files under a folder by name: relative path without suffix, composed.

    Raises:
        DataError: two pictures with one name, or a link that leads in a circle.
    """
    found = pictures_below(folder, Skipped() if skipped is None else skipped)
    named = ((path.relative_to(folder).with_suffix("").as_posix(), path) for path in found)
    return by_name(named, folder)


def by_name(named: Iterable[tuple[str, Path]], folder: Path) -> dict[str, Path]:
    """Files by their composed names. Raises DataError where two have one name."""
    files: dict[str, Path] = {}
    twice: list[str] = []
    for given, path in named:
        name = composed(given)
        if name in files:
            twice.append(f"{files[name].name} and {path.name}")
        files[name] = path
    if twice:
        raise DataError(
            f"{folder}: images with the same name: {'; '.join(twice)}. Keep one of each pair"
        )
    return files


def read_text(file: Path, what: str = "text file") -> str:
    """Text of a file in UTF-8, or in UTF-16 as some editors save it; a byte order mark is no part
    of it.

    Args:
        what: what it should be, for messages.

    Raises:
        DataError: a file that cannot be read, or of another encoding.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not a {what} in UTF-8 or UTF-16 ({error})") from error


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # UTF-16 without a mark: every other byte of plain names is zero.
    if len(content) >= 4 and len(content) % 2 == 0:
        for encoding, zeros in (("utf-16-le", content[1::2]), ("utf-16-be", content[0::2])):
            if zeros.count(0) * 2 > len(zeros) and content.count(0) == zeros.count(0):
                return encoding
    return "utf-8-sig"


class Lookup:
    """Finds files by name whatever the case of their suffix and the Unicode form of their name.

    A folder is listed once, and only when a name is not there as it is written.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, dict[tuple[str, str], Path]] = {}

    def find(self, wanted: Path) -> Path:
        """The file; the path that was asked for where there is none."""
        if wanted.exists():
            return wanted
        folder = wanted.parent
        if folder not in self._listed:
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
            self._listed[folder] = {_key(path): path for path in reversed(paths)}
        return self._listed[folder].get(_key(wanted), wanted)

    def example(self, wanted: Path) -> Path | None:
        """Some other file of the folder in which a file is missing."""
        self.find(wanted)
        return min(self._listed.get(wanted.parent, {}).values(), default=None)


def _key(path: Path) -> tuple[str, str]:
    name = Path(composed(path.name))
    return name.stem, name.suffix.lower()
