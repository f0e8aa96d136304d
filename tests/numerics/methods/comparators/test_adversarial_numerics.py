"""Losses of students and discriminators against plain loops, from the networks' weights on;
and what holds of every method whose student is judged by a second network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rml_trainers.config import BatchConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.adversarial.adv_ssl import AdvSslConfig
from rml_trainers.methods.comparators.adversarial.ecs import EcsConfig
from rml_trainers.methods.comparators.adversarial.judged import Judged
from rml_trainers.methods.comparators.adversarial.s4gan import S4GanConfig
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.students.own_networks import OwnNetwork
from tests.support.method_case import (
    Array,
    Case,
    Labels,
    Seen,
    case,
    convolution,
    hide_labels,
    mean_cross_entropy,
    upsample,
)

pytestmark = pytest.mark.usefixtures("single_thread")
CROP_PX = (64, 72)
"""Larger than the images of 32×48: every crop overhangs."""
ADV_SSL = AdvSslConfig(
    adversarial_weight=0.3,
    unlabelled_weight=0.2,
    semi_weight=0.7,
    semi_start=0,
)
ECS = EcsConfig(correction_start=0, corrector_width=8)


def leaky(maps: Array) -> Array:
    return np.where(maps > 0, maps, 0.2 * maps)


def layers(case: Case) -> list[nn.Conv2d]:
    """Of the discriminator: 4×4, stride 2, one zero around."""
    convolutions = judge(case).get_submodule("convolutions").children()
    found = [layer for layer in convolutions if isinstance(layer, nn.Conv2d)]
    for layer in found:
        spacing = (layer.kernel_size, layer.stride, layer.dilation, layer.padding)
        assert spacing == ((4, 4), (2, 2), (1, 1), (1, 1))
    return found


def judge(case: Case) -> nn.Module:
    method = case.method
    assert isinstance(method, Judged)
    return method.judge.module


def sigmoid(value: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-value)))


def bce(logit: Array, real: bool) -> Array:
    probability = sigmoid(logit)
    return np.asarray(-np.log(probability if real else 1 - probability))


def one_hot(label: Labels, num_classes: int) -> Array:
    out = np.zeros((len(label), num_classes, *label.shape[1:]))
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            out[b, label[b, y, x], y, x] = 1
    return out


def made(method: Any, data: PreparedData, work_dir: Path, **changes: Any) -> Case:
    found = case(method, data, work_dir, geometry=GeometryConfig(crop_px=CROP_PX), **changes)
    hide_labels(found)
    with torch.no_grad():  # logits of some size, so that the judge's answers differ
        for parameter in judge(found).parameters():
            parameter.mul_(3)
    judge(found).eval()  # without dropout
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
    seen = Seen(made(ADV_SSL, tiny_data, scratch))
    judged = pixel_judgement(made(ADV_SSL, tiny_data, scratch), seen.prob_u)
    threshold = float(np.median(sigmoid(judged)[seen.inside]))
    c = made(replace(ADV_SSL, semi_threshold=threshold), tiny_data, scratch)
    on_labelled = pixel_judgement(c, seen.prob)
    believed = seen.inside & (sigmoid(judged) >= threshold)
    assert 0 < believed.sum() < seen.inside.sum()
    own = np.where(believed, seen.logits_u.argmax(axis=1), 255)
    expected = mean_cross_entropy(seen.logits, seen.label)
    expected += 0.3 * bce(on_labelled, real=True)[seen.known].mean()
    expected += 0.2 * bce(judged, real=True)[seen.inside].mean()
    expected += 0.7 * mean_cross_entropy(seen.logits_u, own)
    result = c.method.step(c.batch, c.learners)
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-4)
    fake = np.concatenate(
        [bce(on_labelled, real=False)[seen.known], bce(judged, real=False)[seen.inside]]
    )
    truth = one_hot(seen.label, seen.prob.shape[1])
    real = bce(pixel_judgement(c, truth), real=True)[seen.known]
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
    last = judge(made).get_submodule("last")
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
    seen = Seen(first)
    judged, of_fake = image_judgement(first, seen.prob_u, seen.images_u)
    threshold = float(sigmoid(judged).mean())
    c = made(replace(method, self_training_threshold=threshold), tiny_data, scratch)
    truth = one_hot(seen.label, seen.prob.shape[1])
    on_real, of_real = image_judgement(c, truth, seen.images)
    good = sigmoid(judged) > threshold
    assert good.sum() == 1, "one image of two is believed"
    own = np.where(seen.inside & good[:, None, None], seen.logits_u.argmax(axis=1), 255)
    expected = mean_cross_entropy(seen.logits, seen.label)
    expected += 0.4 * np.abs(of_real.mean(axis=0) - of_fake.mean(axis=0)).mean()
    expected += 0.7 * mean_cross_entropy(seen.logits_u, own)
    result = c.method.step(c.batch, c.learners)
    assert float(result.loss.detach()) == pytest.approx(expected, rel=1e-4)
    wanted = (bce(judged, real=False).mean() + bce(on_real, real=True).mean()) / 2
    assert float(result.own_losses["discriminator"].detach()) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("method", [ADV_SSL, S4GanConfig(), ECS], ids=lambda each: each.name)
def test_neither_loss_reaches_the_other_network(
    method: Any, tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(method, tiny_data, scratch)
    result = c.method.step(c.batch, c.learners)
    own = list(judge(c).parameters())
    (own_loss,) = result.own_losses.values()
    own_loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in c.learners.parameters())
    assert all(p.grad is not None for p in own)
    for parameter in own:
        parameter.grad = None
    result.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in own)


@pytest.mark.parametrize(
    "method", [replace(ADV_SSL, semi_weight=0.0), ECS], ids=lambda each: each.name
)
def test_pieces_of_a_step_add_up_where_the_losses_are_sums(
    method: Any, tiny_data: PreparedData, scratch: Path
) -> None:
    """`adv_ssl` without what it believes: that is a mean over the believed pixels of a piece."""
    found = []
    for accumulate in (1, 2):
        batch = BatchConfig(labelled=4, unlabelled=4, accumulate=accumulate)
        c = made(method, tiny_data, scratch, batch=batch)
        result = c.method.step(c.batch, c.learners)
        (own_loss,) = result.own_losses.values()
        told = {name: float(value) for name, value in result.scalars.items()}
        found.append({**told, "own": float(own_loss.detach())})
    assert found[1] == pytest.approx(found[0], rel=1e-5)


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
