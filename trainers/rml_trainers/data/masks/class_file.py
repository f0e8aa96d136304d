"""Class names, numbers and colours from the files that annotation tools write.

JSON, YAML and two kinds of text are read, whatever the tool:

| file | example |
|---|---|
| names in order | `["road", "car"]`, or one a line (labelme's labels.txt) |
| name → number or colour, number or colour → name | `{"road": [128, 64, 128]}`, `{"0": "road"}` |
| one block per class | CVAT labels, COCO categories, Cityscapes' labels, Mapillary's config |
| CVAT's and datumaro's labelmap.txt | `road:128,64,128::` |

A block's `trainId` is its place among the classes, its `id` (or `value`, `index`) its number in the
masks. Classes that say they are not scored (`trainId` 255 or -1, `ignoreInEval`, `evaluate:
false`, `ignore: true`, labelme's `__ignore__`) are ignored pixels. A name that comes twice is one
class with several numbers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_trainers.data.files import read_text
from rml_trainers.data.masks.label_tables import IGNORE, LabelColours, LabelValues, parse_colour
from rml_trainers.errors import DataError

SUFFIXES = (".json", ".yaml", ".yml", ".txt")

_LISTS = ("labels", "classes", "categories", "names", "items")
_NAMES = ("name", "label", "title", "class")
_NUMBERS = ("id", "value", "index", "label_id")
_COLOURS = ("color", "colour", "rgb")
_IGNORED_NAMES = ("__ignore__",)


@dataclass(frozen=True)
class ClassEntry:
    """One line or block of a class file."""

    name: str
    value: int | None = None
    """Its number in masks."""
    colour: tuple[int, int, int] | None = None
    ignored: bool = False
    order: int | None = None
    """Its place among the classes, where the file states one (`trainId`)."""


@dataclass(frozen=True)
class ClassFile:
    """What a class file says."""

    class_names: tuple[str, ...]
    values: LabelValues | None
    """Of the masks, where the file has numbers."""
    colours: LabelColours | None
    """Of the masks, where the file has colours."""


def read_class_file(path: Path) -> ClassFile:
    """Raises DataError for a file that is missing, of another kind, or says a thing twice."""
    if not path.is_file():
        raise DataError(f"data.class_file: {path}: no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: not a class file; expected one of {', '.join(SUFFIXES)}")
    try:
        return joined(_entries(path))
    except RecursionError:
        raise DataError(f"{path}: not a class file: it is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{path}: not a class file: {error}") from error


def joined(entries: Sequence[ClassEntry]) -> ClassFile:
    """Classes in order, numbers and colours of a list of entries. Raises ValueError."""
    scored = [entry for entry in entries if not entry.ignored]
    if scored and all(entry.order is not None for entry in scored):
        scored.sort(key=lambda entry: entry.order or 0)
    names = tuple(dict.fromkeys(entry.name for entry in scored))
    if len(names) < 2:
        raise ValueError(f"it has {len(names)} class(es) that are scored; expected 2 or more")
    values: dict[str, int | str] = {}
    colours: dict[str, int | str] = {}
    for entry in entries:
        target = IGNORE if entry.ignored else entry.name
        if entry.value is not None and entry.value >= 0:
            _put(values, str(entry.value), target)
        if entry.colour is not None:
            _put(colours, ",".join(map(str, entry.colour)), target)
    return ClassFile(
        names,
        LabelValues.parse(values) if values else None,
        LabelColours.parse(colours) if colours else None,
    )


def _put(table: dict[str, int | str], key: str, target: str) -> None:
    if table.setdefault(key, target) != target:
        raise ValueError(f"{key} is {table[key]!r} and {target!r} at once")


def _entries(path: Path) -> list[ClassEntry]:
    text = read_text(path)
    if path.suffix.lower() == ".txt":
        return _text_entries(text)
    value = json.loads(text) if path.suffix.lower() == ".json" else _yaml(text)
    return _value_entries(value)


def _yaml(text: str) -> object:
    """YAML is read only if the file is YAML: what comes with timm is enough for it."""
    try:
        import yaml
    except ImportError as error:
        raise ValueError("YAML needs the package pyyaml; install it, or write JSON") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML ({error})") from error
    except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
        raise ValueError(f"a value is not what it looks like or its tag says ({error})") from error


def _text_entries(text: str) -> list[ClassEntry]:
    """Names one a line, or labelmap.txt (`name:r,g,b:parts:actions`)."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    entries = []
    for line in lines:
        name, _, rest = line.partition(":")
        colour = rest.split(":")[0].strip() if rest else ""
        entries.append(
            ClassEntry(
                name.strip(),
                colour=parse_colour(colour) if colour else None,
                ignored=name.strip() in _IGNORED_NAMES,
            )
        )
    return entries


def _value_entries(value: object) -> list[ClassEntry]:
    """Entries of a parsed JSON or YAML value."""
    if isinstance(value, Mapping):
        inner = next((value[key] for key in _LISTS if key in value), None)
        if isinstance(inner, list | Mapping):
            return _value_entries(inner)
        return [_pair(str(key), item) for key, item in value.items()]
    if isinstance(value, list) and value:
        return [_item(item) for item in value]
    raise ValueError("expected a list of classes, or a mapping of names")


def _item(item: object) -> ClassEntry:
    if isinstance(item, str):
        return ClassEntry(item, ignored=item in _IGNORED_NAMES)
    if isinstance(item, Mapping):
        return _block(item)
    raise ValueError(f"{item!r} is no class; expected a name, or keys and values")


def _pair(key: str, item: object) -> ClassEntry:
    """`name: number`, `name: colour`, `number: name` or `colour: name`."""
    if isinstance(item, Mapping):
        return _block({"name": key, **item})
    if isinstance(item, bool) or item is None:
        raise ValueError(f"{key}: {item!r}: expected a number, a colour or a name")
    if isinstance(item, int):
        return ClassEntry(key, value=item, ignored=key in _IGNORED_NAMES)
    if isinstance(item, str) and not item.startswith("#"):
        if key.isdecimal():
            return ClassEntry(item, value=int(key), ignored=item in _IGNORED_NAMES)
        if _is_colour(key):
            return ClassEntry(item, colour=parse_colour(key), ignored=item in _IGNORED_NAMES)
    return ClassEntry(key, colour=parse_colour(item), ignored=key in _IGNORED_NAMES)


def _is_colour(text: str) -> bool:
    try:
        parse_colour(text)
    except ValueError:
        return False
    return True


def _block(item: Mapping[Any, Any]) -> ClassEntry:
    name = next((item[key] for key in _NAMES if isinstance(item.get(key), str)), None)
    if name is None:
        raise ValueError(f"{dict(item)!r} has no name")
    train_id = _whole(item, "trainId")
    number = next((found for key in _NUMBERS if (found := _whole(item, key)) is not None), None)
    colour = next((item[key] for key in _COLOURS if item.get(key)), None)
    ignored = (
        train_id in (255, -1)
        or name in _IGNORED_NAMES
        or item.get("ignoreInEval") is True
        or item.get("ignore") is True
        or item.get("evaluate") is False
    )
    return ClassEntry(
        name,
        value=train_id if number is None else number,
        colour=None if colour is None else parse_colour(colour),
        ignored=ignored,
        order=train_id,
    )


def _whole(item: Mapping[Any, Any], key: str) -> int | None:
    value = item.get(key)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
