"""How a tracking URI is written, read and shown: above all that of an SQLite file, whose path may
hold any character."""

import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote

from rml_dashboards.contract.uris import without_secrets

VARIABLE = "MLFLOW_TRACKING_URI"
"""MLflow's own environment variable, which gives the tracking URI where no option does."""
STORE_FILE = "mlflow.db"
"""The SQLite store below an output folder, where nothing else is said."""
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///([^?]*)(?:\?.*)?")
_ESCAPE = re.compile(r"%(?=[0-9A-Fa-f]{2})")


POSTGRES = ("postgresql", "postgres")
"""Schemes of a PostgreSQL URI that leaves the driver open."""
POSTGRES_DRIVERS = ("psycopg2", "psycopg")


DATABASES = ("postgresql", "postgres", "mysql", "mssql")
"""How the URIs of databases on a server begin."""


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of an MLflow server, not of a database or file."""
    return uri.lower().startswith(("http://", "https://"))


def until_given_up(uri: str, seconds: int) -> dict[str, int]:
    """Arguments that make the driver of a database on a server stop waiting for it after so long.
    MLflow takes none of them, and waits for minutes."""
    return {"connect_timeout": seconds} if uri.startswith(("postgres", "mysql")) else {}


def postgres_driver() -> str | None:
    """A package that talks to PostgreSQL and is installed, None where there is none."""
    return next((name for name in POSTGRES_DRIVERS if importlib.util.find_spec(name)), None)


def with_driver(uri: str) -> str:
    """The same store by a driver that is installed: `postgresql://` alone means psycopg2 to
    SQLAlchemy 2.0 and psycopg to 2.1."""
    scheme, _, rest = uri.partition("://")
    driver = postgres_driver() if scheme in POSTGRES else None
    return uri if driver is None else f"postgresql+{driver}://{rest}"


def sqlite_uri(file: Path) -> str:
    """URI of an SQLite file; in a URI `?` begins options and `%` with two digits is an escape."""
    return f"sqlite:///{_ESCAPE.sub('%25', str(file)).replace('?', '%3F')}"


def tracking_uri_or_default(tracking_uri: str | None, out: Path) -> str:
    """The URI that was given, or the SQLite file of an output folder."""
    return tracking_uri or sqlite_uri(out.resolve() / STORE_FILE)


def sqlite_file(uri: str) -> Path | None:
    """File of an SQLite store; None for other stores and for one in memory."""
    match = _SQLITE.fullmatch(uri)
    if match is None or match[1] in ("", ":memory:"):
        return None
    return Path(unquote(match[1]))


@contextmanager
def without_litter(uri: str) -> Iterator[None]:
    """Takes away the empty folders that MLflow makes on opening an SQLite file whose path has
    escapes: it reads the path as it stands (mlflow 3.17)."""
    file = sqlite_file(uri)
    literal = Path(uri.removeprefix("sqlite:///"))
    if file is None or literal == file:
        yield
        return
    absent = [folder for folder in literal.parents if not folder.exists()]
    try:
        yield
    finally:
        for folder in absent:
            with suppress(OSError):  # not made, or somebody has put something there
                folder.rmdir()


def shown_uri(uri: str) -> str:
    """A tracking URI for messages: without the password that a database's may hold, and with the
    word where it comes from, if that is the environment."""
    said = without_secrets(uri)
    return f"{said} (set by {VARIABLE})" if os.environ.get(VARIABLE) == uri else said
