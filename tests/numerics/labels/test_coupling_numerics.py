"""Total variation distance against loops over cells, on batches and on a whole training set."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.labels.coupling import total_variation, train_set_coupling
from rml_trainers.settings.contract import Labeller
from rml_trainers.students.learners import Learners
from rml_trainers.training.assembly import make_learners
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(shifted / shifted.sum())


def slow_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[B, h, w]: half the sum of the absolute differences, cell by cell."""
    batch, _, rows, columns = first.shape
    found = np.zeros((batch, rows, columns))
    for b, r, c in np.ndindex(found.shape):
        difference = softmax(first[b, :, r, c]) - softmax(second[b, :, r, c])
        found[b, r, c] = sum(abs(value) for value in difference) / 2
    return found


def logits(seed: int, *shape: int) -> Tensor:
    return 4 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_half_the_sum_of_absolute_differences_at_every_cell() -> None:
    first = logits(0, 2, 5, 3, 4)
    second = logits(1, 2, 5, 3, 4)
    expected = slow_distance(first.numpy(), second.numpy())
    np.testing.assert_allclose(total_variation(first, second).numpy(), expected, rtol=1e-5)
    assert expected.min() > 0 and expected.max() < 1


def test_it_is_0_for_equal_outputs_and_1_for_outputs_that_share_no_class() -> None:
    one = torch.zeros(1, 3, 1, 1)
    one[0, 0] = 100
    assert total_variation(one, one + 5).item() == 0
    assert total_variation(one, one.roll(1, dims=1)).item() == pytest.approx(1)


def test_maps_of_other_sizes_are_compared_at_the_smaller_one() -> None:
    small = logits(0, 2, 4, 2, 3)
    large = torch.full((2, 4, 7, 5), -30.0)
    large[:, 1] = 30
    expected = slow_distance(small.numpy(), large[:, :, :2, :3].numpy())
    np.testing.assert_allclose(total_variation(small, large).numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(total_variation(large, small).numpy(), expected, rtol=1e-5)


@pytest.fixture
def learners(tiny_data: PreparedData) -> Callable[[RunConfig], Learners]:
    return lambda config: make_learners(config, tiny_data.num_classes, torch.device("cpu"))


def test_the_training_set_is_averaged_over_all_cells_of_all_images(
    tiny_data: PreparedData, learners: Callable[[RunConfig], Learners]
) -> None:
    networks = learners(tiny_config("iml"))
    with torch.no_grad():
        for parameter in networks.students[0].parameters():
            parameter.mul_(3)  # students and teachers begin equal
    found = {size: train_set_coupling(networks, tiny_data, size) for size in (1, 4)}
    pairs: tuple[Labeller, ...] = ("students", "teachers")
    for place, labeller in enumerate(pairs):
        distances = []
        for i in range(len(tiny_data.names("train"))):
            image = (
                torch.from_numpy(tiny_data.image("train", i).copy()).permute(2, 0, 1)[None].float()
                / 255
            )
            first, second = (output.logits.numpy() for output in networks.predict(labeller, image))
            distances.append(slow_distance(first, second))
        assert found[1][place] == pytest.approx(np.mean(distances), rel=1e-4)
        assert found[4][place] == pytest.approx(found[1][place], rel=1e-4), (
            "the batch size is a matter of memory only"
        )
    assert found[1][0] != pytest.approx(found[1][1], rel=1e-2)
