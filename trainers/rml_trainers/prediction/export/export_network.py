"""One file from one network: written beside its target, compared with torch, and only then put in
its place."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rml_trainers.configuration import suggest
from rml_trainers.data.dataset import SizePx
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.export.comparison import (
    Difference,
    compare,
    image_batches,
    random_images,
    torch_scores,
)
from rml_trainers.prediction.export.file_format import FileFormat, Request
from rml_trainers.prediction.export.image_to_scores import ImageToScores
from rml_trainers.prediction.export.onnx_file import ONNX
from rml_trainers.prediction.export.safetensors_file import SAFETENSORS
from rml_trainers.prediction.export.torchscript_file import TORCHSCRIPT

FORMATS: dict[str, FileFormat] = {
    "onnx": ONNX,
    "torchscript": TORCHSCRIPT,
    "safetensors": SAFETENSORS,
}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written and found to be right."""

    path: Path
    fixed_px: SizePx | None
    """The only size of images that it takes; None: any."""
    random: Difference
    real: Difference | None
    """On images of the run; None where there were none."""
    checked_with: str


def check_target(path: Path, format_name: str, *, overwrite: bool) -> None:
    """Everything that can be seen before a network is loaded.

    Raises:
        ConfigError: an unknown format, a package that it needs and that is not installed, a file
            that is there already, a folder that is not, or a name that is not one of the format's.
    """
    if format_name not in FORMATS:
        raise ConfigError(f"format {format_name!r}: {suggest(format_name, FORMATS)}")
    chosen = FORMATS[format_name]
    if path.is_dir():
        raise ConfigError(f"{path}: a folder; name the file to write")
    if path.suffix not in chosen.suffixes:
        raise ConfigError(
            f"{path}: files of the format {format_name} end in {' or '.join(chosen.suffixes)}"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: is there already; choose another name or --overwrite it")
    chosen.require_packages()


def export_network(
    module: ImageToScores,
    path: Path,
    format_name: str,
    *,
    fixed_px: SizePx | None,
    usual_px: SizePx,
    metadata: Mapping[str, str],
    images: Sequence[npt.NDArray[np.uint8]],
) -> Exported:
    """Write a file and compare what it computes with what torch computes, on the CPU.

    Args:
        module: what is exported.
        path: the file, in a folder that is there; one that is there is replaced, see
            `check_target`.
        format_name: one of `FORMATS`.
        fixed_px: the only size of images that the file shall take; None: any, where network and
            format allow it.
        usual_px: size of the images that the network was trained for.
        metadata: go into the file, beside what the module says of itself.
        images: real images uint8 [H, W, 3] to compare on, beside random ones.
    Raises:
        ConfigError: the network does not take this size, the format cannot hold it, the folder
            cannot be written to, or the file computes something else than torch. Nothing is left
            behind then, and a file that was there stays as it was.
    """
    chosen = FORMATS[format_name]
    own_px = module.input_px
    if own_px is not None and fixed_px not in (None, own_px):
        raise ConfigError(f"size {fixed_px}: the network takes images of {own_px} only")
    request = Request(
        module=module,
        fixed_px=fixed_px or own_px,
        usual_px=usual_px,
        metadata={**metadata, **module.normalisation()},
    )
    try:
        # Beside the target, because a file is moved in one step only within a file system.
        scratch = tempfile.TemporaryDirectory(dir=path.parent, prefix=".rml-export-")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    with scratch as folder:
        file = Path(folder) / path.name
        size_px = chosen.write(request, file)
        random, real = _differences(
            module, file, chosen, random_images(size_px, usual_px), image_batches(images, size_px)
        )
        file.replace(path)
    return Exported(
        path=path,
        fixed_px=size_px,
        random=random,
        real=real,
        checked_with=chosen.checked_with(),
    )


def _differences(
    module: ImageToScores,
    file: Path,
    chosen: FileFormat,
    random: Sequence[Tensor],
    real: Sequence[Tensor],
) -> tuple[Difference, Difference | None]:
    """On random and on real images (None: there are none). Raises ConfigError for one that is too
    large."""
    # All at once, because it takes seconds to load a file into a program that runs it.
    found = chosen.scores(file, [*random, *real])
    differences = [compare(torch_scores(module, random), found[: len(random)])]
    if real:
        differences.append(compare(torch_scores(module, real), found[len(random) :]))
    for difference in differences:
        if not difference.is_tolerable:
            raise ConfigError(_wrong(difference, chosen))
    return differences[0], differences[1] if real else None


def _wrong(difference: Difference, chosen: FileFormat) -> str:
    return (
        f"the file computes something else than torch (by {chosen.checked_with()}): scores differ "
        f"by up to {difference.largest:.2g}, allowed are {difference.allowed:.2g}, and "
        f"{100 * difference.changed_share:.4g} % of the pixels get another class; no file was "
        "written. Try another format"
    )
