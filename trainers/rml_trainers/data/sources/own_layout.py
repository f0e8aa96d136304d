"""What `folder` and `pairs` share: whose images they are, what their masks mean, which are held
out."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from rml_trainers.data.dataset import (
    LabelReader,
    RawImage,
    Subset,
    UInt8Array,
    check_size,
    files_fingerprint,
    plain_labels,
    raw_image,
    require_root,
)
from rml_trainers.data.files import NOT_LISTED, Skipped, Sources
from rml_trainers.data.masks.class_file import ClassFile, read_class_file
from rml_trainers.data.masks.coco import CocoFiles
from rml_trainers.data.masks.label_tables import IGNORED
from rml_trainers.data.masks.mask_rule import MaskRule
from rml_trainers.data.masks.settings import OwnDataConfig
from rml_trainers.data.pictures.images import ImageFile, read_image
from rml_trainers.data.pictures.masks import MaskFile, read_mask
from rml_trainers.data.splitting.name_lists import named, read_names_of
from rml_trainers.errors import ConfigError, DataError


@dataclass(frozen=True)
class Found:
    """Files of a set by the names of its images."""

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    """Of some of the images; none where annotations take their place."""
    subsets: Mapping[str, Subset] = field(default_factory=dict)
    """Of the images whose subset the layout itself says."""
    lists: tuple[Path, ...] = ()
    """Files that say which images there are."""


class OwnDataset(ABC):
    """A data set of one's own; a subclass finds its files.

    Raises DataError for missing folders or lists, a name for both subsets, or a validation image
    without mask.
    """

    name: str

    def __init__(self, config: OwnDataConfig, folder: Path) -> None:
        self.folder = folder
        self.skipped = Skipped()
        self._settings = config

    @abstractmethod
    def _find(self) -> Found:
        """Files of the set; counts what it leaves out in `skipped`."""

    @cached_property
    def _found(self) -> Found:
        return self._find()

    @cached_property
    def _class_file(self) -> ClassFile | None:
        name = self._settings.class_file
        return None if name is None else read_class_file(self.folder / name)

    @cached_property
    def _coco(self) -> CocoFiles | None:
        names = self._settings.annotations
        return CocoFiles([self.folder / name for name in names], self.folder) if names else None

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        settings = self._settings
        if settings.class_names:
            return settings.class_names
        if self._class_file is not None:
            return self._class_file.class_names
        assert self._coco is not None, "checked by the settings"
        names = self._coco.category_names
        background = settings.background
        return names if background is None or background in names else (background, *names)

    @cached_property
    def _rule(self) -> MaskRule:
        """Tables of the settings count before those of the class file."""
        return _mask_rule(self._settings, self.class_names, self._class_file)

    @cached_property
    def _coco_names(self) -> dict[str, str]:
        """File name in the annotations of each image that they list."""
        assert self._coco is not None
        found: dict[str, str] = {}
        for name, path in self._found.images.items():
            listed = self._coco.find(PurePosixPath(path.relative_to(self.folder).as_posix()))
            if listed is not None and listed in found.values():
                raise DataError(
                    f"{self._coco.paths}: {listed} may be {path.relative_to(self.folder)} or "
                    "another image of that name; write the folder into file_name"
                )
            if listed is not None:
                found[name] = listed
        if not found:
            raise DataError(
                f"{self._coco.paths}: no image of the set is listed; listed is "
                f"{next(iter(self._coco.images), 'none')}, the folder has "
                f"{next(iter(self._found.images.values())).name}"
            )
        return found

    @cached_property
    def _class_numbers(self) -> dict[str, int]:
        """Class number of each category of the annotations."""
        assert self._coco is not None
        known = {*self._coco.category_names, self._settings.background}
        if unknown := [name for name in self.class_names if name not in known]:
            raise ConfigError(
                f"data.class_names: {', '.join(unknown)}: neither a category of "
                f"{self._coco.paths} ({', '.join(self._coco.category_names)}) nor "
                "data.background"
            )
        return {name: number for number, name in enumerate(self.class_names)}

    @cached_property
    def _labelled(self) -> frozenset[str]:
        """Names of the images that have a mask or annotations."""
        return frozenset(self._found.masks if self._coco is None else self._coco_names)

    @cached_property
    def _subsets(self) -> dict[Subset, tuple[str, ...]]:
        """Names of both subsets: by the layout, lists, patterns or hash."""
        train = self._given("train")
        val = self._given("val")
        if val is None:
            val = self._other_labelled(train) if train is not None else self._held_out()
        if train is None:
            taken = set(val)
            # What the layout gives to validation and a list leaves out is not trained on.
            train = tuple(sorted(name for name in self._found.images if name not in taken))
        if both := sorted(set(train) & set(val)):
            raise DataError(
                f"{self.folder}: for training and for validation at once: {named(both)}"
            )
        if unmasked := [name for name in val if name not in self._labelled]:
            raise DataError(f"{self.folder}: validation images without a mask: {named(unmasked)}")
        for subset, names in (("train", train), ("val", val)):
            if not names:
                raise DataError(
                    f"{self.folder}: no {subset} images left; {len(self._labelled)} images have a "
                    "mask"
                )
        for name in sorted(self._found.images.keys() - {*train, *val}):
            self.skipped.add(NOT_LISTED, name)
        return {"train": train, "val": val}

    def _given(self, subset: Subset) -> tuple[str, ...] | None:
        """Names of a subset where something says them."""
        settings = self._settings
        listed = settings.train_list if subset == "train" else settings.val_list
        pattern = settings.train_names if subset == "train" else settings.val_names
        images = self._found.images
        if listed is not None:
            file = self.folder / listed
            if not file.is_file():
                raise DataError(f"data.{subset}_list: {file}: no such file")
            return read_names_of(file, images, what="the images")
        if pattern is not None:
            found = tuple(sorted(name for name in images if fnmatchcase(name, pattern)))
            if not found:
                raise DataError(
                    f"{self.folder}: data.{subset}_names = {pattern!r} fits no image; one is "
                    f"called {next(iter(images))}"
                )
            return found
        own = tuple(sorted(n for n, its in self._found.subsets.items() if its == subset))
        return own or None

    def _other_labelled(self, train: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(self._labelled - set(train)))

    def _held_out(self) -> tuple[str, ...]:
        in_hash_order = sorted(
            self._labelled, key=lambda name: hashlib.sha256(name.encode()).digest()
        )
        num_val = max(1, round(len(in_hash_order) * self._settings.val_fraction))
        if len(in_hash_order) < 2:
            return ()
        return tuple(sorted(in_hash_order[len(in_hash_order) - num_val :]))

    def names(self, subset: Subset) -> tuple[str, ...]:
        return self._subsets[subset]

    def names_without_label(self) -> tuple[str, ...]:
        return tuple(name for name in self.names("train") if name not in self._labelled)

    def read(self, subset: Subset, name: str) -> RawImage:
        image = read_image(self._found.images[name], self._settings.grey_range)
        if name not in self._labelled:
            return raw_image(image, None, None)
        height, width = image.pixels.shape[:2]
        if self._coco is not None:
            background = self._settings.background
            numbers = self._class_numbers
            uncovered = IGNORED if background is None else numbers.get(background, IGNORED)
            label = self._coco.label(self._coco_names[name], numbers, uncovered, (height, width))
            return raw_image(image, label, None)
        label, mask = _read_label(self._rule, self._found.masks[name], image)
        return raw_image(image, label, mask)

    def fingerprint(self) -> str:
        return files_fingerprint(self._source_files())

    def sources(self) -> Sources:
        return Sources(dict(self._source_files()), self.skipped)

    def _source_files(self) -> Iterator[tuple[str, Path]]:
        for subset, names in self._subsets.items():
            for name in names:
                yield f"{subset}/{name}", self._found.images[name]
                if name in self._found.masks:
                    yield f"mask/{name}", self._found.masks[name]
        extra = (self._settings.class_file, *self._settings.annotations)
        for file in extra:
            if file is not None:
                yield f"file/{file}", self.folder / file


def own_labels(
    settings: OwnDataConfig, class_names: Sequence[str], data_root: Path | None
) -> LabelReader:
    """Reader of further masks of a set's kind, which need not lie under its folder.

    Where annotations take the place of masks, a mask holds class numbers. Raises DataError where
    the set's class file, which says what its masks mean, cannot be read.
    """
    if settings.annotations:
        return plain_labels(settings, class_names, data_root)
    known: ClassFile | None = None
    if settings.class_file is not None:
        root = require_root(data_root, settings.name, f"  {settings.folder}/{settings.class_file}")
        known = read_class_file(root / settings.folder / settings.class_file)
    return partial(_read_label, _mask_rule(settings, class_names, known))


def _mask_rule(
    settings: OwnDataConfig, class_names: Sequence[str], known: ClassFile | None
) -> MaskRule:
    """Tables of the settings count before those of the class file."""
    values = settings.label_values or (known and known.values)
    colours = settings.label_colours or (known and known.colours)
    try:
        return MaskRule(
            class_names,
            values=values.resolved(class_names) if values else None,
            colours=colours.resolved(class_names) if colours else None,
            ignore_value=settings.ignore_value,
            ignore_unlisted=settings.unlisted_labels == "ignore",
        )
    except ValueError as error:
        raise ConfigError(f"data.label_values / data.label_colours: {error}") from error


def _read_label(rule: MaskRule, path: Path, image: ImageFile) -> tuple[UInt8Array, MaskFile]:
    mask = read_mask(path)
    check_size(image, mask.size_px, path)
    return rule.label(mask, path), mask
