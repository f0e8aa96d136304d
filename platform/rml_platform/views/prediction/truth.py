"""Which mask belongs to which image, where a person has the truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from rml_platform.views.prediction.inputs import Input
from rml_trainers.data import name_templates
from rml_trainers.data.files import Skipped, by_name, composed, pictures_below
from rml_trainers.data.masks.name_template import NameTemplate, require_template
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.settings.contract import DataConfig


def find_truth(
    folder: Path, template: str | None, inputs: Sequence[Input], config: DataConfig
) -> Mapping[str, Path]:
    """Mask files by the name of their image; images without one are left out.

    A mask lies at its image's place: in the sub-folder of that name, and called as the template
    says.

    Args:
        folder: that holds the masks.
        template: of their names; None: as the run's data set calls its masks.
    Raises:
        ConfigError: a template that cannot be.
        DataError: no folder, two masks of one name, or no mask for any image.
    """
    of_image, of_mask = name_templates(config)
    if template is not None:
        try:
            require_template(template, "--truth-name")
        except ValueError as error:
            raise ConfigError(str(error)) from error
    if not folder.is_dir():
        raise DataError(f"--truth {folder}: no such folder")
    masks = by_name(_named(folder, NameTemplate(template or of_mask)), folder)
    images = NameTemplate(of_image)
    truth: dict[str, Path] = {}
    for one in inputs:
        mask = masks.get(images.name(one.below) or "") or masks.get(composed(one.name))
        if mask is not None:
            truth[one.name] = mask
    if not truth:
        raise DataError(
            f"--truth {folder}: none of its files is the mask of an image: expected "
            f"{template or of_mask!r} for {inputs[0].name!r}{_example(folder)}. Say how masks are "
            "called with --truth-name"
        )
    return truth


def _named(folder: Path, template: NameTemplate) -> list[tuple[str, Path]]:
    found = []
    for path in pictures_below(folder, Skipped()):
        name = template.name(PurePosixPath(path.relative_to(folder).as_posix()))
        if name is not None:
            found.append((name, path))
    return found


def _example(folder: Path) -> str:
    one = next(pictures_below(folder, Skipped()), None)
    return f", found {one.relative_to(folder)}" if one else ", found no picture"
