"""A real MLflow server on this machine, and in front of it a proxy that loses, delays and refuses
what goes through it."""

import http.client
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Literal

from rml_platform.chaos.launches import GOES_WITHIN_S, descendants
from rml_trainers.errors import RmlError

Mode = Literal["sound", "down", "slow", "failing", "losing"]
"""What becomes of requests: passed on · hung up on · passed on late · answered with 500 · carried
out, and their answer lost."""
LOOPBACK = "127.0.0.1"
SLOW_S = 3.0
STARTS_WITHIN_S = 120.0
NOT_PASSED_ON = ("host", "connection", "content-length", "transfer-encoding", "date", "server")


class TrackingServer:
    """The server and its proxy; both are gone when the context is left."""

    def __init__(self, folder: Path, empty: Path | None = None) -> None:
        """`folder`: for the database and the artifacts; `empty`: a database to begin with."""
        self.mode: Mode = "sound"
        self._folder = folder
        self._empty = empty
        self._port = free_port()

    @property
    def uri(self) -> str:
        """Of the proxy: what launches are told."""
        return f"http://{LOOPBACK}:{self._proxy.server_address[1]}"

    @property
    def behind(self) -> str:
        """Of the server itself."""
        return f"http://{LOOPBACK}:{self._port}"

    def heal(self) -> None:
        self.mode = "sound"

    def __enter__(self) -> "TrackingServer":
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._empty is not None:
            shutil.copyfile(self._empty, self._folder / "server.db")
        where = ["--host", LOOPBACK, "--port", str(self._port), "--workers", "1"]
        store = f"sqlite:///{self._folder / 'server.db'}"
        kept = ["--backend-store-uri", store, "--artifacts-destination", str(self._folder / "kept")]
        with (self._folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *where, *kept],
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        self._proxy = _Proxy(self)
        threading.Thread(target=self._proxy.serve_forever, name="proxy", daemon=True).start()
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._proxy.shutdown()
        self._proxy.server_close()
        children = descendants(self._server.pid)
        self._server.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._server.wait(GOES_WITHIN_S)
        self._server.kill()
        self._server.wait()
        for child in children:
            with suppress(Exception):
                child.kill()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < end and self._server.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                asked = http.client.HTTPConnection(LOOPBACK, self._port, timeout=5)
                asked.request("GET", "/health")
                if asked.getresponse().status == 200:
                    return
            time.sleep(0.2)
        said = (self._folder / "server.log").read_text(errors="replace")
        raise RmlError(f"an MLflow server could not be started on this machine:\n{said[-2000:]}")


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server: TrackingServer) -> None:
        super().__init__((LOOPBACK, 0), _Passing)
        self.tracking = server


class _Passing(BaseHTTPRequestHandler):
    """Passes one request on, or does to it what the mode says."""

    server: _Proxy
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mode = self.server.tracking.mode
        self.close_connection = True
        if mode == "down":
            self._hang_up()
            return
        if mode == "failing":
            self._answer(500, {"Content-Type": "text/plain"}, b"chaos")
            return
        if mode == "slow":
            time.sleep(SLOW_S)
        status, headers, answer = self._ask(content)
        if mode == "losing":
            self._hang_up()
            return
        self._answer(status, headers, answer)

    def _ask(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
        asked = http.client.HTTPConnection(LOOPBACK, self.server.tracking._port, timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in NOT_PASSED_ON}
        asked.request(self.command, self.path, content or None, kept)
        answer = asked.getresponse()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in NOT_PASSED_ON}
        return answer.status, headers, answer.read()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        with suppress(OSError):  # whoever asked has hung up
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

    def _hang_up(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(2)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _pass_on

    def log_message(self, format: str, *args: object) -> None: ...


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])
