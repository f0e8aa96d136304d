"""A cluster that begins without a node for runs, and grows by what waits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform.clusters.growing_cluster import growing_cluster
from tests.support.platform.studies import SMALLEST, write_study

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(600)]

HEAD = """\
name: grows
resources: {RESOURCES}
"""
REST = """\
  schedule: {warm_up_steps: 200, stage_steps: []}
  runtime: {device: cpu, log_every_steps: 10, num_read_ahead: 0}
seeds: [0, 1, 2]
"""
STUDY = HEAD + SMALLEST + REST


def launch(folder: Path, address: str, resources: str) -> "subprocess.CompletedProcess[str]":
    folder.mkdir()
    write_study(folder, STUDY.replace("{RESOURCES}", resources))
    return subprocess.run(
        [str(Path(sys.executable).with_name("rml")), "launch", "study.yaml", "--address", address],
        cwd=folder,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_runs_that_wait_bring_their_nodes(tmp_path: Path) -> None:
    with growing_cluster(most_nodes=2) as address:
        refused = launch(tmp_path / "auto", address, "{cpus_per_worker: 1}")
        assert refused.returncode == 2, refused.stdout
        assert "gpus_per_worker: 1, or 0" in " ".join(refused.stdout.split()), refused.stdout

        done = launch(tmp_path / "given", address, "{cpus_per_worker: 1, gpus_per_worker: 0}")
        assert done.returncode == 0, done.stdout
        said = " ".join(done.stdout.split())
        assert "the cluster has grown: it holds 2 runs at once now" in said, done.stdout
        assert re.search(r"\b3 finished", said), done.stdout
