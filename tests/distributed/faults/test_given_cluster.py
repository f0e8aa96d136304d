"""`rml chaos --address`: what launches do on a cluster that was there before is found, struck and
looked for afterwards through Ray alone, as on machines that are not this one."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest

from rml_platform.chaos.checks.left_behind import after_a_while
from rml_platform.chaos.checks.tally import render
from rml_platform.chaos.given_cluster import GivenCluster
from rml_platform.chaos.launches import Launch
from rml_platform.chaos.monkey import Monkey
from tests.support.platform.clusters.local_cluster import LocalCluster, local_cluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]
STUDY = Path(__file__).with_name("scenes.yaml")
HOLDS_ROOM = """
import sys
import ray
from ray.util.placement_group import placement_group
from rml_platform.launch.session.ray_environment import job_config, prepare_environment

prepare_environment(local=False)
ray.init(address=sys.argv[1], job_config=job_config(), log_to_driver=False)
group = placement_group([{"CPU": 1}], name="of-the-launch")
ray.get(group.ready())

class Holder:
    def name(self):
        return "held"

holder = ray.remote(num_cpus=1)(Holder).remote()
print(ray.get(holder.name.remote()), flush=True)
sys.stdin.read()
"""


class Held:
    """Stands for a launch: a driver that holds an actor and a placement group of one core each."""

    def __init__(self, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDS_ROOM, address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_held(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as cluster:
        for _ in range(2):
            cluster.add(num_cpus=2)
        yield cluster


def test_what_a_launch_has_on_the_cluster_is_seen_struck_and_gone_with_it(
    cluster: LocalCluster,
) -> None:
    with GivenCluster(cluster.address) as grounds:
        grounds.forget_left()
        held = Held(cluster.address)
        try:
            held.wait_until_held()
            launch = cast(Launch, held)
            left = grounds.left([launch])
            (actor,) = grounds.actors("Holder", [launch])
            pid = actor.process.pid
            assert "placement group of-the-launch" in left
            assert any(text.startswith(f"actor Holder (process {pid}, node ") for text in left)
            assert any(text.startswith(f"process {pid} (ray::Holder") for text in left)
            assert "2 CPU taken" in left
            assert grounds.left([]) == [], "another job may have taken what is taken"
            assert actor.send(signal.SIGSTOP)
            assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
            assert actor.send(signal.SIGKILL)
            gone = after_a_while(lambda: [t for t in grounds.left([launch]) if str(pid) in t])
            assert gone == []
            assert not actor.send(signal.SIGKILL)
        finally:
            held.process.kill()
            held.process.wait()
        assert after_a_while(lambda: grounds.left([launch])) == []


@pytest.mark.long
def test_a_round_whose_runs_are_on_nodes_that_only_ray_reaches(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    monkey = Monkey(study=STUDY, out=tmp_path, address=cluster.address)
    faults = ["worker-killed", "controller-killed", "actor-killed"]
    (account,) = monkey.play(faults, ["cluster"], rounds=1, seed=1)
    assert account.is_clean, render([account])
    assert account.done, account.struck
