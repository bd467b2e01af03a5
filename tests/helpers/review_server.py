"""A server of the review in this process, on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from metst.review.desk import Desk
from metst.review.gate import Address
from metst.review.library import Library, folders_of_results
from metst.review.server import listening, server_of

TOKEN = "a-token-for-checks"


@contextmanager
def serving(
    *roots: Path,
    coder: str = "anna",
    with_machine: bool = True,
    output: Path | None = None,
    videos: tuple[Path, ...] = (),
    token: str = TOKEN,
) -> Iterator[tuple[httpx.Client, Desk]]:
    """A client with the token, and the desk of the server."""
    library = Library(videos=videos)
    for root in roots:
        for folder in folders_of_results(root):
            library.add(folder)
    own = listening("127.0.0.1", 0)
    address = Address("127.0.0.1", own.getsockname()[1])
    desk = Desk(coder, library, address, token=token, with_machine=with_machine, output=output)
    server = server_of(desk)
    own.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=address.url, headers=headers, timeout=60, trust_env=False) as client:
            yield client, desk
    finally:
        server.should_exit = True
        thread.join()
        desk.close()
        own.close()


def only(client: httpx.Client) -> str:
    """The id of the only recording."""
    (listed,) = client.get("/api/recordings").json()
    return str(listed["id"])
