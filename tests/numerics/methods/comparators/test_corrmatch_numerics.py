"""CorrMatch's losses, threshold and spreading of labels against plain loops, from the networks' and
the head's outputs on."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.correlation.corrmatch import (
    CorrMatch,
    CorrMatchConfig,
    divergence,
)
from rml_trainers.methods.comparators.correlation.propagation import (
    CorrelationHead,
    coarse,
    largest_confidence,
    rows_of,
    segments,
    spread,
    spread_labels,
)
from rml_trainers.noise.input_noise import mix, strengthen
from tests.support.method_case import Array, Case, case, mean_cross_entropy, softmax, upsample

pytestmark = pytest.mark.usefixtures("single_thread")
Labels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def test_affinities_are_the_softmax_of_products() -> None:
    torch.manual_seed(0)
    head = CorrelationHead(5, 6, 3).eval()
    maps = torch.randn(2, 5, 2, 3)
    with torch.no_grad():
        projected = head.project(maps)
        first = head.first(projected).flatten(2).double().numpy()
        second = head.second(projected).flatten(2).double().numpy()
        found = head(maps).numpy()
    assert found.shape == (2, 6, 6)
    for b, i in np.ndindex(2, 6):
        scores = [float(first[b, :, i] @ second[b, :, j]) / math.sqrt(3) for j in range(6)]
        assert found[b, i] == pytest.approx(softmax(np.array(scores)), rel=1e-4)


def test_every_cell_gathers_what_is_alike() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 4)
    affinity = torch.rand(2, 8, 8)
    found = spread(logits, affinity)
    for b, k, j in np.ndindex(2, 3, 8):
        wanted = sum(float(affinity[b, i, j] * logits[b, k].flatten()[i]) for i in range(8))
        assert float(found[b, k].flatten()[j]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_fine_maps_are_averaged_to_cells_of_eight_pixels() -> None:
    maps = torch.arange(32.0).view(1, 1, 4, 8)
    found = coarse(maps, (16, 32))
    assert found.tolist() == [[[[4.5, 6.5, 8.5, 10.5], [20.5, 22.5, 24.5, 26.5]]]]
    assert coarse(maps, (32, 64)) is maps
    assert coarse(maps, (30, 60)).shape == (1, 1, 4, 8)


def test_a_region_is_the_upper_half_of_the_range() -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 4, 5)
    maps[1, 2] = 0.25
    for b, m in np.ndindex(2, 3):
        values = maps[b, m].numpy().astype(np.float64)
        span = values.max() - values.min()
        wanted = (values - values.min()) / span > 0.5 if span else np.zeros((4, 5), dtype=bool)
        assert segments(maps)[b, m].numpy().tolist() == wanted.tolist()


def test_random_cells_are_the_same_in_every_image_and_never_the_last() -> None:
    torch.manual_seed(0)
    affinity = torch.arange(6.0).view(1, 6, 1).expand(2, 6, 6)
    rows = rows_of(affinity, 500)
    assert rows.shape == (2, 500, 6)
    assert torch.equal(rows[0], rows[1])
    assert set(rows[0, :, 0].tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert rows_of(torch.ones(2, 1, 1), 3).shape == (2, 3, 1)


def taken_classes(
    label: Labels, sure: Mask, regions: Mask, threshold: float
) -> tuple[Labels, Mask]:
    """One image: the authors' loop over regions."""
    label = label.copy()
    covered = np.zeros_like(sure)
    for region in regions:
        certain = region & sure
        if not certain.any() or certain.sum() / region.sum() < threshold:
            continue
        classes, counts = np.unique(label[certain], return_counts=True)
        if counts.max() / counts.sum() > threshold:
            label[region] = classes[counts.argmax()]
            covered |= region
    return label, covered


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5])
def test_regions_take_their_most_frequent_class_in_turn(threshold: float) -> None:
    """Later regions see what earlier ones painted: backwards the labels come out differently."""
    rng = np.random.default_rng(3)
    label = rng.choice(3, size=(2, 6, 7), p=(0.5, 0.4, 0.1))
    sure = rng.random((2, 6, 7)) < 0.7
    label[~sure & (rng.random(label.shape) < 0.5)] = 255
    regions = rng.random((2, 9, 6, 7)) < 0.25
    regions[0, 4] = False
    given = (torch.from_numpy(label), torch.from_numpy(sure))
    limit = torch.tensor(threshold)
    found, covered = spread_labels(*given, torch.from_numpy(regions), limit, 3)
    for b in range(2):
        wanted, by_any = taken_classes(label[b], sure[b], regions[b], threshold)
        assert by_any.any()
        assert found[b].tolist() == wanted.tolist()
        assert covered[b].tolist() == by_any.tolist()
    backwards, _ = spread_labels(*given, torch.from_numpy(regions[:, ::-1].copy()), limit, 3)
    assert not torch.equal(backwards, found)


def test_the_largest_confidence_of_each_class() -> None:
    confidence = torch.tensor([[[0.2, 0.9, 0.5], [0.7, 0.4, 0.3]]])
    label = torch.tensor([[[0, 255, 2], [2, 0, 255]]])
    found = largest_confidence(confidence, label, 4)
    assert found.tolist() == pytest.approx([0.4, -1.0, 0.7, -1.0])


def test_divergence_of_masked_pixels() -> None:
    torch.manual_seed(0)
    p = torch.randn(1, 3, 2, 2).softmax(dim=1)
    p[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    q = torch.randn(1, 3, 2, 2).softmax(dim=1)
    mask = torch.tensor([[[True, False], [True, True]]])
    wanted = 0.0
    for y, x in ((0, 0), (1, 0), (1, 1)):
        for k in range(3):
            if p[0, k, y, x] > 0:
                wanted += float(p[0, k, y, x] * (p[0, k, y, x] / q[0, k, y, x]).log())
    found = divergence(p, q.log(), mask, torch.tensor(5.0))
    assert float(found) == pytest.approx(wanted / 5, rel=1e-5)


NUM_SEGMENTS = 12
MOMENTUM = 0.5


def over(logits: Array, label: Labels, mask: Mask, num_pixels: int) -> float:
    """Sum of the cross entropies where the mask holds, by the number of pixels given."""
    kept = np.where(mask, label, 255)
    return mean_cross_entropy(logits, kept) * int((kept != 255).sum()) / num_pixels


def made(data: PreparedData, folder: Path, threshold: float) -> Case:
    method = CorrMatchConfig(
        initial_threshold=threshold,
        threshold_momentum=MOMENTUM,
        num_segments=NUM_SEGMENTS,
        channel_dropout=0.0,
        correlation_width=6,
        box_probability=1.0,
    )
    c = case(method, data, folder)
    c.method.own_networks()["correlation"].module.eval()
    return c


class Reference:
    """What is known of a step before its student's forward, and what the networks give then."""

    def __init__(self, c: Case, initial: float) -> None:
        unlabelled = c.batch.unlabelled
        assert unlabelled is not None
        self.inside = unlabelled.inside.numpy()
        self.prob = np.stack([softmax(maps) for maps in c.scores("students", 0)])
        confidence = self.prob.max(axis=1)
        self.label = np.where(self.inside, self.prob.argmax(axis=1), 255)
        found = sorted(set(self.label[self.inside].tolist()))
        largest = [float(confidence[self.label == k].max()) for k in found]
        self.threshold = MOMENTUM * initial + (1 - MOMENTUM) * float(np.mean(largest))
        self.sure = self.inside & (confidence >= self.threshold)

        draw = c.batch.noise[0]
        weak = unlabelled.image.float() / 255
        self.mixed_label = mix(torch.from_numpy(self.label), draw).numpy()
        self.mixed_sure = mix(torch.from_numpy(self.sure), draw).numpy()
        self.mixed_inside = mix(unlabelled.inside, draw).numpy()
        numbers = np.broadcast_to(np.arange(len(weak))[:, None, None], self.label.shape).copy()
        mixed_numbers = mix(torch.from_numpy(numbers), draw).numpy()
        self.own = self.mixed_inside & (mixed_numbers == numbers)
        crops = c.batch.labelled[0]
        self.truth = crops.label.numpy().astype(np.int64)
        images = torch.cat([crops.image.float() / 255, weak, strengthen(weak, draw)])
        self.size = self.label.shape[1:]
        with torch.no_grad():
            output = c.learners.student(0)(images)
            affinity = c.method.own_networks()["correlation"].module(output.feature)
        self.cells = output.feature.shape[2:]
        small = output.logits.double().numpy()
        self.logits = np.stack([upsample(maps, *self.size) for maps in small])
        self.affinity = affinity.double().numpy()
        num_labelled = len(self.truth)
        self.on_labelled = slice(0, num_labelled)
        self.on_weak = slice(num_labelled, num_labelled + len(weak))
        self.on_strong = slice(num_labelled + len(weak), None)

    def correlated(self) -> Array:
        """Logits that are spread over the cells, at pixel resolution."""
        found = []
        for maps, alike in zip(self.logits, self.affinity, strict=True):
            small = upsample(maps, *self.cells).reshape(len(maps), -1) @ alike
            found.append(upsample(small.reshape(len(maps), *self.cells), *self.size))
        return np.stack(found)

    def spread(self, rows: list[int]) -> tuple[Labels, Mask]:
        """Labels after the regions of these cells, and what teaches."""
        painted = []
        covered = []
        for b, alike in enumerate(self.affinity[self.on_weak]):
            maps = upsample(alike[rows].reshape(len(rows), *self.cells), *self.size)
            smallest = maps.min(axis=(1, 2), keepdims=True)
            span = maps.max(axis=(1, 2), keepdims=True) - smallest
            regions = ((maps - smallest) / span > 0.5) & self.own[b]
            label, taken = taken_classes(
                self.mixed_label[b], self.mixed_sure[b], regions, self.threshold
            )
            painted.append(label)
            covered.append(taken)
        return np.stack(painted), np.stack(covered) | self.mixed_sure

    def divergence(self) -> float:
        total = 0.0
        for b, y, x in np.argwhere(self.mixed_sure):
            p = self.prob[b, :, y, x]
            q = softmax(self.logits[self.on_strong][b, :, y, x])
            total += float((p * (np.log(p) - np.log(q))).sum())
        return total / int(self.mixed_inside.sum())

    def losses(self, label: Labels, teaches: Mask) -> dict[str, float]:
        num_inside = int(self.inside.sum())
        num_mixed = int(self.mixed_inside.sum())
        of_corr = self.correlated()
        on_strong = over(of_corr[self.on_strong], label, teaches, num_mixed)
        on_weak = over(of_corr[self.on_weak], self.label, self.sure, num_inside)
        return {
            "supervised": mean_cross_entropy(self.logits[self.on_labelled], self.truth),
            "labelled_correlation": mean_cross_entropy(of_corr[self.on_labelled], self.truth),
            "strong": over(self.logits[self.on_strong], label, teaches, num_mixed),
            "feature": over(self.logits[self.on_weak], self.label, self.sure, num_inside),
            "correlation": (on_strong + on_weak) / 2,
            "kl": self.divergence(),
        }


def test_the_loss_is_that_of_the_authors_code(tiny_data: PreparedData, scratch: Path) -> None:
    first = made(tiny_data, scratch, 0.5)
    every = np.stack([softmax(maps) for maps in first.scores("students", 0)]).max(axis=1)
    initial = float(np.quantile(every, 0.2))
    c = made(tiny_data, scratch, initial)
    reference = Reference(c, initial)
    assert 0 < reference.sure.sum() < reference.inside.sum()
    torch.manual_seed(7)
    rows = torch.randint(reference.affinity.shape[1] - 1, (NUM_SEGMENTS,)).tolist()
    label, teaches = reference.spread(rows)
    assert teaches.sum() > reference.mixed_sure.sum()
    wanted = reference.losses(label, teaches)
    torch.manual_seed(7)
    result = c.method.step(c.batch, c.learners)
    found = {name: float(value) for name, value in result.scalars.items()}
    for name, value in wanted.items():
        assert found[f"loss_{name}_1"] == pytest.approx(value, rel=2e-4), name
    assert found["threshold"] == pytest.approx(reference.threshold)
    assert found["pseudo_label_kept"] == pytest.approx(float(teaches.mean()))
    unsupervised = sum(wanted[name] for name in ("strong", "kl", "feature", "correlation"))
    supervised = wanted["supervised"] + wanted["labelled_correlation"]
    total = (supervised / 2 + unsupervised / 4) / 2
    assert float(result.loss.detach()) == pytest.approx(total, rel=1e-4)


def test_a_threshold_that_stays_and_one_without_any_class(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(CorrMatchConfig(initial_threshold=0.0, threshold_momentum=1.0), tiny_data, scratch)
    result = c.method.step(c.batch, c.learners)
    assert float(result.scalars["threshold"]) == 0
    assert c.batch.unlabelled is not None
    inside = c.batch.unlabelled.inside.float().mean()
    assert float(result.scalars["confident"]) == pytest.approx(float(inside))


def test_the_head_learns_from_the_loss_and_the_last_map_does(
    tiny_data: PreparedData, scratch: Path
) -> None:
    c = case(CorrMatchConfig(initial_threshold=0.0), tiny_data, scratch)
    assert isinstance(c.method, CorrMatch)
    result = c.method.step(c.batch, c.learners)
    assert result.taught == ("correlation",)
    result.loss.backward()  # type: ignore[no-untyped-call]
    module = c.method.own_networks()["correlation"].module
    assert isinstance(module, CorrelationHead)
    for layer in (module.first, module.second):
        assert layer.weight.grad is not None
        assert bool((layer.weight.grad != 0).any())
