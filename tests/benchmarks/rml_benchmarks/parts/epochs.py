"""Whole epochs of crops: the prepared set against Pillow and torchvision, in one process on one
core.

`first`: nothing is prepared yet, so ours decodes everything and writes it too. `cold`: the files
are not in the page cache. `warm`: they are.
"""

import gc
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from rml_benchmarks.measuring.timing import Call, Comparison, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.sources import Source
from rml_trainers import IGNORE_LABEL
from rml_trainers.data.prepared.prepare import prepare
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.geometry import cut_image, cut_label, draw_windows
from rml_trainers.runtime.randomness import generator

BATCH = 8
CAN_EVICT = hasattr(os, "posix_fadvise")


class DecodedCrops(Dataset[tuple[Tensor, Tensor]]):
    """A plain torch data set: decode image and mask, crop, flip."""

    def __init__(self, source: Source, geometry: GeometryConfig) -> None:
        self._pairs = list(source.pairs())
        crop = v2.RandomCrop(geometry.crop_px)
        self._transform = v2.Compose(
            [crop, v2.RandomHorizontalFlip(geometry.flip_probability), v2.PILToTensor()]
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self._pairs[index]
        with Image.open(image) as picture, Image.open(mask) as classes:
            cropped: tuple[Tensor, Tensor] = self._transform(picture.convert("RGB"), classes.copy())
        return cropped


def epochs(source: Source, geometry: GeometryConfig, bench: Bench) -> Iterator[Comparison]:
    """First, cold and warm epoch of one source."""
    folder = source.prepared_folder
    files = [path for pair in source.pairs() for path in pair]

    def ours(index: int) -> None:
        read_epoch(source, geometry, index)

    def theirs(index: int) -> None:
        for _ in DataLoader(DecodedCrops(source, geometry), batch_size=BATCH, shuffle=True):
            pass

    def first(index: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        prepare(source.dataset(), folder, num_threads=1)
        ours(index)

    def cold(call: Call, paths: Iterable[Path]) -> Call:
        def evicted(index: int) -> None:
            evict(paths)
            call(index)

        return evicted

    prepared = "prepared set"
    decoded = "Pillow and torchvision v2"
    kinds: dict[str, tuple[dict[str, Call], int]] = {
        "first": ({prepared: first, decoded: theirs}, 1)
    }
    if CAN_EVICT:
        arrow = [folder / "train.arrow"]
        kinds["cold"] = ({prepared: cold(ours, arrow), decoded: cold(theirs, files)}, 2)
    kinds["warm"] = ({prepared: ours, decoded: theirs}, 3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for kind, (calls, rounds) in kinds.items():
        warm_up = 1 if kind == "warm" else 0
        title = f"{source.title}: {kind} epoch of crops {geometry.crop_px[0]}×{geometry.crop_px[1]}"
        yield compare(title, calls, num_rounds=bench.num_rounds(rounds), num_warm_up=warm_up)
    torch.set_num_threads(threads)


def read_epoch(source: Source, geometry: GeometryConfig, epoch: int) -> int:
    """Every training image once, in a random order, as stacked batches; returns the number of
    images."""
    data = source.prepared()
    rng = generator("bench_epoch", epoch)
    order = rng.permutation(len(data.names("train"))).tolist()
    for start in range(0, len(order), BATCH):
        picked = order[start : start + BATCH]
        windows = draw_windows(rng, [data.image_size("train", i) for i in picked], geometry)
        images = []
        labels = []
        for i, window in zip(picked, windows, strict=True):
            label = data.label("train", i)
            assert label is not None, "every image of this benchmark has a mask"
            images.append(
                cut_image(data.image("train", i), window, geometry.crop_px, data.mean_colour)
            )
            labels.append(cut_label(label, window, geometry.crop_px, IGNORE_LABEL))
        torch.stack(images), torch.stack(labels)
    return len(order)


def evict(paths: Iterable[Path]) -> None:
    """Drop files from the page cache, so that the next read comes from the disk."""
    gc.collect()  # a file that is still mapped stays
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
