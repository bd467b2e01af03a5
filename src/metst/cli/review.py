"""``metst review``."""

from __future__ import annotations

import getpass
import sys
import threading
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer
from rich.markup import escape

from metst.cli.console import console, talk
from metst.cli.options import Quiet, Verbose
from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.review.library import Library

_MISSING = "the review needs the packages fastapi and uvicorn: pip install 'metst[web]'"
_DEFAULT_OUTPUT = Path("metst-results")
_HIGHEST_PORT = 65535  # of TCP


def review(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of results, or folders that hold them.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for uploads and their results.")] = (
        _DEFAULT_OUTPUT
    ),
    videos: Annotated[
        list[Path] | None,
        typer.Option(
            "--videos",
            help="Folder with recordings, at any depth, if they do not lie beside the results; again for more.",
        ),
    ] = None,
    coder: Annotated[str | None, typer.Option(help="Whose layer is edited.", show_default="your login name")] = None,
    without_machine: Annotated[
        bool,
        typer.Option("--without-machine", help="Begin with nothing: what the machine found is kept from the coder."),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=_HIGHEST_PORT, help="Port; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Interface; any but this machine's own lets others in.")] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(help="Token of the address, for checks.", show_default="a random one")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Look at what was found, judge, correct and hand it on, in a page that only this machine serves.

    The address is printed on the standard output.  Ctrl-C ends the server; all that was saved is on the disk.
    """
    talk(quiet=quiet, verbose=verbose)
    _check_installed()
    from metst.review.desk import Desk, new_token
    from metst.review.gate import TOKEN_PARAMETER, Address
    from metst.review.server import listening, serve

    name = _coder(coder)
    if token is not None and not (token.isascii() and token.isprintable() and token == token.strip()):
        raise UsageError("expected a token of ASCII letters, digits and signs, without blanks around it")
    library = _library(results or [], videos=videos or [], output=output)
    own = listening(host, port)
    address = Address(host, own.getsockname()[1])
    if not address.is_loopback:
        console.print(
            f"[yellow]note:[/yellow] others in the network can reach {escape(address.url)}: who has the address with"
            " its token sees faces and changes the review, and nothing on the way is encrypted"
        )
    desk = Desk(
        name, library, address, token=token or new_token(), with_machine=not without_machine, output=output.absolute()
    )
    url = f"{address.url}?{TOKEN_PARAMETER}={quote(desk.token, safe='')}"
    serve(desk, own, on_ready=partial(_tell, url, browser=not no_browser))


def _tell(url: str, *, browser: bool) -> None:
    sys.stdout.write(url + "\n")
    sys.stdout.flush()
    if browser:  # some browsers come back only when they are closed, and the server must not wait for them
        threading.Thread(target=webbrowser.open, args=(url,), name="metst-browser", daemon=True).start()


def _check_installed() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(_MISSING) from error


def _coder(given: str | None) -> str:
    """The name of the coder, as layers have it."""
    from metst.coding.layers import MACHINE, coder_of

    name = coder_of(given or _login())
    if name == MACHINE or (given is not None and name != given):
        raise UsageError(f"expected the name of a coder, not {MACHINE!r} and without / \\ ( ) < > |, got {given!r}")
    return name


def _library(results: list[Path], *, videos: list[Path], output: Path) -> Library:
    """All results that were given; those of earlier uploads, where nothing was given."""
    from metst.review.library import Library, folders_of_results

    if missing := [each for each in videos if not each.is_dir()]:
        raise UsageError(f"no such folder: {missing[0]}: give the folder that holds the recordings")
    library = Library(videos=videos)
    for root in results or ([output] if output.is_dir() else []):
        found = folders_of_results(root)
        if results and not found:
            raise UsageError(f"no results in {root}: give a folder that metst analyze or metst import wrote")
        for folder in found:
            library.add(folder)
    return library


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user on this system
        return "coder"
