"""Loading of plug-ins: what they add, what is refused, and what their content changes."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.plugins import (
    VARIABLE,
    load_again,
    load_plugin,
    load_plugins,
    registries,
    require_loaded,
)
from rml_trainers.errors import ConfigError
from rml_trainers.networks import NETWORKS
from rml_trainers.settings.plugins import LOADED, plugins_that_add, plugins_with_metrics
from tests.support.platform.plugins import no_plugin_stays
from tests.support.platform.studies import write_study

ADDS_A_NETWORK = """
from dataclasses import replace
from rml_trainers.networks import NETWORKS
NETWORKS["{name}"] = replace(NETWORKS["mlp"])
"""
ADDS_A_METRIC = """
from dataclasses import replace
from rml_trainers.scoring.metrics import METRICS
METRICS["{name}"] = replace(METRICS["miou"])
"""


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with no_plugin_stays():
        yield


def module(folder: Path, name: str = "my_networks", text: str = "", adds: str = "wide") -> Path:
    path = folder / f"{name}.py"
    path.write_text(text or ADDS_A_NETWORK.format(name=adds))
    return path


def test_a_file_adds_what_it_registers(tmp_path: Path) -> None:
    path = module(tmp_path)
    plugin = load_plugin(str(path))
    assert NETWORKS["wide"] == NETWORKS["mlp"]
    assert plugin.entries == (("network", "wide"),)
    assert (plugin.name, plugin.location) == ("my_networks", str(path))
    assert plugins_that_add(("network", "wide"), ("method", "rml")) == (plugin,)
    assert plugins_that_add(("method", "wide"), ("network", "mlp")) == ()
    assert load_plugin(str(path)) is plugin


def test_a_relative_path_is_the_same_plug_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = module(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_plugin("my_networks.py") is load_plugin(str(path))


def test_a_package_folder_may_import_its_own_modules(tmp_path: Path) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("from my_package import first\nfrom . import second\n")
    (package / "first.py").write_text(ADDS_A_NETWORK.format(name="first"))
    (package / "second.py").write_text(ADDS_A_NETWORK.format(name="second"))
    plugin = load_plugin(str(package))
    assert plugin.entries == (("network", "first"), ("network", "second"))


def test_an_installed_module_is_given_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin = load_plugin("my_networks")
    assert plugin.location == "my_networks"
    assert plugin.entries == (("network", "wide"),)


def hash_of(location: Path) -> str:
    with no_plugin_stays():
        return load_plugin(str(location)).hash


def test_the_hash_is_of_the_content_only(tmp_path: Path) -> None:
    package = tmp_path / "a" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from . import one, two\n")
    (package / "one.py").write_text(ADDS_A_NETWORK.format(name="one"))
    (package / "two.py").write_text("")
    before = hash_of(package)
    (package / "notes.txt").write_text("no code")
    elsewhere = package.rename(tmp_path / "renamed")
    assert hash_of(elsewhere) == before
    (elsewhere / "two.py").write_text("ANSWER = 42\n")
    assert hash_of(elsewhere) != before


BAD = {
    "raise ValueError('no licence')": r"cannot be imported: ValueError: no licence \(.*bad\.py:1\)",
    "import sys\nsys.exit(3)": r"cannot be imported: SystemExit: 3 \(.*bad\.py:2\)",
    "def broken(:": r"cannot be imported: SyntaxError",
    "from rml_trainers.networks import NETWORKS\nNETWORKS['setr'] = NETWORKS['mlp']": (
        r"registers the network 'setr', which exists already"
    ),
    "from rml_trainers.networks import NETWORKS\ndel NETWORKS['setr']": (
        r"registers the network 'setr', which exists already"
    ),
    "x = 1": r"adds nothing to METHODS, NETWORKS, DATASETS or METRICS",
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_plug_in_is_one_error_that_names_it_and_leaves_nothing(
    tmp_path: Path, text: str
) -> None:
    before = {kind: dict(entries) for kind, entries in registries().items()}
    path = module(tmp_path, "bad", text)
    with pytest.raises(ConfigError, match=rf"^plug-in {path} {BAD[text]}"):
        load_plugin(str(path))
    assert registries() == before
    assert "bad" not in sys.modules
    assert not LOADED
    path.write_text(ADDS_A_NETWORK.format(name="mended"))
    assert load_plugin(str(path)).entries == (("network", "mended"),)


def test_what_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for location, said in (
        (f"{tmp_path}/absent.py", "no such file or package folder"),
        (f"{tmp_path}/folder", "no __init__.py in this folder"),
        ("no_such_module", r"no module of this name .* given by its path \(\./no_such_module\)"),
    ):
        with pytest.raises(ConfigError, match=f"^plug-in {location}: {said}"):
            load_plugin(location)


def test_a_file_that_hides_another_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another module is called 'statistics'"):
        load_plugin(str(module(tmp_path, "statistics")))


def test_two_plug_ins_may_not_add_the_same_name(tmp_path: Path) -> None:
    load_plugin(str(module(tmp_path, "one")))
    with pytest.raises(ConfigError, match=r"two\.py registers the network 'wide'"):
        load_plugin(str(module(tmp_path, "two")))


def test_the_environment_names_plug_ins_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = module(tmp_path, "one", adds="one")
    two = module(tmp_path, "two", adds="two")
    three = module(tmp_path, "three", adds="three")
    monkeypatch.setenv(VARIABLE, f"{one}:{two}")
    load_plugins([str(two), str(three)])
    assert [plugin.name for plugin in LOADED.values()] == ["one", "two", "three"]


def test_a_worker_refuses_another_content_than_was_planned(tmp_path: Path) -> None:
    planned = load_plugin(str(module(tmp_path)))
    load_again([planned])
    with pytest.raises(ConfigError, match="was planned with 000000000000; it was changed"):
        load_again([dataclasses.replace(planned, hash="0" * 12)])


def test_a_recorded_run_says_which_plug_in_it_needs(tmp_path: Path) -> None:
    path = module(tmp_path)
    metric = module(tmp_path, "my_metrics", ADDS_A_METRIC.format(name="other"))
    with no_plugin_stays():
        plugin = load_plugin(str(path))
        scored = load_plugin(str(metric))
        assert plugins_with_metrics() == (scored,)
    require_loaded([scored], "run r")
    with pytest.raises(ConfigError, match=f"run r was trained .* --plugin {path} or"):
        require_loaded([plugin], "run r")
    load_plugin(str(path))
    require_loaded([plugin], "run r")


@pytest.mark.parametrize(
    "command",
    [
        "run x.yaml",
        "plan x.yaml",
        "launch x.yaml",
        "demo",
        "predict run image.png",
        "compare run",
        "data prepare scenes",
        "data download mnist",
        "data splits scenes",
    ],
)
def test_every_command_that_reads_a_study_or_a_run_loads_plug_ins_first(
    tmp_path: Path, command: str
) -> None:
    bad = module(tmp_path, "bad", "raise ValueError('no licence')")
    done = CliRunner().invoke(app, [*command.split(), "--plugin", str(bad)])
    assert isinstance(done.exception, ConfigError)
    assert "bad.py cannot be imported: ValueError: no licence" in str(done.exception)


@pytest.mark.parametrize("command", ["status", "cancel", "tables", "figures"])
def test_a_command_that_goes_by_the_written_plan_loads_them_where_there_is_none(
    tmp_path: Path, command: str
) -> None:
    bad = module(tmp_path, "bad", "raise ValueError('no licence')")
    study = str(write_study(tmp_path))
    words = [command, study, "--plugin", str(bad), "--out", str(tmp_path), "--tracking-uri", "none"]
    done = CliRunner().invoke(app, words[: 6 if command in ("status", "cancel") else 8])
    assert isinstance(done.exception, ConfigError)
    assert "bad.py cannot be imported: ValueError: no licence" in str(done.exception)
