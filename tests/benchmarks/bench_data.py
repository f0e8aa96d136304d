"""Reading a batch of crops: from the prepared, memory-mapped set against decoding the same images with Pillow.

    RML_DATA=… python tests/benchmarks/bench_data.py      CamVid
    python tests/benchmarks/bench_data.py                 embedded scenes, written as JPEG and PNG files first

Both sides cut the same windows with the same code; only where the pixels come from differs. All files are in the page
cache for both. `--threads 1` shows one reader thread, as a training run has it.
"""

import os
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: make `tests` importable

from rml_trainers import IGNORE_LABEL
from rml_trainers.config import DataConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.cache import PreparedData
from rml_trainers.data.camvid import CamvidConfig
from rml_trainers.data.dataset import Dataset, UInt8Array
from rml_trainers.data.folder import FolderConfig
from rml_trainers.data.prepare import ensure_prepared
from rml_trainers.data.scenes import ScenesConfig, ScenesDataset
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.geometry import CropWindow, cut_image, cut_label, draw_windows
from rml_trainers.randomness import generator
from tests.benchmarks.harness import Comparison, compare, parser, publish

SIZE_PX = (360, 480)
BATCH = 8
NUM_SCENES = 64
JPEG_QUALITY = 92
GEOMETRIES = {
    "crops at scale 1": GeometryConfig(crop_px=(240, 320)),
    "crops at scale 0.5 to 1.5 (resampled)": GeometryConfig(crop_px=(240, 320), scale=(0.5, 1.5)),
}
Crops = tuple[Tensor, Tensor]


class Draws:
    """Names and windows of every round, the same for all contenders."""

    def __init__(self, data: PreparedData, geometry: GeometryConfig) -> None:
        self._names, self._geometry = data.names("train"), geometry

    def of(self, index: int) -> list[tuple[str, CropWindow]]:
        rng = generator("bench_data", index)
        names = [self._names[i] for i in rng.integers(0, len(self._names), BATCH)]
        return list(zip(names, draw_windows(rng, [SIZE_PX] * BATCH, self._geometry), strict=True))


def cut(
    pixels: list[tuple[UInt8Array, UInt8Array | None]], windows: list[CropWindow], crop_px: tuple[int, int]
) -> Crops:
    """uint8 [B, 3, h, w] and [B, h, w]."""
    images, labels = [], []
    for (image, label), window in zip(pixels, windows, strict=True):
        assert label is not None, "every image of this benchmark has a mask"
        images.append(cut_image(image, window, crop_px, (0, 0, 0)))
        labels.append(cut_label(label, window, crop_px, IGNORE_LABEL))
    return torch.stack(images), torch.stack(labels)


def compare_readers(
    title: str, dataset: Dataset, data: PreparedData, geometry: GeometryConfig, num_rounds: int
) -> Comparison:
    """Time both readers, once it is shown that they return the same bytes."""
    draws = Draws(data, geometry)

    def decode(index: int) -> Crops:
        picked = draws.of(index)
        raw = [dataset.read("train", name) for name, _ in picked]
        return cut([(r.image, r.label) for r in raw], [window for _, window in picked], geometry.crop_px)

    def read_prepared(index: int) -> Crops:
        picked = draws.of(index)
        numbers = [data.index("train", name) for name, _ in picked]
        pixels = [(data.image("train", i), data.label("train", i)) for i in numbers]
        return cut(pixels, [window for _, window in picked], geometry.crop_px)

    for mine, theirs in zip(read_prepared(0), decode(0), strict=True):
        assert torch.equal(mine, theirs), "the two readers disagree: there is nothing to compare"
    contenders = {"read prepared": read_prepared, "decode with Pillow": decode}
    return compare(f"{title}, batch of {BATCH}", contenders, num_rounds=num_rounds)


def write_scenes(folder: Path) -> DataConfig:
    """Draw scenes once and store them as photographs are stored: JPEG images, PNG masks."""
    scenes = ScenesDataset(ScenesConfig(size_px=SIZE_PX, num_train=NUM_SCENES, num_val=1))
    for kind in ("images", "masks"):
        (folder / "scenes" / kind).mkdir(parents=True)
    for name in scenes.names("train"):
        raw = scenes.read("train", name)
        assert raw.label is not None
        Image.fromarray(raw.image).save(folder / "scenes" / "images" / f"{name}.jpg", quality=JPEG_QUALITY)
        Image.fromarray(raw.label).save(folder / "scenes" / "masks" / f"{name}.png")
    return FolderConfig(folder="scenes", class_names=scenes.class_names, size_px=SIZE_PX)


def main() -> None:
    options = parser("Prepared data against decoding.", num_rounds=40).parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    root = os.environ.get("RML_DATA")
    with tempfile.TemporaryDirectory() as temporary:
        data_root = Path(root) if root else Path(temporary)
        config = CamvidConfig(size_px=SIZE_PX) if root else write_scenes(data_root)
        dataset, data = build_dataset(config, data_root), ensure_prepared(config, data_root, Path(temporary) / "cache")
        name = "CamVid" if root else "scenes (JPEG)"
        comparisons = [
            compare_readers(f"{name} {SIZE_PX[0]}×{SIZE_PX[1]}, {kind}", dataset, data, geometry, options.rounds)
            for kind, geometry in GEOMETRIES.items()
        ]
    publish("Reading a batch", comparisons, options)


if __name__ == "__main__":
    main()
