"""The server: the interface and the page behind the gate, on an address of this machine, until it is stopped."""

from __future__ import annotations

import gc
import logging
import mimetypes
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from metst.errors import MetstError, UsageError
from metst.guard.faults import fault_of
from metst.review import api_exports, api_pictures, api_recordings, api_reviews, api_session, api_uploads
from metst.review.answers import bytes_answer
from metst.review.desk import Desk
from metst.review.gate import TOKEN_PARAMETER, Gate
from metst.review.refusals import NotThere, status_of

_PAGE: Final = Path(__file__).parent / "page"
"""Files of the page."""

_ASSETS: Final = Path(__file__).parents[1] / "assets"
"""Files of other projects that the package holds."""

_VENDORED: Final = ("uPlot.iife.min.js", "uPlot.min.css")
"""Those of them that the page needs."""

_GRACE_S: Final = 3
"""Seconds for answers on their way when the server ends.  Set by hand."""


_THREADS: Final = 12
"""Requests that are worked on at a time: a browser sends six, from all of its windows.  Set by hand."""

_BACKLOG: Final = 128
"""Connections that wait to be taken.  Set by hand."""


def create_app(desk: Desk) -> FastAPI:
    """The application of one desk (ASGI)."""
    app = FastAPI(
        title="metst review",
        version=version("metst"),
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_few_threads,
        separate_input_output_schemas=False,
    )
    app.state.desk = desk
    for each in (api_session, api_recordings, api_pictures, api_reviews, api_exports, api_uploads):
        app.include_router(each.router)
    app.add_api_route("/", _index, include_in_schema=False, response_class=Response)
    app.add_api_route("/static/{path:path}", _static, include_in_schema=False, response_class=Response)
    app.add_exception_handler(MetstError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_middleware(Gate, address=desk.address, token=desk.token)
    return app


@asynccontextmanager
async def _few_threads(_app: FastAPI) -> AsyncIterator[None]:
    """Let a few threads do the work: each would keep memory of the pictures that it once made."""
    current_default_thread_limiter().total_tokens = _THREADS
    yield


def _index(request: Request) -> Response:
    """The page; the token becomes a cookie, so that the page can take it out of the address."""
    desk: Desk = request.app.state.desk
    answer = _file(request, "index.html")
    if TOKEN_PARAMETER in request.query_params:
        answer.set_cookie(desk.address.cookie, desk.token, httponly=True, samesite="strict", path="/")
    answer.headers["cache-control"] = "no-store"
    return answer


def _static(request: Request, path: str) -> Response:
    """A file of the page."""
    return _file(request, path)


def _file(request: Request, path: str) -> Response:
    """A file that is one of the page's by its whole name: no other can be meant, whatever the name holds."""
    if path not in _files():
        raise NotThere(f"no file {path[:80]!r} of the page")
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return bytes_answer(_files()[path].read_bytes(), request, media_type=kind)


@cache
def _files() -> dict[str, Path]:
    """All files of the page."""
    files = {each.relative_to(_PAGE).as_posix(): each for each in _PAGE.rglob("*") if each.is_file()}
    return files | {name: _ASSETS / name for name in _VENDORED}


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MetstError)
    status = status_of(error)
    return JSONResponse({"detail": fault_of(error, name="review").message}, status_code=status)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    words = [
        f"{'.'.join(str(part) for part in each['loc'][1:]) or each['loc'][0]}: {each['msg']}"
        for each in error.errors()[:3]
    ]
    return JSONResponse({"detail": "; ".join(words)}, status_code=400)


def _unknown(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "no such page or part of the interface", 405: "this part of the interface takes no such request"}
    detail = words.get(error.status_code, str(error.detail))
    return JSONResponse({"detail": detail}, status_code=error.status_code, headers=error.headers)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0: a free one.

    Raises
    ------
    UsageError
        The port is taken, or there is no such interface.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port} ({error.strerror or error}): give another --port or --host"
        ) from error
    return found


class Server(uvicorn.Server):
    """A server that tells when pages can be got.

    Parameters
    ----------
    config : uvicorn.Config
        How it serves.
    on_ready : callable
        Called when pages can be got, and signals end the server in good order.
    """

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, then tell."""
        await super().startup(sockets)
        self._on_ready()


def server_of(desk: Desk, *, on_ready: Callable[[], None] = lambda: None) -> Server:
    """The server of a desk; it writes no log, as the addresses of requests hold the token."""
    for name in ("uvicorn.access", "uvicorn.asgi", "uvicorn.error"):
        logging.getLogger(name).disabled = True
    config = uvicorn.Config(
        create_app(desk),
        access_log=False,
        log_config=None,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        ws="none",
    )
    return Server(config, on_ready=on_ready)


def serve(desk: Desk, own: socket.socket, *, on_ready: Callable[[], None]) -> None:
    """Serve until somebody stops it, at the keyboard or by a signal.

    Parameters
    ----------
    desk : Desk
        What is served.
    own : socket
        Of :func:`listening`.
    on_ready : callable
        Called when pages can be got.
    """
    server = server_of(desk, on_ready=on_ready)
    own.listen(_BACKLOG)
    gc.collect()
    gc.freeze()  # what was imported stays: to look through it again for each ten thousand events takes half of the time
    threading.Thread(target=desk.read_ahead, name="metst-read-ahead", daemon=True).start()
    try:
        # It hears signals itself while it serves; here already, as one that comes in between would end it half begun.
        with server.capture_signals():
            server.run(sockets=[own])
    except KeyboardInterrupt:  # raised once more by what served, when everything is tidy
        pass
    finally:
        desk.close()
