"""What coding and size do to candidates: each clip is written again, and what a model finds is compared.

    python benchmarks/encoding.py CLIP [CLIP ...] --model metst-event

Each clip is decoded once and written in the qualities and sizes below.  A candidate is kept when the other version has
one that overlaps it by an IoU of 0.3 at least; gained are those that the first version does not have.  The table
compares with the clip as it came, and with its first generation: the same pictures written again at the best quality
below, so that what any coding does is told apart from what a worse one does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import metst
from metst.arrays import Image
from metst.errors import FaceError, MetstError
from metst.models.checkpoint import Model, load_model
from metst.timeline import Intervals
from metst.video import read_colour_stream, read_frames, write_video

sys.path.insert(0, str(Path(__file__).with_name("spotting")))
from cells import markdown, share_of
from same import Exchange, exchange, together  # one rule of what is the same, here and in the benchmark


@dataclass(frozen=True)
class Version:
    """How a clip is written again."""

    name: str
    crf: int = 18
    shrink: int = 1


VERSIONS = (
    Version("crf 18"),
    Version("crf 23", crf=23),
    Version("crf 28", crf=28),
    Version("half size, crf 18", shrink=2),
    Version("quarter size, crf 18", shrink=4),
)
FIRST_GENERATION = VERSIONS[0].name


def found_in(path: Path, *, model: Model) -> dict[str, Intervals]:
    """Candidates of the clip as it came (``""``) and of each version of it; nothing where it shows no face."""
    time_s = [frame.time_s for frame in read_frames(path)]
    try:
        found = {"": metst.analyze(path, model=model, cache=False).events}
    except FaceError as error:
        print(f"{called(path)}: {error}: left out", file=sys.stderr, flush=True)
        return {}
    with tempfile.TemporaryDirectory() as work:
        for version in VERSIONS:
            written = Path(work) / "again.mp4"
            write_video(written, pictures(path, shrink=version.shrink), times_s=time_s, crf=version.crf)
            try:
                found[version.name] = metst.analyze(written, model=model, cache=False).events
            except FaceError as error:  # a face may be too small where it was not before: nothing is found then
                print(f"{called(path)}, {version.name}: {error}", file=sys.stderr, flush=True)
                found[version.name] = Intervals.empty(model.info.classes)
    return found


def called(path: Path) -> str:
    """A clip in the table: clips of a build have all the same name, in folders of their own."""
    return f"{path.resolve().parent.name}/{path.name}"


def pictures(path: Path, *, shrink: int) -> Iterator[Image]:
    """The clip's pictures, smaller by averaging where that is asked for."""
    for frame in read_colour_stream(path):
        height, width = (max(side // shrink, 1) for side in frame.rgb.shape[:2])
        if shrink == 1:
            yield frame.rgb
        else:
            yield np.asarray(cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def lines_of(name: str, against: dict[str, tuple[Exchange, Exchange]]) -> list[tuple[str, ...]]:
    """Lines of the table: per version, against the clip as it came and against its first generation."""
    return [
        (name, version, str(original.first), str(original.second), *_cells(original), *_cells(generation))
        for version, (original, generation) in against.items()
    ]


def _cells(found: Exchange) -> tuple[str, str]:
    return share_of(found.kept_share), share_of(found.gained_share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--model", default="metst-event", help="packaged model or checkpoint folder")
    args = parser.parse_args()
    model = load_model(args.model)
    every: dict[str, list[tuple[Exchange, Exchange]]] = {version.name: [] for version in VERSIONS}
    lines: list[tuple[str, ...]] = []
    for path in args.clips:
        print(called(path), file=sys.stderr, flush=True)
        if not (found := found_in(path, model=model)):
            continue
        own = {
            name: (exchange(found[""], found[name]), exchange(found[FIRST_GENERATION], found[name])) for name in every
        }
        lines += lines_of(called(path), own)
        for name, pair in own.items():
            every[name].append(pair)
    both = {
        name: (together(one for one, _ in pairs), together(two for _, two in pairs)) for name, pairs in every.items()
    }
    lines += lines_of("all", both)
    heads = (
        "clip", "version", "candidates as it came", "in the version", "kept", "gained", "kept of the first generation",
        "gained since",
    )  # fmt: skip
    print(markdown(heads, lines))


if __name__ == "__main__":
    try:
        main()
    except MetstError as error:
        sys.exit(f"error: {error}")
