"""Who may read the page: methods, Host header, token, and the headers of every answer."""

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.web.access import HEADERS, Access
from rml_dashboards.live.web.serving import address
from tests.support.dashboards.live_grid import LiveGrid
from tests.support.dashboards.live_server import client_of, live_of

TOKEN = "a-token-of-sufficient-length"
DATA = ("/api/studies", "/api/study?key=grid", "/api/run?id=grid-0-0-0", "/api/events")
OPEN = ("/", "/study?key=grid", "/run?id=x", "/compare", "/static/main.js", "/static/style.css")


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    return LiveGrid.make(tmp_path)


@pytest.fixture
def client(grid: LiveGrid) -> TestClient:
    return client_of(live_of(grid.out))


@pytest.fixture
def locked(grid: LiveGrid) -> TestClient:
    return client_of(live_of(grid.out), Access.of("127.0.0.1", TOKEN))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/studies", "/static/main.js", "/no-such-page"])
def test_every_method_but_get_is_refused(method: str, path: str, client: TestClient) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/", "/api/studies", "/no-such-page", "/api/run?id=none"])
def test_every_answer_has_the_headers(path: str, client: TestClient) -> None:
    for answer in (client.get(path), client.post(path), client.get(path, headers={"Host": "x"})):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_fastapi_s_own_pages_are_not_there(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:9000", 200),
        ("localhost:8300", 200),
        ("LOCALHOST", 200),
        ("[::1]:8300", 200),
        ("rebound.example", 421),
        ("rebound.example:8300", 421),
        ("localhost.rebound.example", 421),
        ("127.0.0.1.rebound.example", 421),
        ("203.0.113.9", 421),
        ("", 421),
    ],
)
def test_a_loopback_page_answers_to_its_own_names_only(
    host: str, status: int, client: TestClient
) -> None:
    assert client.get("/api/studies", headers={"Host": host}).status_code == status


def test_a_page_elsewhere_answers_to_addresses_and_to_names_it_was_given() -> None:
    access = Access.of("0.0.0.0", names=["node7.cluster"])
    for host in ("node7.cluster:8300", "203.0.113.9:8300", "[2001:db8::1]", "localhost"):
        assert access.is_known_host(host)
    for host in ("rebound.example", "node8.cluster", "203.0.113.9.rebound.example"):
        assert not access.is_known_host(host)


@pytest.mark.parametrize("path", DATA)
def test_data_needs_the_token(path: str, locked: TestClient) -> None:
    wrong = ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é")
    for header in wrong:
        answer = locked.get(path, headers={b"Authorization": header.encode()})
        assert answer.status_code == 401
        assert "grid" not in answer.text
        assert "set-cookie" not in answer.headers
    assert locked.get(f"{path}{'&' if '?' in path else '?'}token={TOKEN}").status_code == 401


@pytest.mark.parametrize("path", OPEN)
def test_the_empty_page_needs_no_token_and_tells_nothing(path: str, locked: TestClient) -> None:
    answer = locked.get(path)
    assert answer.status_code == 200
    assert "grid-0" not in answer.text and TOKEN not in answer.text


def test_the_header_sets_a_cookie_that_scripts_and_other_sites_cannot_use(
    locked: TestClient,
) -> None:
    assert (
        locked.get("/api/studies", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    )
    assert not locked.cookies, "only a login is remembered"
    answer = locked.get("/api/login", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(
        answer.headers["set-cookie"].split("; ")
    )
    assert locked.get("/api/studies").status_code == 200
    assert locked.get("/api/login").status_code == 401, "a cookie is not handed on"
    for value in ("", TOKEN[:-1], f"{TOKEN}x"):
        other = {"Cookie": f"rml-dashboard={value}"}
        locked.cookies.clear()
        assert locked.get("/api/studies", headers=other).status_code == 401


def test_no_token_is_needed_where_none_is_set(client: TestClient) -> None:
    assert client.get("/api/login").status_code == 200
    assert "set-cookie" not in client.get("/api/login").headers


def test_a_token_is_made_elsewhere_than_on_loopback_and_told_to_nobody() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.0.0.2"):
        assert Access.of(host).token == ""
    one = Access.of("0.0.0.0")
    assert len(one.token) >= 40
    assert Access.of("0.0.0.0").token != one.token
    assert one.token not in repr(one)
    assert address(one, 8300).endswith(f":8300/#token={one.token}"), "browsers do not send that"
    assert address(Access.of("::1"), 1) == "http://[::1]:1/"


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 15, "x" * 20 + "\n", "x" * 20 + ";", "ü" * 20]
)
def test_a_token_that_is_easily_guessed_or_no_header_is_refused(token: str) -> None:
    with pytest.raises(DashboardError, match="at least 16"):
        Access.of("127.0.0.1", token)


def test_nothing_is_logged_of_requests(
    locked: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        locked.get("/api/login", headers={"Authorization": f"Bearer {TOKEN}"})
        locked.get("/api/studies")
    own = [record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert TOKEN not in "".join(record.getMessage() for record in own)
