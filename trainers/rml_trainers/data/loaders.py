"""Batches as a pure function of (stage, step): nothing to save, nothing to restore, the same on every resume."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.batches import Batch, LabelledCrops, UnlabelledCrops
from rml_trainers.data.cache import PreparedData
from rml_trainers.data.splits import Split
from rml_trainers.errors import ConfigError
from rml_trainers.noise.geometry import CropWindow, cut_image, cut_label, draw_windows, inside_mask
from rml_trainers.noise.input_noise import draw_input_noise
from rml_trainers.randomness import generator

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig

__all__ = [
    "Batch",
    "InitialLabels",
    "LabelledCrops",
    "TrainingBatches",
    "UnlabelledCrops",
    "read_ahead",
    "validation_batches",
    "whole_images",
]


class InitialLabels(Protocol):
    """Reader of one network's stored p⁰."""

    def crop(self, name: str, window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
        """float32 [K, h, w] at the cells of the crop."""
        ...


class TrainingBatches:
    """Reads the crops of any step of one worker.

    Every epoch is a full permutation and batches run over its end, so no batch is ever short, also when the data set is
    smaller than the batch. All draws are made for the global batch; a worker takes its slice, so the number of workers
    changes neither order nor noise.

    Raises:
        ConfigError: the number of workers does not divide the batch.
    """

    def __init__(
        self,
        data: PreparedData,
        split: Split,
        config: "RunConfig",
        *,
        num_students: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for kind, size in (("labelled", config.batch.labelled), ("unlabelled", config.batch.unlabelled)):
            if size % world_size:
                raise ConfigError(
                    f"batch.{kind} = {size} cannot be shared by {world_size} workers; use a multiple of it"
                )
        self._data, self._config, self._num_students = data, config, num_students
        self._rank, self._world_size = rank, world_size
        self._labelled = [data.index("train", name) for name in split.labelled]
        self._unlabelled = [data.index("train", name) for name in split.unlabelled]
        self._crop_px = config.geometry.crop_px

    def batch(self, stage: int, step: int, *, with_unlabelled: bool, initial: Sequence[InitialLabels] = ()) -> Batch:
        """Crops and noise of one step of one stage."""
        students = range(self._num_students)
        labelled = tuple(self._labelled_crops(stage, step, student) for student in students)
        if not with_unlabelled:
            return Batch(labelled=labelled, unlabelled=None, noise=())
        size = self._config.batch.unlabelled
        noise = tuple(
            draw_input_noise(
                generator(self._config.seed, "input_noise", student, stage, step),
                size,
                self._crop_px,
                self._config.noise,
            ).slice(self._share(size).start, self._share(size).stop)
            for student in students
        )
        return Batch(labelled=labelled, unlabelled=self._unlabelled_crops(stage, step, initial), noise=noise)

    def _labelled_crops(self, stage: int, step: int, student: int) -> LabelledCrops:
        picked = self._picked(self._labelled, self._config.batch.labelled, "labelled", student, stage, step)
        images = [cut_image(self._data.image("train", i), w, self._crop_px, self._data.mean_colour) for i, w in picked]
        return LabelledCrops(image=torch.stack(images), label=torch.stack([self._label(i, w) for i, w in picked]))

    def _unlabelled_crops(self, stage: int, step: int, initial: Sequence[InitialLabels]) -> UnlabelledCrops:
        picked = self._picked(self._unlabelled, self._config.batch.unlabelled, "unlabelled", 0, stage, step)
        names = self._data.names("train")
        sizes = [self._data.image("train", i).shape[:2] for i, _ in picked]
        images = [cut_image(self._data.image("train", i), w, self._crop_px, self._data.mean_colour) for i, w in picked]
        return UnlabelledCrops(
            image=torch.stack(images),
            inside=torch.stack(
                [inside_mask((s[0], s[1]), w, self._crop_px) for s, (_, w) in zip(sizes, picked, strict=True)]
            ),
            truth=torch.stack([self._label(i, w) for i, w in picked]),
            initial=tuple(
                torch.stack([store.crop(names[i], w, self._crop_px) for i, w in picked]) for store in initial
            ),
        )

    def _label(self, index: int, window: CropWindow) -> Tensor:
        label = self._data.label("train", index)
        if label is None:
            return torch.full(self._crop_px, IGNORE_LABEL, dtype=torch.uint8)
        return cut_label(label, window, self._crop_px, IGNORE_LABEL)

    def _picked(
        self, pool: Sequence[int], size: int, kind: str, student: int, stage: int, step: int
    ) -> list[tuple[int, CropWindow]]:
        """Image numbers and windows of this worker's share of the global batch."""
        epochs: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        picked = []
        for position in range(step * size, (step + 1) * size):
            epoch, place = divmod(position, len(pool))
            if epoch not in epochs:
                epochs[epoch] = generator(self._config.seed, "order", kind, student, stage, epoch).permutation(
                    len(pool)
                )
            picked.append(pool[epochs[epoch][place]])
        sizes = [self._data.image("train", i).shape[:2] for i in picked]
        rng = generator(self._config.seed, "geometry", kind, student, stage, step)
        windows = draw_windows(rng, [(s[0], s[1]) for s in sizes], self._config.geometry)
        return list(zip(picked, windows, strict=True))[self._share(size)]

    def _share(self, size: int) -> slice:
        own = size // self._world_size
        return slice(self._rank * own, (self._rank + 1) * own)


def read_ahead(make: Callable[[int], Batch], steps: range, num_ahead: int) -> Iterator[tuple[int, Batch]]:
    """Yield (step, batch), read by a background thread up to `num_ahead` batches before they are needed.

    An error while reading is raised where the batch was wanted; leaving the loop early stops the thread.
    """
    if num_ahead == 0:
        for step in steps:
            yield step, make(step)
        return
    ready: queue.Queue[tuple[int, Batch | BaseException]] = queue.Queue(maxsize=num_ahead)
    stopped = threading.Event()

    def offer(item: tuple[int, Batch | BaseException]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        for step in steps:
            try:
                item: tuple[int, Batch | BaseException] = (step, make(step))
            except BaseException as error:  # handed to the consumer, who raises it
                offer((step, error))
                return
            if not offer(item):
                return

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        for _ in steps:
            step, batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield step, batch
    finally:
        stopped.set()
        thread.join()


def validation_batches(
    data: PreparedData, batch_size: int, rank: int = 0, world_size: int = 1
) -> Iterator[LabelledCrops]:
    """Whole validation images with labels, images of one size together; workers take turns."""
    mine = range(rank, len(data.names("val")), world_size)
    for group in _same_size([i for i in mine if data.label("val", i) is not None], data, "val", batch_size):
        images = [torch.from_numpy(data.image("val", i).copy()).permute(2, 0, 1) for i in group]
        labels = [torch.from_numpy(label.copy()) for i in group if (label := data.label("val", i)) is not None]
        yield LabelledCrops(image=torch.stack(images), label=torch.stack(labels))


def whole_images(
    data: PreparedData, names: Sequence[str], batch_size: int, rank: int = 0, world_size: int = 1
) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Names and uint8 [B, 3, H, W] of whole training images, images of one size together; workers take turns."""
    mine = [data.index("train", name) for name in names[rank::world_size]]
    known = data.names("train")
    for group in _same_size(mine, data, "train", batch_size):
        images = [torch.from_numpy(data.image("train", i).copy()).permute(2, 0, 1) for i in group]
        yield tuple(known[i] for i in group), torch.stack(images)


def _same_size(indices: Sequence[int], data: PreparedData, subset: str, batch_size: int) -> Iterator[list[int]]:
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i in indices:
        by_size.setdefault(data.image(subset, i).shape, []).append(i)  # type: ignore[arg-type]
    for same in by_size.values():
        for start in range(0, len(same), batch_size):
            yield same[start : start + batch_size]
