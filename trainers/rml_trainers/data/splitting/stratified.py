"""Labelled images chosen so that every class is among them when it can be.

Of a small share of an unbalanced set a plain draw often shows no image of a rare class at all. The
recipe here, the same on every machine because its order comes from hashes:

1. All images stand in an order drawn from the seed (by sha256 of seed and name).
2. While a class is missing that some image shows: take the missing class that the fewest images
   show, and of those images the first one.
3. If that needs more images than are asked for, fewer images are searched for that show every class
   between them, completely for up to `MAX_NODES` steps. If there are none, each image is the one
   that shows the most missing classes.
4. The other places are filled in the order of 1.

A class is shown by an image of which at least one pixel has it.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

ClassPixels = Callable[[str], Sequence[int]]
"""Labelled pixels of each class in an image, by its name."""

MAX_NODES = 20_000
"""Steps of the search for few images with all classes: a second of one core at most."""

Shown = dict[str, frozenset[int]]
"""Image → the classes that it shows, in the drawn order."""


def stratified_choice(
    candidates: Sequence[str], class_pixels: ClassPixels, count: int, seed: int
) -> tuple[str, ...]:
    """Sorted names of `count` of the candidates, as the module says."""
    order = sorted(candidates, key=lambda name: _drawn(seed, name))
    shown: Shown = {
        name: frozenset(np.flatnonzero(_counts(class_pixels, name)).tolist()) for name in order
    }
    chosen = _rarest_first(shown)
    if len(chosen) > count:
        chosen = _Search(shown, count).found or _most_first(shown, count)
    rest = [name for name in order if name not in chosen]
    return tuple(sorted([*chosen, *rest[: count - len(chosen)]]))


def _drawn(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"stratified\n{seed}\n{name}".encode()).digest()


def _counts(class_pixels: ClassPixels, name: str) -> npt.NDArray[np.int64]:
    return np.asarray(class_pixels(name), dtype=np.int64)


def _frequency(shown: Shown) -> dict[int, int]:
    """Number of images that show each class, for classes that any image shows."""
    frequency: dict[int, int] = {}
    for classes in shown.values():
        for k in classes:
            frequency[k] = frequency.get(k, 0) + 1
    return frequency


def _rarest_first(shown: Shown) -> list[str]:
    """Images with all classes, each for the rarest class that those before it lack."""
    frequency = _frequency(shown)
    missing = set(frequency)
    chosen = list[str]()
    while missing:
        rarest = min(missing, key=lambda k: (frequency[k], k))
        chosen.append(next(name for name, classes in shown.items() if rarest in classes))
        missing -= shown[chosen[-1]]
    return chosen


def _most_first(shown: Shown, count: int) -> list[str]:
    """At most `count` images, each showing the most classes that those before it lack."""
    missing = set(_frequency(shown))
    chosen = list[str]()
    while missing and len(chosen) < count:
        chosen.append(max(shown, key=lambda name: len(shown[name] & missing)))
        missing -= shown[chosen[-1]]
    return chosen


class _Search:
    """Depth first: the rarest missing class, every image that shows it, those with most classes
    first."""

    def __init__(self, shown: Shown, limit: int) -> None:
        self._shown = shown
        self._limit = limit
        self._frequency = _frequency(shown)
        self._num_nodes = 0
        self.found: list[str] | None = None
        """Images that show all classes between them; None where there are none, or none was found
        in time."""
        self._descend([], frozenset(self._frequency))

    def _descend(self, chosen: list[str], missing: frozenset[int]) -> None:
        self._num_nodes += 1
        if not missing:
            self.found = chosen
            return
        # Of images that bring the same, or less than another one, the first is enough.
        brings: dict[frozenset[int], str] = {}
        for name, classes in self._shown.items():
            brings.setdefault(classes & missing, name)
        num_left = self._limit - len(chosen)
        if max(map(len, brings)) * num_left < len(missing):
            return
        rarest = min(missing, key=lambda k: (self._frequency[k], k))
        useful = [classes for classes in brings if rarest in classes]
        useful = [one for one in useful if not any(one < other for other in useful)]
        for classes in sorted(useful, key=len, reverse=True):
            if self.found is not None or self._num_nodes > MAX_NODES:
                return
            self._descend([*chosen, brings[classes]], missing - classes)
