"""Complementary dropout and its loss against plain loops, from the network's own maps on."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.config import NetworkConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.comparators.unimatch_v2 import ComplementaryMasks, UniMatchV2Config
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.dpt import DptConfig
from rml_trainers.noise.input_noise import mix, strengthen
from tests.support.method_case import Array, Case, case, softmax, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
MASK_SEED = 5
DPT = DptConfig(backbone="test_vit", weights="none")
V2 = DeepLabV2Config(backbone="test_resnet", weights="none", aspp_branches=2, batchnorm="frozen")
V3_PLUS = DeepLabV3PlusConfig(
    backbone="test_resnet",
    weights="none",
    batchnorm="frozen",
    aspp_rates=(1, 2),
    decoder_width=8,
)


def over_valid(logits: Array, label: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> float:
    """Sum over the pixels with a label, divided by the number of valid ones."""
    total = 0.0
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            total -= math.log(softmax(logits[b, :, y, x])[label[b, y, x]])
    return total / int(valid.sum())


def network_case(method: object, network: NetworkConfig, data: PreparedData, work: Path) -> Case:
    return case(method, data, work, network=network)


def pixels(c: Case, small: Tensor) -> Array:
    """Student 1's own upsampling of logits, at the size of the unlabelled crops."""
    assert c.batch.unlabelled is not None
    size = (c.batch.unlabelled.inside.shape[-2], c.batch.unlabelled.inside.shape[-1])
    if c.learners.student(0).align_corners:
        return np.stack([upsample(maps, *size) for maps in small.double().numpy()])
    return c.learners.student(0).upsample(small, size).double().numpy()


def masks(num_images: int, num_plain: int, widths: list[int]) -> dict[int, tuple[Array, Array]]:
    """Of both views by width, drawn as the step draws them."""
    torch.manual_seed(MASK_SEED)
    plain = set(torch.randperm(num_images).tolist()[:num_plain])
    found = {}
    for width in dict.fromkeys(widths):
        coins = torch.rand(num_images, width).numpy()
        first = np.ones((num_images, width))
        for image in range(num_images):
            if image not in plain:
                for channel in range(width):
                    first[image, channel] = 2.0 if coins[image, channel] < 0.5 else 0.0
        found[width] = (first, 2 - first)
    return found


@pytest.mark.parametrize("network", [V2, V3_PLUS, DPT], ids=["v2", "v3+", "dpt"])
def test_the_loss_is_that_of_the_authors_code(
    network: NetworkConfig, tiny_data: PreparedData, scratch: Path
) -> None:
    first = network_case(UniMatchV2Config(), network, tiny_data, scratch)
    first_logits = first.learners.label("teachers", _weak(first))[0].logits
    confidence = np.stack([softmax(s).max(axis=0) for s in pixels(first, first_logits)])
    method = UniMatchV2Config(
        threshold=float(np.quantile(confidence, 0.4)), plain_fraction=0.5, box_probability=1.0
    )
    c = network_case(method, network, tiny_data, scratch)
    assert c.batch.unlabelled is not None and len(c.batch.noise) == 2
    images = _weak(c)
    inside = c.batch.unlabelled.inside
    scores = pixels(c, c.learners.label("teachers", images)[0].logits)
    label = np.where((confidence > method.threshold) & inside.numpy(), scores.argmax(axis=1), 255)
    assert 0 < (label != 255).sum() < int(inside.sum())
    student = c.learners.student(0)
    student.train()
    torch.manual_seed(MASK_SEED)
    losses = []
    for view, draw in enumerate(c.batch.noise):
        strong = strengthen(images, draw)
        head_input = [maps.detach() for maps in student(strong).head_input]
        of_width = masks(len(images), 1, [maps.shape[1] for maps in head_input])
        dropped = [
            maps * torch.from_numpy(of_width[maps.shape[1]][view]).float()[:, :, None, None]
            for maps in head_input
        ]
        with torch.no_grad():
            logits = student.decode(dropped, (strong.shape[-2], strong.shape[-1])).logits
        mixed = mix(torch.from_numpy(label), draw).numpy()
        losses.append(over_valid(pixels(c, logits), mixed, mix(inside, draw).numpy()))
    assert abs(losses[0] - losses[1]) > 1e-6
    crops = c.batch.labelled[0]
    with torch.no_grad():
        on_labelled = student(crops.image.float() / 255).logits
    valid = crops.label.numpy() != 255
    supervised = over_valid(pixels(c, on_labelled), crops.label.numpy().astype(np.int64), valid)
    torch.manual_seed(MASK_SEED)
    taken = float(c.method.step(c.batch, c.learners).loss.detach())
    assert taken == pytest.approx(0.5 * (supervised + 0.5 * sum(losses)), rel=1e-4)


def _weak(c: Case) -> Tensor:
    assert c.batch.unlabelled is not None
    return c.batch.unlabelled.image.float() / 255


def test_masks_complement_each_other_and_spare_the_plain_images() -> None:
    torch.manual_seed(0)
    drawn = ComplementaryMasks(6, 3, torch.device("cpu"))
    first, second = (drawn.of(view, 32) for view in (0, 1))
    assert set(first.flatten().tolist()) == {0.0, 1.0, 2.0}
    assert torch.equal(first + second, torch.full((6, 32), 2.0))
    plain = [image for image in range(6) if bool((first[image] == 1).all())]
    assert len(plain) == 3
    assert torch.equal(drawn.of(0, 32), first), "the same for every map of this width"
    assert drawn.of(0, 8).shape == (6, 8)
    assert [i for i in range(6) if bool((drawn.of(0, 8)[i] == 1).all())] == plain
    maps = torch.rand(2, 32, 3, 4)
    expected = maps * first[4:6, :, None, None]
    assert torch.equal(drawn.drop(0, maps, slice(4, 6)), expected), "a micro-batch's own rows"


def test_unimatch_drops_channels_of_every_map_of_the_head(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """Version 1 on Deeplabv3+: the early and the last map, each by its own draw."""
    method = UniMatchConfig(threshold=0.0, strong_weight=0.0, feature_weight=1.0)
    c = network_case(method, V3_PLUS, tiny_data, scratch)
    assert c.batch.unlabelled is not None
    images = _weak(c)
    label = c.hard(pixels(c, c.learners.label("students", images)[0].logits))
    student = c.learners.student(0)
    early, last = (maps.detach() for maps in student(images).head_input)
    torch.manual_seed(MASK_SEED)
    dropped = [functional.dropout2d(early, 0.5), functional.dropout2d(last, 0.5)]
    with torch.no_grad():
        logits = student.decode(dropped, (images.shape[-2], images.shape[-1])).logits
    feature = over_valid(pixels(c, logits), label, c.batch.unlabelled.inside.numpy())
    crops = c.batch.labelled[0]
    with torch.no_grad():
        on_labelled = student(crops.image.float() / 255).logits
    valid = crops.label.numpy() != 255
    supervised = over_valid(pixels(c, on_labelled), crops.label.numpy().astype(np.int64), valid)
    torch.manual_seed(MASK_SEED)
    taken = float(c.method.step(c.batch, c.learners).loss.detach())
    assert taken == pytest.approx(0.5 * (supervised + feature), rel=1e-4)
