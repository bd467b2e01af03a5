"""``--debug`` and ``--log-json`` of every command, and the one line that any error becomes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from metst.cli.journal import journal
from metst.cli.options import with_parameters
from metst.errors import MetstError
from metst.guard.faults import fault_of, tracebacks

_Debug = Annotated[
    bool, typer.Option("--debug", help="Of each error, write its traceback (metst-debug-*.txt) beside the results.")
]
_Journal = Annotated[
    Path | None,
    typer.Option("--log-json", help="Append what was done to this file, as lines of JSON with the time of each stage."),
]


def debuggable(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--debug`` and ``--log-json``, and turn any error that leaves it into one of this product.

    Parameters
    ----------
    command : callable
        Of Typer.  Tracebacks go beside its results (``output``), else into the working folder.
    """
    own = inspect.signature(command, eval_str=True).parameters
    debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Debug)
    log = inspect.Parameter("log_json", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Journal)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        wanted, log_json = values.pop("debug"), values.pop("log_json")
        with journal(log_json, command=_name(command)), tracebacks(_beside(values.get("output")) if wanted else None):
            _with_one_line(command, values)

    return with_parameters(run, (*own.values(), debug, log))


def _with_one_line(command: Callable[..., None], values: dict[str, Any]) -> None:
    try:
        command(**values)
    except (typer.Exit, typer.Abort, TyperException, BrokenPipeError):  # how commands end, and are called wrongly
        raise
    except MetstError as error:
        error.args = (fault_of(error, name=_name(command)).message,)
        raise
    except Exception as error:
        raise MetstError(fault_of(error, name=_name(command)).message) from error


def _name(command: Callable[..., None]) -> str:
    """Of a command, as it is called: that of a function may not be a word of Python."""
    return command.__name__.rstrip("_")


def _beside(output: Path | None) -> Path:
    """Not inside: a folder that should be new must not be there because of a traceback."""
    return Path.cwd() if output is None else output.absolute().parent
