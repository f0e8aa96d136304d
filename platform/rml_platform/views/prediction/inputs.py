"""Which image files a person means, what each is called, and whether it can be read."""

import glob
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rml_trainers.data.dataset import LabelReader, SizePx
from rml_trainers.data.files import IMAGE_SUFFIXES, OTHER_SUFFIX, Skipped, pictures_below
from rml_trainers.data.pictures.images import GreyRange, read_image
from rml_trainers.data.pictures.out_of_scope import refuse_out_of_scope
from rml_trainers.errors import DataError

NUM_READERS = 4
"""Files that are tried at the same time."""


@dataclass(frozen=True)
class Input:
    """One image file."""

    path: Path
    below: PurePosixPath
    """Its path below the folder or pattern that was given; of a single file its name."""

    @property
    def name(self) -> str:
        """What its results are called: the same without suffix."""
        return self.below.with_suffix("").as_posix()


def find_inputs(given: Sequence[str], skipped: Skipped) -> tuple[list[Input], list[str]]:
    """Files, all pictures below folders, and files that patterns (`*`, `?`, `[…]`, `**`) mean, each
    once, in the order given; and a sentence about each that is not there, or holds no picture.

    Args:
        given: paths and patterns.
        skipped: counts what folders and patterns hold besides.
    """
    found: dict[tuple[Path, str], Input] = {}
    problems: list[str] = []
    for text in given:
        try:
            for one in _meant(text, skipped):
                found.setdefault((one.path.resolve(), one.name), one)
        except DataError as error:
            problems.append(str(error))
    return list(found.values()), problems


def _meant(text: str, skipped: Skipped) -> list[Input]:
    path = Path(text)
    if path.is_dir():
        own = Skipped()
        inputs = [
            Input(one, PurePosixPath(one.relative_to(path).as_posix()))
            for one in pictures_below(path, own)
        ]
        skipped.add_all(own)
        if not inputs:
            left = [f"{number} {why}, such as {one}" for why, (number, one) in own.reasons.items()]
            raise DataError(f"{text}: a folder without pictures ({'; '.join(left) or 'empty'})")
        return inputs
    if path.exists():
        return [Input(path, PurePosixPath(path.name))]
    if path.is_symlink():
        raise DataError(f"{text}: a broken symbolic link")
    if not glob.has_magic(text):
        raise DataError(f"{text}: no such file or folder")
    inputs = list(_matching(text, skipped))
    if not inputs:
        raise DataError(f"{text}: no picture fits this pattern")
    return inputs


def _matching(pattern: str, skipped: Skipped) -> Iterator[Input]:
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    # Not Path.glob: it takes hidden files, and no files for a closing `**`.
    for text in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
        path = Path(text)
        if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            yield Input(path, PurePosixPath(path.relative_to(root).as_posix()))
        elif path.is_file():
            skipped.add(OTHER_SUFFIX, text)


def check_inputs(
    inputs: Sequence[Input],
    grey_range: GreyRange | None,
    truth: Mapping[str, Path],
    read_label: LabelReader | None,
    on_checked: Callable[[], None],
    problems: Sequence[str] = (),
) -> list[SizePx]:
    """Decode every image and its truth once, so that a bad one is known before any work.

    Args:
        inputs: images.
        grey_range: of deep grey images.
        truth: mask of an image's name, for those that have one.
        read_label: reads them.
        on_checked: called after each image.
        problems: what is known to be wrong already, to be told with the rest.
    Returns:
        Height and width of each image.
    Raises:
        DataError: names everything that was given and cannot be used.
    """
    bad = list(problems)

    def check(one: Input) -> SizePx | list[str]:
        try:
            refuse_out_of_scope(one.path)
            image = read_image(one.path, grey_range)
        except DataError as error:
            return [str(error)]
        if read_label is not None and one.name in truth:
            try:
                read_label(truth[one.name], image)
            except DataError as error:
                return [str(error)]
        return (image.pixels.shape[0], image.pixels.shape[1])

    sizes: list[SizePx] = []
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for found in pool.map(check, inputs):
            if isinstance(found, list):
                bad += found
            else:
                sizes.append(found)
            on_checked()
    if bad:
        number = len(inputs) + len(problems)
        many = f"{len(bad)} of {number} inputs cannot be used; nothing was predicted:\n"
        raise DataError((many if number > 1 else "") + "\n".join(bad))
    return sizes
