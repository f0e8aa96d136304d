"""Whether a tracking store answers, asked once and within seconds: MLflow itself tries again for
minutes. And having a database for oneself."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.contract.store_uri import (
    DATABASES,
    POSTGRES,
    is_server,
    shown_uri,
    sqlite_file,
    tracking_uri_or_default,
    until_given_up,
    with_driver,
)
from rml_dashboards.contract.uris import without_secrets
from rml_platform.run.files.locked import HELD_FOR_S, locked
from rml_platform.tracking.tracker import TrackingError

ANSWERS_WITHIN_S = 5
OPENING = 0x726D6C
"""Number of the advisory lock of whoever opens a PostgreSQL database."""


def check_reachable(tracking_uri: str | None) -> None:
    """Ask a tracking server or database for a sign of life. A file gives none, and is not asked.

    Raises:
        TrackingError: there is none; says in one sentence which, why, and what to do.
    """
    uri = tracking_uri_or_default(tracking_uri, Path())
    why = ""
    if is_server(uri):
        why = _why_no_server(uri)
    elif uri.startswith(DATABASES):
        why = _why_no_database(uri)
    if why:
        raise TrackingError(
            f"MLflow at {shown_uri(uri)} cannot be reached ({without_secrets(why)}): start it, or "
            f"correct --tracking-uri; --tracking-uri {NO_TRACKER} trains without it, and `rml "
            "tracking sync` sends the runs later"
        )


def _why_no_server(uri: str) -> str:
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWERS_WITHIN_S)
    except requests.RequestException as error:
        # What urllib3 says of its own retries stands around the cause.
        cause: Any = error.args[0] if error.args else error
        return str(getattr(cause, "reason", cause)).rpartition(": ")[2]
    return ""


@contextlib.contextmanager
def alone_at(uri: str) -> Iterator[None]:
    """Have a database for oneself while the context is open, as far as others ask for it in this
    way: two processes that use a new one at once would both make its tables, and one would die of
    it. For an SQLite file and for PostgreSQL; others, and servers, are not locked.

    Raises:
        TrackingError: another process keeps it for longer than `HELD_FOR_S`.
        sqlalchemy.exc.SQLAlchemyError, ImportError: the database does not answer.
    """
    file = sqlite_file(uri)
    if file is not None and file.parent.is_dir():
        with locked(Path(f"{file}.lock"), TrackingError):
            yield
    elif uri.partition("://")[0].partition("+")[0] in POSTGRES:
        # Of a transaction, which ends with the connection whatever becomes of this process.
        with _engine(uri).begin() as connection:
            _take_postgres(connection, uri)
            yield
    else:
        yield


def _take_postgres(connection: Any, uri: str) -> None:
    import sqlalchemy

    connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{HELD_FOR_S:.0f}s'"))
    try:
        connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({OPENING})"))
    except sqlalchemy.exc.OperationalError as error:
        if "lock timeout" not in str(error):
            raise
        raise TrackingError(
            f"another process has been opening {shown_uri(uri)} for more than {HELD_FOR_S:.0f} s; "
            "perhaps it was suspended (Ctrl-Z, `kill -STOP`, `scontrol suspend`): let it go on, or "
            "end it"
        ) from None


def _engine(uri: str) -> Any:
    import sqlalchemy  # MLflow's

    return sqlalchemy.create_engine(
        with_driver(uri),
        poolclass=sqlalchemy.NullPool,
        connect_args=until_given_up(uri, ANSWERS_WITHIN_S),
    )


def _why_no_database(uri: str) -> str:
    import sqlalchemy

    try:
        with _engine(uri).connect():
            return ""
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        cause = getattr(error, "orig", None) or error
        return str(cause).splitlines()[0].strip()
