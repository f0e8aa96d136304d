"""A PostgreSQL of the test's own: Debian's programs, on the loopback address, in a folder that goes
away with it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "se:cret@%"
URI_PASSWORD = "se%3Acret%40%25"
UNPRIVILEGED = ("postgres", "nobody")
"""PostgreSQL refuses to run as root."""


def programs() -> Path:
    """Folder of `initdb` and `postgres`; skips the test where they are not installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    pytest.skip(
        "needs a PostgreSQL server: its programs initdb and postgres are neither on the path nor "
        "under /usr/lib/postgresql (Debian: apt-get install postgresql)"
    )


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """URI of an empty database, with a user and a password that has to be escaped."""
    bin_folder = programs()
    user = _other_user()
    folder = Path(tempfile.mkdtemp(prefix="rml-postgres-"))
    if user is not None:
        os.chown(folder, user, -1)
    port = free_port()
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = folder / "data"
        make: list[str | Path] = [
            bin_folder / "initdb",
            "-D",
            data,
            "-U",
            "me",
            f"--pwfile={secret}",
            "-N",
        ]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        subprocess.run([*make, *options], check=True, user=user, stdout=subprocess.DEVNULL)
        serve: list[str | Path] = [
            bin_folder / "postgres",
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
        ]
        log = (folder / "log").open("w")
        server = subprocess.Popen(
            [*serve, "-h", "127.0.0.1", "-k", folder, "-F"], user=user, stderr=log, stdout=log
        )
        try:
            _wait(port, server, folder / "log")
            yield f"postgresql://me:{URI_PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # without waiting for clients
            server.wait()
            log.close()
    finally:
        shutil.rmtree(folder)


def _other_user() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    pytest.skip(
        f"PostgreSQL refuses to run as root, and this system has none of the users "
        f"{', '.join(UNPRIVILEGED)}; run the tests as another user"
    )


def _wait(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    import psycopg2

    while True:
        try:
            psycopg2.connect(
                host="127.0.0.1", port=port, user="me", password=PASSWORD, dbname="postgres"
            ).close()
            return
        except psycopg2.OperationalError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
