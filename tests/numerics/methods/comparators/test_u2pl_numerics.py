"""U2PL's losses and what its contrastive loss compares, against plain loops, from the networks' and
the head's outputs on."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.methods.comparators.contrastive.u2pl import U2pl, U2plConfig
from rml_trainers.methods.method import MethodContext
from rml_trainers.noise.input_noise import mix
from rml_trainers.noise.mixing import BoxDraw
from rml_trainers.noise.sometimes import SometimesDraw
from tests.support.method_case import Array, Case, case, mean_cross_entropy, softmax, upsample
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
Labels = npt.NDArray[np.int64]
STAGE_STEPS = 4
SMALL: dict[str, Any] = {
    "mixing_probability": 1.0,
    "anchor_threshold": 0.13,
    "reliable_percent": 40.0,
    "low_rank": 1,
    "high_rank": 4,
    "num_queries": 5,
    "num_negatives": 3,
    "representation_width": 6,
    "queue_size": 7,
    "first_queue_size": 9,
}


def entropies(scores: Array) -> Array:
    """[B, H, W] from upsampled logits [B, K, H, W]."""
    found = np.zeros((len(scores), *scores.shape[2:]))
    for b, y, x in np.ndindex(*found.shape):
        prob = softmax(scores[b, :, y, x])
        found[b, y, x] = -sum(float(p) * math.log(p) for p in prob if p > 0)
    return found


class Seen:
    """What the networks of one case make of its step, with the mean teacher as a student learns."""

    def __init__(self, c: Case) -> None:
        unlabelled = c.batch.unlabelled
        assert unlabelled is not None
        self.case = c
        crops = c.batch.labelled[0]
        self.truth: Labels = crops.label.numpy().astype(np.int64)
        label = c.hard(c.scores("teachers", 0))
        draw = c.batch.noise[0].given(torch.from_numpy(label))
        weak = unlabelled.image.float() / 255
        images = mix(weak, draw)
        self.inside = mix(unlabelled.inside, draw).numpy()
        self.label: Labels = mix(torch.from_numpy(label), draw).numpy()
        assert isinstance(c.method, U2pl)
        if c.method.config.mixing == "cutout":
            images, self.label = hidden(c, weak, label)
            self.inside = unlabelled.inside.numpy()
        self.mixed = images
        self.images = torch.cat([crops.image.float() / 255, images])
        size = self.label.shape[1:]
        with torch.no_grad():
            self.of_teacher = c.learners.teacher(0)(self.images)
            self.of_student = c.learners.student(0)(self.images)
        small = self.of_teacher.logits.double().numpy()
        self.prob = np.stack([softmax(maps) for maps in small])
        scores = np.stack([upsample(maps, *size) for maps in small[len(self.truth) :]])
        self.entropy = entropies(scores)

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.entropy[self.label != 255], percent))

    def clear_percent(self, near: int, left: float, *, both_ends: bool = False) -> float:
        """One near this whose percentile lies between pixels, where no rounding moves it over one.

        What is asked for is `left` of the way from 100; `both_ends`: its mirror too.
        """
        values = self.entropy[self.label != 255]

        def gap(percent: float) -> float:
            asked = 100 - (100 - percent) * left
            limits = [self.percentile(asked)]
            limits += [self.percentile(100 - asked)] if both_ends else []
            return min(float(np.abs(values - limit).min()) for limit in limits)

        return max((near + n / 8 for n in range(-24, 24)), key=gap)


def hidden(c: Case, weak: torch.Tensor, label: Labels) -> tuple[torch.Tensor, Labels]:
    """Each box in the colour that the network reads as 0, and without labels."""
    draw = c.batch.noise[0].mixing
    assert isinstance(draw, SometimesDraw)
    assert isinstance(draw.mixing, BoxDraw)
    images = weak.clone()
    label = label.copy()
    for i, (top, left, bottom, right) in enumerate(draw.mixing.boxes[:, 0].tolist()):
        for channel, value in enumerate(c.learners.student(0).mean.flatten().tolist()):
            images[i, channel, top:bottom, left:right] = value
        label[i, top:bottom, left:right] = 255
    return images, label


def made(
    data: PreparedData,
    folder: Path,
    *,
    begun: int = 0,
    scale: tuple[float, float] = (1.0, 1.0),
    **changes: Any,
) -> Case:
    """A case some steps into its stage, whose head drops nothing and differs from its teacher."""
    geometry = replace(tiny_config().geometry, scale=scale)
    c = case(U2plConfig(**{**SMALL, **changes}), data, folder, geometry=geometry)
    assert isinstance(c.method, U2pl)
    assert c.method._num_steps is not None
    c.method._num_steps = c.method._num_steps + begun
    for head in c.method.own_networks().values():
        assert head.teacher is not None
        head.module.eval()
        head.teacher.eval()
        with torch.no_grad():
            for parameter in head.teacher.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return c


def stepped(c: Case) -> dict[str, float]:
    torch.manual_seed(7)
    scalars = c.method.step(c.batch, c.learners).scalars
    return {name: float(value) for name, value in scalars.items()}


@pytest.mark.parametrize("mixing", ["cutmix", "cutout", "classmix"])
@pytest.mark.parametrize(("begun", "scale"), [(0, (1.0, 1.0)), (3, (1.0, 1.0)), (0, (0.5, 1.0))])
def test_certain_labels_teach_and_weigh_as_in_the_authors_code(
    mixing: Literal["cutmix", "cutout", "classmix"],
    begun: int,
    scale: tuple[float, float],
    tiny_data: PreparedData,
    scratch: Path,
) -> None:
    c = made(tiny_data, scratch, begun=begun, scale=scale, mixing=mixing, contrast_weight=0.0)
    seen = Seen(c)
    assert bool(seen.inside.all()) == (scale[0] == 1), "smaller images leave padding"
    left = 1 - begun / STAGE_STEPS
    percent = seen.clear_percent(80, left)
    assert isinstance(c.method, U2pl)
    c.method.config = replace(c.method.config, drop_percent=percent)
    dropped = (100 - percent) * left
    label = np.where(seen.entropy < seen.percentile(100 - dropped), seen.label, 255)
    num_kept = int((label != 255).sum())
    assert 0 < num_kept < int((seen.label != 255).sum())
    logits = c.student_logits(seen.mixed, 0)
    weight = int(seen.inside.sum()) / num_kept
    expected = weight * mean_cross_entropy(logits, label)
    found = stepped(c)
    assert found["loss_unsupervised_1"] == pytest.approx(expected, rel=1e-4)
    assert found["loss"] == pytest.approx(c.supervised(0) + expected, rel=1e-4)
    assert c.method.own_networks() == {}
    assert "loss_contrast_1" not in found


def nearest(label: Labels, height: int, width: int) -> Labels:
    rows = [y * label.shape[1] // height for y in range(height)]
    columns = [x * label.shape[2] // width for x in range(width)]
    return label[:, rows][:, :, columns]


def listed(maps: torch.Tensor) -> Array:
    """[B, D, h, w] → cells [N, D]."""
    return maps.detach().double().numpy().transpose(0, 2, 3, 1).reshape(-1, maps.shape[1])


def unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def negatives(seen: Seen, high: Labels, low_rank: int, of_own_class: bool) -> list[list[int]]:
    """Numbers of the cells that go into each class's memory bank."""
    num_classes = seen.prob.shape[1]
    found: list[list[int]] = [[] for _ in range(num_classes)]
    known = nearest(seen.truth, *seen.prob.shape[2:])
    for number, (b, y, x) in enumerate(np.ndindex(len(seen.prob), *seen.prob.shape[2:])):
        prob = seen.prob[b, :, y, x]
        for k in range(num_classes):
            rank = int((prob > prob[k]).sum())
            if b < len(known):
                mistaken = known[b, y, x] not in (k, 255) and rank < low_rank
                qualifies = mistaken and not of_own_class
            else:
                own = int(high[b - len(known), y, x])
                qualifies = low_rank <= rank < SMALL["high_rank"]
                qualifies = qualifies and (own == k if of_own_class else own != 255)
            if qualifies:
                found[k].append(number)
    return found


def drawn(share: float, candidates: list[int]) -> int:
    return candidates[int(share * len(candidates))]


@pytest.mark.parametrize(("which", "low_rank"), [("paper", 1), ("code", 0)])
def test_the_contrastive_loss_is_that_of_anchors_centres_and_memory_bank(
    which: Literal["paper", "code"], low_rank: int, tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(tiny_data, scratch, begun=1, negatives=which, low_rank=low_rank)
    seen = Seen(c)
    head = c.method.own_networks()["representation"]
    assert head.teacher is not None
    with torch.no_grad():
        of_teacher = listed(head.teacher(seen.of_teacher.feature))
        of_student = listed(head.module(seen.of_student.feature))
    (height, width) = seen.prob.shape[2:]
    num_classes = seen.prob.shape[1]
    left = 1 - 1 / STAGE_STEPS
    percent = 100 - seen.clear_percent(60, left, both_ends=True)
    assert isinstance(c.method, U2pl)
    c.method.config = replace(c.method.config, reliable_percent=percent)
    alpha = percent * left
    low = np.where(seen.entropy <= seen.percentile(alpha), seen.label, 255)
    high = np.where(seen.entropy >= seen.percentile(100 - alpha), seen.label, 255)
    reliable = np.concatenate([nearest(seen.truth, height, width), nearest(low, height, width)])
    keys = negatives(seen, nearest(high, height, width), low_rank, which == "code")
    prob = listed(torch.from_numpy(seen.prob))
    torch.manual_seed(7)
    for_anchors = torch.rand(num_classes, SMALL["num_queries"]).tolist()
    for_keys = torch.rand(num_classes, SMALL["num_queries"] * SMALL["num_negatives"]).tolist()
    total = 0.0
    num_present = 0
    num_usable = 0
    num_kept = 0
    for k in range(num_classes):
        cells = [n for n, of_cell in enumerate(reliable.flatten()) if of_cell == k]
        num_present += bool(cells)
        anchors = [n for n in cells if prob[n, k] > SMALL["anchor_threshold"]]
        size = SMALL["queue_size"] if k else SMALL["first_queue_size"]
        rows: list[int] = [-1] * min(size, len(keys[k]))
        for n, number in enumerate(keys[k]):
            if n >= len(keys[k]) - size:  # a ring: where the next one goes is what came long ago
                rows[n % size] = number
        num_kept += len(rows)
        if not anchors or not rows:
            continue
        num_usable += 1
        centre = unit(np.mean([of_teacher[n] for n in cells], axis=0))
        losses = []
        for q in range(SMALL["num_queries"]):
            anchor = unit(of_student[drawn(for_anchors[k][q], anchors)])
            scores = [float(anchor @ centre) / 0.5]
            for m in range(SMALL["num_negatives"]):
                share = for_keys[k][q * SMALL["num_negatives"] + m]
                scores.append(float(anchor @ unit(of_teacher[drawn(share, rows)])) / 0.5)
            losses.append(-math.log(softmax(np.array(scores))[0]))
        total += float(np.mean(losses))
    assert num_usable > 0
    found = stepped(c)
    assert found["loss_contrast_1"] == pytest.approx(total / num_present, rel=1e-4)
    assert found["memory_bank"] == pytest.approx(num_kept / num_classes)


def test_a_step_without_two_classes_has_no_contrast_and_finite_gradients(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(tiny_data, scratch, reliable_percent=0.0)
    crops = c.batch.labelled[0]
    unknown = replace(crops, label=torch.full_like(crops.label, 255))
    c.batch = replace(c.batch, labelled=(unknown,))
    result = c.method.step(c.batch, c.learners)
    assert float(result.scalars["loss_contrast_1"]) == 0
    result.loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in c.learners.parameters()]
    assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


def test_the_contrastive_loss_teaches_student_and_head_but_no_teacher(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = made(tiny_data, scratch, negatives="paper")
    result = c.method.step(c.batch, c.learners)
    result.loss.backward()  # type: ignore[no-untyped-call]
    with_contrast = [p.grad.clone() for p in c.learners.parameters() if p.grad is not None]
    head = c.method.own_networks()["representation"]
    assert result.taught == ("representation",)
    last = list(head.module.parameters())[-2]
    assert last.grad is not None
    assert bool((last.grad != 0).any())
    assert all(p.grad is not None for p in head.module.parameters())
    assert head.teacher is not None
    assert all(p.grad is None for p in head.teacher.parameters())
    other = made(tiny_data, scratch, contrast_weight=0.0)
    other.method.step(other.batch, other.learners).loss.backward()  # type: ignore[no-untyped-call]
    plain = [p.grad for p in other.learners.parameters() if p.grad is not None]
    assert any(not torch.allclose(x, y) for x, y in zip(with_contrast, plain, strict=True))


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({"low_rank": 6, "high_rank": 9}, True),
        ({"low_rank": 5, "high_rank": 9}, False),
        ({"low_rank": 6, "high_rank": 9, "negatives": "paper"}, False),
        ({"low_rank": 6, "high_rank": 9, "contrast_weight": 0.0}, False),
    ],
)
def test_ranks_that_no_class_can_have_are_refused(
    changes: dict[str, Any], is_refused: bool
) -> None:
    config = U2plConfig(**{**SMALL, **changes})
    context = MethodContext(num_classes=6, feature_widths=(8,), last_map_widths=(8,))
    if is_refused:
        with pytest.raises(ConfigError, match=r"method\.low_rank = 6: the data have 6 classes"):
            U2pl(config, context)
    else:
        U2pl(config, context)
