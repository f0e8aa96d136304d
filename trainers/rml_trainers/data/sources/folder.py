"""Anybody's data: a folder of images and one of masks, matched by their names."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import Literal

from rml_trainers.configuration import ADDED_LATER, configuration, require
from rml_trainers.data.dataset import require_folder, require_root
from rml_trainers.data.files import OTHER_NAME, Skipped, by_name, pictures_below
from rml_trainers.data.masks.name_template import PLAIN, NameTemplate, require_template
from rml_trainers.data.masks.settings import OwnDataConfig
from rml_trainers.data.sources.own_layout import Found, OwnDataset
from rml_trainers.data.splitting.name_lists import named
from rml_trainers.errors import DataError


@configuration
class FolderConfig(OwnDataConfig):
    """`<data root>/<folder>/images/*` and `<data root>/<folder>/masks/*`; unlabelled images need no
    mask."""

    name: Literal["folder"] = "folder"
    images: str = "images"
    masks: str = "masks"
    image_name: str = field(default=PLAIN, metadata=ADDED_LATER)
    """Template of an image's file below `images`, such as `{stem}_leftImg8bit.png`. `{stem}` is the
    name of image and mask, `{folder}/` any folders before it; a template without suffix takes
    every picture."""
    mask_name: str = field(default=PLAIN, metadata=ADDED_LATER)
    """Template of a mask's file below `masks`, such as `{stem}_mask.png` or
    `{folder}/labels/{stem}`. Other files there are left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_template(self.image_name, "image_name")
        require_template(self.mask_name, "mask_name")
        apart = (self.images, self.image_name) != (self.masks, self.mask_name)
        differ = apart or bool(self.annotations)
        wanted = "another folder than `images`, or another mask_name than image_name"
        require(differ, "masks", self.masks, wanted)


class FolderDataset(OwnDataset):
    """Images and masks are matched by their path without suffix; sub-folders are part of the name.

    Raises DataError for missing folders or lists, a mask without image, a name on both lists, or a
    validation image without mask.
    """

    name = "folder"

    def __init__(self, config: FolderConfig, data_root: Path | None) -> None:
        layout = f"  {config.folder}/{config.images}   images (.png, .jpg, …)\n"
        layout += (
            f"  {config.folder}/{config.masks}    masks, .png of the same names: class "
            "numbers in grey or palette"
        )
        root = require_root(data_root, self.name, layout)
        super().__init__(config, root / config.folder)
        self.config = config
        require_folder(self.folder / config.images, root, layout)
        if not config.annotations:
            require_folder(self.folder / config.masks, root, layout)

    def _find(self) -> Found:
        image_root = self.folder / self.config.images
        mask_root = self.folder / self.config.masks
        images = by_name(self._image_files(image_root, mask_root), image_root)
        if not images:
            raise DataError(f"{image_root}: no images{self._template_hint()}")
        if self.config.annotations:
            return Found(images, {})
        masks = by_name(self._mask_files(mask_root, image_root), mask_root)
        if orphans := sorted(masks.keys() - images.keys()):
            raise DataError(
                f"{mask_root}: masks without an image of the same name: {named(orphans)}"
                f" (an image is called {next(iter(images))!r}){_affix_hint(orphans, images)}"
            )
        return Found(images, masks)

    def _image_files(self, root: Path, mask_root: Path) -> Iterator[tuple[str, Path]]:
        """Images; of one folder for both, what is not named as a mask."""
        template = NameTemplate(self.config.image_name)
        of_mask = NameTemplate(self.config.mask_name)
        has_masks = not self.config.annotations
        # The outer of two folders counts what is left out in the inner one.
        counted = self.skipped if not _is_inside(root, mask_root) else Skipped()
        for path in pictures_below(root, counted):
            if has_masks and _is_inside(mask_root, root) and path.is_relative_to(mask_root):
                continue
            if has_masks and root == mask_root and of_mask.name(_below(path, root)) is not None:
                continue
            yield from self._named(path, root, template)

    def _mask_files(self, root: Path, image_root: Path) -> Iterator[tuple[str, Path]]:
        template = NameTemplate(self.config.mask_name)
        same = root == image_root
        counted = Skipped() if same or _is_inside(root, image_root) else self.skipped
        for path in pictures_below(root, counted):
            if _is_inside(image_root, root) and path.is_relative_to(image_root):
                continue
            if same and template.name(_below(path, root)) is None:
                continue  # an image, or told with the images
            yield from self._named(path, root, template)

    def _named(self, path: Path, root: Path, template: NameTemplate) -> Iterator[tuple[str, Path]]:
        name = template.name(_below(path, root))
        if name is None:
            self.skipped.add(OTHER_NAME, path.relative_to(self.folder).as_posix())
        else:
            yield name, path

    def _template_hint(self) -> str:
        template = self.config.image_name
        return "" if template == PLAIN else f" whose name is as data.image_name = {template!r} says"


def _is_inside(folder: Path, other: Path) -> bool:
    """Whether a folder lies below another one, and is not that one itself."""
    return folder != other and folder.is_relative_to(other)


def _below(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(root).as_posix())


def _affix_hint(orphans: list[str], images: dict[str, Path]) -> str:
    """The template that would fit most of the masks without an image, as a sentence."""
    endings = Counter(
        orphan[len(name) :]
        for orphan in orphans
        for name in (orphan[:n] for n in range(len(orphan) - 1, 0, -1))
        if name in images
    )
    if not endings:
        return ""
    ending, count = endings.most_common(1)[0]
    if "/" in ending or count * 2 < len(orphans):
        return ""
    return f'. data.mask_name: "{{stem}}{ending}" would fit {count} of them'
