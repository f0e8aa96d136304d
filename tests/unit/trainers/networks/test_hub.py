"""timm's hub: what is said where its weights cannot be had."""

import errno
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
from huggingface_hub import constants
from safetensors import SafetensorError

from rml_trainers.errors import ConfigError, HubAwayError, HubHomeError
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.pretrained import hub

MODEL = "resnet10t"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty one; nobody has forbidden to ask the hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _build(name: str = MODEL) -> Backbone:
    return build_backbone(name, output_stride=8, drop_path=0.0, weights="timm", weights_file=None)


def _unreachable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without a network; the hubs that were asked for."""
    asked = list[str]()

    def reachable(endpoint: str) -> bool:
        asked.append(endpoint)
        return False

    monkeypatch.setattr(hub, "_reachable", reachable)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("asked the network"))
    return asked


@contextmanager
def _serving(monkeypatch: pytest.MonkeyPatch, *, whole: bool) -> Iterator[None]:
    """A hub on this machine. Of each file it tells a size and sends less, or `whole` that no file
    of weights has such a content."""
    sent = b"half a file"

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("ETag", '"0123456789"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(sent) + (0 if whole else 1)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries of the hub's client
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_without_a_hub_the_error_comes_at_once_and_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _unreachable(monkeypatch)
    with pytest.raises(HubAwayError) as refusal:
        _build()
    assert len(asked) == 1
    assert constants.HF_HUB_OFFLINE is False, "left as it was"
    message = str(refusal.value)
    for part in (
        f"'{MODEL}'",
        "cannot be reached",
        "weights_file",
        "weights: none",
        "tf_efficientnet_lite0",
    ):
        assert part in message


def test_a_hub_that_a_person_forbade_to_ask_is_no_hub_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"forbidden by HF_HUB_OFFLINE, .*weights_file"):
        _build()
    assert constants.HF_HUB_OFFLINE is True, "left as it was"


def test_whether_weights_can_be_had_is_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "has_package", lambda name: name == "packed")
    asked = _unreachable(monkeypatch)
    hub.check_hub([])
    hub.check_hub(["packed"])
    assert asked == []
    with pytest.raises(HubAwayError, match=f"'{MODEL}' .*cannot be reached"):
        hub.check_hub(["packed", MODEL])
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: None)
    hub.check_hub([MODEL])  # they are in the cache
    monkeypatch.setattr(timm, "create_model", pytest.fail)
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    hub.check_hub([MODEL])


@pytest.mark.skipif(
    os.geteuid() == 0, reason="run as root, whom no folder refuses; run the tests as another user"
)
def test_a_cache_that_cannot_be_written_is_its_machines_fault(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    cache.mkdir(mode=0o500)
    with _serving(monkeypatch, whole=False), pytest.raises(HubHomeError, match="HF_HOME"):
        _build()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/home/me/.cache/huggingface/hub"),
        OSError(errno.EROFS, "Read-only file system", "/home/me/.cache/huggingface/hub"),
        OSError(errno.ENOSPC, "No space left on device"),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "/etc/passwd/hub"),
        RuntimeError("Data processing error: I/O error: Permission denied (os error 13)"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_what_the_disk_of_the_cache_refuses_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, error: Exception, cache: Path
) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(HubHomeError) as told, hub.hub_access(MODEL):
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("the client's own") from cause
    assert str(cache) in str(told.value)
    assert str(error) in str(told.value)
    assert "weights_file" in str(told.value)


def _client_error(package: str, name: str, **attributes: object) -> Exception:
    """An error as a library of that name has it."""
    kind = type(name, (Exception,), {"__module__": f"{package}.errors", **attributes})
    error: Exception = kind("for url: https://hub.example/?signature=secret")
    return error


def _answer(status: int) -> dict[str, object]:
    return {"response": SimpleNamespace(status_code=status)}


@pytest.mark.parametrize(
    "error",
    [
        _client_error("httpx", "ReadError"),
        _client_error("httpx2", "RemoteProtocolError"),
        _client_error("requests", "ChunkedEncodingError"),
        _client_error("huggingface_hub", "HfHubHTTPError", **_answer(503)),
        _client_error("huggingface_hub", "HfHubHTTPError", **_answer(429)),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        OSError("Consistency check failed: file should be of size 4 but has size 2"),
        RuntimeError("Data processing error: CAS service error : Reqwest Error"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        SafetensorError("Error while deserializing header: incomplete metadata"),
        EOFError("Ran out of input"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hub_that_breaks_off_is_away(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(HubAwayError) as told, hub.hub_access(MODEL):
        raise error
    assert "weights_file" in str(told.value)
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is error


def test_a_firewall_is_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    refused = PermissionError(errno.EPERM, "Operation not permitted")
    with pytest.raises(HubAwayError), hub.hub_access(MODEL):
        raise _client_error("httpx", "ConnectError") from refused


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_hub_does_not_have_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(ConfigError, match="HfHubHTTPError") as told, hub.hub_access(MODEL):
        raise _client_error("huggingface_hub", "HfHubHTTPError", **_answer(status))
    assert "secret" not in str(told.value)


def test_a_model_of_which_timm_has_no_weights_is_a_mistake_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(ConfigError, match="No pretrained weights exist"):
        _build("resnet50t")


@pytest.mark.parametrize(
    "error", [ConfigError("lr = -1"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_what_has_nothing_to_do_with_the_hub_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    with pytest.raises(type(error)) as told, hub.hub_access(MODEL):
        raise error
    assert told.value is error


def test_a_download_that_is_cut_is_a_hub_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with _serving(monkeypatch, whole=False), pytest.raises(HubAwayError, match="broke off"):
        _build()


def test_half_a_file_is_named_with_the_cache_that_holds_it(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with _serving(monkeypatch, whole=True), pytest.raises(HubAwayError, match="damaged") as told:
        _build()
    assert str(cache) in str(told.value)
