"""`label_values` and `label_colours`: what a mask holds → which class it is, as a person writes it.

Both are mappings in YAML. Here they become frozen mappings with one canonical form, so that a
configuration can be compared, hashed and written as JSON, and equal tables give equal run ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rml_trainers.configuration import suggest

IGNORE = "ignore"
"""What a table says of pixels that are neither trained on nor scored."""
IGNORED = 255
BINARY = "binary"
"""Short for masks of 0 (the first class) and 255 (the second)."""
MAX_VALUE = 2**24 - 1

_RANGE = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
_HEX = re.compile(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})")

Target = int | str
"""Class number, class name or `ignore`."""


class _Table(dict[str, Target]):
    """A frozen mapping from text to a class."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items(), key=repr)))

    def __deepcopy__(self, memo: object) -> "_Table":
        return self

    @classmethod
    def parse(cls, given: object) -> "_Table":
        """The table that a person wrote. Raises ValueError with what is expected."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> dict[str, Any]:
        """How pydantic, which this package does not import, validates the field: by `parse`."""
        return {"type": "function-plain", "function": {"type": "no-info", "function": cls.parse}}


class LabelValues(_Table):
    """Mask value → class. Keys are whole numbers as text, one each."""

    @classmethod
    def parse(cls, given: object) -> "LabelValues":
        if given == BINARY:
            return cls({"0": 0, "255": 1})
        wanted = (
            "expected `binary`, or value: class for every value, as in "
            '{"0": background, "1-3": road, "255": ignore}'
        )
        found = cls()
        for key, target in _items(given, wanted):
            for value in _values(key, wanted):
                if str(value) in found:
                    raise ValueError(f"value {value} is given twice")
                found[str(value)] = target
        return found

    def resolved(self, class_names: Sequence[str]) -> dict[int, int]:
        """Mask value → class number or 255. Raises ValueError for a class that does not exist."""
        return {int(key): class_number(target, class_names) for key, target in self.items()}


class LabelColours(_Table):
    """Colour → class. Keys are "r,g,b"."""

    @classmethod
    def parse(cls, given: object) -> "LabelColours":
        wanted = (
            "expected colour: class for every colour, as in "
            '{"0,0,0": background, "#804080": road, "255,255,255": ignore}'
        )
        found = cls()
        for key, target in _items(given, wanted):
            red, green, blue = parse_colour(key)
            name = f"{red},{green},{blue}"
            if name in found:
                raise ValueError(f"colour {name} is given twice")
            found[name] = target
        return found

    def resolved(self, class_names: Sequence[str]) -> dict[int, int]:
        """Colour packed as 0xRRGGBB → class number or 255. Raises ValueError for a class that does
        not exist."""
        return {
            packed(parse_colour(key)): class_number(target, class_names)
            for key, target in self.items()
        }


def parse_colour(given: object) -> tuple[int, int, int]:
    """Red, green and blue from "r,g,b", "r g b", "#rrggbb" or a list. Raises ValueError."""
    parts: list[object] = []
    if isinstance(given, str):
        match = _HEX.fullmatch(given.strip())
        parts = (
            [int(two, 16) for two in match.groups()]
            if match
            else [*re.split(r"[\s,;]+", given.strip(" ()[]"))]
        )
    elif isinstance(given, Sequence):
        parts = list(given)
    try:
        numbers = [int(str(part)) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 4:
        numbers = numbers[:3]  # an alpha value
    if len(numbers) != 3 or not all(0 <= number <= 255 for number in numbers):
        raise ValueError(f'{given!r} is no colour; expected "r,g,b" from 0 to 255, or "#rrggbb"')
    return numbers[0], numbers[1], numbers[2]


def packed(colour: tuple[int, int, int]) -> int:
    """0xRRGGBB."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def class_number(target: Target, class_names: Sequence[str]) -> int:
    """Number of a class given by number or name, 255 for `ignore`. Raises ValueError."""
    if target == IGNORE:
        return IGNORED
    if isinstance(target, str):
        if target not in class_names:
            raise ValueError(f"no class {target!r}; {suggest(target, [*class_names, IGNORE])}")
        return list(class_names).index(target)
    if not 0 <= target < len(class_names):
        raise ValueError(f"no class number {target}; expected 0 to {len(class_names) - 1}")
    return target


def _items(given: object, wanted: str) -> Iterator[tuple[str, Target]]:
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"{given!r}: {wanted}")
    for key, target in given.items():
        is_target = isinstance(target, str | int) and not isinstance(target, bool)
        if not isinstance(key, str) or not is_target:
            raise ValueError(f"{key!r}: {target!r}: {wanted}")
        yield key, target


def _values(key: str, wanted: str) -> Iterator[int]:
    """`7`, `1-3` or `7, 9, 11-13`."""
    for part in key.split(","):
        match = _RANGE.fullmatch(part)
        first = int(match[1]) if match else -1
        last = int(match[2] or first) if match else -1
        if not 0 <= first <= last <= MAX_VALUE:
            raise ValueError(f"{key!r}: {wanted}")
        yield from range(first, last + 1)
