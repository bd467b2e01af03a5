"""``metst doctor``."""

from __future__ import annotations

import typer
from rich.markup import escape

from metst.cli.console import FINISHED_WITH_PROBLEMS, console, print_json, progress, talk
from metst.cli.options import AsJson, Quiet, Verbose


def doctor(as_json: AsJson = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Look whether all works on this machine, compile what is compiled once, and say what to do where it does not."""
    talk(quiet=quiet, verbose=verbose)
    from metst.installation import check_all

    found = []
    with progress("doctor") as on_progress:
        for check in check_all(on_progress=on_progress):
            found.append(check)
            word = "[green]well   [/green]" if check.well else "[red]PROBLEM[/red]"
            advice = f": {check.advice}" if check.advice else ""
            console.print(f"{word} {escape(f'{check.name}: {check.found}{advice}')}")
    if as_json:
        print_json([vars(check) for check in found])
    problems = sum(not check.well for check in found)
    if problems:
        console.print(f"{problems} problem{'' if problems == 1 else 's'}.")
        raise typer.Exit(FINISHED_WITH_PROBLEMS)
    console.print("All is well.")
