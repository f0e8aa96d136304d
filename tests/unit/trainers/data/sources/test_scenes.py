"""Scenes: drawn from seed and index alone, with every class, at any size."""

import numpy as np
import pytest

from rml_trainers.data.scenes.canvas import PERSON, POLE, ROAD, SKY
from rml_trainers.data.sources.scenes import ScenesConfig, ScenesDataset

CONFIG = ScenesConfig(size_px=(48, 64), num_train=40, num_val=8)


def test_a_scene_is_a_function_of_seed_subset_and_index() -> None:
    first = ScenesDataset(CONFIG)
    again = ScenesDataset(CONFIG)
    backwards = [again.read("train", name) for name in reversed(again.names("train")[:3])][::-1]
    for name, other in zip(first.names("train")[:3], backwards, strict=True):
        scene = first.read("train", name)
        assert np.array_equal(scene.image, other.image)
        assert scene.label is not None
        assert other.label is not None
        assert np.array_equal(scene.label, other.label)


def test_scenes_of_other_seeds_subsets_and_indices_differ() -> None:
    dataset = ScenesDataset(CONFIG)
    reseeded = ScenesDataset(ScenesConfig(size_px=(48, 64), seed=1))
    scenes = [dataset.read("train", "train_00000"), dataset.read("train", "train_00001")]
    scenes += [dataset.read("val", "val_00000"), reseeded.read("train", "train_00000")]
    images = {scene.image.tobytes() for scene in scenes}
    assert len(images) == 4


def test_more_scenes_leave_the_earlier_ones_as_they_are() -> None:
    longer = ScenesDataset(ScenesConfig(size_px=(48, 64), num_train=41))
    assert longer.names("train")[:40] == ScenesDataset(CONFIG).names("train")
    assert np.array_equal(
        longer.read("train", "train_00007").image,
        ScenesDataset(CONFIG).read("train", "train_00007").image,
    )


def test_all_classes_occur_and_are_far_from_balanced() -> None:
    dataset = ScenesDataset(CONFIG)
    counts = np.zeros(len(dataset.class_names), np.int64)
    for name in dataset.names("train"):
        label = dataset.read("train", name).label
        assert label is not None
        counts += np.bincount(label.ravel(), minlength=len(counts))
    share = counts / counts.sum()
    assert (counts > 0).all()
    assert share[ROAD] > 0.2
    assert share[SKY] > 0.1
    assert 0 < share[PERSON] < 0.03
    assert 0 < share[POLE] < 0.03


def test_colour_alone_does_not_tell_the_class() -> None:
    """The best guess from a pixel's colour, learnt on half of the scenes, is far from right on the
    other half."""
    dataset = ScenesDataset(CONFIG)
    scenes = [dataset.read("train", name) for name in dataset.names("train")]
    bins = np.concatenate(
        [(scene.image // 32).reshape(-1, 3) @ np.array([64, 8, 1]) for scene in scenes]
    )
    labels = np.concatenate([scene.label.ravel() for scene in scenes if scene.label is not None])
    half = len(bins) // 2
    table = np.zeros((512, len(dataset.class_names)), np.int64)
    np.add.at(table, (bins[:half], labels[:half]), 1)
    guess = table.argmax(axis=1)[bins[half:]]
    recall = [
        float((guess[labels[half:] == k] == k).mean()) for k in range(len(dataset.class_names))
    ]
    assert np.mean(recall) < 0.4


@pytest.mark.parametrize("size_px", [(32, 32), (33, 47), (96, 128), (64, 200)])
def test_any_size_is_drawn(size_px: tuple[int, int]) -> None:
    scene = ScenesDataset(ScenesConfig(size_px=size_px)).read("train", "train_00003")
    assert scene.image.shape == (*size_px, 3)
    assert scene.image.dtype == np.uint8
    assert scene.label is not None
    assert scene.label.shape == size_px
    assert scene.image.std() > 10
