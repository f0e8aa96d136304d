"""What decides how a machine rounds: two trainings have the same bits only where all of it is the
same."""

import hashlib
import os
import platform
from pathlib import Path

import numpy as np
import timm
import torch

CPU_INFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def how_it_rounds() -> str:
    """Libraries and processor in words, with a hash of the processor's instruction sets, its caches
    and the number of cores, by which kernels choose how they cut their sums."""
    fields = _first_processor()
    caches = [path.read_text().strip() for path in sorted(CACHES.glob("index*/size"))]
    details = [fields.get("flags", fields.get("features", "")), caches, os.cpu_count()]
    digest = hashlib.sha256(repr(details).encode()).hexdigest()[:8]
    name = fields.get("model name", platform.processor() or platform.machine())
    capability = torch.backends.cpu.get_cpu_capability()
    libraries = f"torch {torch.__version__}, timm {timm.__version__}, numpy {np.__version__}"
    return f"{libraries}; {platform.machine()}, {name}, {capability}, {digest}"


def _first_processor() -> dict[str, str]:
    """What Linux says of its first processor; elsewhere nothing."""
    if not CPU_INFO.is_file():
        return {}
    first = CPU_INFO.read_text().split("\n\n")[0]
    pairs = [line.partition(":") for line in first.splitlines()]
    return {name.strip(): value.strip() for name, _, value in pairs}
