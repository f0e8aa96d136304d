"""From a decoded mask to class numbers 0…K-1 and 255 for what is ignored."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.masks.label_tables import IGNORED
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.errors import DataError

NUM_SHOWN = 10
"""Values that an error lists before it only counts the others."""
_UNLISTED = -1


class MaskRule:
    """What the numbers or colours of a set's masks mean. Safe to share between threads."""

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        values: Mapping[int, int] | None = None,
        colours: Mapping[int, int] | None = None,
        ignore_value: int = IGNORED,
        ignore_unlisted: bool = False,
    ) -> None:
        """
        Args:
            class_names: of the classes 0…K-1.
            values: mask value → class number or 255; None: the value is the class number.
            colours: packed colour → class number or 255; None: masks hold numbers.
            ignore_value: a value that is ignored unless `values` says otherwise.
            ignore_unlisted: take what has no class as ignored instead of refusing it.
        """
        self._num_classes = len(class_names)
        self._listed = values is not None
        self._by_value = dict(enumerate(range(len(class_names)))) if values is None else values
        if values is None or ignore_value not in values:
            self._by_value = {**self._by_value, ignore_value: IGNORED}
        self._colours = colours
        self._ignore_value = ignore_value
        self._ignore_unlisted = ignore_unlisted
        self._value_table = _table(self._by_value) if max(self._by_value) < 2**16 else None

    def label(self, mask: MaskFile, path: Path) -> UInt8Array:
        """Class numbers [H, W]. Raises DataError that names the file and what has no class."""
        if self._colours is not None and (mask.rgb is not None or not self._listed):
            return self._by_colour(mask, path)
        if mask.numbers is None:
            raise DataError(
                f"{path}: mask of mode {mask.kind}: colours, where class numbers were expected "
                "(grey or palette). data.label_colours says which colour is which class; `rml data "
                "inspect` prints it"
            )
        return self._mapped(mask.numbers, self._by_value, path, _value_name)

    def _by_colour(self, mask: MaskFile, path: Path) -> UInt8Array:
        assert self._colours is not None
        try:
            rgb = mask.colours().astype(np.int32)
        except ValueError as error:
            raise DataError(
                f"{path}: mask of mode {mask.kind}: {error}; use data.label_values instead of "
                "label_colours"
            ) from error
        flat = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        return self._mapped(flat, self._colours, path, _colour_name)

    def _mapped(
        self,
        numbers: npt.NDArray[np.integer],
        table: Mapping[int, int],
        path: Path,
        shown: Callable[[int], str],
    ) -> UInt8Array:
        if numbers.dtype != np.int32 and self._value_table is not None:
            classes = self._value_table[numbers]
        else:
            found, place = np.unique(numbers, return_inverse=True)
            of_each = [table.get(int(value), _UNLISTED) for value in found]
            classes = np.asarray(of_each, np.int16)[place].reshape(numbers.shape)
        unlisted = classes == _UNLISTED
        if unlisted.any():
            if not self._ignore_unlisted:
                raise DataError(self._complaint(np.unique(numbers[unlisted]), path, shown))
            classes = np.where(unlisted, np.int16(IGNORED), classes)
        return np.asarray(classes, np.uint8)

    def _complaint(
        self, values: npt.NDArray[np.integer], path: Path, shown: Callable[[int], str]
    ) -> str:
        names = [shown(int(value)) for value in values[:NUM_SHOWN]]
        more = f" and {len(values) - NUM_SHOWN} more" if len(values) > NUM_SHOWN else ""
        listed = f"{', '.join(names)}{more}"
        if shown is _colour_name:
            what = f"colour {listed} is no class; add it to data.label_colours"
        elif self._listed:
            what = f"label value {listed} is no class; add it to data.label_values"
        else:
            return (
                f"{path}: class id {listed} out of range; expected 0..{self._num_classes - 1} or "
                f"{self._ignore_value}. data.label_values says which other values are which class; "
                "`rml data inspect` prints it"
            )
        return f"{path}: {what}, or set data.unlisted_labels: ignore"


def _table(values: Mapping[int, int]) -> npt.NDArray[np.int16]:
    """Lookup table over all values of 16 bits."""
    table = np.full(2**16, _UNLISTED, np.int16)
    for value, number in values.items():
        table[value] = number
    return table


def _value_name(value: int) -> str:
    return str(value)


def _colour_name(value: int) -> str:
    return f"{value >> 16},{value >> 8 & 255},{value & 255}"
