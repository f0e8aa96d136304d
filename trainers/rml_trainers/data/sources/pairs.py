"""Anybody's data: a table (CSV) that says which mask belongs to which image."""

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.data.dataset import Subset, require_folder, require_root
from rml_trainers.data.files import Lookup, composed, read_text
from rml_trainers.data.masks.settings import OwnDataConfig
from rml_trainers.data.sources.own_layout import Found, OwnDataset
from rml_trainers.data.splitting.name_lists import named
from rml_trainers.errors import DataError

COLUMNS = ("image", "mask", "subset")
SUBSET_NAMES: dict[str, Subset] = {"train": "train", "val": "val", "valid": "val"}
SUBSET_NAMES |= {"validation": "val", "training": "train"}
OTHER_SUBSETS = ("test", "testing", "none")
"""What a line says whose image is not to be used."""
OF_OTHER_SUBSET = "of another subset in the table"
_DELIMITERS = "\t;,"


@configuration
class PairsConfig(OwnDataConfig):
    """`<data root>/<folder>` and a table of paths in it; an image without a mask is unlabelled."""

    name: Literal["pairs"] = "pairs"
    table: str = "pairs.csv"
    """Text file under `folder` with an image and its mask a line, separated by comma, semicolon or
    tab. Its first line may name the columns: `image`, `mask` and `subset` (train, val)."""
    mask_name: str | None = None
    """Path of the mask of an image whose line names none, such as `masks/{stem}_mask.png`: `{stem}`
    is the image's name without suffix, `{folder}/` its folder. An image is unlabelled where there
    is no such file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.mask_name
        rest = (name or "{stem}").replace("{stem}", "", 1).replace("{folder}/", "", 1)
        sound = name is None or ("{stem}" in name and not set("{}") & set(rest))
        wanted = "a path with {stem} once and, if need be, {folder}/ in front of it"
        require(sound, "mask_name", name, wanted)


class PairsDataset(OwnDataset):
    """Images and masks as a table pairs them; an image's name is its path without suffix.

    Raises DataError for a missing table or file, a line that cannot be read, or an image that comes
    twice.
    """

    name = "pairs"

    def __init__(self, config: PairsConfig, data_root: Path | None) -> None:
        layout = (
            f"  {config.folder}/{config.table}   image,mask a line, paths below {config.folder}"
        )
        root = require_root(data_root, self.name, layout)
        super().__init__(config, root / config.folder)
        self.config = config
        require_folder(self.folder, root, layout)
        self._lookup = Lookup()

    def _find(self) -> Found:
        table = self.folder / self.config.table
        if not table.is_file():
            raise DataError(f"data.table: {table}: no such file")
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        subsets: dict[str, Subset] = {}
        twice: list[str] = []
        for line in read_pairs(table):
            if line.subset in OTHER_SUBSETS:
                self.skipped.add(OF_OTHER_SUBSET, line.image)
                continue
            name = composed(PurePosixPath(line.image).with_suffix("").as_posix())
            if name in images:
                twice.append(name)
            images[name] = self._lookup.find(self.folder / line.image)
            mask = self._mask(line)
            if mask is not None:
                masks[name] = mask
            if line.subset is not None:
                subsets[name] = SUBSET_NAMES[line.subset]
        if twice:
            raise DataError(f"{table}: images that come twice: {named(sorted(twice))}")
        self._require_files(table, images, masks)
        if subsets and len(subsets) < len(images):
            without = sorted(images.keys() - subsets.keys())
            raise DataError(f"{table}: images without a subset: {named(without)}")
        return Found(images, {} if self.config.annotations else masks, subsets)

    def _mask(self, line: "Pair") -> Path | None:
        if line.mask is not None:
            return self._lookup.find(self.folder / line.mask)
        if self.config.mask_name is None:
            return None
        image = PurePosixPath(line.image)
        folder = "" if image.parent == PurePosixPath() else f"{image.parent}/"
        text = self.config.mask_name.replace("{folder}/", folder).replace("{stem}", image.stem)
        path = self._lookup.find(self.folder / os.path.normpath(text))
        return path if path.is_file() else None

    def _require_files(self, table: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
        """Name every file that the table has and the folder has not, at once."""
        if not images:
            raise DataError(f"{table}: no line with an image")
        paths = [*images.values(), *masks.values()]
        missing = [str(path.relative_to(self.folder)) for path in paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{table}: {len(missing)} files are not below {self.folder}: {named(missing)}"
            )

    def _source_files(self) -> Iterator[tuple[str, Path]]:
        yield from super()._source_files()
        yield f"file/{self.config.table}", self.folder / self.config.table


@dataclass(frozen=True)
class Pair:
    """One line of a table."""

    image: str
    mask: str | None
    subset: str | None
    """`train`, `val`, or one of `OTHER_SUBSETS`."""


def read_pairs(table: Path) -> list[Pair]:
    """Lines of a table of images and masks. Raises DataError naming the line that is wrong."""
    lines = [line for line in read_text(table).splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{table}: the table is empty")
    delimiter = max(_DELIMITERS, key=lines[0].count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = [cell.lower() for cell in rows[0]]
    columns: Sequence[str] = COLUMNS[: len(rows[0])]
    if "image" in header:
        columns = header
        rows = rows[1:]
    pairs = []
    for row in rows:
        # Further columns of the person's own are no business of ours.
        cells = dict(zip(columns, row, strict=False))
        pairs.append(_pair(cells, table, row))
    return pairs


def _pair(cells: dict[str, str], table: Path, row: list[str]) -> Pair:
    image = cells.get("image", "").replace("\\", "/")
    mask = cells.get("mask", "").replace("\\", "/")
    subset = cells.get("subset", "").lower()
    for path in (image, mask):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts:
            raise DataError(
                f"{table}: {path}: expected a path below the table's data.folder; choose a folder "
                "that holds both images and masks"
            )
    if not image:
        raise DataError(f"{table}: {', '.join(row)!r} names no image")
    if subset and subset not in (*SUBSET_NAMES, *OTHER_SUBSETS):
        raise DataError(
            f"{table}: {image}: subset {subset!r}; expected train or val (test: left out)"
        )
    return Pair(image, mask or None, subset or None)
