"""The way of a recording from the command to the report, as the program walks it: modules entered, values made.

    python benchmarks/walk.py CLIP

Runs ``metst analyze CLIP`` under a profiler and prints every module of the package whose functions ran in the main
thread, in the order of their first call, and every dataclass that was made on the way.  Imports are done before.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path
from types import FrameType

import metst
from metst.cli import app


def main(clip: str) -> None:
    """Walk and print."""
    for module in pkgutil.walk_packages(metst.__path__, "metst."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    modules: dict[str, None] = {}
    values: dict[str, None] = {}

    def step(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event != "call" or not name.startswith("metst"):
            return
        modules[name] = None
        if frame.f_code.co_name in ("__init__", "__post_init__"):
            kind = type(frame.f_locals.get("self"))
            if dataclasses.is_dataclass(kind):
                values[f"{kind.__module__}.{kind.__name__}"] = None

    with tempfile.TemporaryDirectory() as folder:
        sys.setprofile(step)
        try:
            app(["analyze", clip, "-o", folder, "-q", "--no-cache"], standalone_mode=False)
        finally:
            sys.setprofile(None)
        assert list(Path(folder).glob("*/report.html")), "no report was written"
    rooms = {name.split(".")[1] for name in modules if name.count(".")}
    print(f"{len(modules)} modules in {len(rooms)} rooms: {', '.join(name.removeprefix('metst.') for name in modules)}")
    print(f"{len(values)} kinds of values: {', '.join(name.removeprefix('metst.') for name in values)}")


if __name__ == "__main__":
    main(sys.argv[1])
