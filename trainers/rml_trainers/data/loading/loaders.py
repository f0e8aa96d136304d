"""Batches as a pure function of (stage, step): nothing to save, nothing to restore, the same on
every resume."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.loading.batch_recipe import BatchRecipe, check_workers
from rml_trainers.data.loading.batches import Batch, LabelledCrops, UnlabelledCrops
from rml_trainers.data.loading.read_ahead import read_ahead
from rml_trainers.data.loading.whole_images import whole_images
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.noise.geometry import CropWindow, cut_image, cut_label, draw_windows, inside_mask
from rml_trainers.noise.input_noise import InputNoiseDraw, draw_input_noise
from rml_trainers.runtime.randomness import generator

__all__ = [
    "Batch",
    "InitialLabels",
    "LabelledCrops",
    "TrainingBatches",
    "UnlabelledCrops",
    "read_ahead",
    "whole_images",
]


class InitialLabels(Protocol):
    """Reader of one network's stored p⁰."""

    def crop(self, name: str, window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
        """float32 [K, h, w] at the cells of the crop."""
        ...


class TrainingBatches:
    """Reads the crops of any step of one worker.

    Every epoch is a full permutation and batches run over its end, so no batch is ever short, also
    when the data set is smaller than the batch. Each student has its own order of the labelled
    images and its own strong views, except in the stages of a method with `shared_views`; the
    unlabelled order is one for all. All draws are made for the global batch and a worker takes its
    slice, so the number of workers changes none of them.

    Raises:
        ConfigError: the workers cannot share the batch (see `check_workers`).
        DataError: an image that the split calls labelled has no mask.
    """

    def __init__(
        self,
        data: PreparedData,
        split: Split,
        recipe: BatchRecipe,
        *,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_workers(recipe, world_size)
        self._data = data
        self._recipe = recipe
        self._rank = rank
        self._world_size = world_size
        self._labelled = [data.index("train", name) for name in split.labelled]
        self._unlabelled = [data.index("train", name) for name in split.unlabelled]
        self._crop_px = recipe.geometry.crop_px
        if unmasked := [
            name
            for name in split.labelled
            if data.label("train", data.index("train", name)) is None
        ]:
            raise DataError(f"labelled images without a mask: {', '.join(unmasked)}")

    def batch(
        self, stage: int, step: int, *, with_unlabelled: bool, initial: Sequence[InitialLabels] = ()
    ) -> Batch:
        """Crops and noise of one step of one stage.

        Raises ConfigError when unlabelled images are wanted and the split has none.
        """
        # In the warm-up the views differ for every method alike.
        shared = self._recipe.shared_views and with_unlabelled
        students = [0 if shared else student for student in range(self._recipe.num_students)]
        labelled = tuple(self._labelled_crops(stage, step, student) for student in students)
        if not with_unlabelled:
            return Batch(labelled=labelled, unlabelled=None, noise=())
        if not self._unlabelled:
            raise ConfigError(
                f"split: all {len(self._labelled)} training images are labelled, none is left for "
                "the unlabelled pool; "
                "take a smaller share, split.pool_includes_labelled = true, or the method "
                "supervised"
            )
        views = range(self._recipe.num_strong_views)
        noise = tuple(
            self._input_noise(stage, step, student, view) for student in students for view in views
        )
        return Batch(
            labelled=labelled, unlabelled=self._unlabelled_crops(stage, step, initial), noise=noise
        )

    def names(self, stage: int, step: int, *, with_unlabelled: bool) -> dict[str, tuple[str, ...]]:
        """Names of the images of a step's batch, by what they are used for."""
        size = self._recipe.size
        shared = self._recipe.shared_views and with_unlabelled
        students = {0} if shared else set(range(self._recipe.num_students))
        picked = {
            f"labelled, student {student + 1}": self._picked(
                self._labelled, size.labelled, "labelled", student, stage, step
            )
            for student in sorted(students)
        }
        if with_unlabelled:
            picked["unlabelled"] = self._picked(
                self._unlabelled, size.unlabelled, "unlabelled", 0, stage, step
            )
        names = self._data.names("train")
        return {use: tuple(names[i] for i, _ in found) for use, found in picked.items()}

    def _labelled_crops(self, stage: int, step: int, student: int) -> LabelledCrops:
        picked = self._picked(
            self._labelled, self._recipe.size.labelled, "labelled", student, stage, step
        )
        return LabelledCrops(image=self._images(picked), label=self._labels(picked, self._label))

    def _unlabelled_crops(
        self, stage: int, step: int, initial: Sequence[InitialLabels]
    ) -> UnlabelledCrops:
        picked = self._picked(
            self._unlabelled, self._recipe.size.unlabelled, "unlabelled", 0, stage, step
        )
        names = self._data.names("train")
        inside = torch.empty((len(picked), *self._crop_px), dtype=torch.bool)
        for (i, window), out in zip(picked, inside, strict=True):
            inside_mask(self._data.image_size("train", i), window, self._crop_px, out)
        return UnlabelledCrops(
            image=self._images(picked),
            inside=inside,
            truth=self._labels(picked, self._data.true_label),
            initial=tuple(
                torch.stack([p0.crop(names[i], w, self._crop_px) for i, w in picked])
                for p0 in initial
            ),
        )

    def _input_noise(self, stage: int, step: int, student: int, view: int) -> InputNoiseDraw:
        further = (view,) if view > 0 else ()  # the first view draws alike, however many there are
        rng = generator(self._recipe.seed, "input_noise", student, stage, step, *further)
        size = self._recipe.size.unlabelled
        own = self._own(size)
        return draw_input_noise(rng, size, self._crop_px, self._recipe.strong_view).slice(
            own.start, own.stop
        )

    def _images(self, picked: Sequence[tuple[int, CropWindow]]) -> Tensor:
        """uint8 [B, 3, H, W], channels last in memory: rows are copied from the memory map as they
        lie there."""
        images = torch.empty((len(picked), *self._crop_px, 3), dtype=torch.uint8)
        for (i, window), out in zip(picked, images, strict=True):
            cut_image(
                self._data.image("train", i), window, self._crop_px, self._data.mean_colour, out
            )
        return images.permute(0, 3, 1, 2)

    def _label(self, i: int) -> UInt8Array | None:
        return self._data.label("train", i)

    def _labels(
        self,
        picked: Sequence[tuple[int, CropWindow]],
        label_of: Callable[[int], UInt8Array | None],
    ) -> Tensor:
        """uint8 [B, H, W], 255 where nothing is known."""
        labels = torch.full((len(picked), *self._crop_px), IGNORE_LABEL, dtype=torch.uint8)
        for (i, window), out in zip(picked, labels, strict=True):
            label = label_of(i)
            if label is not None:
                cut_label(label, window, self._crop_px, IGNORE_LABEL, out)
        return labels

    def _picked(
        self, pool: Sequence[int], size: int, kind: str, student: int, stage: int, step: int
    ) -> list[tuple[int, CropWindow]]:
        """Image numbers and windows of this worker's images of the global batch."""
        seed = self._recipe.seed
        picked = []
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, len(pool))
            picked.append(pool[_order(seed, kind, student, stage, epoch, len(pool))[place]])
        rng = generator(seed, "geometry", kind, student, stage, step)
        windows = draw_windows(
            rng, [self._data.image_size("train", i) for i in picked], self._recipe.geometry
        )
        return list(zip(picked, windows, strict=True))[self._own(size)]

    def _own(self, size: int) -> slice:
        """This worker's images of a global batch."""
        num_own = size // self._world_size
        return slice(self._rank * num_own, (self._rank + 1) * num_own)


@lru_cache(maxsize=32)  # two epochs of a few streams are in use at any time
def _order(
    seed: int, kind: str, student: int, stage: int, epoch: int, num_images: int
) -> npt.NDArray[np.int64]:
    """Permutation of 0..num_images-1 of one epoch."""
    return generator(seed, "order", kind, student, stage, epoch).permutation(num_images)
