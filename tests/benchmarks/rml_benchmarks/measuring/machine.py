"""Where, when and with which code a benchmark ran: what belongs beside every figure.

Read without psutil, which a lent GPU machine may lack, and which does not know a processor's name.
"""

import hashlib
import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

import rml_trainers
from rml_trainers.runtime.cores import usable_cores

PACKAGE = Path(rml_trainers.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine line of a table."""

    cpu: str
    cores: int
    """Cores that this process may use."""
    threads: int
    """torch's CPU threads."""
    device: str
    python: str
    torch: str
    timm: str
    date: str
    code: str
    """Commit, or version and hash of the source files outside a checkout."""

    def __str__(self) -> str:
        parts = [self.cpu, f"{self.cores} cores, {self.threads} torch threads", self.device]
        versions = [f"Python {self.python}", f"torch {self.torch}", f"timm {self.timm}"]
        return " · ".join([*parts, *versions, self.date, self.code])


def this_machine() -> Machine:
    """The facts of this process."""
    return Machine(
        cpu=_cpu_name(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        device=_device(),
        python=platform.python_version(),
        torch=torch.__version__,
        timm=importlib.metadata.version("timm"),
        date=datetime.now(UTC).date().isoformat(),
        code=code(PACKAGE),
    )


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _device() -> str:
    if not torch.cuda.is_available():
        return "no GPU"
    tf32 = "TF32 convolutions" if torch.backends.cudnn.allow_tf32 else "no TF32"
    return f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda}, {tf32} in float32)"


def code(package: Path) -> str:
    """`commit 1a2b3c4`, with `+ changes` when tracked files differ; elsewhere a hash of the
    package's source files."""
    root = package.parents[1]
    # A package installed into another project's checkout must not take that project's commit for
    # its own.
    if (root / ".git").exists() and root / "trainers" / "rml_trainers" == package:
        commit = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "-uno")
        if commit is not None and changed is not None:
            return f"commit {commit}" + (" + changes" if changed else "")
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)}\n".encode() + file.read_bytes())
    return f"source {digest.hexdigest()[:8]}"


def _git(root: Path, *words: str) -> str | None:
    """Output of a git command; None where git is absent or does not know."""
    try:
        return subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
