"""Who may read the live page, and what every answer says to the browser.

* Nothing but GET has a route, and every other method is refused before any route is looked for.
* The Host header must name this server, so that no foreign name that leads to a loopback address
  (DNS rebinding) reads the page with a person's browser.
* Where there is a token, every answer with data needs it: in the header `Authorization: Bearer …`
  or in the cookie that a first request with that header sets. It never stands in an address, which
  browsers and proxies keep, and the server keeps no log of requests.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rml_dashboards.errors import DashboardError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN = 16
"""Characters of a token, at least; one that is generated has 43."""
DATA = "/api/"
"""Addresses with data begin so; what lies elsewhere is the same for everybody."""
LOGIN = "/api/login"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may read."""

    token: str = field(default="", repr=False)
    """Empty: everybody who reaches the server."""
    host: str = "127.0.0.1"
    """What the server is bound to."""
    names: tuple[str, ...] = ()
    """Further names of this server in the Host header."""
    cookie: str = "rml-dashboard"

    @classmethod
    def of(cls, host: str, token: str | None = None, names: Iterable[str] = ()) -> "Access":
        """Access to a server that is bound to a host; elsewhere than loopback a token is made
        where none is given.

        Raises:
            DashboardError: the token is too short, or holds what a header cannot.
        """
        if token is not None and (len(token) < MIN_TOKEN or not _is_plain(token)):
            raise DashboardError(
                f"the token needs at least {MIN_TOKEN} letters, digits or any of -._~+/=; without "
                "--token one is made where it is needed"
            )
        if token is None and not is_loopback(host):
            token = secrets.token_urlsafe(32)
        own = () if is_loopback(host) else (host, socket.gethostname(), socket.getfqdn())
        return cls(token=token or "", host=host, names=tuple(dict.fromkeys((*own, *names))))

    def is_known_host(self, header: str) -> bool:
        """Whether a Host header names this server. A port is not compared: a tunnel may have
        another. An address in digits cannot be a rebound name, so it is taken where the server is
        bound to more than loopback."""
        name = _without_port(header).casefold()
        if name in LOOPBACK or name in {known.casefold() for known in self.names}:
            return True
        return not is_loopback(self.host) and _is_address(name)

    def is_known(self, given: str) -> bool:
        """Whether a token is the token, in a time that does not tell how much of it was right."""
        return hmac.compare_digest(given.encode(), self.token.encode())


def _is_plain(token: str) -> bool:
    return token.isascii() and all(one.isalnum() or one in "-._~+/=" for one in token)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


class Gate:
    """ASGI middleware: lets through what `Access` allows, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no WebSocket is spoken here

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                if scope["path"] == LOGIN and self._access.token and message["status"] == 200:
                    answer.append("Set-Cookie", self._cookie())
            await send(message)

        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        if scope["method"] != "GET":
            return PlainTextResponse("this page can only be read", 405, {"Allow": "GET"})
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.is_known_host(hosts[0]):
            return PlainTextResponse(
                "this server has another name; give it one with --allow-host", 421
            )
        if scope["path"].startswith(DATA) and not self._is_let_in(scope["path"], headers):
            return PlainTextResponse(
                "a token is needed", 401, {"WWW-Authenticate": 'Bearer realm="rml dashboard"'}
            )
        return None

    def _is_let_in(self, path: str, headers: Headers) -> bool:
        if not self._access.token:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and self._access.is_known(given.strip()):
            return True
        return path != LOGIN and self._access.is_known(self._from_cookie(headers))

    def _from_cookie(self, headers: Headers) -> str:
        jar: SimpleCookie = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return ""
        found = jar.get(self._access.cookie)
        return found.value if found is not None else ""

    def _cookie(self) -> str:
        return f"{self._access.cookie}={self._access.token}; HttpOnly; SameSite=Strict; Path=/"
