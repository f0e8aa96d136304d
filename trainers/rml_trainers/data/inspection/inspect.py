"""An unknown folder: what it holds, and every way in which it can be read."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rml_trainers.data.inspection.found_files import FoundFiles, find_files
from rml_trainers.data.inspection.mask_contents import (
    MAX_EXAMINED,
    MaskContents,
    examine,
    meanings,
    why_not,
)
from rml_trainers.data.inspection.pairing import Pairing, common_folder, pairings
from rml_trainers.data.inspection.public_layouts import public_readings
from rml_trainers.data.inspection.reading import Block, Reading
from rml_trainers.data.inspection.roles import Group, groups_of
from rml_trainers.data.inspection.subsets import subset_notes, subset_settings
from rml_trainers.data.masks.coco import CocoFiles
from rml_trainers.data.masks.name_template import PLAIN, NameTemplate
from rml_trainers.data.pictures.opening import opened
from rml_trainers.data.sources.pairs import read_pairs
from rml_trainers.errors import DataError

NUM_SIZES_READ = 200
MAX_GROUPS = 12
"""Folders that are listed before the others are only counted."""
MIN_SIDE_PX = 32
LEAST_SHARE = 0.5
"""Share of the best rule's pairs from which on another rule is told as an alternative."""


@dataclass
class Inspection:
    """What a folder holds."""

    lines: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    """The likeliest first."""
    problems: list[str] = field(default_factory=list)
    """Why there is no reading, or not this one."""


def inspect_folder(root: Path) -> Inspection:
    """Look at a folder. Raises DataError where there is none, or one that cannot be read."""
    root = root.resolve()
    found = find_files(root)
    groups = groups_of(root, found.pictures)
    inspection = Inspection(lines=[*_found_lines(found, groups)])
    for reading in (*public_readings(root), *_from_tables(found), *_from_coco(found)):
        inspection.readings.append(reading)
    _add_pairings(inspection, found, groups)
    if not inspection.readings and not inspection.problems:
        inspection.problems.append(_nothing(found, groups))
    return inspection


def _found_lines(found: FoundFiles, groups: Sequence[Group]) -> Iterator[str]:
    yield f"{len(found.pictures)} pictures"
    for group in groups[:MAX_GROUPS]:
        ending = f" (…{group.ending})" if group.ending else ""
        yield (
            f"  {group.folder.as_posix()}/: {len(group.files)} taken for {group.role}s"
            f"{ending}, {group.because}"
        )
    if len(groups) > MAX_GROUPS:
        yield f"  … and {len(groups) - MAX_GROUPS} more folders or kinds of names"
    for path, file in found.class_files.items():
        yield f"class file {path}: {len(file.class_names)} classes: {', '.join(file.class_names)}"
    for path in found.tables:
        yield f"table of images and masks: {path}"
    for path in found.coco:
        yield f"COCO annotations: {path}"
    for path in found.texts:
        yield f"text file: {path}"
    for tool, count in found.tools.items():
        yield (
            f"{count} files of {tool}, which are not read: export the labels as masks (PNG, CVAT "
            "calls them Segmentation mask 1.1) or as COCO 1.0"
        )
    for reason, (count, example) in sorted(found.skipped.reasons.items()):
        yield f"left out: {count} {reason} (for example {example})"


def _from_tables(found: FoundFiles) -> Iterator[Reading]:
    for table in found.tables:
        pairs = [pair for pair in read_pairs(found.root / table) if pair.subset not in ("test",)]
        masks = [PurePosixPath(pair.mask) for pair in pairs if pair.mask]
        images = [PurePosixPath(pair.image) for pair in pairs]
        for meaning in meanings(examine(found.root, masks), found.class_files) if masks else ():
            block = {"name": "pairs", "table": table.as_posix(), **meaning.settings}
            block |= _size(found.root, images)
            yield Reading(f"the table {table}; {meaning.title}", block, meaning.notes)


def _from_coco(found: FoundFiles) -> Iterator[Reading]:
    """One reading of all annotation files with the same categories, by the folder they are in."""
    for paths in _alike(found):
        files = CocoFiles([found.root / path for path in paths], found.root)
        images = [path for path in found.pictures if files.find(path) is not None]
        if len(images) < 2:
            continue
        shared = common_folder([path.parent.parts for path in images])
        inside = "/".join(shared) or "."
        names = [_name(path, shared) for path in images]
        block: Block = {"name": "folder", "images": inside}
        block["annotations"] = [path.as_posix() for path in paths]
        block |= subset_settings(names, {}) | _size(found.root, images)
        categories = ", ".join(files.category_names)
        notes = (
            f"{len(images)} of {len(files.images)} listed images are there; categories: "
            f"{categories}",
            "pixels without annotation are the class background; background: null ignores them",
        )
        yield Reading(f"COCO annotations {', '.join(map(str, paths))}", block, notes)


def _alike(found: FoundFiles) -> list[list[PurePosixPath]]:
    """Annotation files that can be read together."""
    together: dict[tuple[tuple[int, str], ...], list[PurePosixPath]] = {}
    for path in found.coco:
        try:
            categories = CocoFiles([found.root / path], found.root).categories
        except DataError:
            continue
        together.setdefault(tuple(sorted(categories.items())), []).append(path)
    return list(together.values())


def _add_pairings(inspection: Inspection, found: FoundFiles, groups: Sequence[Group]) -> None:
    candidates = pairings(groups)
    most = max((len(one.pairs) for one in candidates), default=0)
    often = [one for one in candidates if len(one.pairs) >= LEAST_SHARE * most]
    examined = [(one, examine(found.root, [pair.mask for pair in one.pairs])) for one in often]
    # Of masks in numbers and the same in colour, numbers are the plainer ones.
    for pairing, contents in sorted(examined, key=lambda one: _order(*one)):
        inspection.lines += _pairing_lines(pairing, contents)
        found_meanings = meanings(contents, found.class_files)
        if contents.problems or not found_meanings:
            inspection.problems.append(why_not(contents))
            continue
        common = _common_settings(pairing, found)
        for meaning in found_meanings:
            block = {"name": "folder", **pairing.settings, **meaning.settings, **common}
            notes = (*meaning.notes, *subset_notes(common))
            where = f"images {pairing.settings['images']}, masks {_where(pairing.settings)}"
            inspection.readings.append(Reading(f"{where}; {meaning.title}", block, notes))


def _order(pairing: Pairing, contents: MaskContents) -> tuple[int, bool, int]:
    return -len(pairing.pairs), contents.in_colour, len(contents.values)


def _pairing_lines(pairing: Pairing, contents: MaskContents) -> Iterator[str]:
    num_masks = len(pairing.pairs)
    yield f"{num_masks} masks belong to images: {_where(pairing.settings)}"
    if num_masks > MAX_EXAMINED:
        yield f"  looked at {contents.num_masks} of them: others may hold further values"
    yield from (f"  {line}" for line in contents.lines())
    yield from (f"  not readable: {problem}" for problem in contents.problems[:5])


def _where(settings: Mapping[str, str]) -> str:
    name = settings.get("mask_name")
    return settings["masks"] + (f" ({name})" if name else "")


def _common_settings(pairing: Pairing, found: FoundFiles) -> Block:
    """Subsets and size."""
    root = tuple(PurePosixPath(pairing.settings["images"]).parts)
    names = [_template_name(pairing, pair.image, root) for pair in pairing.pairs]
    listed = found.listed(set(names))
    return subset_settings(names, listed) | _size(found.root, pairing.images)


def _template_name(pairing: Pairing, path: PurePosixPath, root: tuple[str, ...]) -> str:
    below = PurePosixPath(*path.parts[len(root) :])
    name = NameTemplate(pairing.settings.get("image_name", PLAIN)).name(below)
    assert name is not None, "the template was made from this file"
    return name


def _name(path: PurePosixPath, root: tuple[str, ...]) -> str:
    return PurePosixPath(*path.parts[len(root) :]).with_suffix("").as_posix()


def _size(root: Path, images: Sequence[PurePosixPath]) -> Block:
    """`size_px`: the size of all images, or null where they differ."""
    step = -(-len(images) // NUM_SIZES_READ) or 1
    sizes = Counter(_size_of(root / path) for path in images[::step])
    size = next(iter(sizes)) if len(sizes) == 1 else None
    fits = size is not None and min(size) >= MIN_SIDE_PX
    return {"size_px": list(size) if size is not None and fits else None}


def _size_of(path: Path) -> tuple[int, int] | None:
    try:
        with opened(path, "image") as file:
            return file.picture.height, file.picture.width
    except DataError:
        return None


def _nothing(found: FoundFiles, groups: Sequence[Group]) -> str:
    """Why nothing can be read at all."""
    if not found.pictures:
        return "there are no pictures"
    masks = sum(len(group.files) for group in groups if group.role == "mask")
    if not masks:
        return "no picture looks like a mask, and there are no COCO annotations"
    if masks == len(found.pictures):
        return "every picture looks like a mask; where are the images?"
    return (
        f"none of the {masks} masks holds an image's name in its own. Write a table of pairs "
        "(image,mask a line) and use the layout `pairs`"
    )
