"""Peak memory of a contender that runs alone in a process of its own."""

import pytest
import torch

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.processes.memory import peak_bytes
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
