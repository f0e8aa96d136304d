"""Blocks that choose a class by name: dictionaries decide, whenever something is added to them."""

from pathlib import Path
from typing import ClassVar, Literal

import pytest

from rml_platform.run.task import config_from_json, config_to_json
from rml_platform.study.schema import load_run_config
from rml_trainers.configuration import configuration, require
from rml_trainers.data import DATASETS, DatasetEntry
from rml_trainers.data.sources.scenes import ScenesDataset
from rml_trainers.errors import ConfigError
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.paper.iml import IndirectMutualLearning
from rml_trainers.networks import NETWORKS, NetworkEntry
from rml_trainers.networks.mlp import build_mlp
from rml_trainers.settings.contract import CheckedRun, DataConfig, MethodConfig, NetworkConfig

RUN = "split: {num_labelled: 4}\nseed: 7\n"


@configuration
class OwnMethodConfig(MethodConfig):
    num_students: ClassVar[int] = 2
    name: Literal["own_method"] = "own_method"
    strength: float = 0.5

    def check(self, run: CheckedRun) -> None:
        super().check(run)
        require(run.batch.labelled > 1, "batch.labelled", run.batch.labelled, "two of a kind")


@configuration
class OwnNetworkConfig(NetworkConfig):
    name: Literal["own_network"] = "own_network"
    width: int

    def check(self, run: CheckedRun) -> None:
        crop_px = run.geometry.crop_px
        require(min(crop_px) >= self.width, "geometry.crop_px", crop_px, "the width or more")


@configuration
class OwnDataConfig(DataConfig):
    name: Literal["own_data"] = "own_data"
    size_px: tuple[int, int] = (32, 48)

    def check(self, run: CheckedRun) -> None:
        two = run.method.num_students == 2
        require(two, "method.name", run.method.name, "a method with two students")


@pytest.fixture
def own_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more of each kind, long after the study reader was imported."""
    method = MethodEntry(OwnMethodConfig, IndirectMutualLearning)
    monkeypatch.setitem(METHODS, "own_method", method)
    monkeypatch.setitem(NETWORKS, "own_network", NetworkEntry(OwnNetworkConfig, build_mlp))
    data = DatasetEntry(OwnDataConfig, ScenesDataset, needs_root=False)
    monkeypatch.setitem(DATASETS, "own_data", data)


def _error(text: str, folder: Path) -> str:
    file = folder / "run.yaml"
    file.write_text(RUN + text)
    with pytest.raises(ConfigError) as caught:
        load_run_config(file)
    return str(caught.value)


def test_what_was_added_is_read_like_everything_else(own_entries: None, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        f"{RUN}data: {{name: own_data}}\nmethod: {{name: own_method, strength: 0.25}}\n"
        "network: {name: own_network, width: 3}\n"
    )
    config = load_run_config(file)
    assert config.data == OwnDataConfig()
    assert config.method == OwnMethodConfig(strength=0.25)
    assert config.student_networks == (OwnNetworkConfig(width=3),) * 2
    assert config_from_json(config_to_json(config), "a run") == config


def test_errors_know_it_too(own_entries: None, tmp_path: Path) -> None:
    data = "data: {name: own_data}\n"
    said = _error(f"{data}method: {{name: own_methd}}\n", tmp_path)
    assert "method.name = \"own_methd\": unknown method; did you mean 'own_method'?" in said
    said = _error(f"{data}method: {{name: own_method, strenth: 1}}\n", tmp_path)
    assert "run.yaml:4: method.strenth = 1: unknown key; did you mean 'strength'?" in said
    said = _error(f"{data}method: {{name: iml}}\nnetwork: {{name: own_network}}\n", tmp_path)
    assert "network.width: missing" in said


def test_each_kind_refuses_a_run_that_does_not_fit(own_entries: None, tmp_path: Path) -> None:
    data = "data: {name: own_data}\n"
    said = _error(f"{data}method: {{name: own_method}}\nbatch: {{labelled: 1}}\n", tmp_path)
    assert said.endswith("batch.labelled = 1: expected two of a kind")
    said = _error(f"{data}method: {{name: supervised}}\n", tmp_path)
    assert said.endswith("method.name = 'supervised': expected a method with two students")
    network = "network: {name: own_network, width: 300}\n"
    said = _error(f"{data}method: {{name: iml}}\n{network}", tmp_path)
    assert said.endswith("geometry.crop_px = (256, 512): expected the width or more")


def test_without_it_a_run_that_has_it_cannot_be_read() -> None:
    text = '{"method": {"name": "own_method"}, "data": {"name": "scenes"}, "split": {}}'
    with pytest.raises(ConfigError, match=r"scenes-4: method.name = .own_method.: unknown method"):
        config_from_json(text, "scenes-4")


@pytest.mark.parametrize("block", ["data", "method", "network"])
def test_a_block_that_is_empty_is_told(block: str, tmp_path: Path) -> None:
    blocks = {"data": "{name: scenes}", "method": "{name: iml}", block: "null"}
    said = _error("".join(f"{key}: {value}\n" for key, value in blocks.items()), tmp_path)
    assert f"{block} = null: expected keys and values, among them name; choices: " in said
