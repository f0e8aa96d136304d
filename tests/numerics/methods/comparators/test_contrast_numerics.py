"""Parts of contrastive losses against plain loops: percentiles, ranks, draws of cells, and the
memory bank against a queue as a list."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from rml_trainers.methods.comparators.contrastive.contrast import (
    class_centres,
    contrastive_losses,
    draw_cells,
    nearest_cells,
    percentiles,
    ranks,
)
from rml_trainers.methods.comparators.contrastive.memory_bank import MemoryBank

CPU = torch.device("cpu")


@pytest.mark.parametrize("num_valid", [1, 2, 37, 60])
def test_percentiles_are_numpys(num_valid: int) -> None:
    torch.manual_seed(num_valid)
    values = torch.rand(3, 4, 5)
    valid = (torch.randperm(60) < num_valid).view(3, 4, 5)
    percents = torch.tensor([0.0, 12.3, 50.0, 80.0, 100.0], dtype=torch.float64)
    wanted = np.percentile(values[valid].numpy(), percents.numpy())
    found = percentiles(values, valid, percents)
    assert found.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
    assert found[0] == values[valid].min()
    assert found[-1] == values[valid].max()


def test_percentiles_of_nothing_are_above_every_value() -> None:
    values = torch.rand(4)
    percents = torch.tensor([0.0, 50.0, 100.0], dtype=torch.float64)
    assert percentiles(values, torch.zeros(4, dtype=torch.bool), percents).tolist() == [np.inf] * 3


def test_ranks_count_the_likelier_classes() -> None:
    prob = torch.rand(20, 7)
    for cell, found in zip(prob.tolist(), ranks(prob).tolist(), strict=True):
        assert found == [sum(other > p for other in cell) for p in cell]


def test_a_cell_has_the_class_of_its_first_pixel() -> None:
    label = torch.tensor([[[3, 1, 255, 1], [1, 1, 1, 1], [0, 1, 2, 1], [1, 1, 1, 1]]])
    assert nearest_cells(label, (2, 2)).tolist() == [[[3, 255], [0, 2]]]
    assert nearest_cells(label, (2, 2)).dtype == torch.int64


def test_centres_are_the_means_of_their_cells() -> None:
    rep = torch.rand(9, 4)
    classes = torch.tensor([0, 2, 2, 255, 0, 2, 255, 255, 0])
    centres, present = class_centres(rep, classes, 4)
    assert present.tolist() == [True, False, True, False]
    torch.testing.assert_close(centres[0], rep[[0, 4, 8]].mean(dim=0))
    torch.testing.assert_close(centres[2], rep[[1, 2, 5]].mean(dim=0))
    assert centres[[1, 3]].abs().sum() == 0


def test_cells_are_drawn_evenly_and_from_their_class_alone() -> None:
    torch.manual_seed(0)
    classes = torch.tensor([1, 255, 0, 1, 1, 0, 255, 3, 1])
    numbers, found = draw_cells(classes, 4, 4000)
    assert found.tolist() == [True, True, False, True]
    assert numbers.shape == (4, 4000)
    for k in (0, 1, 3):
        wanted = [n for n, of_cell in enumerate(classes.tolist()) if of_cell == k]
        counts = Counter(numbers[k].tolist())
        assert set(counts) == set(wanted)
        fair = 4000 / len(wanted)
        assert all(abs(count - fair) < 5 * fair**0.5 for count in counts.values())
    nobody, none = draw_cells(torch.full((3,), 255), 2, 5)
    assert not none.any()
    assert int(nobody.max()) < 3


def test_the_loss_is_the_cross_entropy_of_cosines() -> None:
    torch.manual_seed(0)
    anchors = torch.randn(2, 3, 5, dtype=torch.float64)
    centres = torch.randn(2, 5, dtype=torch.float64)
    negatives = functional.normalize(torch.randn(2, 3, 4, 5, dtype=torch.float64), dim=3)

    def cosine(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x * y).sum() / (x.norm() * y.norm()))

    for k, found in enumerate(contrastive_losses(anchors, centres, negatives, 0.5).tolist()):
        losses = []
        for q in range(3):
            scores = [cosine(anchors[k, q], centres[k])]
            scores += [cosine(anchors[k, q], negatives[k, q, m]) for m in range(4)]
            weights = np.exp(np.array(scores) / 0.5)
            losses.append(-np.log(weights[0] / weights.sum()))
        assert found == pytest.approx(np.mean(losses))


SIZES = (5, 3, 4)


class Queues:
    """Queues of keys as lists: what is new goes behind, and what is too old is cut off."""

    def __init__(self) -> None:
        self.kept: list[list[list[float]]] = [[] for _ in SIZES]

    def add(self, keys: torch.Tensor, belongs: torch.Tensor) -> None:
        for k, size in enumerate(SIZES):
            new = [keys[n].tolist() for n in range(len(keys)) if belongs[n, k]]
            self.kept[k] = (self.kept[k] + new)[-size:]


def rows(bank: MemoryBank) -> list[list[list[float]]]:
    """What a bank holds of every class, oldest or newest first alike."""
    kept = bank.num_kept.tolist()
    parts = torch.split(bank.tensors()["keys"], kept)
    return [sorted(part.tolist()) for part in parts]


@pytest.mark.parametrize("most", [1, 3])
def test_the_bank_keeps_the_latest_keys_of_each_class(most: int) -> None:
    torch.manual_seed(most)
    bank = MemoryBank(SIZES, 2, CPU)
    queues = Queues()
    for step in range(12):
        keys = torch.rand(7, 2)
        belongs = torch.rand(7, 3) < (0.15, 0.5, 0.95)[step % 3]
        if most == 1:
            belongs &= torch.arange(3) == torch.randint(3, (7, 1))
        bank.add(keys, belongs, most)
        queues.add(keys, belongs)
        assert bank.num_kept.tolist() == [len(kept) for kept in queues.kept]
        assert rows(bank) == [sorted(kept) for kept in queues.kept]


def test_keys_are_drawn_evenly_from_their_class_alone() -> None:
    torch.manual_seed(0)
    bank = MemoryBank(SIZES, 1, CPU)
    keys = torch.arange(1.0, 7.0).unsqueeze(1)
    belongs = torch.tensor([[1, 0, 0]] * 2 + [[0, 0, 1]] * 4).bool()
    bank.add(keys, belongs, 1)
    drawn = bank.draw(4000)
    assert drawn.shape == (3, 4000, 1)
    for k, wanted in ((0, {1.0, 2.0}), (2, {3.0, 4.0, 5.0, 6.0})):
        counts = Counter(drawn[k].flatten().tolist())
        assert set(counts) == wanted
        fair = 4000 / len(wanted)
        assert all(abs(count - fair) < 5 * fair**0.5 for count in counts.values())
    assert drawn[1].isfinite().all()


def test_a_bank_goes_on_where_it_was() -> None:
    """Taken back half full and past its end, both draw and forget the same from then on."""
    for num_steps in (1, 6):
        torch.manual_seed(0)
        bank = MemoryBank(SIZES, 2, CPU)
        for _ in range(num_steps):
            bank.add(torch.rand(4, 2), torch.rand(4, 3) < 0.4, 3)
        other = MemoryBank(SIZES, 2, CPU)
        other.load_tensors({name: tensor.clone() for name, tensor in bank.tensors().items()})
        keys = torch.rand(4, 2)
        belongs = torch.rand(4, 3) < 0.5
        for each in (bank, other):
            each.add(keys, belongs, 3)
        torch.manual_seed(1)
        drawn = bank.draw(50)
        torch.manual_seed(1)
        assert torch.equal(other.draw(50), drawn)
        assert torch.equal(other.tensors()["keys"], bank.tensors()["keys"])
        assert torch.equal(other.num_kept, bank.num_kept)
