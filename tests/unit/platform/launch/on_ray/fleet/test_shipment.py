"""What `--ship` sends is this version: the same hash, importable, with its plug-ins."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.environment import OUR_PACKAGES, code_hash
from rml_platform.launch.on_ray.fleet.shipment import pack
from rml_platform.plugins import SHIPPED, hash_here, load_again, load_plugin
from rml_trainers.errors import ConfigError
from tests.support.platform.documented_plugins import write_plugins
from tests.support.platform.plugins import no_plugin_stays

HASH = "from rml_platform import environment as e; print(e.code_hash(), e.package_folders())"


def test_the_copies_are_this_code_wherever_they_lie(tmp_path: Path) -> None:
    packed = pack(tmp_path, ())
    assert [Path(path).name for path in packed] == list(OUR_PACKAGES)
    assert not list(tmp_path.rglob("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", HASH], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(code_hash())
    assert said.count(str(tmp_path)) == len(OUR_PACKAGES)
    (tmp_path / "rml_trainers" / "errors.py").write_text("")
    (tmp_path / "rml_trainers" / "errors.py").write_text("class RmlError(Exception): ...\n")
    changed = subprocess.run(
        [sys.executable, "-c", HASH], env=environment, capture_output=True, text=True, check=False
    )
    assert not changed.stdout.startswith(code_hash())


def test_plug_ins_go_along_and_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tmp_path / "sent"
    sent.mkdir()
    with no_plugin_stays():
        plugins = [load_plugin(str(file)) for file in write_plugins(tmp_path)]
        pack(sent, plugins)
        for plugin in plugins:
            Path(plugin.location).unlink()
            with pytest.raises(ConfigError, match="no such file"):
                hash_here(plugin)
    monkeypatch.setenv(SHIPPED, "1")
    monkeypatch.syspath_prepend(str(sent))
    with no_plugin_stays():
        assert [hash_here(plugin) for plugin in plugins] == [plugin.hash for plugin in plugins]
        load_again(plugins)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    with no_plugin_stays():
        plugin = load_plugin(str(write_plugins(tmp_path)[0]))
    other = tmp_path / "other"
    other.mkdir()
    (other / Path(plugin.location).name).write_text("")
    (tmp_path / "sent").mkdir()
    twin = replace(plugin, location=str(other / Path(plugin.location).name))
    with pytest.raises(ConfigError, match="have one name; rename one of them"):
        pack(tmp_path / "sent", [plugin, twin])
