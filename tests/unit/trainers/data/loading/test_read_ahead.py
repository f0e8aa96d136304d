"""Reading ahead: in order, a bounded number of batches, errors where they matter, no thread left
behind."""

import threading
from collections.abc import Callable

import pytest

from rml_trainers.data.loading.batches import Batch
from rml_trainers.data.loading.read_ahead import read_ahead


def _empty(made: list[int]) -> Callable[[int], Batch]:
    def make(step: int) -> Batch:
        made.append(step)
        return Batch(labelled=(), unlabelled=None, noise=())

    return make


def _readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.mark.parametrize("num_ahead", [0, 1, 3])
def test_batches_come_in_order_and_end(num_ahead: int) -> None:
    made: list[int] = []
    assert (
        [step for step, _ in read_ahead(_empty(made), range(4, 11), num_ahead)]
        == list(range(4, 11))
        == made
    )
    assert _readers() == []
    assert list(read_ahead(_empty(made), range(5, 5), num_ahead)) == []


def test_no_more_is_read_than_was_asked_for() -> None:
    made: list[int] = []
    read = threading.Event()

    def make(step: int) -> Batch:
        batch = _empty(made)(step)
        if step == 3:
            read.set()
        assert step <= 3, "one handed over, two waiting, one in the hand of the thread"
        return batch

    batches = read_ahead(make, range(100), 2)
    assert next(batches)[0] == 0
    assert read.wait(10)
    batches.close()
    assert made == [0, 1, 2, 3]


@pytest.mark.parametrize("num_ahead", [0, 2])
def test_an_error_is_raised_where_its_batch_was_wanted(num_ahead: int) -> None:
    def make(step: int) -> Batch:
        if step == 2:
            raise ValueError("batch 2 cannot be read")
        return Batch(labelled=(), unlabelled=None, noise=())

    came: list[int] = []
    with pytest.raises(ValueError, match="batch 2 cannot be read"):
        for step, _ in read_ahead(make, range(9), num_ahead):
            came.append(step)
    assert came == [0, 1]
    assert _readers() == []


def test_leaving_the_loop_early_stops_the_thread() -> None:
    batches = read_ahead(_empty([]), range(1000), 2)
    next(batches)
    assert len(_readers()) == 1
    batches.close()
    assert _readers() == []
