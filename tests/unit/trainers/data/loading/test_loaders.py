"""Batches: a pure function of stage and step, the same for any number of workers, every image once
an epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rml_trainers.config import BatchConfig, RunConfig, SplitConfig
from rml_trainers.data.loading.loaders import Batch, TrainingBatches, whole_images
from rml_trainers.data.loading.whole_images import scored_images
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.splitting.splits import Split, make_split
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.noise.geometry import CropWindow
from rml_trainers.noise.mixing import BoxDraw
from rml_trainers.noise.photometric import PhotometricDraw
from rml_trainers.training.assembly import batch_recipe
from tests.support.image_folders import write_folder
from tests.support.tiny import METHOD_CONFIGS, tiny_config

WHOLE = GeometryConfig(crop_px=(32, 48), flip_probability=0.0)
"""Crops are whole images, so each can be recognised."""


def _batches(
    data: PreparedData, config: RunConfig, rank: int = 0, world_size: int = 1
) -> TrainingBatches:
    split = make_split(data.names("train"), config.split)
    recipe = replace(batch_recipe(config), num_students=2)
    return TrainingBatches(data, split, recipe, rank=rank, world_size=world_size)


def _tensors(batch: Batch) -> list[Tensor]:
    tensors = [tensor for crops in batch.labelled for tensor in (crops.image, crops.label)]
    if batch.unlabelled is not None:
        tensors += [
            batch.unlabelled.image,
            batch.unlabelled.inside,
            batch.unlabelled.truth,
            *batch.unlabelled.initial,
        ]
    return tensors


def _equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_tensors(one), _tensors(other), strict=True))


def _number(data: PreparedData, image: Tensor) -> int:
    """Which training image a whole, unflipped crop shows."""
    pixels = image.permute(1, 2, 0).numpy()
    return next(
        i for i in range(len(data.names("train"))) if np.array_equal(data.image("train", i), pixels)
    )


def test_a_batch_is_a_function_of_stage_and_step(tiny_data: PreparedData) -> None:
    straight = _batches(tiny_data, tiny_config())
    jumping = _batches(tiny_data, tiny_config())
    batches = [straight.batch(1, step, with_unlabelled=True) for step in range(6)]
    for step in (5, 0, 3):
        assert _equal(jumping.batch(1, step, with_unlabelled=True), batches[step])
    assert not _equal(batches[0], batches[1])
    assert not _equal(straight.batch(2, 0, with_unlabelled=True), batches[0])
    other_seed = _batches(tiny_data, tiny_config(seed=1)).batch(1, 0, with_unlabelled=True)
    assert not _equal(other_seed, batches[0])


def test_shapes_types_and_the_parts_of_a_supervised_batch(tiny_data: PreparedData) -> None:
    batches = _batches(tiny_data, tiny_config())
    batch = batches.batch(0, 0, with_unlabelled=True)
    assert [tuple(tensor.shape) for tensor in _tensors(batch)] == [
        *[(2, 3, 24, 32), (2, 24, 32)] * 2,
        (2, 3, 24, 32),
        (2, 24, 32),
        (2, 24, 32),
    ]
    assert {tensor.dtype for tensor in _tensors(batch)} == {torch.uint8, torch.bool}
    assert len(batch.noise) == 2
    supervised = batches.batch(0, 0, with_unlabelled=False)
    assert supervised.unlabelled is None
    assert supervised.noise == ()
    assert torch.equal(supervised.labelled[1].image, batch.labelled[1].image)


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_every_epoch_shows_every_image_once_whatever_the_batch(
    tiny_data: PreparedData, size: int
) -> None:
    """Four labelled and six unlabelled images; a batch of 7 is larger than either."""
    config = tiny_config(geometry=WHOLE, batch=BatchConfig(labelled=size, unlabelled=size))
    split = make_split(tiny_data.names("train"), config.split)
    batches = _batches(tiny_data, config)
    shown: dict[str, list[int]] = {"first": [], "second": [], "unlabelled": []}
    for step in range(12):
        batch = batches.batch(1, step, with_unlabelled=True)
        assert batch.unlabelled is not None
        images = (batch.labelled[0].image, batch.labelled[1].image, batch.unlabelled.image)
        for key, crops in zip(shown, images, strict=True):
            assert len(crops) == size
            shown[key] += [_number(tiny_data, crop) for crop in crops]
    for key, names in (
        ("first", split.labelled),
        ("second", split.labelled),
        ("unlabelled", split.unlabelled),
    ):
        pool = {tiny_data.index("train", name) for name in names}
        epochs = [
            shown[key][i : i + len(pool)]
            for i in range(0, len(shown[key]) - len(pool) + 1, len(pool))
        ]
        assert all(set(epoch) == pool for epoch in epochs)
        assert len(epochs) >= 2
    if size > 1:
        assert shown["first"] != shown["second"], (
            "the students see the labelled images in different orders"
        )


@pytest.mark.parametrize("world_size", [2, 4])
def test_workers_share_the_batch_that_one_would_have(
    tiny_data: PreparedData, world_size: int
) -> None:
    config = tiny_config(batch=BatchConfig(labelled=4, unlabelled=8))
    whole = _batches(tiny_data, config)
    shares = [_batches(tiny_data, config, rank, world_size) for rank in range(world_size)]
    for step in range(3):
        together = [_tensors(share.batch(1, step, with_unlabelled=True)) for share in shares]
        for i, expected in enumerate(_tensors(whole.batch(1, step, with_unlabelled=True))):
            assert torch.equal(torch.cat([tensors[i] for tensors in together]), expected)


def test_workers_draw_the_noise_of_their_share(tiny_data: PreparedData) -> None:
    config = tiny_config(batch=BatchConfig(labelled=2, unlabelled=4))
    draws = _batches(tiny_data, config).batch(1, 0, with_unlabelled=True).noise
    for rank in range(2):
        shares = _batches(tiny_data, config, rank, 2).batch(1, 0, with_unlabelled=True).noise
        for share, draw in zip(shares, draws, strict=True):
            assert isinstance(share.mixing, BoxDraw) and isinstance(draw.mixing, BoxDraw)
            assert torch.equal(share.mixing.boxes, draw.mixing.boxes[2 * rank : 2 * rank + 2])
    first, second = draws
    assert isinstance(first.mixing, BoxDraw) and isinstance(second.mixing, BoxDraw)
    assert not torch.equal(first.mixing.boxes, second.mixing.boxes), (
        "the students' strong views are independent"
    )


def test_students_of_a_method_may_share_their_views_but_never_their_warm_up(
    tiny_data: PreparedData,
) -> None:
    batches = _batches(tiny_data, tiny_config("cps"))
    batch = batches.batch(1, 0, with_unlabelled=True)
    assert torch.equal(batch.labelled[0].image, batch.labelled[1].image)
    first, second = (draw.mixing for draw in batch.noise)
    assert (
        isinstance(first, BoxDraw)
        and isinstance(second, BoxDraw)
        and torch.equal(first.boxes, second.boxes)
    )
    warm_up = batches.batch(0, 0, with_unlabelled=False)
    assert not torch.equal(warm_up.labelled[0].image, warm_up.labelled[1].image)


def test_further_strong_views_leave_the_first_as_it_is(tiny_data: PreparedData) -> None:
    methods = (
        METHOD_CONFIGS["pseudo_label"],
        UniMatchConfig(photometric="rand_augment"),
        METHOD_CONFIGS["dmt"],
    )
    one, two, none = (
        _batches(tiny_data, tiny_config(method=method)).batch(1, 0, with_unlabelled=True)
        for method in methods
    )
    assert (len(one.noise), len(two.noise), len(none.noise)) == (2, 4, 0)
    strengths = [
        d.photometric.strengths for d in two.noise if isinstance(d.photometric, PhotometricDraw)
    ]
    for student in (0, 1):
        alone = one.noise[student].photometric
        assert isinstance(alone, PhotometricDraw) and torch.equal(
            strengths[2 * student], alone.strengths
        )
    assert len({tuple(s.flatten().tolist()) for s in strengths}) == 4, "every view draws for itself"


def test_input_noise_does_not_change_the_crops(tiny_data: PreparedData) -> None:
    """The rows of the noise ablation see the same images in the same windows."""
    quiet = tiny_config(noise=NoiseConfig(input=False, model=False))
    one, other = (
        _batches(tiny_data, config).batch(1, 2, with_unlabelled=True)
        for config in (tiny_config(), quiet)
    )
    assert _equal(one, other)
    assert all(draw.mixing is None and draw.photometric is None for draw in other.noise)


class _Places:
    """Stands for stored p⁰: tells which image and window was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, CropWindow]] = []

    def crop(self, name: str, window: CropWindow, crop_px: tuple[int, int]) -> Tensor:
        self.asked.append((name, window))
        return torch.full((8, 3, 4), float(len(self.asked)))


def test_stored_labels_are_cut_in_the_windows_of_the_images(tiny_data: PreparedData) -> None:
    stores = (_Places(), _Places())
    config = tiny_config(geometry=replace(WHOLE, flip_probability=0.5))
    batch = _batches(tiny_data, config).batch(1, 0, with_unlabelled=True, initial=stores)
    assert batch.unlabelled is not None
    assert [initial[:, 0, 0, 0].tolist() for initial in batch.unlabelled.initial] == [
        [1.0, 2.0]
    ] * 2
    assert stores[0].asked == stores[1].asked
    for (name, window), crop in zip(stores[0].asked, batch.unlabelled.image, strict=True):
        shown = crop.flip(-1) if window.flip else crop
        assert tiny_data.names("train")[_number(tiny_data, shown)] == name


def test_a_batch_that_workers_cannot_share_is_refused(tiny_data: PreparedData) -> None:
    config = tiny_config(batch=BatchConfig(labelled=4, unlabelled=3))
    with pytest.raises(
        ConfigError, match=r"batch.unlabelled = 3: expected a multiple of the number of workers, 2"
    ):
        _batches(tiny_data, config, 0, 2)


def test_mixing_partners_are_not_torn_apart(tiny_data: PreparedData) -> None:
    config = tiny_config(batch=BatchConfig(labelled=2, unlabelled=2))
    with pytest.raises(
        ConfigError, match=r"batch.unlabelled = 2: 2 workers would get 1 each.*a multiple of 4"
    ):
        _batches(tiny_data, config, 0, 2)
    for unmixed in (
        tiny_config("supervised"),
        tiny_config(noise=replace(tiny_config().noise, cutmix=False)),
    ):
        assert _batches(tiny_data, unmixed, 0, 2).batch(0, 0, with_unlabelled=False).labelled


def test_micro_batches_must_have_one_size(tiny_data: PreparedData) -> None:
    config = tiny_config(batch=BatchConfig(labelled=4, unlabelled=8, accumulate=4))
    assert _batches(tiny_data, config).batch(0, 0, with_unlabelled=False).labelled
    with pytest.raises(
        ConfigError, match=r"batch.accumulate = 4: the 2 labelled images of a worker cannot be cut"
    ):
        _batches(tiny_data, config, 0, 2)


def test_an_empty_unlabelled_pool_is_refused_only_where_it_is_needed(
    tiny_data: PreparedData,
) -> None:
    batches = _batches(tiny_data, tiny_config(split=SplitConfig(fraction=1.0)))
    assert batches.batch(0, 0, with_unlabelled=False).unlabelled is None
    with pytest.raises(
        ConfigError, match=r"all 10 training images are labelled.*pool_includes_labelled"
    ):
        batches.batch(1, 0, with_unlabelled=True)
    shared = SplitConfig(fraction=1.0, pool_includes_labelled=True)
    assert (
        _batches(tiny_data, tiny_config(split=shared)).batch(1, 0, with_unlabelled=True).unlabelled
        is not None
    )


def test_images_without_a_mask_have_unknown_truth_and_are_refused_as_labelled(
    tmp_path: Path,
) -> None:
    write_folder(tmp_path)
    config = FolderConfig(folder="own", class_names=("road", "car", "tree"), size_px=(40, 56))
    data = ensure_prepared(config, tmp_path, tmp_path / "cache")
    recipe = replace(batch_recipe(tiny_config(data=config)), num_students=1)
    bare = data.names_without_label()
    labelled = tuple(name for name in data.names("train") if name not in bare)
    batch = TrainingBatches(data, Split(labelled, bare, ""), recipe).batch(
        1, 0, with_unlabelled=True
    )
    assert batch.unlabelled is not None
    assert bool((batch.unlabelled.truth == 255).all())
    assert bool((batch.labelled[0].label != 255).any())
    with pytest.raises(DataError, match="labelled images without a mask: b0, b1, b2"):
        TrainingBatches(data, Split(data.names("train"), bare, ""), recipe)


@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 1), (2, 1), (5, 1), (2, 2), (2, 4)])
def test_validation_and_whole_images_come_once_each(
    tiny_data: PreparedData, batch_size: int, world_size: int
) -> None:
    scored = []
    seen = []
    for rank in range(world_size):
        batches = scored_images(
            tiny_data, "val", tiny_data.names("val"), batch_size, rank=rank, world_size=world_size
        )
        for crops in batches:
            assert 1 <= len(crops.image) <= batch_size
            assert crops.image.shape[1:] == (3, 32, 48)
            scored += [
                (image.numpy().tobytes(), label.numpy().tobytes())
                for image, label in zip(crops.image, crops.label, strict=True)
            ]
        for names, images in whole_images(
            tiny_data, tiny_data.names("train")[:7], batch_size, rank, world_size
        ):
            assert [
                tiny_data.names("train")[_number(tiny_data, image)] for image in images
            ] == list(names)
            seen += list(names)
    assert len(scored) == len(set(scored)) == 3
    assert sorted(seen) == list(tiny_data.names("train")[:7])


def test_a_batch_moves_with_everything_in_it(tiny_data: PreparedData) -> None:
    batch = _batches(tiny_data, tiny_config()).batch(
        1, 0, with_unlabelled=True, initial=(_Places(),)
    )
    moved = batch.to(torch.device("meta"))
    assert {tensor.device.type for tensor in _tensors(moved)} == {"meta"}
    assert len(_tensors(moved)) == 8
