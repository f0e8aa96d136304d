"""What is written for an image, under which names, and whether those are free.

    NAME_mask.png                  class numbers, 8-bit grey
    NAME_colours.png               a colour for each class
    NAME_overlay.png               the colours laid over the image
    NAME_probabilities.npz         `probabilities` float16 [H, W, K], `class_names`
    NAME_probabilities/NN_CLASS.png   the same as one 16-bit grey picture for each class

NAME is the image's path below the folder that was given, without suffix. Every file appears whole
or not at all.
"""

import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from rml_platform.views.prediction.inputs import Input
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.overlays import Colours, colour_mask, overlay

SUFFIXES = {
    "masks": "_mask.png",
    "colours": "_colours.png",
    "overlays": "_overlay.png",
    "probabilities": "_probabilities.npz",
    "probability-pngs": "_probabilities",
}
"""What can be written, and what each image's name is continued with."""
DEFAULT_WRITE = "masks,overlays"
MOST_TOLD = 10
"""Files that a message names."""
MAX_PNG = 2**16 - 1
"""Value of probability 1 in a picture."""

Mask = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


def kinds_of(text: str) -> tuple[str, ...]:
    """What `--write masks,overlays` asks for. Raises ConfigError for an unknown word or none."""
    kinds = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for kind in kinds:
        if kind not in SUFFIXES:
            raise ConfigError(f"--write {text}: {kind!r}: {suggest(kind, SUFFIXES)}")
    if not kinds:
        raise ConfigError(f"--write: expected one or more of {', '.join(SUFFIXES)}")
    return kinds


class Outputs:
    """The files of a prediction."""

    def __init__(self, to: Path, kinds: tuple[str, ...], class_names: tuple[str, ...]) -> None:
        self.to = to
        self.kinds = kinds
        self._class_names = class_names

    def files(self, name: str) -> list[Path]:
        """Everything that is written for an image."""
        found = []
        for kind in self.kinds:
            path = self.to / f"{name}{SUFFIXES[kind]}"
            found += self._pictures(path) if kind == "probability-pngs" else [path]
        return found

    def _pictures(self, folder: Path) -> list[Path]:
        digits = len(str(len(self._class_names) - 1))
        return [
            folder / f"{k:0{digits}d}_{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')}.png"
            for k, name in enumerate(self._class_names)
        ]

    def check(
        self, inputs: Sequence[Input], others: Sequence[Path], own: Sequence[Path], overwrite: bool
    ) -> None:
        """Complain about everything that would be overwritten.

        Args:
            inputs: images.
            others: further files of the person's, which must not be written over whatever is asked.
            own: further files that will be written, beside those of the images.
            overwrite: files that are there may be replaced, the person's own images excepted.
        Raises:
            ConfigError: a target that is no folder; two images of one name; a file that is there.
        """
        self._check_folder()
        _check_names(inputs, self.to)
        targets = [*(path for one in inputs for path in self.files(one.name)), *own]
        theirs = {path.resolve() for path in (*(one.path for one in inputs), *others)}
        problems = [
            f"{path}: is one of the images or masks that were given, and would be overwritten"
            for path in targets
            if path.resolve() in theirs
        ]
        problems += [f"{path}: is a folder" for path in targets if path.is_dir()]
        problems += [
            f"{folder}: is a file; a folder is needed"
            for folder in dict.fromkeys(parent for path in targets for parent in path.parents)
            if folder.is_file()
        ]
        if not overwrite:
            told = {path for path in targets if path.resolve() in theirs}
            problems += [
                f"{path}: exists already" for path in targets if path.is_file() and path not in told
            ]
        if problems:
            hint = "choose another folder with --to" + (
                "" if overwrite else ", or say --overwrite to replace what exists"
            )
            raise ConfigError("\n".join([*_shortened(problems), hint]))

    def _check_folder(self) -> None:
        for folder in (self.to, *self.to.parents):
            if folder.exists():
                if not folder.is_dir():
                    raise ConfigError(f"--to {self.to}: {folder} is a file; expected a folder")
                if not os.access(folder, os.W_OK):
                    raise ConfigError(f"--to {self.to}: {folder} cannot be written to")
                return

    @contextmanager
    def of_image(self, name: str, size_px: tuple[int, int]) -> Iterator["ImageOutput"]:
        """Takes the probabilities of one image, strip by strip."""
        with tempfile.TemporaryFile() as spool:
            yield ImageOutput(self, name, size_px, len(self._class_names), spool)

    def write(self, output: "ImageOutput", image: Colours, colours: Colours) -> list[Path]:
        """Everything that was asked for of one image; gives the files."""
        for kind in self.kinds:
            path = self.to / f"{output.name}{SUFFIXES[kind]}"
            if kind == "probabilities":
                _write_npz(path, output.probabilities, self._class_names)
            elif kind == "probability-pngs":
                for k, file in enumerate(self._pictures(path)):
                    _write_png(file, as_16_bits(output.probabilities[..., k]))
            elif kind == "masks":
                _write_png(path, output.mask)
            elif kind == "colours":
                _write_png(path, colour_mask(output.mask, colours))
            else:
                _write_png(path, overlay(image, output.mask, colours))
        return self.files(output.name)


class ImageOutput:
    """The prediction of one image as its strips come."""

    def __init__(
        self,
        outputs: Outputs,
        name: str,
        size_px: tuple[int, int],
        num_classes: int,
        spool: IO[bytes],
    ) -> None:
        self.name = name
        self.mask: Mask = np.empty(size_px, np.uint8)
        """[H, W] class numbers."""
        self.probabilities: npt.NDArray[np.float32] = np.empty((0, 0, num_classes), np.float32)
        """[H, W, K], in a file of the system's temporary folder and not in memory; empty unless
        they are asked for."""
        if {"probabilities", "probability-pngs"} & set(outputs.kinds):
            self.probabilities = np.memmap(
                spool, np.float32, mode="w+", shape=(*size_px, num_classes)
            )
        self._row = 0

    def add(self, classes: Mask, probabilities: Probabilities | None) -> None:
        """The next rows: [rows, W], and [K, rows, W] where probabilities are asked for."""
        rows = slice(self._row, self._row + len(classes))
        self.mask[rows] = classes
        if probabilities is not None:
            self.probabilities[rows] = probabilities.transpose(1, 2, 0)
        self._row = rows.stop

    @property
    def wants_probabilities(self) -> bool:
        return self.probabilities.size > 0


def as_16_bits(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.uint16]:
    """Probabilities as 0 … 65535."""
    levels = np.rint(probabilities * MAX_PNG).clip(0, MAX_PNG)
    return np.asarray(levels, np.uint16)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as temporary:
        # A name that is no UTF-8 keeps its own bytes.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def _write_png(path: Path, pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    with whole_file(path) as temporary:
        Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG")


def _write_npz(path: Path, probabilities: Probabilities, class_names: Sequence[str]) -> None:
    """What `numpy.savez_compressed` writes, without a copy of it all in memory."""
    with (
        whole_file(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive,
    ):
        with archive.open("probabilities.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f2", "fortran_order": False, "shape": probabilities.shape}
            np.lib.format.write_array_header_1_0(member, header)
            for row in probabilities:
                member.write(row.astype("<f2").tobytes())
        with archive.open("class_names.npy", "w") as member:
            np.lib.format.write_array(member, np.array(class_names), allow_pickle=False)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside a file that becomes it when all went well.

    Raises ConfigError where the folder cannot be made or written to.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _shortened(lines: Sequence[str]) -> list[str]:
    """What a person reads of a list in which every line is mended alike."""
    more = len(lines) - MOST_TOLD
    return [*lines[:MOST_TOLD], f"and {more} more"] if more > 0 else list(lines)


def _check_names(inputs: Sequence[Input], to: Path) -> None:
    """Raise ConfigError where two images would have results of one name."""
    by_name: dict[str, list[Path]] = {}
    for one in inputs:
        by_name.setdefault(one.name, []).append(one.path)
    twice = [
        f"{' and '.join(map(str, paths))}: both would be called {name!r} in {to}"
        for name, paths in by_name.items()
        if len(paths) > 1
    ]
    if twice:
        raise ConfigError(
            "\n".join(
                [
                    *_shortened(twice),
                    "give the folder that holds them, or predict them one after the other",
                ]
            )
        )
