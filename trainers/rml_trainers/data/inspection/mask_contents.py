"""What masks hold, value by value or colour by colour, and which settings may be meant by it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from rml_trainers.data.masks.class_file import ClassFile
from rml_trainers.data.masks.label_tables import BINARY, packed, parse_colour
from rml_trainers.data.pictures.masks import MaskFile, read_mask
from rml_trainers.errors import DataError
from rml_trainers.runtime.cores import usable_cores

Setting = str | int | list[str] | dict[str, str | int]
Settings = dict[str, Setting]

MAX_CLASSES = 255
MAX_LISTED = 64
"""Values or colours from which on they are no classes but instances, or the masks are not exact."""
MAX_EXAMINED = 2000
"""Masks that are read; of a larger set as many, spread over it."""
PLACEHOLDER = "the names are placeholders: put your own in their place"


@dataclass
class MaskContents:
    """What a number of masks hold together."""

    num_masks: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """Format and mode → number of masks."""
    values: Counter[int] = field(default_factory=Counter)
    """Value → pixels."""
    masks_with_value: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)
    """Packed colour → pixels, of masks in colour only."""
    masks_with_colour: Counter[int] = field(default_factory=Counter)
    palette: dict[int, int] = field(default_factory=dict)
    """Palette number → packed colour, of the first mask that has it."""
    problems: list[str] = field(default_factory=list)
    """Masks that cannot be read, and why."""

    @property
    def in_colour(self) -> bool:
        return bool(self.colours)

    def add(self, mask: MaskFile) -> None:
        """Count one mask."""
        self.num_masks += 1
        self.kinds[mask.kind] += 1
        if mask.numbers is not None and not (mask.rgb is not None and self.in_colour):
            found, counts = np.unique(mask.numbers, return_counts=True)
            for value, count in zip(found.tolist(), counts.tolist(), strict=True):
                self.values[value] += count
                self.masks_with_value[value] += 1
                if mask.palette is not None:
                    red, green, blue = mask.palette[value].tolist()
                    self.palette.setdefault(value, packed((red, green, blue)))
            return
        assert mask.rgb is not None
        rgb = mask.rgb.astype(np.int32)
        flat = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        found, counts = np.unique(flat, return_counts=True)
        for value, count in zip(found.tolist(), counts.tolist(), strict=True):
            self.colours[value] += count
            self.masks_with_colour[value] += 1

    def lines(self) -> Iterator[str]:
        """What there is, for a person."""
        yield f"{self.num_masks} masks read: " + ", ".join(
            f"{count} {kind}" for kind, count in sorted(self.kinds.items())
        )
        total = max(1, sum(self.values.values()) + sum(self.colours.values()))
        for value in sorted(self.values)[:MAX_LISTED]:
            colour = f", palette colour {shown(self.palette[value])}" if self.palette else ""
            share = 100 * self.values[value] / total
            yield f"value {value}: {self.masks_with_value[value]} masks, {share:.2f} %{colour}"
        for value in sorted(self.colours)[:MAX_LISTED]:
            share = 100 * self.colours[value] / total
            yield f"colour {shown(value)}: {self.masks_with_colour[value]} masks, {share:.2f} %"
        num_more = len(self.values) + len(self.colours) - 2 * MAX_LISTED
        if len(self.values) > MAX_LISTED or len(self.colours) > MAX_LISTED:
            yield f"… {max(num_more, 1)} and more further values or colours"


@dataclass(frozen=True)
class Meaning:
    """One reading of what masks hold."""

    title: str
    settings: Settings
    notes: tuple[str, ...] = ()


def examine(root: Path, masks: Sequence[PurePosixPath]) -> MaskContents:
    """Read masks, at most `MAX_EXAMINED` of them."""
    step = -(-len(masks) // MAX_EXAMINED) or 1
    contents = MaskContents()
    colours_first = list[MaskFile | str]()
    with ThreadPoolExecutor(min(8, usable_cores()), "inspect") as pool:
        colours_first = list(pool.map(lambda path: _read(root / path), masks[::step]))
    # A mask without any colour, stored as RGB among coloured ones, is black: a colour too.
    for mask in sorted(colours_first, key=_is_numbered):
        if isinstance(mask, str):
            contents.problems.append(mask)
        else:
            contents.add(mask)
    return contents


def _is_numbered(mask: MaskFile | str) -> bool:
    return isinstance(mask, MaskFile) and mask.numbers is not None


def _read(path: Path) -> MaskFile | str:
    try:
        return read_mask(path)
    except DataError as error:
        return str(error)


def meanings(
    contents: MaskContents, class_files: Mapping[PurePosixPath, ClassFile]
) -> list[Meaning]:
    """Every reading, the likeliest first; none where the masks cannot be classes."""
    found = [
        Meaning(f"classes from {path}", {"class_file": path.as_posix()})
        for path, file in class_files.items()
        if _fits(file, contents)
    ]
    if contents.in_colour and not contents.values:
        return [*found, *_by_colour(contents)]
    if contents.in_colour:
        return found
    return [*found, *_by_value(contents)]


def why_not(contents: MaskContents) -> str:
    """Why masks cannot be read as classes."""
    if contents.problems:
        return contents.problems[0]
    if contents.in_colour and contents.values:
        return "some masks are in colour and some hold numbers; bring them into one form"
    number = len(contents.colours) if contents.in_colour else len(contents.values)
    what = "colours" if contents.in_colour else "values"
    if number < 2:
        return f"the masks hold {number} {what}: two classes at least are needed"
    return (
        f"the masks hold {number} {what}, more than classes would: are they instance numbers, or "
        "smoothed by resizing or a lossy format?"
    )


def _fits(file: ClassFile, contents: MaskContents) -> bool:
    """Whether a class file knows everything that the masks hold."""
    colours = set() if file.colours is None else {packed(parse_colour(c)) for c in file.colours}
    if contents.in_colour:
        return not contents.values and set(contents.colours) <= colours
    if file.values is not None:
        return set(contents.values) <= {*map(int, file.values), 255}
    if colours:
        return bool(contents.palette) and set(contents.palette.values()) <= colours
    return set(contents.values) <= {*range(len(file.class_names)), 255}


def _by_colour(contents: MaskContents) -> Iterator[Meaning]:
    colours = sorted(contents.colours)
    if not 2 <= len(colours) <= MAX_LISTED:
        return
    names = [f"colour_{shown(value).replace(',', '_')}" for value in colours]
    table: dict[str, str | int] = {shown(v): n for v, n in zip(colours, names, strict=True)}
    settings: Settings = {"class_names": names, "label_colours": table}
    yield Meaning("every colour is a class", settings, (PLACEHOLDER,))


def _by_value(contents: MaskContents) -> Iterator[Meaning]:
    values = sorted(contents.values)
    if not values:
        return
    if values == [0, 255]:
        settings: Settings = {"class_names": ["background", "foreground"], "label_values": BINARY}
        yield Meaning("0 is the background, 255 the foreground", settings, (PLACEHOLDER,))
        return
    inner = [value for value in values if value != 255]
    if len(values) > MAX_LISTED or (values and values[0] < 0):
        return
    consecutive = inner == list(range(len(inner))) or (
        values[-1] < MAX_LISTED and 2 * len(inner) > max(inner, default=0) + 1 and 0 in inner
    )
    if consecutive and len(inner) >= 2:
        names = [f"class_{number}" for number in range(max(inner) + 1)]
        title = "every value is the number of its class"
        if 255 in values:
            title += ", 255 is ignored"
        yield Meaning(title, {"class_names": names}, (PLACEHOLDER,))
        if 255 in values:
            yield _listed(values, "255 is a class of its own, and nothing is ignored", None)
        return
    if len(values) >= 2:
        yield _listed(values, "every value is a class", None)
    if 255 in values and len(inner) >= 2:
        yield _listed(values, "every value is a class but 255, which is ignored", 255)
    if values[0] == 0 and len(values) >= 3:
        yield _listed(values, "every value is a class but 0, which is ignored", 0)


def _listed(values: Sequence[int], title: str, ignored: int | None) -> Meaning:
    names = [f"value_{value}" for value in values if value != ignored]
    table: dict[str, str | int] = {
        str(value): "ignore" if value == ignored else f"value_{value}" for value in values
    }
    return Meaning(title, {"class_names": names, "label_values": table}, (PLACEHOLDER,))


def shown(colour: int) -> str:
    """A packed colour as "r,g,b"."""
    return f"{colour >> 16},{colour >> 8 & 255},{colour & 255}"
