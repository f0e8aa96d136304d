"""Drawing of input noise: reproducible, independent of the number of workers, and applied without
host reads."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import InputNoiseDraw, draw_input_noise, mix, photometric
from rml_trainers.noise.mixing import BoxDraw
from rml_trainers.noise.photometric import IDENTITY, OPERATIONS, PhotometricDraw, apply_photometric
from rml_trainers.noise.strong_view import strong_view
from rml_trainers.runtime.randomness import generator

CROP_PX = (12, 16)
STRONG = NoiseConfig(rand_augment_ops=3, rand_augment_magnitude=30.0, rand_augment_probability=1.0)


def _draw(num_images: int, config: NoiseConfig = STRONG, seed: int = 0) -> InputNoiseDraw:
    return draw_input_noise(generator(seed, "noise"), num_images, CROP_PX, strong_view(config))


def _operations(num_images: int, config: NoiseConfig) -> PhotometricDraw:
    photometric = _draw(num_images, config).photometric
    assert isinstance(photometric, PhotometricDraw)
    return photometric


def _images(num_images: int) -> Tensor:
    return torch.rand(num_images, 3, *CROP_PX, generator=torch.Generator().manual_seed(0))


def _strong(images: Tensor, draw: InputNoiseDraw) -> Tensor:
    return mix(photometric(images, draw), draw)


def test_the_same_generator_draws_the_same_noise_and_another_one_does_not() -> None:
    images = _images(8)
    assert torch.equal(_strong(images, _draw(8)), _strong(images, _draw(8)))
    assert not torch.equal(_strong(images, _draw(8)), _strong(images, _draw(8, seed=1)))


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_workers_apply_the_same_noise_as_one_process(num_workers: int) -> None:
    images = _images(8)
    draw = _draw(8)
    share = 8 // num_workers
    parts = [slice(rank * share, (rank + 1) * share) for rank in range(num_workers)]
    together = torch.cat(
        [_strong(images[part], draw.slice(part.start, part.stop)) for part in parts]
    )
    assert torch.equal(together, _strong(images, draw))


def test_an_odd_last_image_takes_its_box_from_the_first_and_a_lone_one_from_itself() -> None:
    draw = _draw(3)
    assert draw.mixing is not None
    assert draw.mixing.partner.tolist() == [1, 0, 0]
    images = _images(1)
    lone = _draw(1)
    assert torch.equal(mix(images, lone), images)


@pytest.mark.parametrize("num_images", [1, 5])
def test_strong_views_stay_in_range_and_change_the_image(num_images: int) -> None:
    for seed in range(20):
        strong = _strong(_images(num_images), _draw(num_images, seed=seed))
        assert strong.isfinite().all() and strong.min() >= 0 and strong.max() <= 1
    assert not torch.equal(strong, _images(num_images))


def test_nothing_happens_when_input_noise_is_off() -> None:
    images = _images(4)
    draw = _draw(4, NoiseConfig(input=False))
    assert photometric(images, draw) is images
    assert mix(images, draw) is images


@pytest.mark.parametrize(
    ("config", "is_photometric", "is_mixed"),
    [(NoiseConfig(cutmix=False), True, False), (NoiseConfig(rand_augment_ops=0), False, True)],
    ids=["photometric-only", "cutmix-only"],
)
def test_each_part_can_be_switched_off_alone(
    config: NoiseConfig, is_photometric: bool, is_mixed: bool
) -> None:
    draw = _draw(4, config)
    assert (draw.photometric is not None, draw.mixing is not None) == (is_photometric, is_mixed)


def test_probability_zero_draws_the_identity_only_and_one_draws_every_operation() -> None:
    never = _operations(50, NoiseConfig(rand_augment_probability=0.0))
    assert {index for row in never.indices for index in row} == {IDENTITY}
    images = _images(50)
    assert apply_photometric(images, never) is images
    always = _operations(200, STRONG)
    counts = np.bincount(np.ravel(always.indices), minlength=len(OPERATIONS))
    assert counts.min() > 600 / len(OPERATIONS) / 2, "operations are drawn with equal chances"


def test_strengths_grow_with_the_magnitude_and_never_beyond_it() -> None:
    weakest = _operations(
        200, NoiseConfig(rand_augment_magnitude=0.0, rand_augment_probability=1.0)
    )
    for row, strengths in zip(weakest.indices, weakest.strengths, strict=True):
        for index, strength in zip(row, strengths.tolist(), strict=True):
            unused = OPERATIONS[index].name in {"identity", "autocontrast", "equalize"}
            assert strength == {"posterize": 8.0}.get(
                OPERATIONS[index].name, 0.0 if unused else 1.0
            )
    third = _operations(500, NoiseConfig(rand_augment_magnitude=10.0, rand_augment_probability=1.0))
    factors = [
        strength
        for row, strengths in zip(third.indices, third.strengths, strict=True)
        for index, strength in zip(row, strengths.tolist(), strict=True)
        if OPERATIONS[index].name == "brightness"
    ]
    assert 0.7 <= min(factors) < 0.75 and 1.25 < max(factors) <= 1.3


@pytest.mark.parametrize(
    "index", range(len(OPERATIONS)), ids=[operation.name for operation in OPERATIONS]
)
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_an_image_of_one_colour_breaks_no_operation(index: int, value: float) -> None:
    draw = PhotometricDraw.from_indices(
        ((index,) * 2,), torch.full((1, 2), OPERATIONS[index].strength(0.5, 1.0))
    )
    result = apply_photometric(torch.full((2, 3, 8, 8), value), draw)
    assert result.isfinite().all() and result.min() >= 0 and result.max() <= 1


def test_applying_noise_reads_nothing_back_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(6)
    label = torch.zeros(6, *CROP_PX, dtype=torch.uint8)
    draw = _draw(6)

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read on the host")

    for name in (
        "item",
        "tolist",
        "cpu",
        "numpy",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "nonzero",
    ):
        monkeypatch.setattr(Tensor, name, refuse)
    strong = _strong(images, draw)
    mixed = mix(label, draw)
    monkeypatch.undo()
    assert strong.shape == images.shape and mixed.shape == label.shape


def test_a_draw_moves_as_a_whole() -> None:
    draw = _draw(4)
    moved = draw.to("meta", non_blocking=True)
    assert isinstance(moved.photometric, PhotometricDraw) and isinstance(moved.mixing, BoxDraw)
    tensors = (moved.photometric.strengths, moved.photometric.order, moved.photometric.position)
    assert all(tensor.is_meta for tensor in (*tensors, moved.mixing.boxes, moved.mixing.partner))
    assert torch.equal(_strong(_images(4), draw.to("cpu")), _strong(_images(4), draw))


def test_operations_run_in_full_precision_under_autocast() -> None:
    images = _images(6)
    draw = _draw(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = _strong(images, draw)
    assert under_autocast.dtype == torch.float32
    torch.testing.assert_close(under_autocast, _strong(images, draw))
