"""The files of a folder by what they are."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rml_trainers.data.files import IMAGE_SUFFIXES, OTHER_SUFFIX, Skipped, files_below, read_text
from rml_trainers.data.masks.class_file import ClassFile, read_class_file
from rml_trainers.data.masks.coco import is_coco
from rml_trainers.data.sources.pairs import read_pairs
from rml_trainers.data.splitting.name_lists import spellings
from rml_trainers.errors import DataError

CLASS_TEXTS = ("labels", "classes", "class_names", "classnames", "label_names", "names", "labelmap")
"""Names of text files that list classes."""
MAX_JSON_BYTES = 2**30


@dataclass
class FoundFiles:
    """Files of one folder, by paths relative to it."""

    root: Path
    pictures: list[PurePosixPath] = field(default_factory=list)
    texts: list[PurePosixPath] = field(default_factory=list)
    """Text files that may be lists of names."""
    tables: list[PurePosixPath] = field(default_factory=list)
    """CSV files whose lines name pictures."""
    class_files: dict[PurePosixPath, ClassFile] = field(default_factory=dict)
    coco: list[PurePosixPath] = field(default_factory=list)
    tools: Counter[str] = field(default_factory=Counter)
    """Files of annotation tools that are not read → number."""
    skipped: Skipped = field(default_factory=Skipped)

    def listed(self, names: set[str]) -> dict[PurePosixPath, int]:
        """Text files that list images of these names, and how many."""
        known = names | {name.rsplit("/", 1)[-1] for name in names}
        found = {}
        for path in self.texts:
            lines = [line.strip() for line in read_text(self.root / path).splitlines()]
            count = sum(any(text in known for text in spellings(line)) for line in lines if line)
            if count and count * 2 >= len([line for line in lines if line]):
                found[path] = count
        return found


def find_files(root: Path) -> FoundFiles:
    """Everything below a folder. Raises DataError for no folder, or links in a circle."""
    if not root.is_dir():
        raise DataError(f"{root}: {'is a file' if root.is_file() else 'no such folder'}")
    found = FoundFiles(root)
    for path in files_below(root, found.skipped):
        _place(found, PurePosixPath(path.relative_to(root).as_posix()), path)
    return found


def _place(found: FoundFiles, below: PurePosixPath, path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        found.pictures.append(below)
    elif suffix == ".json":
        _place_json(found, below, path)
    elif suffix in (".yaml", ".yml"):
        _place_classes(found, below, path)
    elif suffix in (".csv", ".tsv"):
        _place_table(found, below, path)
    elif suffix in (".txt", ".lst"):
        if path.stem.lower() in CLASS_TEXTS and suffix == ".txt":
            _place_classes(found, below, path)
        else:
            _place_text(found, below, path)
    elif suffix == ".xml" and path.stem.lower() == "annotations":
        found.tools["CVAT for images (annotations.xml)"] += 1
    else:
        found.skipped.add(OTHER_SUFFIX, below.as_posix())


def _place_json(found: FoundFiles, below: PurePosixPath, path: Path) -> None:
    try:
        content = json.loads(read_text(path)) if path.stat().st_size < MAX_JSON_BYTES else None
    except (ValueError, DataError):
        content = None
    if is_coco(content):
        found.coco.append(below)
    elif isinstance(content, dict) and "shapes" in content and "imagePath" in content:
        found.tools["labelme (one JSON per image)"] += 1
    elif isinstance(content, dict) and "objects" in content and "imgHeight" in content:
        found.tools["Cityscapes polygons"] += 1
    else:
        _place_classes(found, below, path)


def _place_classes(found: FoundFiles, below: PurePosixPath, path: Path) -> None:
    try:
        found.class_files[below] = read_class_file(path)
    except DataError:
        found.skipped.add("not a class file", below.as_posix())


def _place_table(found: FoundFiles, below: PurePosixPath, path: Path) -> None:
    try:
        pairs = read_pairs(path)
    except DataError:
        pairs = []
    existing = [pair for pair in pairs if (found.root / pair.image).is_file()]
    if existing and len(existing) * 2 >= len(pairs):
        found.tables.append(below)
    else:
        found.skipped.add("a table whose lines name no pictures below the folder", below.as_posix())


def _place_text(found: FoundFiles, below: PurePosixPath, path: Path) -> None:
    try:
        read_text(path)
    except DataError:
        found.skipped.add(OTHER_SUFFIX, below.as_posix())
    else:
        found.texts.append(below)
