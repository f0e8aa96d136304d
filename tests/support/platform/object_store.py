"""An S3 server in this process: what pyarrow's own client talks to, over HTTP."""

import logging
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

LOOPBACK = "127.0.0.1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """`host:port` of a server that is gone with the module, and what it held with it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for every request
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"{LOOPBACK}:{port}"
    server.stop()


@pytest.fixture
def s3_uri(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Storage of a test's own, as `--storage` takes it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    host, _, port = s3_endpoint.partition(":")
    return storage_uri(host, int(port), f"bucket-{uuid.uuid4().hex[:8]}")


def storage_uri(host: str, port: int, bucket: str) -> str:
    """As `--storage` takes it."""
    options = f"scheme=http&endpoint_override={host}%3A{port}&allow_bucket_creation=true"
    return f"s3://{bucket}/rml?{options}&region=us-east-1"
