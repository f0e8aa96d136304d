"""Anybody's data: a pair of folders of images and masks, with optional name lists."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class FolderConfig:
    """`<data root>/<folder>/images/*` and `<data root>/<folder>/masks/*`; unlabelled images need no mask."""

    name: Literal["folder"] = "folder"
    folder: str
    class_names: tuple[str, ...]
    """Name of each class, in the order of its number in the masks."""
    images: str = "images"
    masks: str = "masks"
    train_list: str | None = None
    """Text file of bare names under `folder`; default: every image that is not in `val_list`."""
    val_list: str | None = None
    """Text file of bare names under `folder`; default: the last `val_fraction` of the labelled names in hash order."""
    val_fraction: float = 0.2
    ignore_value: int = 255
    """Mask value that is neither trained on nor scored."""
    size_px: tuple[int, int]
    """Height and width that every image is resized to when prepared."""

    def __post_init__(self) -> None:
        require(2 <= len(self.class_names) <= 255, "class_names", self.class_names, "2 to 255 names")
        require(len(set(self.class_names)) == len(self.class_names), "class_names", self.class_names, "no name twice")
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "a share in (0, 1)")
        require(0 <= self.ignore_value <= 255, "ignore_value", self.ignore_value, "a mask value from 0 to 255")
        require(min(self.size_px) >= 32, "size_px", self.size_px, "at least 32 pixels each way")
