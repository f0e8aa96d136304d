"""The live page served from a thread, on a free port of this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.testclient import TestClient

from rml_dashboards.live.web.access import Access
from rml_dashboards.live.web.app import Live, create_app
from rml_dashboards.live.web.serving import Shown, bound_socket, open_live

EVERY_S = 0.05
"""Between two looks: a test does not wait for seconds."""


@dataclass(frozen=True)
class Served:
    """Where the page is, and what it reads from."""

    url: str
    port: int
    live: Live


def live_of(out: Path, *studies: str, every_s: float = EVERY_S) -> Live:
    return open_live(Shown(out=out, storage=str(out), studies=studies), every_s)


def client_of(live: Live, access: Access | None = None) -> TestClient:
    """A client that calls the application without a network."""
    return TestClient(create_app(live, access or Access()), base_url="http://127.0.0.1")


@contextmanager
def served(live: Live, access: Access | None = None, port: int = 0) -> Iterator[Served]:
    bound = bound_socket("127.0.0.1", port)
    port = bound.getsockname()[1]
    config = uvicorn.Config(
        create_app(live, access or Access()),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{port}", port, live)
    finally:
        live.looking.close()
        server.should_exit = True
        thread.join()
        bound.close()
