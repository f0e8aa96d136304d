"""Where and with which code a run was made: facts for tags and for `rml doctor`. Works outside a
git checkout too."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import rml_platform


@dataclass(frozen=True, kw_only=True)
class CodeVersion:
    """Version of this project's code."""

    version: str
    """`git describe` in a checkout (tag of a release, commits since, abbreviated commit), else the
    version of the installed package."""
    dirty: bool
    """Whether the packages in the checkout differ from that commit. Studies, notes and tests may: a
    run's settings are recorded with it."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Facts that a number should be read with."""

    code: CodeVersion
    host: str
    python: str
    system: str
    packages: dict[str, str]
    """Distribution name → version; "missing" where it is not installed."""


RELEASES = "v[0-9]*.[0-9]*.[0-9]*"
"""Tags of releases (`v1.2.3`), as git matches them; a tag that somebody made for themselves names
no version."""
PACKAGES = ("torch", "torchvision", "timm", "ray", "mlflow", "numpy", "pyarrow", "pandas")


FOLDERS_OF_PACKAGES = ("platform", "trainers", "dashboards")
"""Of the checkout: what is in them decides a result."""
OUR_PACKAGES = ("rml_platform", "rml_trainers", "rml_dashboards")
_NOT_CODE = frozenset({"__pycache__", "search_spaces", "README.md", "py.typed"})
"""Not in every installation, or of no effect."""


def package_folders() -> dict[str, Path]:
    """Where this process finds the packages of the project; those that it does not find are left
    out."""
    specs = {name: importlib.util.find_spec(name) for name in OUR_PACKAGES}
    return {
        name: Path(spec.submodule_search_locations[0])
        for name, spec in specs.items()
        if spec is not None and spec.submodule_search_locations
    }


@functools.cache
def code_hash() -> str:
    """12 hex digits over the files of the project's packages: equal where the same code runs, from
    a checkout, a wheel or shipped by Ray."""
    digest = hashlib.sha256()
    for name, folder in package_folders().items():
        files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
        for path, file in sorted(files.items()):
            if file.is_file() and not _NOT_CODE.intersection(path.split("/")):
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                digest.update(f"{name}/{path} {content}\n".encode())
    return digest.hexdigest()[:12]


@functools.cache
def code_version() -> CodeVersion:
    """Version of the code that runs here; asked of git once per process."""
    root = Path(rml_platform.__file__).parents[2]
    # A package installed into some other project's checkout must not take that project's commit for
    # its own.
    if (root / ".git").exists() and (root / "platform" / "rml_platform").is_dir():
        described = _git(root, "describe", "--tags", "--match", RELEASES, "--always")
        if described is not None:
            changed = _git(root, "status", "--porcelain", "--", *FOLDERS_OF_PACKAGES)
            return CodeVersion(version=described, dirty=changed is not None)
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


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command; None where git is absent or does not know."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else None
