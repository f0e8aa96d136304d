"""How an MLflow server is started for a group: one worker, closed unless somebody opens it.

Several uvicorn workers make every request of a client wait for 40 ms (mlflow 3.17, uvicorn#3149);
one serves some hundred requests a second. Secrets go through the environment, never through the
command line, which every user of the machine can read.
"""

import importlib.util
import ipaddress
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rml_dashboards.contract.store_uri import (
    POSTGRES,
    VARIABLE,
    postgres_driver,
    sqlite_file,
    sqlite_uri,
    with_driver,
)
from rml_dashboards.contract.uris import without_secrets
from rml_trainers.errors import ConfigError

ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"
AUTH_CONFIG = "MLFLOW_AUTH_CONFIG_PATH"
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
SHORTEST_PASSWORD = 12
"""Characters; MLflow's own rule."""
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What somebody asked for."""

    out: Path
    """Output folder: database, artifacts and accounts of the server, unless said otherwise."""
    backend_store_uri: str | None = None
    artifacts: str | None = None
    """Path or URI under which the server keeps files; default: `mlartifacts` in the output
    folder."""
    host: str = "127.0.0.1"
    port: int = 5000
    allowed_hosts: tuple[str, ...] = ()
    """Names, with or without a port, under which people and launches reach it."""
    authentication: bool | None = None
    """None: nobody said."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that is ready to be started."""

    command: tuple[str, ...]
    environment: dict[str, str]
    url: str
    store: str
    """For a person: the database without its password."""
    has_accounts: bool


def prepare_server(asked: ServerConfig, environment: Mapping[str, str]) -> Server:
    """Command and environment of a server; makes the output folder, and what accounts need in it.

    Raises:
        ConfigError: it would be open to strangers, or something is missing; says what.
    """
    _check_open_only_on_purpose(asked)
    store = asked.backend_store_uri or sqlite_uri(asked.out.resolve() / "mlflow.db")
    _check_store(store)
    asked.out.mkdir(parents=True, exist_ok=True)
    artifacts = asked.artifacts or str(asked.out.resolve() / "mlartifacts")
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", asked.host, "--port", str(asked.port), "--workers", "1"]
    command += ["--serve-artifacts", "--artifacts-destination", artifacts]
    command += ["--allowed-hosts", ",".join(_with_ports(asked))]
    origins = _origins(asked)
    command += ["--cors-allowed-origins", ",".join(origins)] if origins else []
    variables = {key: value for key, value in environment.items() if key != VARIABLE}
    variables["MLFLOW_BACKEND_STORE_URI"] = with_driver(store)
    variables.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    if asked.authentication:
        command += ["--app-name", "basic-auth"]
        variables |= _accounts(asked.out.resolve() / "mlflow-accounts", variables)
    return Server(
        command=tuple(command),
        environment=variables,
        url=_url(asked),
        store=without_secrets(store),
        has_accounts=bool(asked.authentication),
    )


def _check_open_only_on_purpose(asked: ServerConfig) -> None:
    if _is_loopback(asked.host):
        return
    if not asked.allowed_hosts:
        raise ConfigError(
            f"--host {asked.host}: other machines could reach the server; name those that it is "
            "called by: --allowed-hosts mlflow.example.org (or '*' for any)"
        )
    if asked.authentication is None:
        raise ConfigError(
            f"--host {asked.host}: whoever reaches the server could read, change and delete every "
            "run; give --auth, or --no-auth where a firewall or proxy keeps strangers out"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_store(store: str) -> None:
    scheme = store.partition(":")[0]
    if scheme in ("http", "https"):
        raise ConfigError(
            f"--backend-store-uri {without_secrets(store)}: that is a server; a server keeps its "
            "runs in a database: sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        )
    if scheme in POSTGRES and postgres_driver() is None:
        raise ConfigError(
            f"--backend-store-uri {without_secrets(store)}: PostgreSQL needs the package psycopg2: "
            "pip install 'rml[postgres]'"
        )
    file = sqlite_file(store)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)


def _with_ports(asked: ServerConfig) -> list[str]:
    """A name alone does not cover the name with the port behind it, which browsers and clients
    send; this machine may always ask itself."""
    own = [] if "*" in asked.allowed_hosts else ["localhost", "127.0.0.1", "[::1]"]
    names = [*asked.allowed_hosts, *own]
    both = [spelt for name in names for spelt in _spellings(name, asked.port)]
    return list(dict.fromkeys(both))


def _spellings(name: str, port: int) -> list[str]:
    return [name] if name == "*" or _has_port(name) else [name, f"{name}:{port}"]


def _has_port(name: str) -> bool:
    return name.rpartition(":")[2].isdigit() and not name.endswith("]") and name.count(":") == 1


def _origins(asked: ServerConfig) -> list[str]:
    """The server's own pages ask it for data; MLflow takes them for a stranger's unless their
    address is named (that of this machine always is)."""
    return [
        f"{scheme}://{name}"
        for given in asked.allowed_hosts
        for name in (_spellings(given, asked.port) if given != "*" else [f"*:{asked.port}"])
        for scheme in ("http", "https")
    ]


def _url(asked: ServerConfig) -> str:
    host = asked.host
    named = [name for name in asked.allowed_hosts if "*" not in name]
    if host in EVERYWHERE or not _is_loopback(host):
        host = named[0] if named else host
    if _has_port(host):
        return f"http://{host}"
    return f"http://[{host}]:{asked.port}" if host.count(":") > 1 else f"http://{host}:{asked.port}"


def _accounts(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of MLflow's basic authentication, with its users and its key in a folder that
    nobody else reads."""
    if importlib.util.find_spec("flask_wtf") is None:
        raise ConfigError(
            "--auth: MLflow's authentication needs the package Flask-WTF: pip install 'rml[auth]'"
        )
    variables = dict[str, str]()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if AUTH_CONFIG not in environment:
        users = folder / "users.db"
        if not users.exists() and len(environment.get(ADMIN_PASSWORD, "")) < SHORTEST_PASSWORD:
            raise ConfigError(
                f"--auth: set {ADMIN_PASSWORD} (at least {SHORTEST_PASSWORD} characters) for the "
                "first start; it becomes the password of the user admin"
            )
        config = folder / "accounts.ini"
        config.write_text(ACCOUNTS.format(users=sqlite_uri(users).replace("%", "%%")))
        variables[AUTH_CONFIG] = str(config)
    if SECRET_KEY not in environment:
        variables[SECRET_KEY] = _kept_key(folder / "key")
    return variables


ACCOUNTS = """[mlflow]
default_permission = READ
database_uri = {users}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


def _kept_key(file: Path) -> str:
    """The key that signs forms, the same at every start, readable by its owner only."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text()
    key = secrets.token_hex(32)
    with os.fdopen(handle, "w") as stream:
        stream.write(key)
    return key
