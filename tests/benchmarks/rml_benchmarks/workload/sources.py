"""Image files to read: CamVid where it is at hand, and drawn scenes stored as photographs are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rml_trainers.config import DataConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.dataset import Dataset
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.scenes import ScenesConfig, ScenesDataset

CITYSCAPES_PX = (512, 1024)
JPEG_QUALITY = 92


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set of image files and where it is prepared."""

    title: str
    config: DataConfig
    size_px: tuple[int, int]
    data_root: Path
    cache: Path
    images: Path
    """Folder of the training images' files; `masks` that of their masks."""
    masks: Path

    def dataset(self) -> Dataset:
        return build_dataset(self.config, self.data_root)

    def prepared(self) -> PreparedData:
        """The prepared set, made if it is not there."""
        return ensure_prepared(self.config, self.data_root, self.cache)

    @property
    def prepared_folder(self) -> Path:
        return cache_folder(self.config, self.cache)

    def pairs(self) -> Iterator[tuple[Path, Path]]:
        """Image and mask file of every training image."""
        masks = {path.stem: path for path in self.masks.iterdir()}
        images = {path.stem: path for path in self.images.iterdir()}
        for name in self.dataset().names("train"):
            yield images[name], masks[name]


def camvid(data_root: Path, folder: Path) -> Source:
    """CamVid at its full size."""
    config = CamvidConfig(size_px=(360, 480))
    return Source(
        title="CamVid 360×480",
        config=config,
        size_px=(360, 480),
        data_root=data_root,
        cache=folder / "cache",
        images=data_root / config.folder / "train",
        masks=data_root / config.folder / "trainannot",
    )


def scenes(folder: Path, size_px: tuple[int, int], num_images: int) -> Source:
    """Drawn scenes as files: JPEG up to VOC's size, PNG (as Cityscapes has them) beyond; masks are
    PNG."""
    drawn = ScenesDataset(ScenesConfig(size_px=size_px, num_train=num_images, num_val=1))
    name = f"scenes-{size_px[0]}x{size_px[1]}"
    suffix = ".png" if size_px[0] * size_px[1] > 500 * 500 else ".jpg"
    images, masks = (folder / name / kind for kind in ("images", "masks"))
    if not images.is_dir():
        for path in (images, masks):
            path.mkdir(parents=True)
        for index in range(num_images):
            raw = drawn.read("train", f"train_{index:05d}")
            assert raw.label is not None
            Image.fromarray(raw.image).save(images / f"{index:05d}{suffix}", quality=JPEG_QUALITY)
            Image.fromarray(raw.label).save(masks / f"{index:05d}.png")
    config = FolderConfig(folder=name, class_names=drawn.class_names, size_px=size_px)
    return Source(
        title=f"{num_images} scenes {size_px[0]}×{size_px[1]} ({suffix[1:].upper()})",
        config=config,
        size_px=size_px,
        data_root=folder,
        cache=folder / "cache",
        images=images,
        masks=masks,
    )
