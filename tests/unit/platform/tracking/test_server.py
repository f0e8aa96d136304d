"""How `rml tracking serve` starts MLflow: closed unless opened, and without telling secrets."""

import configparser
import stat
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rml_platform.tracking.server import Server, ServerConfig, prepare_server
from rml_trainers.errors import ConfigError
from tests.support.platform.command import rml

PASSWORD = {"MLFLOW_AUTH_ADMIN_PASSWORD": "a long enough one"}
POSTGRES = "postgresql://me:secret@db.example.org/mlflow"


def prepared(out: Path, environment: dict[str, str] | None = None, **asked: Any) -> Server:
    return prepare_server(ServerConfig(out=out, **asked), environment or {})


def option(server: Server, name: str) -> str:
    return server.command[server.command.index(name) + 1]


def test_by_default_it_is_closed_and_everything_lies_in_the_output_folder(tmp_path: Path) -> None:
    out = tmp_path / "a 50% out"
    server = prepared(out, {"MLFLOW_TRACKING_URI": "http://elsewhere:5000", "HOME": "x"})
    assert server.command[:4] == (sys.executable, "-m", "mlflow", "server")
    assert (option(server, "--host"), option(server, "--workers")) == ("127.0.0.1", "1")
    assert option(server, "--artifacts-destination") == str(out / "mlartifacts")
    assert set(option(server, "--allowed-hosts").split(",")) == {
        "localhost",
        "localhost:5000",
        "127.0.0.1",
        "127.0.0.1:5000",
        "[::1]",
        "[::1]:5000",
    }
    assert "--app-name" not in server.command
    assert server.environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{out / 'mlflow.db'}"
    assert server.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert "MLFLOW_TRACKING_URI" not in server.environment
    assert (server.url, server.has_accounts) == ("http://127.0.0.1:5000", False)
    assert out.is_dir()


def test_a_password_is_neither_on_the_command_line_nor_told(tmp_path: Path) -> None:
    server = prepared(tmp_path, backend_store_uri=POSTGRES)
    assert not any("secret" in word for word in server.command)
    stored = server.environment["MLFLOW_BACKEND_STORE_URI"]
    assert stored == POSTGRES.replace("://", "+psycopg2://")
    assert server.store == "postgresql://me:***@db.example.org/mlflow"


def test_the_database_may_be_named_where_no_process_list_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, str]] = []
    monkeypatch.setattr(
        "rml_platform.commands.groups.tracking._become",
        lambda command, environment: begun.append(environment),
    )
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{tmp_path / 'own.db'}")
    said = rml("tracking", "serve", "--out", tmp_path / "out")
    assert begun[0]["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path / 'own.db'}"
    assert f"database   sqlite:///{tmp_path / 'own.db'}" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"host": "0.0.0.0"}, "--allowed-hosts"),
        ({"host": "::", "authentication": True}, "--allowed-hosts"),
        ({"host": "0.0.0.0", "allowed_hosts": ("a.org",)}, "--auth, or --no-auth"),
        ({"host": "mlflow.example.org", "authentication": False}, "--allowed-hosts"),
        ({"backend_store_uri": "http://me:secret@a.org"}, "a database"),
        ({"authentication": True}, "set MLFLOW_AUTH_ADMIN_PASSWORD"),
    ],
)
def test_what_would_be_open_to_strangers_is_refused(
    asked: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        prepared(tmp_path, **asked)
    assert "secret" not in str(caught.value)


def test_too_short_a_password_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 12 characters"):
        prepared(tmp_path, {"MLFLOW_AUTH_ADMIN_PASSWORD": "short"}, authentication=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_no_permission(host: str, tmp_path: Path) -> None:
    assert option(prepared(tmp_path, host=host), "--host") == host


def test_names_are_allowed_with_and_without_the_port(tmp_path: Path) -> None:
    server = prepared(
        tmp_path,
        host="0.0.0.0",
        port=5001,
        allowed_hosts=("mlflow.example.org", "proxy.example.org:443"),
        authentication=False,
    )
    hosts = option(server, "--allowed-hosts").split(",")
    assert {"mlflow.example.org", "mlflow.example.org:5001", "proxy.example.org:443"} < set(hosts)
    assert "proxy.example.org" not in hosts
    assert "localhost:5001" in hosts
    origins = option(server, "--cors-allowed-origins").split(",")
    assert {"http://mlflow.example.org:5001", "https://proxy.example.org:443"} < set(origins)
    assert server.url == "http://mlflow.example.org:5001"


def test_any_name_has_to_be_said(tmp_path: Path) -> None:
    server = prepared(tmp_path, host="0.0.0.0", allowed_hosts=("*",), authentication=False)
    assert option(server, "--allowed-hosts") == "*"
    assert option(server, "--cors-allowed-origins") == "http://*:5000,https://*:5000"


def test_accounts_are_kept_where_nobody_else_reads_them(tmp_path: Path) -> None:
    out = tmp_path / "50% out"
    first = prepared(out, PASSWORD, authentication=True)
    assert option(first, "--app-name") == "basic-auth"
    folder = out / "mlflow-accounts"
    key = folder / "key"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    config = configparser.ConfigParser()
    config.read(first.environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert config["mlflow"]["database_uri"] == f"sqlite:///{folder / 'users.db'}"
    assert "password" not in (folder / "accounts.ini").read_text()
    (folder / "users.db").touch()
    second = prepared(out, authentication=True)
    name = "MLFLOW_FLASK_SERVER_SECRET_KEY"
    assert second.environment[name] == first.environment[name] == key.read_text()
    assert len(key.read_text()) == 64


def test_accounts_of_ones_own_are_left_alone(tmp_path: Path) -> None:
    own = {"MLFLOW_AUTH_CONFIG_PATH": "mine.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "mine"}
    server = prepared(tmp_path, own, authentication=True)
    assert own.items() <= server.environment.items()


@pytest.mark.parametrize(
    ("missing", "asked", "extra"),
    [
        ("psycopg", {"backend_store_uri": POSTGRES}, r"rml\[postgres\]"),
        ("flask_wtf", {"authentication": True}, r"rml\[auth\]"),
    ],
)
def test_a_missing_package_is_one_sentence(
    missing: str,
    asked: dict[str, Any],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name: None if name.startswith(missing) else find_spec(name),
    )
    with pytest.raises(ConfigError, match=f"pip install '{extra}'"):
        prepared(tmp_path, PASSWORD, **asked)
