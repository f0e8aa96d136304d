"""What the doctor finds, and that what it finds decides the exit code."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform import doctor, environment
from rml_platform.cli import app


def state_of(name: str, out: Path, data_root: Path | None = None) -> tuple[str, str]:
    findings = {finding.name: finding for finding in doctor.examine(out, data_root)}
    return findings[name].state, f"{findings[name].found} {findings[name].mend}"


def versions(monkeypatch: pytest.MonkeyPatch, **known: str) -> None:
    real = environment.package_version
    monkeypatch.setattr(
        doctor, "package_version", lambda name: known.get(name.replace("-", "_"), real(name))
    )


def test_this_machine_can_run_rml(tmp_path: Path) -> None:
    """The tests run here, so what rml cannot do without is here."""
    done = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "0 problems" in done.output


def test_a_missing_part_is_a_problem_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(monkeypatch, ray="missing")
    assert state_of("Ray", tmp_path)[0] == "problem"
    done = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "pip install 'ray[default,train,tune]'" in done.output


@pytest.mark.parametrize("is_installed", [True, False])
def test_without_a_torch_to_import_the_other_checks_are_still_shown(
    is_installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # its import fails
    if not is_installed:
        versions(monkeypatch, torch="missing")
    state, text = state_of("torch", tmp_path)
    assert state == "problem"
    assert text.startswith("cannot be imported: " if is_installed else "not installed")
    assert state_of("GPUs", tmp_path) == ("note", "unknown without torch ")
    assert state_of("layers", tmp_path) == ("note", "unknown without torch and timm ")
    assert state_of("Python", tmp_path)[0] == "ok"


def test_a_check_that_raises_is_a_problem_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int) -> None:
        raise RuntimeError(f"CUDA error: GPU {number} is lost")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", broken)
    done = CliRunner().invoke(app, ["doctor", "--out", str(tmp_path)])
    assert done.exit_code == 1
    words = " ".join(done.output.split())
    assert "cannot be looked at: RuntimeError: CUDA error: GPU 0 is lost" in words
    assert "Ray token" in words
    names = [finding.name for finding in doctor.examine(tmp_path, None)]
    assert len(set(names)) == len(names) == 13, "each check is told once, broken or not"


def test_ray_without_its_dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    state, text = state_of("Ray", tmp_path)
    assert state == "problem"
    assert "ray[default]" in text


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ({"mlflow": "3.17.2", "mlflow_skinny": "3.17.2"}, "ok"),
        ({"mlflow": "3.18.0", "mlflow_skinny": "3.17.2"}, "problem"),
        ({"mlflow": "3.1.0", "mlflow_skinny": "3.1.0"}, "problem"),
        ({"mlflow": "3.5rc1", "mlflow_skinny": "missing"}, "ok"),
        ({"mlflow": "missing"}, "problem"),
    ],
)
def test_mlflow_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, str], state: str
) -> None:
    versions(monkeypatch, **known)
    assert state_of("MLflow", tmp_path)[0] == state


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.0.31", "ok"),
        ("1.0.20.dev0", "ok"),
        ("1.1", "ok"),
        ("1.0.19", "note"),
        ("missing", "problem"),
    ],
)
def test_timm_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: str
) -> None:
    versions(monkeypatch, timm=version)
    found, text = state_of("timm", tmp_path)
    assert found == state
    assert ("DINOv3" in text) is (state == "note")


@pytest.mark.parametrize(("free_gb", "state"), [(100, "ok"), (3, "note"), (0.5, "problem")])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gb: float, state: str) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=int(free_gb * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert state_of("Disk", tmp_path / "not" / "there" / "yet")[0] == state


def test_data_root(tmp_path: Path) -> None:
    assert state_of("Data root", tmp_path)[0] == "note"
    (tmp_path / "camvid" / "train").mkdir(parents=True)
    (tmp_path / "VOCdevkit" / "VOC2012").mkdir(parents=True)
    state, text = state_of("Data root", tmp_path, tmp_path)
    assert (state, "camvid, voc" in text, "mnist" in text, "cityscapes" in text) == (
        "ok",
        True,
        False,
        False,
    )
    assert state_of("Data root", tmp_path, tmp_path / "absent")[0] == "problem"


def test_environment_names_versions_without_importing_anything() -> None:
    before = set(sys.modules)
    facts = environment.environment()
    assert facts.packages["torch"] != "missing"
    assert facts.python.startswith("3.")
    assert not {"ray", "mlflow"} & (set(sys.modules) - before)
    assert environment.package_version("no-such-distribution") == "missing"


def test_code_version_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "platform" / "rml_platform"
    package.mkdir(parents=True)
    monkeypatch.setattr("rml_platform.__file__", str(package / "__init__.py"))
    environment.code_version.cache_clear()
    try:
        found = environment.code_version()
    finally:
        environment.code_version.cache_clear()
    assert found == environment.CodeVersion(version=environment.package_version("rml"), dirty=False)


def test_only_the_tag_of_a_release_names_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "platform" / "rml_platform"
    package.mkdir(parents=True)
    monkeypatch.setattr("rml_platform.__file__", str(package / "__init__.py"))

    def git(*words: str) -> str:
        person = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", "-C", str(tmp_path), *person, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def version() -> str:
        environment.code_version.cache_clear()
        return environment.code_version().version

    try:
        git("init")
        git("commit", "--allow-empty", "-m", "first")
        for mine in ("good", "v2-of-mine", "vNext.1.2"):
            git("tag", mine)
        commit = git("rev-parse", "--short", "HEAD")
        assert version() == commit
        git("tag", "v1.2.3")
        assert version() == "v1.2.3"
        git("commit", "--allow-empty", "-m", "second")
        git("tag", "-a", "better", "-m", "mine")
        assert version() == f"v1.2.3-1-g{git('rev-parse', '--short', 'HEAD')}"
    finally:
        environment.code_version.cache_clear()


@pytest.mark.parametrize("fast", [True, False])
def test_without_a_gpu_it_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("rml_trainers.runtime.device.cpu_multiplies_bf16", lambda: fast)
    state, text = state_of("GPUs", tmp_path)
    assert state == "note" and "--profile small" in text
    assert ("precision: bfloat16" in text) is fast


def test_which_forms_layers_have_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    state, text = state_of("layers", tmp_path)
    assert state == "ok" and "on cpu" in text and "depthwise convolutions in pieces" in text
    monkeypatch.setattr("torch.ops.aten.convolution_backward", None)
    state, text = state_of("layers", tmp_path)
    assert state == "note"
    assert "depthwise convolutions in pieces (torch.ops.aten.convolution_backward)" in text
    versions(monkeypatch, timm="missing")
    assert state_of("layers", tmp_path) == ("note", "unknown without torch and timm ")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of which the packages are imported, with one commit."""
    package = tmp_path / "platform" / "rml_platform"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "study.yaml").write_text("")
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setattr("rml_platform.__file__", str(package / "__init__.py"))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        (None, False),
        ("study.yaml", False),
        ("notes.md", False),
        ("platform/rml_platform/__init__.py", True),
        ("trainers/rml_trainers/new.py", True),
    ],
)
def test_a_checkout_is_changed_where_its_packages_are(
    changed: str | None, dirty: bool, checkout: Path
) -> None:
    if changed is not None:
        (checkout / changed).parent.mkdir(parents=True, exist_ok=True)
        (checkout / changed).write_text("x = 1")
    found = environment.code_version.__wrapped__()
    assert found.dirty == dirty
    assert len(found.version) >= 7
