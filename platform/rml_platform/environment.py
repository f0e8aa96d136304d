"""Where and with which code a run was made: facts for tags and for `rml doctor`. Works outside a
git checkout too."""

import functools
import importlib.metadata
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

import rml_platform


@dataclass(frozen=True, kw_only=True)
class CodeVersion:
    """Version of this project's code."""

    version: str
    """`git describe` in a checkout (tag or abbreviated commit), else the version of the installed
    package."""
    dirty: bool
    """Whether the checkout differs from that commit."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Facts that a number should be read with."""

    code: CodeVersion
    host: str
    python: str
    system: str
    packages: dict[str, str]
    """Distribution name → version; "missing" where it is not installed."""


PACKAGES = ("torch", "torchvision", "timm", "ray", "mlflow", "numpy", "pyarrow", "pandas")


@functools.cache
def code_version() -> CodeVersion:
    """Version of the code that runs here; asked of git once per process."""
    root = Path(rml_platform.__file__).parents[2]
    # A package installed into some other project's checkout must not take that project's commit for
    # its own.
    if (root / ".git").exists() and (root / "platform" / "rml_platform").is_dir():
        described = _git(root, "describe", "--tags", "--always", "--dirty=+")
        if described is not None:
            return CodeVersion(version=described.removesuffix("+"), dirty=described.endswith("+"))
    return CodeVersion(version=package_version("rml"), dirty=False)


def environment() -> Environment:
    """Facts about this process; imports none of the packages it names."""
    return Environment(
        code=code_version(),
        host=socket.gethostname(),
        python=sys.version.split()[0],
        system=platform.platform(),
        packages={name: package_version(name) for name in PACKAGES},
    )


def package_version(name: str) -> str:
    """Version of an installed distribution, or "missing"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def usable_cores() -> int:
    """Cores that this process may use: a container or batch system gives fewer than the host has
    (systems that cannot bind a process to cores give all)."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command; None where git is absent or does not know."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else None
