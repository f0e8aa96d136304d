"""Whether a tracking store answers, asked once and within seconds: MLflow itself tries again for
minutes."""

from pathlib import Path
from typing import Any

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.contract.store_uri import (
    DATABASES,
    is_server,
    shown_uri,
    tracking_uri_or_default,
    until_given_up,
    with_driver,
)
from rml_dashboards.contract.uris import without_secrets
from rml_platform.tracking.tracker import TrackingError

ANSWERS_WITHIN_S = 5


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


def _why_no_database(uri: str) -> str:
    import sqlalchemy  # MLflow's

    try:
        engine = sqlalchemy.create_engine(
            with_driver(uri),
            poolclass=sqlalchemy.NullPool,
            connect_args=until_given_up(uri, ANSWERS_WITHIN_S),
        )
        with engine.connect():
            return ""
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        cause = getattr(error, "orig", None) or error
        return str(cause).splitlines()[0].strip()
