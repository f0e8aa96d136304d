"""Losses of students and discriminators against plain loops, from the networks' weights on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from rml_trainers.config import BatchConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.adversarial.adv_ssl import AdvSslConfig
from rml_trainers.methods.comparators.adversarial.judged import Judged
from rml_trainers.methods.comparators.adversarial.s4gan import S4GanConfig
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.students.own_networks import OwnNetwork
from tests.support.method_case import Array, Case, case, mean_cross_entropy, softmax, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
CROP_PX = (64, 72)
"""Larger than the images of 32×48: every crop overhangs."""
ADV_SSL = AdvSslConfig(
    adversarial_weight=0.3,
    unlabelled_weight=0.2,
    semi_weight=0.7,
    semi_start=0,
)


def convolution(maps: Array, layer: nn.Conv2d) -> Array:
    """4×4, stride 2, one zero around; [C, h, w] → [O, h // 2, w // 2], cell by cell."""
    assert layer.bias is not None
    weight = layer.weight.detach().double().numpy()
    bias = layer.bias.detach().double().numpy()
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    (height, width) = maps.shape[1:]
    out = np.zeros((len(weight), height // 2, width // 2))
    for y, x in np.ndindex(*out.shape[1:]):
        patch = padded[:, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4]
        out[:, y, x] = weight.reshape(len(weight), -1) @ patch.ravel() + bias
    return out


def leaky(maps: Array) -> Array:
    return np.where(maps > 0, maps, 0.2 * maps)


def layers(case: Case) -> list[nn.Conv2d]:
    convolutions = module(case).get_submodule("convolutions").children()
    return [layer for layer in convolutions if isinstance(layer, nn.Conv2d)]


def module(case: Case) -> nn.Module:
    method = case.method
    assert isinstance(method, Judged)
    return method.judge.module


def sigmoid(value: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-value)))


def bce(logit: Array, real: bool) -> Array:
    probability = sigmoid(logit)
    return np.asarray(-np.log(probability if real else 1 - probability))


def truth(label: npt.NDArray[np.int64], num_classes: int) -> Array:
    out = np.zeros((len(label), num_classes, *label.shape[1:]))
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            out[b, label[b, y, x], y, x] = 1
    return out


class Parts:
    """All that both losses are made of, image by image."""

    def __init__(self, made: Case) -> None:
        assert made.batch.unlabelled is not None
        crops = made.batch.labelled[0]
        self.images = crops.image.double().numpy() / 255
        self.unlabelled = made.batch.unlabelled.image.double().numpy() / 255
        self.label = crops.label.numpy().astype(np.int64)
        self.inside = made.batch.unlabelled.inside.numpy()
        self.logits = made.student_logits(crops.image.float() / 255, 0)
        images = made.batch.unlabelled.image.float() / 255
        self.logits_u = made.student_logits(images, 0)
        self.prob = np.stack([softmax(each) for each in self.logits])
        self.prob_u = np.stack([softmax(each) for each in self.logits_u])
        self.truth = truth(self.label, self.prob.shape[1])
        self.known = self.label != 255
        assert 0 < self.known.sum() < self.known.size, "some pixels have no label"
        assert 0 < self.inside.sum() < self.inside.size, "some pixels are padding"


def made(method: Any, data: PreparedData, work_dir: Path) -> Case:
    found = case(method, data, work_dir, geometry=GeometryConfig(crop_px=CROP_PX))
    with torch.no_grad():  # logits of some size, so that the discriminator's answers differ
        for parameter in module(found).parameters():
            parameter.mul_(3)
    module(found).eval()  # without dropout
    return found


def pixel_judgement(made: Case, prob: Array) -> Array:
    """[B, H, W]: Hung et al.'s discriminator."""
    found = []
    for maps in prob:
        *inner, last = layers(made)
        for layer in inner:
            maps = leaky(convolution(maps, layer))
        found.append(upsample(convolution(maps, last), *prob.shape[2:])[0])
    return np.stack(found)


def test_adv_ssl(tiny_data: PreparedData, scratch: Path) -> None:
    parts = Parts(made(ADV_SSL, tiny_data, scratch))
    judged = pixel_judgement(made(ADV_SSL, tiny_data, scratch), parts.prob_u)
    threshold = float(np.median(sigmoid(judged)[parts.inside]))
    c = made(replace(ADV_SSL, semi_threshold=threshold), tiny_data, scratch)
    on_labelled = pixel_judgement(c, parts.prob)
    believed = parts.inside & (sigmoid(judged) >= threshold)
    assert 0 < believed.sum() < parts.inside.sum()
    own = np.where(believed, parts.logits_u.argmax(axis=1), 255)
    expected = mean_cross_entropy(parts.logits, parts.label)
    expected += 0.3 * bce(on_labelled, real=True)[parts.known].mean()
    expected += 0.2 * bce(judged, real=True)[parts.inside].mean()
    expected += 0.7 * mean_cross_entropy(parts.logits_u, own)
    result = c.method.step(c.batch, c.learners)
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-4)
    fake = np.concatenate(
        [bce(on_labelled, real=False)[parts.known], bce(judged, real=False)[parts.inside]]
    )
    real = bce(pixel_judgement(c, parts.truth), real=True)[parts.known]
    wanted = (fake.mean() + real.mean()) / 2
    assert float(result.own_losses["discriminator"].detach()) == pytest.approx(wanted, rel=1e-4)


def test_before_its_start_nothing_that_is_believed_teaches(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(replace(ADV_SSL, semi_start=2, semi_threshold=0.0), tiny_data, scratch)
    losses = []
    for _ in range(3):
        result = c.method.step(c.batch, c.learners)
        losses.append(float(result.loss.detach()))
    at_once = made(replace(ADV_SSL, semi_threshold=0.0), tiny_data, scratch)
    without = made(replace(ADV_SSL, semi_weight=0.0), tiny_data, scratch)
    assert losses[2] == float(at_once.method.step(at_once.batch, at_once.learners).loss.detach())
    assert (
        losses[0]
        == losses[1]
        == pytest.approx(float(without.method.step(without.batch, without.learners).loss.detach()))
    )
    assert losses[2] > losses[0] + 0.1


def image_judgement(made: Case, prob: Array, images: Array) -> tuple[Array, Array]:
    """[B] and [B, 512]: Mittal et al.'s discriminator."""
    smallest = images.min()
    images = (images - smallest) / (images.max() - smallest)
    last = module(made).get_submodule("last")
    assert isinstance(last, nn.Linear)
    judged = []
    features = []
    for maps, image in zip(prob, images, strict=True):
        maps = np.concatenate([maps, image])
        for layer in layers(made):
            maps = leaky(convolution(maps, layer))
        feature = maps.mean(axis=(1, 2))
        features.append(feature)
        weight = last.weight.detach().double().numpy()[0]
        judged.append(float(weight @ feature + last.bias.detach().double().numpy()[0]))
    return np.array(judged), np.stack(features)


def test_s4gan(tiny_data: PreparedData, scratch: Path) -> None:
    method = S4GanConfig(feature_weight=0.4, self_training_weight=0.7)
    first = made(method, tiny_data, scratch)
    parts = Parts(first)
    judged, of_fake = image_judgement(first, parts.prob_u, parts.unlabelled)
    threshold = float(sigmoid(judged).mean())
    c = made(replace(method, self_training_threshold=threshold), tiny_data, scratch)
    on_real, of_real = image_judgement(c, parts.truth, parts.images)
    good = sigmoid(judged) > threshold
    assert good.sum() == 1, "one image of two is believed"
    own = np.where(parts.inside & good[:, None, None], parts.logits_u.argmax(axis=1), 255)
    expected = mean_cross_entropy(parts.logits, parts.label)
    expected += 0.4 * np.abs(of_real.mean(axis=0) - of_fake.mean(axis=0)).mean()
    expected += 0.7 * mean_cross_entropy(parts.logits_u, own)
    result = c.method.step(c.batch, c.learners)
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-4)
    wanted = (bce(judged, real=False).mean() + bce(on_real, real=True).mean()) / 2
    assert float(result.own_losses["discriminator"].detach()) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("method", [ADV_SSL, S4GanConfig()], ids=["adv_ssl", "s4gan"])
def test_neither_loss_reaches_the_other_network(
    method: Any, tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(method, tiny_data, scratch)
    result = c.method.step(c.batch, c.learners)
    own = list(module(c).parameters())
    result.own_losses["discriminator"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in c.learners.parameters())
    assert all(p.grad is not None for p in own)
    for parameter in own:
        parameter.grad = None
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in own)


def test_pieces_of_a_step_add_up_where_the_losses_are_sums(
    tiny_data: PreparedData, scratch: Path
) -> None:
    """All believed, so that the mean over believed pixels is that over the image; pieces of images
    that overhang equally much would be needed for more."""
    method = replace(ADV_SSL, semi_weight=0.0)
    losses = []
    for accumulate in (1, 2):
        c = case(
            method,
            tiny_data,
            scratch,
            batch=BatchConfig(labelled=4, unlabelled=4, accumulate=accumulate),
            geometry=GeometryConfig(crop_px=CROP_PX),
        )
        result = c.method.step(c.batch, c.learners)
        losses.append(
            [float(result.loss.detach()), float(result.own_losses["discriminator"].detach())]
        )
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_the_discriminators_are_built_from_the_runs_seed(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        work_dir = tmp_path / str(number)
        work_dir.mkdir()
        c = case(ADV_SSL, tiny_data, work_dir, seed=seed)
        network = c.method.own_networks()["discriminator"]
        assert isinstance(network, OwnNetwork)
        found.append(next(network.module.parameters()).detach().clone())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
