"""platform/deploy/slurm.sh under a Slurm that starts real processes: the whole tree, its signals
and its exit codes; and once with a real Ray on two nodes."""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.postgres import free_port
from tests.support.servers.slurm import Slurm

SCRIPT = Path(__file__).parents[2] / "platform" / "deploy" / "slurm.sh"
RAY = """#!/usr/bin/env bash
[[ $1 != health-check ]] || { [[ -f $TMPDIR/head ]]; exit; }
echo "around ray: $(stat -c %a "$RAY_TMPDIR")" >> "$FAKE_CALLS"
echo "ray $* token=$RAY_AUTH_TOKEN mode=$RAY_AUTH_MODE" >> "$FAKE_CALLS"
mkdir -p -m 777 "$RAY_TMPDIR/session"
[[ $* != *--head* ]] || touch "$TMPDIR/head"
[[ $FAKE_RAY != dies ]] || exit 1
[[ $FAKE_RAY != workers-die || $* == *--head* ]] || exit 1
exec sleep 1000
"""
RML = """#!/usr/bin/env bash
terms=0
on_term() {
  echo "rml got SIGTERM" >> "$FAKE_CALLS"
  [[ $FAKE_RML != stays-long || $((++terms)) -gt 1 ]] || return 0
  exit 143
}
trap on_term TERM
echo "rml $* token=$RAY_AUTH_TOKEN" >> "$FAKE_CALLS"
echo "umask: $(umask)" >> "$FAKE_CALLS"
until [[ $(grep -c "^ray start" "$FAKE_CALLS") -eq $SLURM_JOB_NUM_NODES ]]; do sleep 0.05; done
[[ $FAKE_RML == stays* ]] || exit "$FAKE_RML"
while true; do sleep 0.1; done
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    slurm = Slurm(tmp_path, ("n1", "n2", "n3"))
    slurm.install({"ray": RAY, "rml": RML})
    return slurm


def ended(slurm: Slurm, rml: str, **environment: str) -> tuple[int, list[str]]:
    """Exit code of the job, and what happened in it."""
    job = slurm.start(SCRIPT, "study.yaml", "--storage", "a b", FAKE_RML=rml, **environment)
    job.communicate()
    assert slurm.still_there() == []
    assert not (slurm.folder / "rml-4711").exists()
    return job.returncode, slurm.calls()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_job_ends_as_the_launch_does(code: int, slurm: Slurm) -> None:
    got, calls = ended(slurm, str(code))
    assert got == code
    assert not any("requeue" in call for call in calls)
    (launch,) = (call for call in calls if call.startswith("rml "))
    assert launch.startswith("rml launch study.yaml --storage a b --address 10.0.0.7:6379 ")
    head, *workers = [call for call in calls if call.startswith("ray start")]
    assert "--head --node-ip-address=10.0.0.7 --port=6379" in head
    assert len(workers) == 2
    assert all("--address=10.0.0.7:6379 --num-cpus=1 " in worker for worker in workers)
    (on_others,) = (call for call in calls if "--exclude=n1" in call)
    assert "--nodes=2 --ntasks=2" in on_others


def test_all_of_it_share_one_token_that_no_command_line_shows(slurm: Slurm) -> None:
    _, calls = ended(slurm, "0")
    tokens = {call.partition("token=")[2].split()[0] for call in calls if "token=" in call}
    (token,) = tokens
    assert len(token) == 64
    assert not any(token in call for call in calls if call.startswith("srun"))
    assert all("mode=token" in call for call in calls if call.startswith("ray start"))
    (slurm.folder / "calls").unlink()
    _, calls = ended(slurm, "0", RAY_AUTH_TOKEN="mine")
    assert all("token=mine" in call for call in calls if "token=" in call)


def test_nothing_of_ray_stays_on_any_node(slurm: Slurm) -> None:
    _, calls = ended(slurm, "75")
    (removal,) = (call for call in calls if " rm " in call)
    assert removal == (
        "srun --overlap --nodes=3 --ntasks=3 --ntasks-per-node=1 rm -rf -- "
        f"{slurm.folder / 'rml-4711'}"
    )
    assert calls.index(removal) < calls.index("scontrol requeue 4711"), "which ends the job"


@pytest.mark.parametrize("of_srun", ["", "0002", "0077"])
def test_rays_own_files_are_private_and_the_runs_are_as_the_user_has_it(
    of_srun: str, slurm: Slurm
) -> None:
    left_over = slurm.folder / "rml-4711"
    left_over.mkdir(mode=0o755)  # by a job that was killed, and queued again
    code, calls = ended(slurm, "0", FAKE_UMASK=of_srun)
    assert code == 0
    assert [call for call in calls if call.startswith("around ray")] == ["around ray: 700"] * 3
    assert f"umask: {of_srun or '0022'}" in calls


def test_a_folder_for_ray_that_leads_elsewhere_is_refused(slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (slurm.folder / "rml-4711").symlink_to(tmp_path / "elsewhere")
    output, _ = (job := slurm.start(SCRIPT, "s.yaml")).communicate()
    assert job.returncode == 1
    assert "rml-4711 cannot be made this user's own folder on every node" in output
    assert not any(call.startswith("ray start") for call in slurm.calls())


@pytest.mark.parametrize("addresses", ["10.0.0.7", "127.0.1.1 ::1", ""])
def test_one_node_needs_no_workers(addresses: str, tmp_path: Path) -> None:
    slurm = Slurm(tmp_path, ("n1",))
    slurm.install({"ray": RAY, "rml": RML})
    code, calls = ended(slurm, "0", FAKE_ADDRESSES=addresses)
    assert code == 0
    assert not any("--exclude" in call for call in calls)
    (launch,) = (call for call in calls if call.startswith("rml "))
    own = addresses if addresses.startswith("10.") else "127.0.0.1"
    assert f"--address {own}:6379 " in launch


@pytest.mark.parametrize("addresses", ["127.0.1.1 fd00::7", ""])
def test_a_head_that_the_others_cannot_reach_is_refused(addresses: str, slurm: Slurm) -> None:
    job = slurm.start(SCRIPT, "s.yaml", FAKE_ADDRESSES=addresses)
    output, _ = job.communicate()
    assert job.returncode == 2
    assert "n1 has no IPv4 address that the other nodes reach" in output
    assert "set RML_HEAD_IP" in output
    assert not any(call.startswith("ray start") for call in slurm.calls())


def test_a_person_may_say_which_network_is_meant(slurm: Slurm) -> None:
    code, calls = ended(slurm, "0", RML_HEAD_IP="192.168.1.7")
    assert code == 0
    starts = [call for call in calls if call.startswith("ray start")]
    assert len(starts) == 3
    assert all("192.168.1.7" in call for call in starts)


def test_workers_that_end_before_the_launch_are_told(slurm: Slurm) -> None:
    job = slurm.start(SCRIPT, "s.yaml", FAKE_RML="stays", FAKE_RAY="workers-die")
    assert job.stdout is not None
    told = next(line for line in job.stdout if "ended" in line)
    job.send_signal(signal.SIGTERM)
    job.communicate()
    assert told == (
        "Ray has ended on all nodes but n1 before the launch has: it goes on there alone\n"
    )
    assert slurm.still_there() == []


def test_workers_that_end_with_the_launch_are_not(slurm: Slurm) -> None:
    job = slurm.start(SCRIPT, "s.yaml", FAKE_RML="0")
    output, _ = job.communicate()
    assert output == ""


def stopped(slurm: Slurm, rml: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of a job that gets Slurm's signal once its launch has begun."""
    job = slurm.start(SCRIPT, "s.yaml", FAKE_RML=rml, **environment)
    while not any(call.startswith("rml launch") for call in slurm.calls()):
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate()
    assert slurm.still_there() == []
    return job.returncode, output


def test_a_launch_that_does_not_stop_in_time_costs_no_place_in_the_queue(slurm: Slurm) -> None:
    code, output = stopped(slurm, "stays-long", RML_STOP_WITHIN="1")
    calls = slurm.calls()
    assert code == 143
    assert "rml launch has not stopped within 1 s: it is ended" in output
    assert calls.count("rml got SIGTERM") == 2, "a second one ends it at once"
    assert calls[-1] == "scontrol requeue 4711"


@pytest.mark.parametrize(("restarts", "is_requeued"), [("0", True), ("49", True), ("50", False)])
def test_before_the_end_the_launch_is_stopped_and_the_job_queued_again(
    restarts: str, is_requeued: bool, slurm: Slurm
) -> None:
    code, output = stopped(slurm, "stays", SLURM_RESTART_COUNT=restarts)
    calls = slurm.calls()
    assert code == 143
    assert calls.count("rml got SIGTERM") == 1
    assert ("scontrol requeue 4711" in calls) is is_requeued
    assert ("left as it is" in output) is not is_requeued


def test_a_job_whose_ray_died_is_queued_again(slurm: Slurm) -> None:
    code, calls = ended(slurm, "75")
    assert code == 75
    assert calls[-1] == "scontrol requeue 4711"


def test_a_head_that_does_not_start_is_said(tmp_path: Path) -> None:
    slurm = Slurm(tmp_path, ("n1", "n2"))
    slurm.install({"ray": RAY.replace('touch "$TMPDIR/head"', "true"), "rml": RML})
    job = slurm.start(SCRIPT, "s.yaml", FAKE_RAY="dies")
    output, _ = job.communicate()
    assert job.returncode == 1
    assert "Ray's head did not start on n1" in output
    assert not any(call.startswith("rml") for call in slurm.calls())


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Sockets have short paths."""
    folder = Path(tempfile.mkdtemp(prefix="rml-slurm-"))
    yield folder
    shutil.rmtree(folder)


IN_TIME_S = 200
"""Ten times what it takes on two cores."""
COUNTING = f"""#!{sys.executable}
import os, subprocess, sys, time
import ray
ray.init(address=sys.argv[-1], log_to_driver=False, logging_level="ERROR")
while len([node for node in ray.nodes() if node["Alive"]]) < 2:
    time.sleep(0.2)

@ray.remote(num_cpus=1)
def where():
    time.sleep(1)
    return ray.get_runtime_context().get_node_id()

nodes = set(ray.get([where.remote() for _ in range(2)]))
print("nodes that worked:", len(nodes))
for token in (os.environ["RAY_AUTH_TOKEN"], "0" * 64):
    asked = subprocess.run(
        ["ray", "health-check", "--address", sys.argv[-1]],
        env={{**os.environ, "RAY_AUTH_TOKEN": token}},
        capture_output=True,
    )
    print("healthy to the owner:" if token[:9] != "0" * 9 else "to a stranger:", asked.returncode)
"""


@pytest.mark.ray
@pytest.mark.long
def test_a_real_ray_on_two_nodes(short_folder: Path) -> None:
    slurm = Slurm(short_folder, ("n1", "n2"))
    real = str(Path(sys.executable).parent / "ray")
    ray = f'#!/usr/bin/env bash\\nexec "{real}" "$@"\\n'.replace("\\n", "\n")
    slurm.install({"rml": COUNTING, "ray": ray})
    job = slurm.start(SCRIPT, "s.yaml", RML_RAY_PORT=str(free_port()), RML_HEAD_IP="127.0.0.1")
    try:
        output, _ = job.communicate(timeout=IN_TIME_S)
    except subprocess.TimeoutExpired:
        job.terminate()
        output, _ = job.communicate()
    assert job.returncode == 0, output
    assert "nodes that worked: 2" in output
    assert "healthy to the owner: 0\nto a stranger: 1" in output
    assert slurm.still_there() == []
    assert not (short_folder / "rml-4711").exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(short_folder) not in left, "Ray's own processes ended, too"
