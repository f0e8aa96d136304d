"""Wrong labels on purpose: which masks err, how much, and what stays the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.loading.label_noise import mislabelled, with_label_noise
from rml_trainers.data.loading.loaders import TrainingBatches
from rml_trainers.data.prepared.cache import PreparedData, class_pixels
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.training.assembly import batch_recipe
from tests.support.tiny import tiny_config

K = 6


def regions() -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """A strip of every class, and one that is ignored."""
    label = np.repeat(np.arange(K + 1, dtype=np.uint8), 4)[None].repeat(3, axis=0)
    label[label == K] = IGNORE_LABEL
    return label


def wrong(share: float, name: str) -> set[int]:
    label = regions()
    given = mislabelled(label, share, K, (0, name))
    assert (given[label == IGNORE_LABEL] == IGNORE_LABEL).all()
    assert given.shape == label.shape and given[label < K].max() < K
    for k in range(K):
        assert len(np.unique(given[label == k])) == 1, "a region errs as a whole"
    return {k for k in range(K) if (given[label == k] != k).all()}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4, 1.0])
def test_the_share_of_regions_errs(share: float) -> None:
    counts = [len(wrong(share, f"image {n}")) for n in range(400)]
    assert abs(np.mean(counts) / K - share) < 0.03


def test_what_errs_at_a_small_share_errs_at_a_larger_one() -> None:
    for n in range(50):
        assert wrong(0.1, f"image {n}") <= wrong(0.2, f"image {n}") <= wrong(0.4, f"image {n}")


def test_only_the_labelled_training_masks_err(tiny_data: PreparedData) -> None:
    names = tiny_data.names("train")
    noisy = with_label_noise(tiny_data, names[:4], 1.0, seed=3)
    for subset in ("train", "val"):
        for i, name in enumerate(tiny_data.names(subset)):
            there = tiny_data.label(subset, i)
            given = noisy.label(subset, i)
            assert there is not None and given is not None
            errs = subset == "train" and name in names[:4]
            assert (given != there)[there != IGNORE_LABEL].all() == errs
            assert np.array_equal(given, there) == (not errs)
            assert np.array_equal(noisy.image(subset, i), tiny_data.image(subset, i))
    assert noisy.content_hash == tiny_data.content_hash
    pixels = sum(
        np.asarray(class_pixels(noisy.label("train", i), noisy.num_classes)) for i in range(4)
    )
    assert noisy.class_pixel_counts(names[:4]).tolist() == np.asarray(pixels).tolist()


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_what_measures_pseudo_labels_is_the_truth_of_labelled_images_too(
    share: float, tiny_data: PreparedData
) -> None:
    config = tiny_config()
    names = tiny_data.names("train")
    split = make_split(names, replace(config.split, pool_includes_labelled=True))
    noisy = with_label_noise(tiny_data, split.labelled, share, seed=3)
    batches = [TrainingBatches(data, split, batch_recipe(config)) for data in (tiny_data, noisy)]
    are_wrong = []
    for step in range(8):
        truth, given = (one.batch(1, step, with_unlabelled=True) for one in batches)
        assert truth.unlabelled is not None and given.unlabelled is not None
        assert torch.equal(truth.unlabelled.truth, given.unlabelled.truth)
        pairs = zip(truth.labelled, given.labelled, strict=True)
        are_wrong += [not torch.equal(a.label, b.label) for a, b in pairs]
    assert any(are_wrong) == (share > 0)
    assert set(split.labelled) <= set(split.unlabelled)


def test_an_image_errs_alike_beside_others_and_otherwise_with_another_seed(
    tiny_data: PreparedData,
) -> None:
    first = tiny_data.names("train")[0]
    alone = with_label_noise(tiny_data, [first], 0.5, seed=3).label("train", 0)
    beside = with_label_noise(tiny_data, tiny_data.names("train"), 0.5, seed=3).label("train", 0)
    assert alone is not None and beside is not None and np.array_equal(alone, beside)
    seeds = [with_label_noise(tiny_data, [first], 0.5, seed=s).label("train", 0) for s in range(8)]
    assert any(label is not None and not np.array_equal(label, alone) for label in seeds)


def test_no_noise_is_the_data_itself(tiny_data: PreparedData) -> None:
    assert with_label_noise(tiny_data, tiny_data.names("train"), 0.0, seed=0) is tiny_data
