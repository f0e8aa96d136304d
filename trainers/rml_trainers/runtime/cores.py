"""How many cores this process may use: fewer than the host has where a batch system binds it to
some, or a container is given a share of their time."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")


def usable_cores() -> int:
    """Cores that this process may use, at least one: those that it is bound to (systems that cannot
    bind a process give all), and no more than its time on them comes to."""
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    quota = cpu_quota()
    return bound if quota is None else max(1, min(bound, int(quota)))


def cpu_quota(proc: Path = PROC) -> float | None:
    """The cores' worth of time that the control groups of a process leave it (`docker --cpus`, the
    `limits` of a pod); None where nothing limits it, or the system has no control groups.

    Args:
        proc: what the system says of the process.
    """
    if not (proc / "cgroup").is_file() or not (proc / "mountinfo").is_file():
        return None
    groups = _own_groups((proc / "cgroup").read_text())
    found = [
        quota
        for kind, folder in _folders((proc / "mountinfo").read_text(), groups)
        if (quota := (_version_2(folder) if kind == "" else _version_1(folder))) is not None
    ]
    return min(found, default=None)


def _own_groups(text: str) -> dict[str, str]:
    """The group of a process by controller; by "" that of version 2, which has one for all."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return {kind: groups[kind] for kind in ("", "cpu") if kind in groups}


def _folders(mounts: str, groups: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """The mounted folder of each group with those above it, whose limits hold for it, too."""
    for line in mounts.splitlines():
        own, _, of_system = line.partition(" - ")
        _, _, _, root, point, *_ = own.split()
        system, _, options = of_system.split(" ", 2)
        kind = {"cgroup2": "", "cgroup": "cpu"}.get(system)
        if kind not in groups or (kind == "cpu" and "cpu" not in options.split(",")):
            continue
        path = Path(groups[kind])
        # A container may see the path that the host has for it, and its own group mounted.
        below = path.relative_to(root) if path.is_relative_to(root) else Path()
        for folder in (below, *below.parents):
            yield kind, Path(point) / folder


def _version_2(folder: Path) -> float | None:
    file = folder / "cpu.max"
    if not file.is_file():  # as in the topmost group
        return None
    quota, period = file.read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    file = folder / "cpu.cfs_quota_us"
    if not file.is_file():
        return None
    quota_us = int(file.read_text())
    return None if quota_us < 0 else quota_us / int((folder / "cpu.cfs_period_us").read_text())
