"""`rml dashboard`: a process of its own that says where it is, serves, and ends when it is told
to."""

import http.client
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rml_dashboards.errors import DashboardError
from tests.support.dashboards.live_grid import LiveGrid
from tests.support.platform.command import rml

COMMAND = (sys.executable, "-c", "from rml_platform.cli import main; main()", "dashboard")
TOKEN = "a-token-of-sufficient-length"


@contextmanager
def started(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address that it has printed."""
    words = [*COMMAND, *map(str, arguments), "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as own:
        try:
            assert own.stdout is not None
            yield own, own.stdout.readline()
        finally:
            own.kill()


def files_of(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    return LiveGrid.make(tmp_path / "out")


def asked(port: int, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_it_serves_until_it_is_told_to_stop_and_writes_nothing(grid: LiveGrid) -> None:
    before = files_of(grid.out)
    with started("--out", grid.out) as (process, said):
        found = re.fullmatch(r"1 study at http://127\.0\.0\.1:(\d+)/\n", said)
        assert found is not None, said
        port = int(found[1])
        for path in ("/api/table?key=grid", "/api/run?id=grid-0-0-0", "/static/main.js"):
            assert asked(port, path).status == 200
        stream = asked(port, "/api/events")
        assert stream.readline() == b"retry: 2000\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stdout is not None
        assert "Traceback" not in process.stdout.read()
    assert files_of(grid.out) == before


def test_another_address_comes_with_a_token(grid: LiveGrid) -> None:
    with started("--out", grid.out, "--host", "0.0.0.0") as (process, said):
        found = re.search(r":(\d+)/#token=([\w-]{40,})\n", said)
        assert found is not None, said
        port = int(found[1])
        assert asked(port, "/api/studies").status == 401
        assert asked(port, "/api/studies", Authorization=f"Bearer {found[2]}").status == 200
        assert asked(port, "/api/studies", Authorization=f"Bearer {TOKEN}").status == 401
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert process.stdout is not None
        assert found[2] not in process.stdout.read()


def test_a_study_that_was_never_planned_is_named(grid: LiveGrid) -> None:
    with pytest.raises(DashboardError, match=r"no plan of other under .* writes one"):
        rml("dashboard", "grid", "other", "--out", grid.out)


def test_a_token_that_is_too_short_is_refused(grid: LiveGrid) -> None:
    with pytest.raises(DashboardError, match="at least 16"):
        rml("dashboard", "--out", grid.out, "--token", "short")


def test_a_port_in_use_is_named(grid: LiveGrid) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DashboardError, match=f"--port {port} cannot be used .* --port 0"):
            rml("dashboard", "--out", grid.out, "--port", port)
