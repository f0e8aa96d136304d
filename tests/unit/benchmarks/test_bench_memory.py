"""Peak memory of a contender that runs alone in a process of its own."""

import pytest
import torch

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.processes import memory
from rml_benchmarks.processes.memory import peak_bytes
from rml_benchmarks.processes.workers import _peak
from rml_benchmarks.workload import workload
from rml_benchmarks.workload.workload import NUM_BATCHES, warm_up_rounds
from rml_trainers.errors import RmlError

LASTING = 20_000_000
PASSING = 60_000_000


def holds(name: str) -> Call:
    """Holds some memory, takes more for a moment while it is built and while it works."""
    torch.ones(3 * PASSING, dtype=torch.uint8)
    lasting = torch.ones(LASTING, dtype=torch.uint8)

    def call(index: int) -> int:
        return int(torch.ones(PASSING, dtype=torch.uint8)[0]) + int(lasting[0])

    return call


def fails(name: str) -> Call:
    raise ValueError("no such thing")


def test_what_is_held_and_what_passes_counts_but_not_the_building() -> None:
    held = LASTING + PASSING
    assert 0.9 * held <= peak_bytes(holds, "holds") < 1.4 * held


def test_an_error_in_the_other_process_is_told() -> None:
    with pytest.raises(RmlError, match="'fails' cannot be measured: ValueError: no such thing"):
        peak_bytes(fails, "fails")


class FakeGpu:
    """Counts what is held of it. The first call with an input takes far more for a moment, as
    cuDNN's search does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = 7
        self.peak = 0
        self.seen = list[int]()
        self.is_waited_for = True
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: self.held)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: self.peak)
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", self._reset)
        monkeypatch.setattr(torch.cuda, "synchronize", self._wait)
        monkeypatch.setattr(memory, "release_memory", lambda: None)

    def _reset(self) -> None:
        assert self.is_waited_for, "what is still under way would count"
        self.peak = self.held

    def _wait(self) -> None:
        self.is_waited_for = True

    def contender(self, name: str) -> Call:
        self.held += LASTING

        def call(index: int) -> None:
            self.is_waited_for = False
            searches = 0 if index in self.seen else 100 * PASSING
            self.peak = max(self.peak, self.held + PASSING + searches)
            self.seen.append(index)

        return call


def test_on_a_gpu_the_search_for_kernels_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)
    assert peak_bytes(gpu.contender, "step") == LASTING + PASSING
    assert gpu.seen == 2 * list(range(NUM_BATCHES)), "no batch is met for the first time"


def test_what_a_worker_takes_of_its_gpu_is_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(monkeypatch)
    before = gpu.held
    assert _peak(gpu.contender("step"), is_on_gpu=True) - before == LASTING + PASSING


@pytest.mark.parametrize(
    ("device", "rounds"), [("cpu", [1, 2, 9]), ("cuda", [NUM_BATCHES, NUM_BATCHES, 9])]
)
def test_on_a_gpu_steps_are_timed_once_every_batch_has_been_met(
    device: str, rounds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workload, "choose_device", lambda _: torch.device(device))
    assert [warm_up_rounds(usual) for usual in (1, 2, 9)] == rounds
