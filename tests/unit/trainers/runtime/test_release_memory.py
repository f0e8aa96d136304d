"""What is freed goes back to the operating system."""

import ctypes.util
import subprocess
import sys

import psutil
import pytest
import torch

from rml_trainers.runtime.device import release_memory

pytestmark = pytest.mark.skipif(
    "libc.so.6" not in str(ctypes.util.find_library("c")),
    reason="tests that memory is given back, which only glibc keeps; this C library is another",
)
BLOCK = 100_000
"""Bytes: small enough to come from the heap."""


def resident_bytes() -> int:
    return psutil.Process().memory_info().rss


def test_freed_blocks_below_a_used_one_go_back() -> None:
    blocks = [torch.ones(BLOCK, dtype=torch.uint8) for _ in range(2000)]
    last = torch.ones(BLOCK, dtype=torch.uint8)
    held = resident_bytes()
    blocks.clear()
    release_memory()
    assert held - resident_bytes() > 0.8 * 2000 * BLOCK
    assert bool(last.all())


FAULTS_OF_TENSORS = """
import resource, sys, torch
from rml_trainers.runtime.device import keep_freed_memory, release_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(10_000_000) for _ in range(3)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory(sys.argv[1] == "keep")
for _ in range(10):
    faults()
print(faults())
release_memory()
print(faults())
"""


def faults_of_tensors(word: str) -> tuple[int, int]:
    """Page faults of 120 MB, made and freed ten times before: at once, and after releasing memory.

    In a process of its own, because the setting lasts.
    """
    command = [sys.executable, "-c", FAULTS_OF_TENSORS, word]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at_once, after_release = map(int, output.split())
    return at_once, after_release


def test_what_a_step_frees_serves_the_next_one_until_memory_is_released() -> None:
    """120 MB are 29,297 pages."""
    at_once, after_release = faults_of_tensors("keep")
    assert at_once < 2000
    assert after_release > 20_000


def test_what_is_freed_can_go_back_at_once() -> None:
    """Each of the tensors is larger than what glibc keeps of its own accord."""
    assert faults_of_tensors("give back")[0] > 20_000


SPARED = """
import atexit, gc, weakref
atexit.register(lambda: print(gc.get_freeze_count()))
from rml_trainers.runtime.device import release_memory
from rml_trainers.runtime.loading import spare_what_is_loaded
class Ring:
    def __init__(self):
        self.own = self
known = [Ring() for _ in range(1000)]
spare_what_is_loaded("before a run")
assert (before := gc.get_freeze_count()) > 1000
more = [Ring() for _ in range(1000)]
spare_what_is_loaded("after a run")
assert gc.get_freeze_count() > before + 1000
later = Ring()
seen = weakref.ref(later)
del later
spare_what_is_loaded("before a run")
spare_what_is_loaded("after a run")
release_memory()
print(seen() is None, gc.get_freeze_count() > 1000)
"""


def test_what_came_after_is_given_back_as_ever_and_in_the_end_all_of_it() -> None:
    """A second call spares nothing more: what a run leaves in cycles is found."""
    done = subprocess.run(
        [sys.executable, "-c", SPARED], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True", "0"]
