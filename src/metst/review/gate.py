"""Who gets in: requests from this machine, by its own name, from the page itself, with the token.

It stands before everything else.  What it sends away gets one line of JSON, as does any error behind it, and every
answer carries the headers that keep a browser from running, framing, sniffing or keeping what it gets.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser

from metst.errors import MetstError, UsageError
from metst.guard.faults import fault_of
from metst.review.refusals import NobodyKnown, NoSuchPart, NotAllowed, TooLarge, status_of

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

TOKEN_PARAMETER: Final = "token"
"""Of an address."""

API: Final = "/api/"
"""All below it needs the token."""

UPLOADS: Final = "/api/uploads/"
"""What is sent there may be of any size."""

_LARGEST_BODY: Final = 8 * 2**20
"""Bytes of any other request: ten thousand changes at once have two million.  Set by hand."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
"""They change nothing (RFC 9110)."""

_HOST: Final = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]+))?")
"""A header ``Host``: a name or number, and a port (RFC 9110)."""

_USUAL_PORT: Final = "80"
"""Of HTTP: browsers leave it out (RFC 9110)."""

_RANGE: Final = re.compile(r"bytes=(?:\d{1,15}-\d{0,15}|-\d{1,15})")
"""A request for one part (RFC 9110)."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""What a page may load and run: what this server serves, and nothing that stands in the page itself."""

_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Parameters
    ----------
    host : str
        Name or number of an interface of this machine.
    port : int
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Of the page, without the token."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    @property
    def cookie(self) -> str:
        """Name of the cookie: two servers on one machine share all but the port."""
        return f"metst-review-{self.port}"

    def is_own(self, host: str) -> bool:
        """Whether the header ``Host`` names this server: a name that somebody else made lead here does not."""
        parts = _HOST.fullmatch(host)
        if parts is None or (parts["port"] or _USUAL_PORT) != str(self.port):
            return False
        name = parts["name"].strip("[]").casefold()
        if name in {self.host.casefold(), "localhost", "127.0.0.1", "::1"}:
            return True
        if self.is_loopback:
            return False
        try:  # bound to all interfaces: a number cannot be made to lead elsewhere
            ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().casefold()
        return True


class Gate:
    """Middleware that checks each request before anybody else sees it.

    Parameters
    ----------
    app : callable
        What stands behind it (ASGI).
    address : Address
    token : str
    """

    def __init__(self, app: App, *, address: Address, token: str) -> None:
        self._app, self._address, self._token = app, address, token.encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Take one request (ASGI)."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        told = _Told(send, data=scope["path"].startswith(API))
        try:
            self._check(scope)
            await self._app(scope, receive if scope["path"].startswith(UPLOADS) else _Counted(receive), told)
        except Exception as error:  # noqa: BLE001 - nobody must see a traceback, in the page or on the terminal
            if told.started:
                raise OSError("an answer was cut off") from None
            await told.fault(error)

    def _check(self, scope: Message) -> None:
        if not scope["query_string"].isascii():
            raise UsageError("expected an address in ASCII, other letters as % and two digits (RFC 3986)")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get("host", "")
        if not self._address.is_own(host):
            raise NotAllowed(f"expected a request to {self._address.url}, got one to {host[:80]!r}")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            raise NotAllowed(f"expected a request from the page itself, got one from {origin[:80]!r}")
        safe = scope["method"] in _SAFE_METHODS
        if not safe and headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise NotAllowed("expected a request from the page itself, got one from another site")
        wanted = headers.get("range")
        if wanted is not None and not _RANGE.fullmatch(wanted.strip()):
            raise NoSuchPart(f"expected a range such as bytes=0-499, got {wanted[:80]!r}")
        _check_length(headers.get("content-length"), path=scope["path"])
        if (scope["path"] == "/" or f"{scope['path']}/".startswith(API)) and not self._knows(scope, headers):
            raise NobodyKnown("expected the token: open the address that `metst review` printed")

    def _knows(self, scope: Message, headers: dict[str, str]) -> bool:
        """Whether the token came: in the address, in the header, or in the cookie of the page."""
        given = list(parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN_PARAMETER, ()))
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.casefold() == "bearer":
            given.append(value.strip())
        # Other servers of this machine lay their cookies beside, of whatever form: none of them may hide the own one.
        given.append(cookie_parser(headers.get("cookie", "")).get(self._address.cookie, ""))
        # All are compared, so that the time tells nothing.
        return any([hmac.compare_digest(each.encode("utf-8", "replace"), self._token) for each in given])  # noqa: C419


def _check_length(length: str | None, *, path: str) -> None:
    if length is None or path.startswith(UPLOADS):
        return
    if not length.isdigit() or int(length) > _LARGEST_BODY:
        raise TooLarge(f"expected a body of at most {_LARGEST_BODY:,} bytes, got {length[:20]}")


class _Counted:
    """Takes a body in, whose length nobody told beforehand, as far as one may be."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._left = receive, _LARGEST_BODY

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            # Of all errors, who reads bodies lets only this kind through.
            raise HTTPException(TooLarge.status, f"expected a body of at most {_LARGEST_BODY:,} bytes, got more")
        return message


class _Told:
    """Sends answers on, with the headers that each must have."""

    def __init__(self, send: Send, *, data: bool) -> None:
        self._send, self._data, self.started = send, data, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = [*message.get("headers", ()), *_HEADERS]
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store" if self._data else b"no-cache"))
            message["headers"] = headers
        await self._send(message)

    async def fault(self, error: Exception) -> None:
        """Answer with one line."""
        status = status_of(error) if isinstance(error, MetstError) else 500
        body = json.dumps({"detail": fault_of(error, name="review").message}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
