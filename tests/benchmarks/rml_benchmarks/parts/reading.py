"""`data`: reading from the prepared, memory-mapped set against decoding the same files, and against
the step's need."""

from collections.abc import Iterator

import torch
from torch import Tensor

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.timing import Comparison, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.epochs import epochs
from rml_benchmarks.parts.feeding import feeding, one_thread
from rml_benchmarks.workload.sources import CITYSCAPES_PX, Source, camvid, scenes
from rml_trainers import IGNORE_LABEL
from rml_trainers.data.dataset import UInt8Array
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.geometry import CropWindow, cut_image, cut_label, draw_windows
from rml_trainers.runtime.randomness import generator

CAMVID_PX = (360, 480)
BATCH = 8
GEOMETRIES = {
    "crops at scale 1": GeometryConfig(crop_px=(240, 320)),
    "crops at scale 0.5 to 1.5 (resampled)": GeometryConfig(crop_px=(240, 320), scale=(0.5, 1.5)),
}
NUM_SCENES = 48
NUM_LARGE = 32
Crops = tuple[Tensor, Tensor]


def run(bench: Bench) -> Iterator[Result]:
    """Batches of CamVid (or drawn scenes), the loader against the step, and whole epochs of both
    sizes of image."""
    folder = bench.folder / "sources"
    small = (
        scenes(folder, CAMVID_PX, NUM_SCENES)
        if bench.data_root is None
        else camvid(bench.data_root, folder)
    )
    for kind, geometry in GEOMETRIES.items():
        yield compare_readers(f"{small.title}, {kind}", small, geometry, bench.num_rounds(20))
    yield from feeding(bench)
    yield from epochs(small, GeometryConfig(crop_px=(240, 320)), bench)
    yield from epochs(
        scenes(folder, CITYSCAPES_PX, NUM_LARGE), GeometryConfig(crop_px=(256, 512)), bench
    )


def cut(
    pixels: list[tuple[UInt8Array, UInt8Array | None]],
    windows: list[CropWindow],
    crop_px: tuple[int, int],
) -> Crops:
    """uint8 [B, 3, h, w] and [B, h, w]."""
    images = []
    labels = []
    for (image, label), window in zip(pixels, windows, strict=True):
        assert label is not None, "every image of this benchmark has a mask"
        images.append(cut_image(image, window, crop_px, (0, 0, 0)))
        labels.append(cut_label(label, window, crop_px, IGNORE_LABEL))
    return torch.stack(images), torch.stack(labels)


def compare_readers(
    title: str, source: Source, geometry: GeometryConfig, num_rounds: int
) -> Comparison:
    """Both cut the same windows with the same code, in one thread; only where the pixels come from
    differs.

    All files are in the page cache for both, and it is shown first that both return the same bytes.
    """
    dataset = source.dataset()
    data = source.prepared()
    names = data.names("train")

    def draws(index: int) -> tuple[list[str], list[CropWindow]]:
        rng = generator("bench_data", index)
        picked = [names[i] for i in rng.integers(0, len(names), BATCH)]
        return picked, draw_windows(rng, [source.size_px] * BATCH, geometry)

    def decode(index: int) -> Crops:
        picked, windows = draws(index)
        raw = [dataset.read("train", name) for name in picked]
        return cut([(r.image, r.label) for r in raw], windows, geometry.crop_px)

    def read_prepared(index: int) -> Crops:
        picked, windows = draws(index)
        numbers = [data.index("train", name) for name in picked]
        return cut(
            [(data.image("train", i), data.label("train", i)) for i in numbers],
            windows,
            geometry.crop_px,
        )

    with one_thread():
        for mine, theirs in zip(read_prepared(0), decode(0), strict=True):
            assert torch.equal(mine, theirs), (
                "the two readers disagree: there is nothing to compare"
            )
        contenders = {"read prepared": read_prepared, "decode with Pillow": decode}
        return compare(f"{title}, batch of {BATCH}", contenders, num_rounds=num_rounds)
