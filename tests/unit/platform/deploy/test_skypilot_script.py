"""What SkyPilot runs on each node, with a Ray and an rml that only say what they are asked for: the
job has to end on every node, or its machines cost for ever."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TASK = Path(__file__).parents[4] / "platform" / "deploy" / "skypilot.yaml"
RAY = f"""#!/bin/bash
echo "ray $*" >> "$FAKE/calls"
case "$*" in
  health-check*) [ -e "$FAKE/head" ] ;;
  *--block*)
    [ -z "$FAKE_DIES" ] || exit 1
    echo $$ > "$FAKE/pid"
    touch "$FAKE/head"
    exec {shutil.which("sleep")} 1000 ;;
esac
"""
RML = '#!/bin/bash\necho "rml $*" >> "$FAKE/calls"\nexit "$FAKE_RML"\n'


class Node:
    """One node of the job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in {"ray": RAY, "rml": RML, "sleep": "#!/bin/bash\n"}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(self, rank: int, rml: int = 0, dies: str = "") -> subprocess.CompletedProcess[str]:
        task = yaml.safe_load(TASK.read_text())
        told = {
            "FAKE": str(self.folder),
            "FAKE_RML": str(rml),
            "FAKE_DIES": dies,
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
            "SKYPILOT_NODE_RANK": str(rank),
            "SKYPILOT_NUM_GPUS_PER_NODE": "1",
            "STUDY": "study.yaml",
            "STORAGE": "s3://b/rml",
            "TRACKING_URI": "none",
        }
        bash = ["bash", "-c", task["run"]]
        return subprocess.run(bash, env=told, capture_output=True, text=True, check=False)

    def calls(self, beginning: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(beginning)]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("code", [0, 1, 75])
def test_the_head_ends_its_ray_and_tells_how_the_launch_ended(code: int, node: Node) -> None:
    done = node.run(0, rml=code)
    assert done.returncode == code, done.stderr
    (launch,) = node.calls("rml launch study.yaml")
    assert "--address 10.0.0.1:6379" in launch
    with pytest.raises(ProcessLookupError):
        os.kill(int((node.folder / "pid").read_text()), 0)
    assert not node.calls("ray stop"), "that would end SkyPilot's own"


def test_a_head_that_does_not_start_is_no_success(node: Node) -> None:
    assert node.run(0, dies="yes").returncode == 1
    assert not node.calls("rml")


def test_a_worker_joins_and_its_script_ends(node: Node) -> None:
    (node.folder / "head").touch()
    done = node.run(1, rml=1)
    assert done.returncode == 0, done.stderr
    (start,) = node.calls("ray start")
    assert "--address=10.0.0.1:6379" in start
    assert "--block" not in start
    assert not node.calls("rml")


def test_a_worker_whose_head_is_gone_does_not_wait_for_ever(node: Node) -> None:
    done = node.run(1)
    assert done.returncode == 0
    assert "the launch on 10.0.0.1 is over, or cannot be reached" in done.stderr
    assert not node.calls("ray start")
