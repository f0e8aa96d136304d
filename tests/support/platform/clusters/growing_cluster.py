"""A cluster whose nodes an autoscaler makes: Ray's own, with a cloud that is this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import ray

HEAD = "f" * 51 + "00000"
"""What the cloud that is this machine calls the head."""
MARK = "RML_TEST_CLOUD"
"""In the environment of all its processes: its folder."""
WITHIN_S = 180
NOTHING_TO_SET_UP = (
    *("initialization_commands", "setup_commands", "head_setup_commands"),
    *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
    *("cluster_synced_files", "rsync_exclude", "rsync_filter"),
)
"""Ray wants each of them to be written down."""


@contextlib.contextmanager
def growing_cluster(*, most_nodes: int) -> Iterator[str]:
    """Address of a cluster with a head without cores; nodes of one core each come when something
    waits for them. All of it is gone with the context."""
    # As Ray finds its own address: its drivers look for the head there.
    host = ray.util.get_node_ip_address()
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    address = f"{host}:{port}"
    with tempfile.TemporaryDirectory(
        prefix="rml-g-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        Path(folder).chmod(0o700)
        config = Path(folder) / "cluster.json"
        config.write_text(json.dumps(_config(address, most_nodes)))
        words = ["start", "--head", "--block", f"--port={port}", "--num-cpus=0"]
        options = [f"--temp-dir={folder}", f"--autoscaling-config={config}"]
        light = ["--include-dashboard=false", "--object-store-memory=100000000"]
        log = Path(folder) / "head.log"
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), *words, *options, *light],
            env=_environment(folder),
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(host, port, head, log)
            yield address
            assert head.poll() is None, log.read_text()
        finally:
            for process in _processes(folder):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
            head.wait()


def _config(address: str, most_nodes: int) -> dict[str, object]:
    provider = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    small = {"CPU": 1, "object_store_memory": 10**8}
    return {
        "cluster_name": "growing",
        "max_workers": most_nodes,
        "provider": {
            "type": "external",
            "module": provider,
            "gcs_address": address,
            "launch_multiple": True,
            "head_node_id": HEAD,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "small": {"resources": small, "node_config": {}, "max_workers": most_nodes},
        },
        "idle_timeout_minutes": 5,
        **{key: [] for key in NOTHING_TO_SET_UP},
        **{key: {} for key in ("file_mounts", "auth", "docker")},
    }


def _environment(folder: str) -> dict[str, str]:
    return {
        **os.environ,
        MARK: folder,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
    }


def _wait_for(host: str, port: int, head: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(WITHIN_S * 5):
        assert head.poll() is None, f"the head ended with {head.returncode}: {log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.2)
    raise AssertionError(f"the head does not listen after {WITHIN_S} s: {log.read_text()}")


def _processes(folder: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == folder:
                yield process
