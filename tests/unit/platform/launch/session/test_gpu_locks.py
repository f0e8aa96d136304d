"""No two launches of one user have the same GPU; the GPUs are names here."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from rml_platform.launch.session import gpu_locks as module
from rml_platform.launch.session.errors import ClusterError
from rml_platform.launch.session.gpu_locks import (
    HeldGpus,
    gpu_names,
    only_visible,
    take_free,
    wait_for_free,
)

ALL = ("0", "1", "MIG-GPU-1a2b/1/0")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "SHORT", tmp_path)
    return tmp_path


def while_waiting(monkeypatch: pytest.MonkeyPatch, *happenings: Callable[[], object]) -> None:
    coming = iter(happenings)
    monkeypatch.setattr(module, "_wait", lambda: next(coming)())


@pytest.mark.parametrize(
    ("visible", "count", "names"),
    [
        (None, 2, ("0", "1")),
        (None, 0, ()),
        ("3, 1", 2, ("3", "1")),
        ("GPU-1a2b", 1, ("GPU-1a2b",)),
        ("0,9", 1, ("0",)),
        ("", 0, ()),
    ],
)
def test_only_what_this_process_sees_is_named(
    visible: str | None, count: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(module.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(module.VISIBLE, visible)
    assert gpu_names(count) == names


def test_the_second_launch_takes_what_the_first_one_left() -> None:
    first = take_free(ALL[:1])
    second = take_free(ALL)
    assert (first.names, second.names) == (ALL[:1], ALL[1:])
    assert second.others == (str(os.getpid()),)
    assert take_free(ALL).names == ()
    first.release()
    assert take_free(ALL).names == ALL[:1]
    second.release()


def test_without_gpus_nothing_is_written(place: Path) -> None:
    assert take_free(()) == HeldGpus()
    assert list(place.iterdir()) == []


def test_a_launch_that_is_killed_has_its_gpus_no_longer(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, time, pathlib\n"
        "from rml_platform.launch.session import gpu_locks\n"
        "gpu_locks.SHORT = pathlib.Path(sys.argv[1])\n"
        "held = gpu_locks.take_free(sys.argv[2:])\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    words = [sys.executable, "-c", code, str(place), *ALL]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said: list[str] = []
        while_waiting(monkeypatch, lambda: None, other.kill, other.wait)
        held = wait_for_free(ALL, 2, lambda: True, said.append)
    assert held is not None
    assert held.names == ALL
    assert said == [
        f"waiting for 2 GPUs of this machine: another launch of yours (process {other.pid}) has "
        "3 of 3"
    ]
    held.release()


def test_what_is_not_enough_is_not_held_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    first = take_free(ALL[:2])
    seen: list[tuple[str, ...]] = []

    def look() -> None:
        other = take_free(ALL)
        seen.append(other.names)
        other.release()

    while_waiting(monkeypatch, look, first.release)
    held = wait_for_free(ALL, 2, lambda: True, lambda text: None)
    assert seen == [ALL[2:]]
    assert held is not None
    held.release()


def test_nobody_waits_for_what_is_not_wanted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    first = take_free(ALL)
    wanted = iter([True, False])
    while_waiting(monkeypatch, lambda: None)
    assert wait_for_free(ALL, 1, lambda: next(wanted), lambda text: None) is None
    first.release()


def test_who_waits_goes_on_waiting_while_the_storage_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether anything wants them is asked of the storage."""
    first = take_free(ALL)
    away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    ask = Mock(side_effect=[away, True, PermissionError(errno.EACCES, "forbidden")])
    while_waiting(monkeypatch, lambda: None, lambda: None)
    with pytest.raises(PermissionError):
        wait_for_free(ALL, 1, ask, lambda text: None)
    assert ask.call_count == 3
    first.release()


def test_a_part_of_them_is_told() -> None:
    first = take_free(ALL[:1])
    said: list[str] = []
    held = wait_for_free(ALL, 1, lambda: True, said.append)
    assert held is not None
    assert said == [
        f"2 of 3 GPUs are taken (number 1, {ALL[2]}): another launch of yours (process "
        f"{os.getpid()}) has the others"
    ]
    held.release()
    first.release()


def test_no_more_are_held_than_can_be_of_use() -> None:
    first = take_free(ALL[:1])
    said: list[str] = []
    held = wait_for_free(ALL, 1, lambda: True, said.append, at_most=1)
    assert held is not None
    assert (held.names, said) == (ALL[1:2], [])
    assert take_free(ALL, at_most=0).names == ()
    rest = take_free(ALL)
    assert rest.names == ALL[2:]
    for one in (first, held, rest):
        one.release()


@pytest.mark.parametrize("before", [None, "5,0,1"])
def test_others_are_hidden_from_what_is_started(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(module.VISIBLE, raising=False)
    if before is not None:
        monkeypatch.setenv(module.VISIBLE, before)
    with only_visible(HeldGpus(("5", "1"))):
        assert os.environ[module.VISIBLE] == "5,1"
    assert os.environ.get(module.VISIBLE) == before
    with only_visible(HeldGpus()):
        assert os.environ.get(module.VISIBLE) == before


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_folder_that_others_open_is_refused(kind: str, place: Path) -> None:
    folder = place / f"rml-gpus-{os.getuid()}"
    if kind == "open":
        folder.mkdir()
        folder.chmod(0o777)
    elif kind == "link":
        (place / "there").mkdir(mode=0o700)
        folder.symlink_to(place / "there")
    else:
        folder.touch(mode=0o700)
    with pytest.raises(ClusterError, match="remove it"):
        take_free(ALL)
