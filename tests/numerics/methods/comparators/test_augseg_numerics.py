"""AugSeg's loss, trust and label injection against plain loops, from the networks' logits on."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.augseg import AugSegConfig, entropy
from rml_trainers.noise.input_noise import InputNoiseDraw, photometric
from rml_trainers.noise.label_injection import InjectionDraw
from tests.support.method_case import Array, Case, case, softmax, taken

pytestmark = pytest.mark.usefixtures("single_thread")


def trust(c: Case) -> Array:
    """[B] mean over the pixels of each image of (1 − H / log K) · max p, as the mean teacher sees
    it."""
    assert c.batch.unlabelled is not None
    scores = c.scores("teachers", 0)
    found = []
    for image, inside in zip(scores, c.batch.unlabelled.inside.numpy(), strict=True):
        values = []
        for y, x in np.argwhere(inside):
            prob = softmax(image[:, y, x])
            h = -sum(float(p) * math.log(p) for p in prob if p > 0)
            values.append((1 - h / math.log(len(prob))) * float(prob.max()))
        found.append(float(np.mean(values)))
    return np.array(found)


def injected(maps: Array, labelled: Array, draw: InjectionDraw, believed: Array) -> Array:
    """The authors' order: labelled pixels into a copy of every image, then boxes of that copy into
    the images themselves. Maps [N, C, H, W]."""
    copy = maps.copy()
    for i in range(len(maps)):
        if float(draw.coins[i]) > believed[i]:
            top, left, bottom, right = draw.label_boxes[i, 0].tolist()
            source = labelled[i * len(labelled) // len(maps)]
            copy[i, :, top:bottom, left:right] = source[:, top:bottom, left:right]
    result = maps.copy()
    for i in range(len(maps)):
        top, left, bottom, right = draw.boxes[i, 0].tolist()
        partner = copy[int(draw.partner[i])]
        result[i, :, top:bottom, left:right] = partner[:, top:bottom, left:right]
    return result


def over_image(logits: Array, label: npt.NDArray[np.int64], num_pixels: int) -> float:
    """Sum over the pixels with a label, divided by the number of pixels that are image."""
    total = 0.0
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            total -= math.log(softmax(logits[b, :, y, x])[label[b, y, x]])
    return total / num_pixels


def with_draw(c: Case, mixing: InjectionDraw) -> InputNoiseDraw:
    """Give the step other boxes and coins."""
    (draw,) = c.batch.noise
    other = replace(draw, mixing=mixing)
    c.batch = replace(c.batch, noise=(other,))
    return other


@pytest.mark.parametrize("threshold", [None, 0.4], ids=["all labels", "confident labels"])
def test_the_loss_is_that_of_the_authors_code(
    threshold: float | None, tiny_data: PreparedData, scratch: Path
) -> None:
    first = case(AugSegConfig(threshold=None), tiny_data, scratch)
    largest = np.stack([softmax(s).max(axis=0) for s in first.scores("teachers", 0)])
    tau = None if threshold is None else float(np.quantile(largest, threshold))
    c = case(AugSegConfig(threshold=tau), tiny_data, scratch)
    assert c.batch.unlabelled is not None
    (drawn,) = c.batch.noise
    assert isinstance(drawn.mixing, InjectionDraw)
    believed = trust(c)
    coins = torch.tensor([believed[0] * 0.9, believed[1] * 1.1], dtype=torch.float32)
    boxes = torch.tensor([[[2, 4, 20, 30]], [[0, 0, 12, 20]]])
    label_boxes = torch.tensor([[[0, 0, 24, 32]], [[6, 2, 18, 17]]])
    mixing = InjectionDraw.of(boxes, label_boxes, coins)
    draw = with_draw(c, mixing)

    inside = c.batch.unlabelled.inside.numpy()
    keep = inside if tau is None else inside & (largest > tau)
    label = np.where(keep, c.scores("teachers", 0).argmax(axis=1), 255)
    crops = c.batch.labelled[0]
    truth = crops.label.numpy().astype(np.float64)
    strong = photometric(c.batch.unlabelled.image.float() / 255, draw).numpy()
    images = injected(strong, crops.image.numpy() / np.float32(255), mixing, believed)
    mixed = injected(label[:, None].astype(np.float64), truth[:, None], mixing, believed)[:, 0]
    counted = injected(
        inside[:, None].astype(np.float64),
        np.ones((len(truth), 1, *truth.shape[1:])),
        mixing,
        believed,
    )
    without = injected(strong, images, mixing, np.ones(2))
    seen = [bool((image != other).any()) for image, other in zip(images, without, strict=True)]
    assert seen == [True, False], "image 0 sees what was injected into image 1, and only it"
    logits = c.student_logits(torch.from_numpy(images.astype(np.float32)), 0)
    expected = c.supervised(0) + over_image(logits, mixed.astype(np.int64), int(counted.sum()))
    assert taken(c) == pytest.approx(expected, rel=1e-4)


def test_only_doubtful_images_bring_labelled_pixels_along() -> None:
    """An image that is sure of itself takes nothing; what was injected is seen by its partner."""
    boxes = torch.tensor([[[0, 0, 4, 6]]] * 2)
    draw = InjectionDraw.of(boxes, boxes, torch.tensor([0.5, 0.5]))
    maps = torch.zeros(2, 4, 6)
    labelled = torch.tensor([1.0, 2.0]).view(2, 1, 1).expand(2, 4, 6)
    seen = draw.inject(maps, labelled, torch.tensor([0.4, 0.6]))
    assert seen[:, 0, 0].tolist() == [0.0, 1.0]
    assert draw.inject(maps, labelled[:1], torch.zeros(2))[:, 0, 0].tolist() == [1.0, 1.0]
    assert torch.equal(draw.apply(maps), maps)


def test_workers_shares_take_from_their_own_labelled_images() -> None:
    """Eight images and four labelled ones are what two workers with four and two see."""
    boxes = torch.tensor([[[0, 0, 4, 6]]] * 8)
    draw = InjectionDraw.of(boxes, boxes, torch.full((8,), 0.5))
    maps = torch.zeros(8, 4, 6)
    labelled = torch.arange(1.0, 5.0).view(4, 1, 1).expand(4, 4, 6)
    whole = draw.inject(maps, labelled, torch.zeros(8))
    for worker in range(2):
        share = slice(4 * worker, 4 * worker + 4)
        own = labelled[2 * worker : 2 * worker + 2]
        part = draw.slice(share.start, share.stop).inject(maps[share], own, torch.zeros(4))
        assert torch.equal(part, whole[share])


def test_entropy_of_certain_and_uniform_predictions() -> None:
    prob = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4]).view(2, 4, 1, 1)
    assert entropy(prob).flatten().tolist() == pytest.approx([0.0, math.log(4)])
