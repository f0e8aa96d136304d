"""A method's loss taken apart: one batch of the tiny run, the networks' raw outputs on it, and a
slow reference.

The reference is plain NumPy loops that share nothing with the code under test.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rml_trainers.config import RunConfig
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import mix, photometric
from rml_trainers.students.learners import Learners
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def upsample(maps: Array, height: int, width: int) -> Array:
    """Bilinear with corners on corners, of [C, h, w]."""
    channels, h, w = maps.shape
    out = np.zeros((channels, height, width))
    for y in range(height):
        for x in range(width):
            sy = y * (h - 1) / (height - 1)
            sx = x * (w - 1) / (width - 1)
            y0 = min(int(sy), h - 2)
            x0 = min(int(sx), w - 2)
            fy = sy - y0
            fx = sx - x0
            top = (1 - fx) * maps[:, y0, x0] + fx * maps[:, y0, x0 + 1]
            bottom = (1 - fx) * maps[:, y0 + 1, x0] + fx * maps[:, y0 + 1, x0 + 1]
            out[:, y, x] = (1 - fy) * top + fy * bottom
    return out


def softmax(scores: Array) -> Array:
    weights = np.exp(scores - scores.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0))


def convolution(maps: Array, layer: nn.Conv2d) -> Array:
    """[C, h, w] → [O, h', w'], cell by cell, zeros around. Kernel, stride, dilation and padding are
    the layer's: a test says by itself what they must be."""
    weight = layer.weight.detach().double().numpy()
    side = weight.shape[2]
    stride = layer.stride[0]
    dilation = layer.dilation[0]
    assert isinstance(layer.padding, tuple)
    around = layer.padding[0]
    padded = np.pad(maps, ((0, 0), (around, around), (around, around)))
    reach = dilation * (side - 1) + 1
    height, width = ((length - reach) // stride + 1 for length in padded.shape[1:])
    out = np.zeros((len(weight), height, width))
    for y, x in np.ndindex(height, width):
        rows = slice(y * stride, y * stride + reach, dilation)
        columns = slice(x * stride, x * stride + reach, dilation)
        out[:, y, x] = weight.reshape(len(weight), -1) @ padded[:, rows, columns].ravel()
    if layer.bias is not None:
        out += layer.bias.detach().double().numpy()[:, None, None]
    return out


def mean_log_loss(prob: Array, label: Labels, weight: Array | None = None) -> float:
    """Mean of −w log p_y over the pixels with a label; 0 where there is none.

    prob [B, K, H, W], label [B, H, W] with 255 ignored, weight [B, H, W], default: 1.
    """
    losses = []
    for b, y, x in np.ndindex(*label.shape):
        if label[b, y, x] != 255:
            w = 1.0 if weight is None else float(weight[b, y, x])
            losses.append(-w * math.log(prob[b, label[b, y, x], y, x]))
    return float(np.mean(losses)) if losses else 0.0


def mean_cross_entropy(logits: Array, label: Labels) -> float:
    """logits [B, K, H, W], label [B, H, W] with 255 ignored."""
    return mean_log_loss(np.stack([softmax(maps) for maps in logits]), label)


class Case:
    """Noise is in the images only, so that the networks' outputs can be taken again."""

    def __init__(self, config: RunConfig, data: PreparedData, work_dir: Path) -> None:
        split = make_split(data.names("train"), config.split)
        reporter = MemoryReporter()
        self.trainer = Trainer(
            config, data, split, device=torch.device("cpu"), reporter=reporter, work_dir=work_dir
        )
        self.method = self.trainer.method
        self.learners: Learners = self.trainer.learners
        with torch.no_grad():  # teachers that differ from their students
            for parameter in self.learners.teachers.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        if config.method.uses_unlabelled:
            self.method.begin_stage(self.trainer.stage_context(1))
        self.batch: Batch = self.trainer.batches.batch(
            1,
            0,
            with_unlabelled=config.method.uses_unlabelled,
            initial=self.method.initial_labels(),
        )

    def student_logits(self, images: torch.Tensor, i: int) -> Array:
        with torch.no_grad():
            small = self.learners.student(i)(images).logits.double().numpy()
        return np.stack([upsample(maps, images.shape[-2], images.shape[-1]) for maps in small])

    def supervised(self, i: int) -> float:
        crops = self.batch.labelled[i]
        label = crops.label.numpy().astype(np.int64)
        return mean_cross_entropy(self.student_logits(crops.image.float() / 255, i), label)

    def unsupervised(self, i: int, targets: list[Labels]) -> float:
        unlabelled = self.batch.unlabelled
        draw = self.batch.noise[i]
        assert unlabelled is not None
        strong = mix(photometric(unlabelled.image.float() / 255, draw), draw)
        logits = self.student_logits(strong, i)
        return sum(
            mean_cross_entropy(logits, mix(torch.from_numpy(t), draw).numpy()) for t in targets
        )

    def scores(self, labeller: Any, i: int) -> Array:
        """[B, K, H, W] upsampled logits of one labelling network on the weak views."""
        assert self.batch.unlabelled is not None
        images = self.batch.unlabelled.image.float() / 255
        small = self.learners.label(labeller, images)[i].logits.double().numpy()
        return np.stack([upsample(maps, images.shape[-2], images.shape[-1]) for maps in small])

    def hard(self, scores: Array) -> Labels:
        assert self.batch.unlabelled is not None
        return np.where(self.batch.unlabelled.inside.numpy(), scores.argmax(1), 255)


class Seen:
    """What the student of a method with one student makes of a batch, and of what, image by
    image."""

    def __init__(self, made: Case) -> None:
        assert made.batch.unlabelled is not None
        crops = made.batch.labelled[0]
        self.images = crops.image.double().numpy() / 255
        self.images_u = made.batch.unlabelled.image.double().numpy() / 255
        self.label = crops.label.numpy().astype(np.int64)
        self.known = self.label != 255
        self.inside = made.batch.unlabelled.inside.numpy()
        self.logits = made.student_logits(crops.image.float() / 255, 0)
        self.logits_u = made.student_logits(made.batch.unlabelled.image.float() / 255, 0)
        self.prob = np.stack([softmax(maps) for maps in self.logits])
        self.prob_u = np.stack([softmax(maps) for maps in self.logits_u])
        assert 0 < self.known.sum() < self.known.size, "some pixels have no label"
        assert 0 < self.inside.sum() < self.inside.size, "some pixels are padding"
        assert self.known.sum() != self.inside.sum(), "a wrong denominator is seen"


def hide_labels(made: Case) -> None:
    """Of the upper quarter of each crop: fewer pixels have a label than are image."""
    for crops in made.batch.labelled:
        crops.label[:, : crops.label.shape[1] // 4] = 255


def case(method: Any, data: PreparedData, work_dir: Path, **changes: Any) -> Case:
    """A case of a method (its configuration); top-level fields of the run can be exchanged."""
    torch.manual_seed(0)
    network = DeepLabV2Config(
        backbone="test_resnet", weights="none", aspp_branches=2, batchnorm="frozen"
    )
    fields = {"network": network, "noise": NoiseConfig(model=False), **changes}
    return Case(tiny_config("rml", method=method, **fields), data, work_dir)


def taken(case: Case) -> float:
    """The method's own loss on the batch."""
    return float(case.method.step(case.batch, case.learners).loss.detach())
