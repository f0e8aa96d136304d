"""Addresses that Ray gives to its clients and submitters are refused before anything else."""

from pathlib import Path

import pytest

from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml
from tests.support.platform.studies import write_study

COMMANDS = [["launch"], ["plan"], ["chaos"], ["plan", "--probe", "--price", "2/h"]]


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_client_s_address_is_refused(command: list[str], address: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        ConfigError, match=f"^{address}: .*host:port.* ray job submit .* rml launch"
    ):
        rml(*command, write_study(tmp_path), "--out", out, "--address", address)
    assert not out.exists()


@pytest.mark.parametrize("command", [*COMMANDS, ["demo"]], ids=" ".join)
def test_the_environment_is_refused_alike(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    study = [] if command == ["demo"] else [write_study(tmp_path)]
    with pytest.raises(ConfigError, match=r"^ray://head:10001: .*RAY_ADDRESS"):
        rml(*command, *study, "--out", tmp_path / "out")


@pytest.mark.parametrize("said", ["local", ""])
def test_no_cluster_is_meant_by_a_local_one(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", said)
    assert "this machine" in rml("plan", write_study(tmp_path), "--out", tmp_path / "out")
