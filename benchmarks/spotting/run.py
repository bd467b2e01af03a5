"""The spotting benchmark: builds its clips from footage, and compares systems on them.

    python benchmarks/spotting/run.py --build DIR --footage PEOPLE --patterns STATISTICS
    python benchmarks/spotting/run.py DIR --split test --systems chance rule windows metst-event --entry MINE.csv

A build takes its footage from package registries and from the folder it is given, plants micro-expressions, measures
the motion and keeps it, so that systems run in seconds.  It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from build import Selection, build, given
from clips import built_clips, load
from default_rate import DefaultRate, default_rate_of
from details import Details, details_of
from entry import Entry, read_entries
from figures import Figures, figures_of
from listing import Listing
from people import Split
from plan import FIELDS, PLAN_FILE, SPLITS, Plan, load_plan
from systems import System, make_system
from table import default_rates, people, persons, recalls, reliability, shifts, sizes, table

from metst.errors import MetstError, UsageError
from metst.storage import finite, make_folder, write_whole
from metst.training.recipes import PUBLISHED_RECIPES, published_recipe


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(
    plan: Plan, *, folder: Path, split: Split, systems: dict[str, System], part: str
) -> tuple[list[Figures], list[Details], list[DefaultRate]]:
    """Figures of each system; also written beside the build as JSON and as reliability diagrams."""
    recordings = load(plan, folder=folder, split=split)
    rows, details, rates = [], [], []
    for name, system in systems.items():
        say(f"running {name}")
        found = [system.find(recording) for recording in recordings]
        if isinstance(system, Entry) and (note := system.note(recordings)):
            say(note)
        rows.append(figures_of(name, recordings=recordings, found=found))
        details.append(details_of(name, recordings=recordings, found=found))
        rates.append(default_rate_of(name, list(zip(recordings, found, strict=True))))
    home = folder / "results"
    make_folder(home)
    every = [
        row.for_json() | {"people": each.for_json(), "default_rate": rate.for_json()}
        for row, each, rate in zip(rows, details, rates, strict=True)
    ]
    contents = Listing.of(folder).contents(each.name for each in recordings)
    result = {"plan": plan.digest, "split": split, "part": part, "content": contents, "systems": every}
    write_whole(home / f"{split}.json", json.dumps(finite(result), indent=1, allow_nan=False).encode())
    write_whole(home / f"{split}-reliability.svg", reliability(rows).encode())
    return rows, details, rates


def part_of(plan: Plan, *, folder: Path, split: Split) -> str:
    """How much of a split is there, as the first line over the tables."""
    wanted = [clip for clip in plan.clips() if clip.split == split]
    there = len(built_clips(plan, folder=folder, split=split))
    what = f"version {plan.version}, plan {plan.digest[:16]}, {split} split: {there} of {len(wanted)} clips"
    return what if there == len(wanted) else f"{what} (a part: compares only with the same part)"


def made(plan: Plan, *, folder: Path, args: argparse.Namespace) -> dict[str, System]:
    """The systems that are asked for, under the names that tables call them by."""
    entries = read_entries(args.entry, plan=plan)  # first: a slip in one is found before anything is trained
    epochs = {
        name: published_epochs(name, plan=plan, epochs=args.epochs, as_published=args.as_published)
        for name in dict.fromkeys(args.systems)
    }
    called = [label(name, epochs=several) for name, several in epochs.items()] + [entry.name for entry in entries]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise UsageError(f"two systems are called {twice[0]}: give folders and files names of their own")
    systems: dict[str, System] = {}
    for name, several in epochs.items():
        say(f"making {name}")
        systems[label(name, epochs=several)] = make_system(name, plan=plan, folder=folder, say=say, epochs=several)
    return systems | {entry.name: entry for entry in entries}


def published_epochs(name: str, *, plan: Plan, epochs: int | None, as_published: bool) -> int | None:
    """How long a published network is trained; None for what is none."""
    if name not in PUBLISHED_RECIPES:
        return None
    return published_recipe(name).epochs if as_published else epochs or plan.published.epochs[name]


def label(name: str, *, epochs: int | None) -> str:
    """What the table calls a system: of a published network it says how long it was trained."""
    return Path(name).name if epochs is None else f"{name} ({epochs} of {published_recipe(name).epochs} epochs)"


def arguments() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of a build")
    parser.add_argument("--plan", type=Path, default=PLAN_FILE)
    make = parser.add_argument_group("build")
    make.add_argument("--build", type=Path, metavar="DIR", help="build into this folder first")
    make.add_argument("--footage", type=Path, metavar="DIR", help="folder with clips of people; they are known by hash")
    make.add_argument("--patterns", type=Path, metavar="FILE", help="statistics of real movements")
    make.add_argument("--only", nargs="+", choices=SPLITS, default=SPLITS, help="build these splits only")
    make.add_argument("--fields", nargs="+", choices=FIELDS, default=FIELDS, help="plant from these only")
    make.add_argument("--quick", action="store_true", help="two amplitudes of each field, and one quality and seed")
    make.add_argument("--real", action="store_true", help="no portraits and no heads")
    make.add_argument("--strict", action="store_true", help="refuse to build while a file of the part is missing")
    make.add_argument("--workers", type=int, default=1, help="clips are made by at most so many processes")
    measure = parser.add_argument_group("compare")
    measure.add_argument("--systems", nargs="*", default=[], help="systems to compare")
    measure.add_argument(
        "--entry", nargs="+", type=Path, default=[], metavar="FILE", help="tables of candidates of other systems"
    )
    measure.add_argument("--epochs", type=int, help="of the published networks, in place of the plan's")
    measure.add_argument(
        "--as-published", action="store_true", help="train the published networks for all their epochs: a night's work"
    )
    measure.add_argument("--split", choices=SPLITS, default="test")
    return parser


def checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What is asked for, or a refusal of what makes no sense."""
    args = parser.parse_args()
    args.folder = args.folder or args.build
    if args.folder is None or not (args.build or args.systems or args.entry):
        parser.error("give --build DIR, or the folder of a build and --systems or --entry")
    if args.build and args.folder != args.build:
        parser.error("one build at a time: leave out the folder before --build")
    of_build = ("footage", "patterns", "only", "fields", "quick", "real", "strict", "workers")
    if not args.build and (asked := [name for name in of_build if getattr(args, name) != parser.get_default(name)]):
        parser.error(f"--{asked[0]} is for --build")
    if args.workers < 1:
        parser.error("--workers: at least 1")
    if args.epochs is not None and not args.systems:
        parser.error("--epochs is for --systems")
    if args.as_published and args.epochs is not None:
        parser.error("--as-published trains for all epochs: leave out --epochs")
    if args.epochs is not None and args.epochs < 1:
        parser.error("--epochs: at least 1")
    return args


def main() -> None:
    args = checked(arguments())
    plan = load_plan(args.plan)
    if args.build:
        selection = Selection(tuple(args.only), tuple(args.fields), quick=args.quick, real=args.real)
        build(
            plan, folder=args.build, files=given(plan, footage=args.footage, patterns=args.patterns),
            selection=selection, strict=args.strict, workers=args.workers, say=say,
        )  # fmt: skip
    if args.systems or args.entry:
        part = part_of(plan, folder=args.folder, split=args.split)
        systems = made(plan, folder=args.folder, args=args)
        rows, details, rates = compare(plan, folder=args.folder, split=args.split, systems=systems, part=part)
        of_people = (people(details), sizes(details), shifts(details), persons(details))
        print(part, table(rows), recalls(rows), *of_people, default_rates(rates), sep="\n\n")


if __name__ == "__main__":
    try:
        main()
    except MetstError as error:
        sys.exit(f"error: {error}")
