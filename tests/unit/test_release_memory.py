"""What is freed goes back to the operating system."""

import ctypes.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rml_trainers.device import release_memory

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists() or "libc.so.6" not in str(ctypes.util.find_library("c")),
    reason="only glibc keeps freed memory, and only Linux tells how much",
)
BLOCK = 100_000
"""Bytes: small enough to come from the heap."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_freed_blocks_below_a_used_one_go_back() -> None:
    blocks = [torch.ones(BLOCK, dtype=torch.uint8) for _ in range(2000)]
    last = torch.ones(BLOCK, dtype=torch.uint8)
    held = resident_bytes()
    blocks.clear()
    release_memory()
    assert held - resident_bytes() > 0.8 * 2000 * BLOCK
    assert bool(last.all())


FAULTS_OF_TENSORS = """
import resource, torch
from rml_trainers.device import keep_freed_memory, release_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(1_000_000) for _ in range(30)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep_freed_memory()
for _ in range(10):
    faults()
print(faults())
release_memory()
print(faults())
keep_freed_memory(False)
for _ in range(10):
    faults()
print(faults())
"""


def test_what_a_step_frees_serves_the_next_one_until_memory_is_released() -> None:
    """120 MB are 29,297 pages; in a process of its own, because the setting lasts."""
    command = [sys.executable, "-c", FAULTS_OF_TENSORS]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    at_once, after_release, kept_no_longer = map(int, output.split())
    assert at_once < 2000
    assert after_release > 20_000
    assert kept_no_longer > 10_000
