"""``metst purge``."""

from __future__ import annotations

import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, talk
from metst.cli.options import AsJson, Quiet, Verbose
from metst.errors import UsageError

if TYPE_CHECKING:
    from metst.evaluation.purging import Found

_NOT_LOOKED_FOR = (
    "Not looked for: tables of metst live, calibrations, planted clips, features, trained models and copies elsewhere."
)
"""What may hold motion or scores of a person and does not say whose it is."""


def purge(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of results, or folders that hold them.", show_default=False),
    ] = None,
    person: Annotated[str | None, typer.Option(help="Only results of this person (analyze --person).")] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="Only results whose last day is over (analyze --delete-by).")
    ] = False,
    leftovers: Annotated[
        bool,
        typer.Option("--leftovers", help="Only what killed processes left: temporary videos, parts of files."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Delete results, and the motion that is kept of their recordings.

    Only what metst wrote goes: other files in the folders are named and stay, as do the recordings themselves.
    """
    talk(quiet=quiet, verbose=verbose)
    roots = results or []
    if leftovers:
        if person is not None or expired:
            raise UsageError("--leftovers belong to nobody who could be told: leave out --person and --expired")
        _sweep(roots, dry_run=dry_run, as_json=as_json)
        return
    if not roots:
        raise UsageError("give the folders of results, or one that holds them")
    if person is not None and not person.strip():
        raise UsageError("--person needs a name: an empty one would mean all of whom nobody said whose they are")
    from metst.evaluation.purging import chosen, delete, find_results
    from metst.motion.cache import default_folder, open_cache

    found = find_results(roots)
    going = chosen(found, person=person, expired_on=date.today() if expired else None)
    unknown = " (whose it is, nobody can tell)" if person is not None or expired else ""
    problems = [each.problem + unknown for each in found if each.problem and each not in going]
    _list(going, foreign=[each for each in found if each.foreign], dry_run=dry_run)
    if not any(each.own or each.problem for each in found) or (not going and person is not None and not problems):
        _nothing(found, roots=roots, person=person)
    if going and not dry_run:
        _ask(len(going), yes=yes)
        going, kept = delete(going, cache=open_cache(default_folder()))
        problems += kept
        console.print(f"Deleted {_results(len(going))}." if going else "Nothing could be deleted.")
    elif not going:
        console.print("Nothing to delete.")
    console.print(_NOT_LOOKED_FOR)
    if as_json:
        print_json([_line(each) for each in going])
    for problem in problems:
        console.print(f"[yellow]note:[/yellow] {escape(problem)}")
    if problems:
        raise typer.Exit(FINISHED_WITH_PROBLEMS)


def _nothing(found: list[Found], *, roots: list[Path], person: str | None) -> None:
    """There is nothing that could be meant: say what there is."""
    where = ", ".join(map(str, roots))
    if not any(each.own for each in found):
        raise UsageError(f"no results of metst in {where}: give the folder that metst analyze wrote")
    known = sorted({each.custody.person for each in found if each.custody and each.custody.person})
    raise UsageError(f"no results of {person!r} in {where}: expected one of {', '.join(known) or 'nobody'}")


def _list(going: list[Found], *, foreign: list[Found], dry_run: bool) -> None:
    for each in foreign:
        console.print(escape(f"{each.folder} holds no results of metst, stays"))
    for each in going:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in _said(each).items())
        kept = f"; not of metst, stays: {', '.join(each.others)}" if each.others else ""
        verb = "would go" if dry_run else "goes"
        console.print(escape(f"{each.folder} ({each.name}{', ' if said else ''}{said}) {verb}{kept}"))


def _said(each: Found) -> dict[str, str]:
    return each.custody.said if each.custody else {}


def _line(each: Found) -> dict[str, Any]:
    return {"folder": str(each.folder), "name": each.name, **_said(each)}


def _ask(count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked: give --yes to delete, or --dry-run to see what would go")
    typer.confirm(f"Delete {_results(count)} for good?", abort=True, err=True)


def _results(count: int) -> str:
    return f"the results of {count} recording{'' if count == 1 else 's'}"


def _sweep(roots: list[Path], *, dry_run: bool, as_json: bool) -> None:
    from metst.evaluation.purging import sweep_all
    from metst.motion.cache import default_folder
    from metst.storage.leftovers import leftovers, sweep

    temporary = Path(tempfile.gettempdir())  # it holds much of others: only its own level
    gone = leftovers(temporary) if dry_run else sweep(temporary)
    gone += sweep_all([default_folder(), *roots], dry=dry_run)
    for path in gone:
        console.print(escape(f"{path} {'would go' if dry_run else 'is gone'}"))
    if not gone:
        console.print("Nothing was left behind.")
    if as_json:
        print_json([str(path) for path in gone])
