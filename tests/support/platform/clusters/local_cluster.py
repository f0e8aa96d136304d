"""Several nodes of Ray on this machine, each with an environment of its own."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TRIES = 3
"""Ray gives a node 30 s to start, which a busy machine can exceed."""

AGENT_WITHIN_S = 90


class LocalCluster:
    """A head without cores, which takes jobs, and nodes that come and go."""

    def __init__(self, folder: str) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        any_port = {"dashboard_port": 0, "dashboard_agent_listen_port": 0}
        self._start(num_cpus=0, include_dashboard=True, temp_dir=folder, **any_port)
        self.address: str = self._cluster.address
        self.jobs: str = f"http://{self._cluster.webui_url}"

    def _start(self, **options: Any) -> Any:
        for is_last in (False,) * (TRIES - 1) + (True,):
            try:
                return self._cluster.add_node(**options)
            except Exception as error:  # Ray raises it bare
                if is_last or "timed out during startup" not in str(error):
                    raise
        raise AssertionError("the last try returns or raises")

    def add(
        self, *, num_cpus: int = 1, environment: dict[str, str] | None = None, **options: Any
    ) -> Any:
        """Start a node; `environment` is what its processes find in theirs."""
        own = {**os.environ, **(environment or {})}
        return self._start(num_cpus=num_cpus, env_vars=own, **options)

    def submit(self, entrypoint: str) -> str:
        """Submit a job, once the head's agent is there to take it; its id. Fails the test where
        Ray's agent does not come up."""
        from ray.job_submission import JobSubmissionClient

        for _ in range(AGENT_WITHIN_S):
            try:
                return str(JobSubmissionClient(self.jobs).submit_job(entrypoint=entrypoint))
            except RuntimeError as error:
                if "No available agent" not in str(error):
                    raise
                time.sleep(1)
        raise AssertionError(f"Ray's job agent is not there after {AGENT_WITHIN_S} s")

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
        patch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "60")  # a launch that is told to stop does so
        patch.setenv("RAY_health_check_period_ms", "1000")
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
