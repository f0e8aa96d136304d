"""The settings that `folder` and `pairs` share: classes, masks, subsets, size."""

from dataclasses import field
from typing import Literal

from rml_trainers.configuration import ADDED_LATER, configuration, require
from rml_trainers.data.dataset import require_size
from rml_trainers.data.masks.label_tables import IGNORE, LabelColours, LabelValues
from rml_trainers.settings.contract import DataConfig

MAX_CLASSES = 255


@configuration
class OwnDataConfig(DataConfig):
    """Images and masks of one's own under `<data root>/<folder>`."""

    folder: str
    class_names: tuple[str, ...] = ()
    """Name of each class, in the order of its number in the masks. Exactly one of `class_names` and
    `class_file` is given; with `annotations` neither has to be."""
    class_file: str | None = field(default=None, metadata=ADDED_LATER)
    """JSON, YAML or text file under `folder` with names and, if it has them, numbers and colours of
    the classes, as annotation tools write them."""
    label_values: LabelValues | None = field(default=None, metadata=ADDED_LATER)
    """Mask value → class name, class number or `ignore`, or `binary` for masks of 0 and 255.
    Default: the value is the class number."""
    label_colours: LabelColours | None = field(default=None, metadata=ADDED_LATER)
    """Colour → class name, class number or `ignore`, for masks in colour."""
    unlisted_labels: Literal["error", "ignore"] = field(default="error", metadata=ADDED_LATER)
    """What a value or colour means that is not listed."""
    ignore_value: int = 255
    """Mask value that is neither trained on nor scored."""
    annotations: tuple[str, ...] = field(default=(), metadata=ADDED_LATER)
    """COCO files (JSON) under `folder`, instead of masks; of several the categories are the
    same."""
    background: str | None = field(default="background", metadata=ADDED_LATER)
    """`annotations`: class of the pixels that no annotation covers; None: they are ignored."""
    train_list: str | None = None
    """Text file of names under `folder`; default: every image that is not for validation."""
    val_list: str | None = None
    """Text file of names under `folder`. Default: every image with a mask that training leaves out;
    where nothing says what training takes, the last `val_fraction` of the images with a mask, in
    the order of a hash of their names."""
    train_names: str | None = field(default=None, metadata=ADDED_LATER)
    """Pattern of the names of training images such as `train/*`, instead of a list."""
    val_names: str | None = field(default=None, metadata=ADDED_LATER)
    """Pattern of the names of validation images such as `val/*`, instead of a list."""
    val_fraction: float = 0.2
    grey_range: tuple[int, int] | None = field(default=None, metadata=ADDED_LATER)
    """Values of grey images with more than 8 bits that become black and white; without it such
    images are refused."""
    size_px: tuple[int, int] | None
    """Height and width that every image is resized to when prepared; None: every image keeps its
    own size."""

    def __post_init__(self) -> None:
        self._check_classes()
        self._check_tables()
        for subset in ("train", "val"):
            listed = self.train_list if subset == "train" else self.val_list
            names = self.train_names if subset == "train" else self.val_names
            both = listed is not None and names is not None
            require(not both, f"{subset}_names", names, f"none where {subset}_list is given")
        require(0 < self.val_fraction < 1, "val_fraction", self.val_fraction, "a share in (0, 1)")
        ignored = f"a mask value from 0 to {2**16 - 1}"
        require(0 <= self.ignore_value < 2**16, "ignore_value", self.ignore_value, ignored)
        grey = self.grey_range
        require(grey is None or grey[0] < grey[1], "grey_range", grey, "[black, white], rising")
        require_size(self.size_px)

    def _check_classes(self) -> None:
        names = self.class_names
        if not self.annotations:
            given = bool(names) + (self.class_file is not None)
            wanted = "2 to 255 names, or a class_file instead (exactly one of the two)"
            require(given == 1, "class_names", names, wanted)
        else:
            none = self.class_file is None
            require(none, "class_file", self.class_file, "none: annotations name their categories")
        counted = not names or 2 <= len(names) <= MAX_CLASSES
        require(counted, "class_names", names, "2 to 255 names")
        require(len(set(names)) == len(names), "class_names", names, "no name twice")
        require(IGNORE not in names, "class_names", names, f"another name than {IGNORE!r}")

    def _check_tables(self) -> None:
        tables: tuple[tuple[str, LabelValues | LabelColours | None], ...] = (
            ("label_values", self.label_values),
            ("label_colours", self.label_colours),
        )
        for key, table in tables:
            if table is None:
                continue
            none = not self.annotations
            require(none, key, dict(table), "none: with annotations there are no masks")
            if self.class_names:
                try:
                    table.resolved(self.class_names)
                except ValueError as error:
                    raise ValueError(f"{key} = {dict(table)!r}: {error}") from error
