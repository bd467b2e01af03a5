"""The command line: a thin layer that names files, draws progress and turns errors into one line.

One module per command.  Heavy modules are imported inside the commands, so that ``metst --help``
is instant.  Messages for people go to the standard error stream; the standard output carries
results only, and only with ``--json``.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer
from rich.markup import escape
from typer.exceptions import TyperException

from metst.cli.adapt import adapt
from metst.cli.agree import agree
from metst.cli.analyze import analyze
from metst.cli.cache import cache
from metst.cli.calibrate import calibrate
from metst.cli.console import console
from metst.cli.convert import convert
from metst.cli.datasets import datasets
from metst.cli.debug import debuggable
from metst.cli.demo import demo
from metst.cli.doctor import doctor
from metst.cli.ending import AT_THE_KEYBOARD, Ending, sweep_workers, tidy_ending
from metst.cli.evaluate import evaluate
from metst.cli.export import export
from metst.cli.extract import extract
from metst.cli.features import features
from metst.cli.import_ import import_
from metst.cli.live import live
from metst.cli.purge import purge
from metst.cli.review import review
from metst.cli.score import score
from metst.cli.synthesize import synthesize
from metst.cli.train import train
from metst.errors import MetstError, UsageError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Finds micro-expressions in videos of a face. What it finds are movement candidates for a person to review.",
)
for command in (
    demo,
    analyze,
    live,
    review,
    agree,
    score,
    synthesize,
    calibrate,
    adapt,
    extract,
    train,
    evaluate,
    convert,
    export,
    cache,
    doctor,
    purge,
):
    app.command()(debuggable(command))
app.command("import")(debuggable(import_))
for group, title in ((datasets, "datasets"), (features, "features")):
    for each in group.registered_commands:
        assert each.callback is not None
        each.callback = debuggable(each.callback)
    app.add_typer(group, name=title)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"metst {version('metst')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every error becomes one line and an exit code."""
    with tidy_ending() as ending:
        _run(ending)


def _run(ending: Ending) -> NoReturn:
    try:
        code = app(standalone_mode=False)
    except MetstError as error:
        _fail(str(error), code=error.exit_code)
    except TyperException as error:
        _fail(error.format_message(), code=UsageError.exit_code)
    except BrokenPipeError:
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = ending.code
    if code == AT_THE_KEYBOARD or ending.asked:
        code = ending.code
        sweep_workers()
    sys.exit(code or 0)


def _fail(message: str, *, code: int) -> NoReturn:
    if message:  # there is none where the help was shown instead
        console.quiet = False
        console.print(f"[red]error:[/red] {escape(message)}")
    sys.exit(code)
