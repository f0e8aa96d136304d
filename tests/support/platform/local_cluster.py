"""Several nodes of Ray on this machine, each with an environment of its own."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class LocalCluster:
    """A head without cores, and nodes that come and go."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        # The nodes of a launch's own Ray listen on loopback; these go the way of a real cluster.
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "temp_dir": folder,
                "labels": {"place": "head"},
            },
        )
        self.address: str = self._cluster.address

    def add(
        self, *, num_cpus: int = 1, environment: dict[str, str] | None = None, **options: Any
    ) -> Any:
        """Start a node; `environment` is what its processes find in theirs."""
        return self._cluster.add_node(
            num_cpus=num_cpus, env_vars={**os.environ, **(environment or {})}, **options
        )

    def kill(self, node: Any) -> None:
        """End a node as a power failure does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@contextlib.contextmanager
def local_cluster() -> Iterator[LocalCluster]:
    """A cluster that is gone with the context. Its folder has a short name: sockets need that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "3")
        import ray

        patch.setattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", True)
        patch.setattr(ray._private.utils, "write_ray_address", lambda *_, **__: None)
        with tempfile.TemporaryDirectory(
            prefix="rml-c-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder:
            Path(folder).chmod(0o700)
            cluster = LocalCluster(folder)
            try:
                yield cluster
            finally:
                ray.shutdown()
                cluster.shutdown()
