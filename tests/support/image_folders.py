"""Small image folders on disk in the layouts that the adapters read, and the way to the real
images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]


def image(seed: int, height: int = 40, width: int = 56) -> UInt8Array:
    """Smooth random picture [H, W, 3] that survives JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def mask(seed: int, classes: Sequence[int], height: int = 40, width: int = 56) -> UInt8Array:
    """Blocks of the given class numbers [H, W]; every one of them occurs."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(np.asarray(classes, np.uint8), (8, 8))
    cells.ravel()[: len(classes)] = classes
    return np.kron(cells, np.ones((height // 8, width // 8), np.uint8))


def save(pixels: UInt8Array, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_camvid(root: Path, num_train: int = 4, num_val: int = 2, suffix: str = ".png") -> Path:
    """SegNet layout under `root/camvid`; every mask shows classes 0, 3, 8 and void (11)."""
    for subset, count in (("train", num_train), ("val", num_val)):
        for i in range(count):
            save(image(i), root / "camvid" / subset / f"{subset}_{i:03d}{suffix}")
            save(
                mask(i, (0, 3, 8, 11)), root / "camvid" / f"{subset}annot" / f"{subset}_{i:03d}.png"
            )
    return root / "camvid"


def write_folder(root: Path, num_labelled: int = 6, num_bare: int = 3) -> Path:
    """`root/own/images` and `root/own/masks`; images a…, with masks of classes 0..2, and b…
    without."""
    for i in range(num_labelled):
        save(image(i), root / "own" / "images" / f"a{i}.jpg")
        save(mask(i, (0, 1, 2)), root / "own" / "masks" / f"a{i}.png")
    for i in range(num_bare):
        save(image(100 + i), root / "own" / "images" / f"b{i}.png")
    return root / "own"


def write_pairs(root: Path, num_labelled: int = 6, num_bare: int = 3) -> Path:
    """`root/own/pairs.csv` over a tree of which nothing follows from names; classes 0..2."""
    lines = ["image,mask"]
    for i in range(num_labelled):
        save(image(i), root / "own" / f"day{i % 2}" / f"photo {i}.jpg")
        save(mask(i, (0, 1, 2)), root / "own" / "truth" / f"number{100 - i}.png")
        lines.append(f"day{i % 2}/photo {i}.jpg,truth/number{100 - i}.png")
    for i in range(num_bare):
        save(image(100 + i), root / "own" / "more" / f"b{i}.png")
        lines.append(f"more/b{i}.png,")
    (root / "own" / "pairs.csv").write_text("\n".join(lines))
    return root / "own"


def write_mixed_sizes(root: Path) -> Path:
    """`root/own/images` and `root/own/masks`: eight pairs of four sizes, classes 0..2."""
    sizes = ((24, 40), (40, 24), (32, 56), (40, 56))
    for i in range(8):
        save(image(i, *sizes[i % 4]), root / "own" / "images" / f"a{i}.png")
        save(mask(i, (0, 1, 2), *sizes[i % 4]), root / "own" / "masks" / f"a{i}.png")
    return root / "own"


def real_root() -> Path:
    """The folder of real images, or a skip that says how to give it."""
    root = os.environ.get("RML_DATA")
    if not root:
        pytest.skip("needs real images: set RML_DATA to the folder that holds camvid/ and names/")
    return Path(root)
