"""Cores by what a process is bound to and by its share of time, as the files of the system tell."""

import os
from pathlib import Path

import pytest

from rml_trainers.runtime import cores
from rml_trainers.runtime.cores import cpu_quota, usable_cores


class System:
    """What a system says of one process, in files of its own."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.mounted = folder / "fs"
        self.proc.mkdir()
        self.mounted.mkdir()

    def say(self, group: str, *mounts: str) -> None:
        (self.proc / "cgroup").write_text(group)
        (self.proc / "mountinfo").write_text("".join(f"{line}\n" for line in mounts))

    def version_2(self, path: str, root: str = "/") -> None:
        mount = f"29 22 0:26 {root} {self.mounted} rw shared:4 - cgroup2 cgroup2 rw"
        self.say(f"0::{path}\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw", mount)

    def version_1(self, path: str, root: str = "/") -> None:
        cpu = f"34 25 0:30 {root} {self.mounted} rw - cgroup cgroup rw,cpu,cpuacct"
        other = f"35 25 0:31 / {self.mounted}-memory rw - cgroup cgroup rw,memory"
        self.say(f"9:memory:/else\n4:cpu,cpuacct:{path}\n1:name=systemd:/x\n0::/x\n", other, cpu)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            file = self.mounted / name.replace("__", "/").replace("DOT", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_a_container_with_version_2_has_its_share(system: System) -> None:
    system.version_2("/")
    system.write(cpuDOTmax="250000 100000\n")
    assert cpu_quota(system.proc) == 2.5
    system.write(cpuDOTmax="max 100000\n")
    assert cpu_quota(system.proc) is None


def test_the_least_share_on_the_way_to_the_group_counts(system: System) -> None:
    system.version_2("/pods/one")
    system.write(pods__one__cpuDOTmax="max 100000\n", pods__cpuDOTmax="300000 100000\n")
    assert cpu_quota(system.proc) == 3
    system.write(pods__one__cpuDOTmax="50000 100000\n", other__cpuDOTmax="10000 100000\n")
    assert cpu_quota(system.proc) == 0.5


@pytest.mark.parametrize(
    ("path", "root", "file"),
    [
        ("/", "/", "cpuDOTcfs_"),
        ("/docker/ab12", "/docker/ab12", "cpuDOTcfs_"),
        ("/docker/ab12", "/", "docker__ab12__cpuDOTcfs_"),
        ("/on/the/host", "/elsewhere", "cpuDOTcfs_"),
    ],
)
def test_a_container_with_version_1_has_its_share(
    path: str, root: str, file: str, system: System
) -> None:
    system.version_1(path, root)
    system.write(**{f"{file}quota_us": "200000\n", f"{file}period_us": "100000\n"})
    assert cpu_quota(system.proc) == 2
    system.write(**{f"{file}quota_us": "-1\n"})
    assert cpu_quota(system.proc) is None


def test_a_system_without_control_groups_limits_nothing(system: System) -> None:
    assert cpu_quota(system.proc) is None


@pytest.mark.parametrize(
    ("bound", "quota", "usable"),
    [(8, None, 8), (8, 2.0, 2), (8, 2.9, 2), (2, 4.0, 2), (8, 0.5, 1)],
)
def test_the_smaller_of_both_is_usable(
    bound: int, quota: float | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    assert usable_cores() == usable


def test_this_system_is_understood() -> None:
    assert usable_cores() >= 1
