"""Numbers that others made: printed in publications, or recorded by other tools.

A study names the files (`publications`, `imports`), by paths from its own folder. A published
number is quoted. An imported one is a run of somebody else's: it has a seed and a protocol, may be
compared, and is never averaged with ours.
"""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from rml_platform.study.shown.others_config import (
    ImportedConfig,
    PublicationsConfig,
    PublishedConfig,
)
from rml_platform.study.validation import InvalidValuesError, validate
from rml_platform.study.yaml_document import KeyPath, read_document
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError

T = TypeVar("T")
NUMBERS = {"mean": float, "std": float, "value": float, "seed": int}
"""Columns that hold numbers; all others are texts."""


@dataclass(frozen=True)
class Placed:
    """A published or imported number and where it stands, for messages."""

    value: Any
    place: str


def read_published(files: Sequence[str], folder: Path) -> tuple[Placed, ...]:
    """Numbers of CSV and YAML files. Raises ConfigError naming file and line."""
    return tuple(one for name in files for one in _published(folder / name))


def read_imported(files: Sequence[str], folder: Path) -> tuple[Placed, ...]:
    """Runs of CSV files of other tools. Raises ConfigError naming file and line."""
    return tuple(
        one
        for name in files
        for one in _csv(folder / name, ImportedConfig, {"file": Path(name).name})
    )


def _published(path: Path) -> Iterator[Placed]:
    if path.suffix not in (".yaml", ".yml"):
        yield from _csv(path, PublishedConfig, {})
        return
    document = read_document(path)
    content = _checked(PublicationsConfig, document.value, document.place)
    for i, number in enumerate(content.numbers):
        yield Placed(number, document.place(("numbers", i)))


def _csv(path: Path, kind: type[T], more: Mapping[str, str]) -> Iterator[Placed]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    known = [field.name for field in fields(kind) if field.name not in more]  # type: ignore[arg-type]
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in header:
            if name not in known:
                raise ConfigError(f"{path}:1: column {name!r}: unknown; {suggest(name, known)}")
        for cells in reader:
            if not any(cells):
                continue
            place = f"{path}:{reader.line_num}"
            if len(cells) != len(header):
                raise ConfigError(
                    f"{place}: {len(cells)} cells under {len(header)} headings; put a text that "
                    "has a comma in quotes"
                )
            values = _typed(dict(zip(header, cells, strict=True)), place)
            yield Placed(_checked(kind, {**values, **more}, _always(place)), place)
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error


def _always(place: str) -> Callable[[KeyPath], str]:
    return lambda path: place


def _typed(cells: Mapping[str, str], place: str) -> dict[str, Any]:
    """Cells as the values that they stand for; empty ones are left out."""
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        text = cell.strip()
        if text == "":
            continue
        try:
            values[name] = NUMBERS.get(name, str)(text)
        except ValueError as error:
            kind = "a whole number" if NUMBERS[name] is int else "a number"
            raise ConfigError(f"{place}: {name} = {text!r}: expected {kind}") from error
        if isinstance(values[name], float) and not math.isfinite(values[name]):
            raise ConfigError(f"{place}: {name} = {text!r}: expected a finite number")
    return values


def _checked(kind: type[T], values: Mapping[str, Any], place: Callable[[KeyPath], str]) -> T:
    try:
        return validate(kind, values, place)
    except InvalidValuesError as error:
        raise ConfigError(str(error)) from error
