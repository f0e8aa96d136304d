"""The files of platform/deploy, as far as they can be checked without a cluster: by Ray's own
schema, by a shell checker, and by what they must not forget."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from tests.support.documentation.command_lines import check

DEPLOY = Path(__file__).parents[4] / "platform" / "deploy"
YAML = sorted(DEPLOY.glob("*.yaml"))


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


@pytest.mark.parametrize("file", YAML, ids=lambda file: file.name)
def test_every_yaml_is_read_and_names_token_authentication(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)
    text = file.read_text()
    assert "RAY_AUTH_MODE" in text or "authOptions" in text


def test_every_file_is_in_the_list() -> None:
    named = set(re.findall(r"^- `([^`]+)`", (DEPLOY / "README.md").read_text(), re.MULTILINE))
    assert named == {file.name for file in DEPLOY.iterdir()} - {"README.md"}


@pytest.mark.parametrize(
    "name", ["kuberay-rayjob.yaml", "ray-up.yaml", "skypilot.yaml", "slurm.sh"]
)
def test_its_own_commands_are_typed_in_the_projects_folder(name: str) -> None:
    """What they copy, and the studies that they name, are there."""
    told = re.findall(rf"^# .*?(\S*{re.escape(name)})", (DEPLOY / name).read_text(), re.MULTILINE)
    assert told and set(told) == {f"platform/deploy/{name}"}


def test_the_ray_up_file_fits_rays_own_schema() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = loaded("ray-up.yaml")
    validate_config(prepare_config(config))
    assert config["head_node_type"] in config["available_node_types"]
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    for command in starts:
        assert "ray start" not in command or command.startswith("RAY_AUTH_MODE=token ")
    assert any(target.endswith("auth_token") for target in config["file_mounts"])


def test_every_node_of_ray_up_has_an_image_and_reaches_the_bucket() -> None:
    """Ray's own image is too old for rml, and its own profile is the head's alone."""
    types = loaded("ray-up.yaml")["available_node_types"]
    for name, node_type in types.items():
        config = node_type["node_config"]
        assert config["ImageId"], name
        assert config["IamInstanceProfile"]["Name"], name
    profiles = [one["node_config"]["IamInstanceProfile"]["Name"] for one in types.values()]
    assert len(set(profiles)) == len(profiles), "a GPU node may not start machines"


def test_ray_up_installs_a_python_that_every_later_command_finds(tmp_path: Path) -> None:
    """And does it twice as well: Ray sets a node up again that it restarts."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    own = tmp_path / "env" / "bin" / "python"
    own.write_text("#!/bin/bash\necho of the environment\n")
    own.chmod(0o755)
    (tmp_path / ".bashrc").touch()
    (setting,) = (one for one in loaded("ray-up.yaml")["setup_commands"] if ".bashrc" in one)
    for _ in range(2):
        subprocess.run(["bash", "-c", setting], env={"HOME": str(tmp_path)}, check=True)
    assert (tmp_path / ".bashrc").read_text().count("PATH=") == 1
    ask = ["bash", "-c", "source ~/.bashrc; python"]
    found = subprocess.run(ask, env={"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert found.stdout == "of the environment\n"


def test_the_head_of_ray_up_can_ask_aws_for_machines() -> None:
    """Ray does so through boto3, which nothing of rml brings along."""
    installs = [one for one in loaded("ray-up.yaml")["head_setup_commands"] if "boto3" in one]
    assert len(installs) == 1
    assert "-c constraints.txt boto3" in installs[0]


def test_a_launch_on_ray_up_outlives_the_connection_that_started_it() -> None:
    text = (DEPLOY / "ray-up.yaml").read_text()
    execs = re.findall(r"^# +ray exec (.*)$", text, re.MULTILINE)
    assert execs and all(words.startswith("--tmux ") for words in execs)
    assert any("tmux" in command for command in loaded("ray-up.yaml")["head_setup_commands"])


def test_the_rayjob_has_what_kuberay_asks_for() -> None:
    """No schema of it comes in a package; these are the fields that its reference requires, and
    those that rml cannot do without."""
    job = loaded("kuberay-rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]
    spec = job["spec"]
    known = {
        "entrypoint",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "backoffLimit",
        "rayClusterSpec",
    }
    assert set(spec) == known
    assert spec["shutdownAfterJobFinishes"] is True, "Kueue admits no other"
    assert spec["ttlSecondsAfterFinished"] <= 300, "so long the cluster stays when the job is done"
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = set()
    for group in groups:
        assert isinstance(group["rayStartParams"], dict)
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        (container,) = pod["containers"]
        images.add(container["image"])
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
    assert images == {"rml"}, "one image, so one version, and no registry"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    check(shlex.split(spec["entrypoint"]))


def test_the_rayjob_names_the_version_of_ray_that_is_tested() -> None:
    pinned = (DEPLOY.parents[1] / "constraints.txt").read_text()
    version = loaded("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]
    assert f"\nray=={version}\n" in pinned


def test_the_skypilot_task_has_known_keys_and_a_secret_without_a_value() -> None:
    task = loaded("skypilot.yaml")
    known = {"name", "num_nodes", "workdir", "resources", "envs", "secrets", "setup", "run"}
    assert set(task) <= {*known, "file_mounts"}
    assert task["secrets"] == {"RAY_AUTH_TOKEN": None}
    assert task["envs"]["RAY_AUTH_MODE"] == "token"
    assert (DEPLOY.parents[1] / task["envs"]["STUDY"]).is_file()
    (launch,) = re.findall(r"^rml launch .*$", task["run"], re.MULTILINE)
    check(shlex.split(launch))


@pytest.mark.parametrize("name", ["Dockerfile", "ray-up.yaml", "skypilot.yaml"])
def test_what_is_installed_for_gpus_tells_how_busy_they_are(name: str) -> None:
    """And each package of an extra has the version that was tested."""
    root = DEPLOY.parents[1]
    text = (DEPLOY / name).read_text()
    (extras,) = re.findall(r"pip install .*-c constraints\.txt '\.\[([\w,]+)\]'", text)
    assert {"weights", "gpu"} <= set(extras.split(","))
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [Requirement(one).name for extra in extras.split(",") for one in known[extra]]
    assert "nvidia-ml-py" in wanted
    pinned = {line.partition("==")[0] for line in (root / "constraints.txt").read_text().split()}
    assert set(wanted) <= pinned


def _container(group: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Variables of a group's container, and where which volume is mounted in it."""
    (container,) = group["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container.get("env", ())}
    return variables, {one["mountPath"]: one["name"] for one in container["volumeMounts"]}


def test_the_head_of_the_rayjob_has_the_images_and_each_worker_a_disk_for_its_cache() -> None:
    cluster = loaded("kuberay-rayjob.yaml")["spec"]["rayClusterSpec"]
    variables, mounts = _container(cluster["headGroupSpec"])
    volumes = {one["name"]: one for one in cluster["headGroupSpec"]["template"]["spec"]["volumes"]}
    assert "persistentVolumeClaim" in volumes[mounts[variables["RML_DATA"]]]
    for group in cluster["workerGroupSpecs"]:
        variables, mounts = _container(group)
        own = {one["name"]: one for one in group["template"]["spec"]["volumes"]}
        limit = own[mounts[variables["RML_CACHE"]]]["emptyDir"]["sizeLimit"]
        assert int(limit.removesuffix("Gi")) * 2**30 > float(variables["RML_CACHE_GB"]) * 1e9


def test_the_other_files_name_a_data_root_that_they_bring() -> None:
    up = loaded("ray-up.yaml")
    (root,) = set(re.findall(r"RML_DATA=(\S+)", (DEPLOY / "ray-up.yaml").read_text()))
    assert root in up["file_mounts"]
    assert not {"data", root} & set(up["rsync_exclude"])
    task = loaded("skypilot.yaml")
    assert task["envs"]["RML_DATA"] in task["file_mounts"]
    assert re.search(r"^# +export RML_DATA=", (DEPLOY / "slurm.sh").read_text(), re.MULTILINE)


def _check_shell(text: str) -> str:
    command = [str(Path(sys.executable).parent / "shellcheck"), "--shell=bash", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.stdout


def test_shell_in_them_is_sound() -> None:
    task = loaded("skypilot.yaml")
    texts = [(DEPLOY / "slurm.sh").read_text(), task["setup"], task["run"]]
    up = loaded("ray-up.yaml")
    parts = {part for part in up if part.endswith("_commands")}
    assert {"setup_commands", "head_start_ray_commands", "worker_start_ray_commands"} <= parts
    texts += [command for part in sorted(parts) for command in up[part]]
    assert [_check_shell(text) for text in texts] == [""] * len(texts)
    assert _check_shell("echo $1"), "the checker does find something"


def test_the_slurm_script_is_requeued_and_told_before_the_end() -> None:
    text = (DEPLOY / "slurm.sh").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert options["signal"] == "B:TERM@60"
    assert "requeue" in options
    assert options["open-mode"] == "append", "a repeated job keeps what it said before"
    assert options["ntasks-per-node"] == "1"
    assert (DEPLOY / "slurm.sh").stat().st_mode & 0o111


def test_the_image_runs_as_nobody_special_and_names_no_registry() -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#"]
    words = [step[0] for step in steps]
    base = dict(value.split("=") for word, value in steps if word == "ARG")["BASE"]
    assert "/" not in base, "a host or an account would stand before a slash"
    assert steps[words.index("FROM")][1] == "${BASE}"
    assert words.index("USER") > words.index("RUN")
    assert [value for word, value in steps if word == "USER"] == ["rml"]
    assert not {"ADD", "ENV"} & set(words), "nothing from the network, and no secret for good"
    root = DEPLOY.parents[1]
    for word, value in steps:
        if word == "COPY":
            *sources, _ = value.split()
            assert all((root / source).exists() for source in sources), value
