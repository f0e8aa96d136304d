"""What a set holds, in one place: images, masks, classes, sizes, and what was left out or changed.

Nothing is let in or left out without a word: the account is made while a set is prepared, stored
beside it, printed by `rml data prepare`, and in one line by whatever plans a run with it.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rml_trainers.data.dataset import SUBSETS, RawImage, SizePx, Subset
from rml_trainers.data.files import Skipped
from rml_trainers.errors import DataError

FILE = "account.json"
NUM_SIZES = 5
"""Sizes that are listed, the most frequent first, before the others are only counted."""

Counted = dict[str, tuple[int, str]]
"""What → how many images, and the name of one of them."""


@dataclass(frozen=True)
class ImageFacts:
    """What the account keeps of one image."""

    name: str
    size_px: SizePx
    """Height and width in the file, upright."""
    has_label: bool
    num_ignored: int
    """Pixels of the prepared label that are neither trained on nor scored."""
    image_kind: str
    mask_kind: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, raw: RawImage, num_ignored: int) -> "ImageFacts":
        height, width = raw.image.shape[:2]
        return cls(
            name,
            (height, width),
            raw.label is not None,
            num_ignored,
            raw.image_kind,
            raw.mask_kind,
            raw.notes,
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a prepared set holds. Pixels are those of the prepared labels."""

    name: str
    class_names: tuple[str, ...]
    num_images: dict[str, int]
    """By subset."""
    num_masks: dict[str, int]
    class_pixels: dict[str, list[int]]
    """By subset, in the order of the classes."""
    ignored_pixels: dict[str, int]
    sizes: dict[str, int]
    """"height×width" of the files → number of images."""
    image_kinds: dict[str, int]
    mask_kinds: dict[str, int]
    notes: Counted
    skipped: Counted

    @property
    def num_unlabelled(self) -> int:
        """Training images without a mask."""
        return sum(self.num_images.values()) - sum(self.num_masks.values())

    @property
    def ignored_share(self) -> float:
        """Share of the labelled pixels of both subsets that are ignored."""
        ignored = sum(self.ignored_pixels.values())
        return ignored / max(1, ignored + sum(map(sum, self.class_pixels.values())))

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes of which no label of either subset has a pixel."""
        return tuple(name for name, share in self.class_shares("all").items() if share == 0)

    def class_shares(self, subset: str) -> dict[str, float]:
        """Share of each class in the pixels that have one, of a subset or of `all`."""
        counts = [
            sum(self.class_pixels[one][k] for one in SUBSETS if subset in (one, "all"))
            for k in range(len(self.class_names))
        ]
        total = max(1, sum(counts))
        return dict(zip(self.class_names, (count / total for count in counts), strict=True))

    def summary(self) -> str:
        """One line."""
        left_out = sum(count for count, _ in self.skipped.values())
        parts = [
            ", ".join(f"{self.num_images[subset]} {subset} images" for subset in SUBSETS),
            f"{self.num_unlabelled} unlabelled",
            f"{len(self.class_names)} classes",
            f"{_percent(self.ignored_share)} of the labelled pixels ignored",
        ]
        if self.absent_classes:
            parts.append(f"classes that occur nowhere: {len(self.absent_classes)}")
        if left_out:
            parts.append(f"{left_out} files left out")
        return f"{self.name}: {'; '.join(parts)}"

    def lines(self) -> list[str]:
        """The whole account, one line each."""
        lines = [
            f"{self.num_images[subset]} {subset} images, {self.num_masks[subset]} with a mask"
            for subset in SUBSETS
        ]
        lines.append(f"{self.num_unlabelled} unlabelled images")
        lines.append(f"sizes (height×width): {self._sizes()}")
        lines.append(f"image files: {_listed(self.image_kinds) or 'none'}")
        lines.append(f"mask files: {_listed(self.mask_kinds) or 'none'}")
        lines += [_counted(note, *found) for note, found in sorted(self.notes.items())]
        lines += [
            f"left out: {_counted(reason, *found)}"
            for reason, found in sorted(self.skipped.items())
        ]
        lines.append("classes, share of the pixels that have one (train, val):")
        train, val = (self.class_shares(subset) for subset in SUBSETS)
        width = max(map(len, self.class_names))
        lines += [
            f"  {name:<{width}}  {_percent(train[name]):>8}  {_percent(val[name]):>8}"
            for name in self.class_names
        ]
        lines.append(f"ignored: {_percent(self.ignored_share)} of the labelled pixels")
        return lines

    def warnings(self) -> list[str]:
        """What is probably not as its owner meant it."""
        found = [
            f"{self.name}: no pixel of the {subset} masks has a class, all are ignored"
            for subset in SUBSETS
            if self.num_masks[subset] and not sum(self.class_pixels[subset])
        ]
        if self.absent_classes and len(self.absent_classes) < len(self.class_names):
            ignored = f"{_percent(self.ignored_share)} of the labelled pixels are ignored"
            hint = ""
            if self.ignored_share and len(self.class_names) - len(self.absent_classes) == 1:
                hint = (
                    " (masks of 0 and 255 are read with data.label_values: binary; another value "
                    "that is ignored is data.ignore_value)"
                )
            names = ", ".join(self.absent_classes)
            found.append(f"{self.name}: no mask shows {names}; {ignored}{hint}")
        return found

    def _sizes(self) -> str:
        often = sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))
        more = f", {len(often) - NUM_SIZES} more sizes" if len(often) > NUM_SIZES else ""
        return ", ".join(f"{size} ({count})" for size, count in often[:NUM_SIZES]) + more

    def write(self, folder: Path) -> None:
        """Store beside the prepared set."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Account | None":
        """Of a prepared set; None for one that was prepared before accounts were kept. Raises
        DataError for one that is damaged."""
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            fields = json.loads(path.read_text())
            fields["class_names"] = tuple(fields["class_names"])
            for key in ("notes", "skipped"):
                fields[key] = {what: (count, name) for what, (count, name) in fields[key].items()}
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path}: not readable ({error!r}). Run `rml data prepare --fresh`"
            ) from error


class AccountBuilder:
    """Adds up an account, image by image."""

    def __init__(self, name: str, class_names: Sequence[str]) -> None:
        self._name = name
        self._class_names = tuple(class_names)
        self._images = Counter[str]()
        self._masks = Counter[str]()
        self._ignored = Counter[str]()
        self._pixels = {subset: [0] * len(class_names) for subset in SUBSETS}
        self._sizes = Counter[str]()
        self._image_kinds = Counter[str]()
        self._mask_kinds = Counter[str]()
        self._notes = Skipped()

    def add(self, subset: Subset, facts: ImageFacts, class_pixels: Sequence[int]) -> None:
        """Count one image."""
        self._images[subset] += 1
        self._masks[subset] += facts.has_label
        self._ignored[subset] += facts.num_ignored
        totals = self._pixels[subset]
        totals[:] = [a + b for a, b in zip(totals, class_pixels, strict=True)]
        self._sizes[f"{facts.size_px[0]}×{facts.size_px[1]}"] += 1
        for kinds, kind in (
            (self._image_kinds, facts.image_kind),
            (self._mask_kinds, facts.mask_kind),
        ):
            if kind:
                kinds[kind] += 1
        for note in facts.notes:
            self._notes.add(note, facts.name)

    def account(self, skipped: Mapping[str, tuple[int, str]]) -> Account:
        """The account of what was added."""
        return Account(
            name=self._name,
            class_names=self._class_names,
            num_images={subset: self._images[subset] for subset in SUBSETS},
            num_masks={subset: self._masks[subset] for subset in SUBSETS},
            class_pixels={subset: self._pixels[subset] for subset in SUBSETS},
            ignored_pixels={subset: self._ignored[subset] for subset in SUBSETS},
            sizes=dict(self._sizes),
            image_kinds=dict(self._image_kinds),
            mask_kinds=dict(self._mask_kinds),
            notes=dict(self._notes.reasons),
            skipped=dict(skipped),
        )


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def _counted(what: str, count: int, example: str) -> str:
    return f"{count} {what} (for example {example})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
