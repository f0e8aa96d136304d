"""Images that keep their own size: prepared as they are, cut and batched by the size that stands
with each."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rml_trainers.config import DataConfig, SplitConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.loading.loaders import TrainingBatches, whole_images
from rml_trainers.data.loading.whole_images import scored_images
from rml_trainers.data.prepared.cache import PreparedData, check_prepared
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import DataError
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.training.assembly import batch_recipe
from tests.support.image_folders import mask, save, write_mixed_sizes
from tests.support.tiny import tiny_config

OWN_SIZE = FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=None)


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    write_mixed_sizes(tmp_path)
    return ensure_prepared(OWN_SIZE, tmp_path, tmp_path / "cache")


def test_images_and_masks_are_those_of_the_source(data: PreparedData, tmp_path: Path) -> None:
    dataset = build_dataset(OWN_SIZE, tmp_path)
    pixels = []
    sizes = set()
    for i, name in enumerate(data.names("train")):
        raw = dataset.read("train", name)
        label = data.label("train", i)
        assert np.array_equal(data.image("train", i), raw.image)
        assert raw.label is not None and label is not None and np.array_equal(label, raw.label)
        assert data.image_size("train", i) == raw.image.shape[:2]
        sizes.add(raw.image.shape[:2])
        pixels.append(raw.image.reshape(-1, 3))
    assert len(sizes) > 2
    assert data.size_px is None
    assert data.mean_colour == tuple(np.round(np.concatenate(pixels).mean(axis=0))), (
        "every pixel counts once"
    )
    assert check_prepared(data.folder).num_images == {"train": 6, "val": 2}


def test_the_folder_says_so(tmp_path: Path) -> None:
    assert cache_folder(CamvidConfig(size_px=None), tmp_path).name.startswith("camvid-original-")
    assert cache_folder(CamvidConfig(), tmp_path) != cache_folder(
        CamvidConfig(size_px=None), tmp_path
    )


@pytest.mark.parametrize(
    "config",
    [CamvidConfig, lambda **size: FolderConfig(folder="f", class_names=("a", "b"), **size)],
)
def test_a_size_too_small_is_refused_and_none_is_not(config: Callable[..., DataConfig]) -> None:
    assert config(size_px=None).size_px is None
    with pytest.raises(
        ValueError,
        match=r"size_px = \(31, 64\): expected .* or null to keep every image's own size",
    ):
        config(size_px=(31, 64))


def test_sizes_of_image_and_mask_are_still_compared_file_by_file(tmp_path: Path) -> None:
    folder = write_mixed_sizes(tmp_path)
    save(mask(1, (0, 1), height=24, width=40), folder / "masks" / "a1.png")
    with pytest.raises(
        DataError, match=r"1 of 8 images cannot be used:\n.*masks/a1.png: mask is 24×40, image is"
    ):
        ensure_prepared(OWN_SIZE, tmp_path, tmp_path / "cache")


def test_space_is_estimated_from_a_few_images_and_bad_ones_are_left_to_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_mixed_sizes(tmp_path)
    whole = (folder / "images" / "a0.png").read_bytes()
    (folder / "images" / "a0.png").write_bytes(whole[:50])
    with pytest.raises(DataError, match=r"a0.png: corrupt or truncated"):
        ensure_prepared(OWN_SIZE, tmp_path, tmp_path / "cache")
    (folder / "images" / "a0.png").write_bytes(whole)
    dataset = build_dataset(OWN_SIZE, tmp_path)
    pixels = sum(
        dataset.read(s, n).image[..., 0].size for s in ("train", "val") for n in dataset.names(s)
    )
    usage = SimpleNamespace(free=4 * pixels - 1)
    monkeypatch.setattr("rml_trainers.data.prepared.prepare.shutil.disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="the disk is full"):
        ensure_prepared(OWN_SIZE, tmp_path, tmp_path / "cache")
    usage.free += 2
    ensure_prepared(OWN_SIZE, tmp_path, tmp_path / "cache")


def test_crops_are_cut_from_images_of_any_size_and_padded_where_they_are_small(
    data: PreparedData,
) -> None:
    config = tiny_config(
        data=OWN_SIZE, geometry=GeometryConfig(crop_px=(48, 48)), split=SplitConfig(num_labelled=2)
    )
    split = make_split(data.names("train"), config.split)
    batches = TrainingBatches(data, split, batch_recipe(config))
    batch = batches.batch(1, 0, with_unlabelled=True)
    assert batch.unlabelled is not None
    assert batch.unlabelled.image.shape == (2, 3, 48, 48)
    assert not bool(batch.unlabelled.inside.all()), "images of 24 to 40 rows cannot fill 48"
    assert bool((batch.unlabelled.truth[~batch.unlabelled.inside] == 255).all())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_whole_images_come_in_batches_of_one_size(data: PreparedData, batch_size: int) -> None:
    seen: list[str] = []
    for names, images in whole_images(data, data.names("train"), batch_size):
        for name, pixels in zip(names, images, strict=True):
            expected = data.image("train", data.index("train", name))
            assert torch.equal(pixels.permute(1, 2, 0), torch.from_numpy(expected.copy()))
        seen += names
    assert sorted(seen) == list(data.names("train"))
    assert (
        sum(len(crops.image) for crops in scored_images(data, "val", data.names("val"), batch_size))
        == 2
    )


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (4, 1), (2, 2)])
def test_on_a_canvas_images_of_any_size_come_together(
    data: PreparedData, batch_size: int, world_size: int
) -> None:
    names = data.names("train")
    canvas_px = (48, 60)
    sizes = list[int]()
    seen = set[str]()
    for rank in range(world_size):
        order = iter(names[rank::world_size])
        for images in scored_images(
            data, "train", names, batch_size, canvas_px=canvas_px, rank=rank, world_size=world_size
        ):
            assert images.inside is not None
            sizes.append(len(images.image))
            for pixels, label, inside in zip(
                images.image, images.label, images.inside, strict=True
            ):
                name = next(order)
                i = data.index("train", name)
                height, width = data.image_size("train", i)
                truth = data.label("train", i)
                assert truth is not None
                assert torch.equal(
                    pixels[:, :height, :width].permute(1, 2, 0),
                    torch.from_numpy(data.image("train", i).copy()),
                )
                assert torch.equal(label[:height, :width], torch.from_numpy(truth.copy()))
                assert bool(inside[:height, :width].all()) and int(inside.sum()) == height * width
                assert bool((label[~inside] == 255).all())
                seen.add(name)
    assert seen == set(names)
    assert max(sizes) == min(batch_size, len(names)), "no batch is kept small by a size of its own"
