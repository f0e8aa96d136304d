"""A Ray cluster of several nodes on this machine, whose nodes can be killed, drained and added.

A node here is a raylet with a number of cores of its own and every process it starts; all of them
listen on the loopback interface and keep their files in one folder that this user alone reads.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from rml_platform.chaos.checks.left_behind import STAYS
from rml_platform.chaos.grounds import OnThisMachine
from rml_platform.chaos.holding import python_path, write_hook
from rml_platform.chaos.launches import POLL_S, Launch, descendants, title
from rml_platform.chaos.tracking_server import free_port
from rml_platform.launch.session.ray_environment import LOOPBACK, prepare_environment

CPUS_PER_NODE = 2
NODES = 2
"""Beside the head, which has no cores: what runs are trained on can go without the cluster."""
SET_HERE = ("TMPDIR", "RAY_TMPDIR", "PYTHONPATH")
NODE_KNOWN_WITHIN_S = 60.0
RAYLET = "raylet"
"""Ray's name of a node's own process."""
RAYS_OWN = (
    *("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent"),
    *("ray::JobSupervisor", "ray::_AutoscalingCoordinatorActor"),
)
"""Processes of Ray that belong to a node or to the cluster, and to no launch."""
RAYS_OWN_TEMPORARY = ("pymp-",)
"""Temporary folders of a head's dashboard: it alone uses Python's `multiprocessing`."""
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 5,
}
"""A node that is gone is noticed after seconds instead of half a minute."""


class OwnCluster(OnThisMachine):
    """The cluster, while the context is open. To be used in the main thread only."""

    def __init__(
        self, nodes: int = NODES, cpus_per_node: float = CPUS_PER_NODE, is_hooked: bool = False
    ) -> None:
        """`is_hooked`: whatever its nodes start has the hook of `holding.py`."""
        super().__init__("cluster")
        self._is_hooked = is_hooked
        self._num_nodes = nodes
        self._cpus = cpus_per_node
        self._cluster: Any = None
        self._seen_temporary = set[str]()

    def __enter__(self) -> "OwnCluster":
        prepare_environment(local=True)
        os.environ.pop("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", None)
        # Short, because the paths of sockets are limited to 107 characters; 0700 by itself.
        self._folder = Path(tempfile.mkdtemp(prefix="rml-chaos-", dir="/tmp"))
        self.temporary = self._folder / "t"
        self.temporary.mkdir()
        self._before = {name: os.environ.get(name) for name in SET_HERE}
        os.environ.update(TMPDIR=str(self.temporary), RAY_TMPDIR=str(self._folder / "r"))
        if self._is_hooked:
            os.environ["PYTHONPATH"] = python_path(write_hook(self._folder / "hook"))
        (self._folder / "r" / "ray").mkdir(parents=True)  # Ray notes its address here
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(self._folder, ignore_errors=True)

    def options(self) -> list[str]:
        return ["--address", str(self._cluster.address)]

    def processes(self) -> list[psutil.Process]:
        return [p for node in self._cluster.list_all_nodes() for p in _processes_of(node)]

    @property
    def nodes(self) -> list[Any]:
        """The nodes that runs are trained on."""
        return sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))

    def kill(self, node: Any) -> str:
        """Everything of a node is gone at once; returns its id."""
        name = str(node.node_id)
        for process in _processes_of(node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._forget(node)
        return name

    def kill_raylet(self, node: Any) -> str:
        """The node's own process alone is gone: the others find out by themselves."""
        name = str(node.node_id)
        node.kill_raylet(check_alive=False)
        return name

    def drain(self, node: Any, seconds: float) -> str:
        """Give a node notice, as a cloud does before it takes a machine away."""
        import ray
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = int((time.time() + seconds) * 1000)
        client = ray._raylet.GcsClient(address=self._cluster.address)
        client.drain_node(node.node_id, reason, "chaos", deadline_ms)
        return str(node.node_id)

    def add(self) -> str:
        """One more node; returns its id."""
        node = self._cluster.add_node(num_cpus=self._cpus, **self._settings())
        return str(node.node_id)

    def kill_head(self) -> None:
        """The process that knows the state of the cluster is gone, and with it the cluster."""
        self._cluster.head_node.kill_gcs_server(check_alive=False)

    def restart(self) -> None:
        """What is left of the cluster goes, and a new one comes at another address."""
        self._stop()
        self.forget_left()  # what the dead cluster's own processes have left is no launch's
        self._start()

    def heal(self) -> None:
        """As many nodes as there were, all of them whole."""
        head = self._cluster.head_node
        if head is None or head.dead_processes():
            self.restart()
            return
        for node in self.nodes:
            if not _is_whole(node):
                self.kill(node)
        while len(self.nodes) < self._num_nodes:
            self.add()

    def make_room(self) -> None:
        """A launch onto a cluster of which no node is left is refused, each time."""
        if not any(_is_whole(node) for node in self.nodes):
            self.heal()

    def left(self, launches: Sequence[Launch]) -> list[str]:
        state = self._cluster.global_state
        groups = state.placement_group_table().values()
        found = [f"placement group {g['name']}" for g in groups if g["state"] != "REMOVED"]
        busy = [p for p in self.processes() if _is_busy(p)]
        found += [f"process {p.pid} ({title(p)})" for p in busy]
        there = state.cluster_resources()
        free = state.available_resources()
        for name in ("CPU", "GPU"):
            if free.get(name, 0) < there.get(name, 0):
                found.append(f"{there[name] - free.get(name, 0):g} {name} taken")
        stays = (*STAYS, *RAYS_OWN_TEMPORARY)
        names = {p.name for p in self.temporary.iterdir() if not p.name.startswith(stays)}
        found += [f"temporary {name}" for name in sorted(names - self._seen_temporary)]
        return found

    def forget_left(self) -> None:
        self._seen_temporary = {path.name for path in self.temporary.iterdir()}

    def _settings(self) -> dict[str, Any]:
        return {
            "node_ip_address": LOOPBACK,
            "temp_dir": str(self._folder / "r"),
            "object_store_memory": 80 * 1024 * 1024,
        }

    def _start(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_host": LOOPBACK}
        head["dashboard_port"] = free_port()  # Ray's own may be another cluster's on this machine
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={**head, "_system_config": QUICK_TO_NOTICE, **self._settings()},
        )
        for _ in range(self._num_nodes):
            self.add()

    def _stop(self) -> None:
        if self._cluster is None:  # what Ray has begun to start goes with this process
            return
        for node in self._cluster.list_all_nodes():
            found = _processes_of(node)
            with contextlib.suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._cluster.worker_nodes.clear()
        self._cluster.head_node = None

    def _forget(self, node: Any) -> None:
        with contextlib.suppress(Exception):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
        self._cluster.worker_nodes.discard(node)
        time.sleep(POLL_S)


def _is_whole(node: Any) -> bool:
    """Ray takes a process that it was told to kill off its list, and then misses none."""
    return RAYLET in node.all_processes and not node.dead_processes()


def _processes_of(node: Any) -> list[psutil.Process]:
    found = []
    for infos in node.all_processes.values():
        for info in infos:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(info.process.pid)
                found += [process, *descendants(process.pid)]
    return found


def _is_busy(process: psutil.Process) -> bool:
    return title(process).startswith("ray::") and not title(process).startswith(RAYS_OWN)
