"""The Ray that a launch starts on this machine: who can reach it, and what it leaves behind."""

import ipaddress
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rml_platform.launch.session.ray_session import ray_session

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(None, with_train=True, num_cpus=2):
        yield


def listening() -> dict[str, set[str]]:
    """Addresses that this process and what it started listen on, by the program's name."""
    found: dict[str, set[str]] = {}
    this = psutil.Process()
    for process in [this, *this.children(recursive=True)]:
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                name = Path((process.cmdline() or [""])[0]).name
                found.setdefault(name, set()).add(connection.laddr.ip)
    return found


def is_loopback(address: str) -> bool:
    """Also of an IPv4 address that an IPv6 socket has."""
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


def test_nobody_reaches_it_from_outside() -> None:
    import ray

    @ray.remote
    def work() -> None: ...

    ray.get(work.remote())  # a worker process listens too
    found = listening()
    assert {"gcs_server", "raylet"} <= found.keys()
    open_to_others = {
        (name, address)
        for name, addresses in found.items()
        for address in addresses
        if not is_loopback(address)
    }
    assert open_to_others == set()


def test_nobody_else_on_this_machine_reads_its_folder() -> None:
    import ray

    folder = Path(ray._private.worker._global_node.get_temp_dir_path()).parent
    assert folder.name.startswith(f"rml-ray-{os.getpid()}-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder.stat().st_uid == os.getuid()
    sockets = list(folder.rglob("sockets/*"))
    assert sockets
    assert max(len(str(path)) for path in sockets) < 107


def test_a_group_whose_maker_died_is_removed_and_others_stay() -> None:
    import ray
    from ray.util.placement_group import placement_group

    from rml_platform.launch.on_ray.placement_groups import (
        _groups,
        is_any_waiting,
        remove_orphans,
        remove_own,
    )

    class Maker:
        def make(self) -> int:
            self.group = placement_group([{"CPU": 1}], name="rml.died")
            ray.get(self.group.ready())
            return os.getpid()

    pid = ray.get(ray.remote(num_cpus=0)(Maker).remote().make.remote())
    own = placement_group([{"CPU": 1}], name="rml.lives")
    ray.get(own.ready())
    assert not is_any_waiting()
    assert {group.name for group in _groups()} == {"rml.died", "rml.lives"}
    os.kill(pid, signal.SIGKILL)
    removed = 0
    while not removed:
        removed = remove_orphans()
        time.sleep(0.1)
    assert removed == 1
    while {group.name for group in _groups()} != {"rml.lives"}:
        time.sleep(0.1)
    placement_group([{"CPU": 10_000}], name="rml.waits")
    while not is_any_waiting():
        time.sleep(0.1)
    assert remove_own() == 2
    while _groups():
        time.sleep(0.1)
    assert not is_any_waiting()
