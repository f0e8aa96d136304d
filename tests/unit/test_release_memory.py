"""What is freed goes back to the operating system."""

import ctypes.util
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
