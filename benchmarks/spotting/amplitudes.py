"""Amplitudes that were not built: the movement of a planted clip made smaller or larger in the measured motion.

    python benchmarks/spotting/amplitudes.py DIR --split development MODEL ...

What a planted clip shows beyond the placebo of its stretch is the movement as it was measured, noise of coding and
all.  A share of that on the placebo's motion stands for the clip of another amplitude; an amplitude that was built is
the clip itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from cells import markdown, number
from clips import Recording, load
from plan import FIELDS, SPLITS, load_plan
from scored import hits
from systems import System, make_system

from metst.errors import MetstError, UsageError


def scaled(planted: Recording, *, placebo: Recording, amplitude: float) -> Recording:
    """The planted recording as it would be at another amplitude.

    Frames that one of the two lacks are gaps.
    """
    if len(planted.motion) != len(placebo.motion):
        raise UsageError(f"{planted.name} and {placebo.name} differ in length: build them again")
    base, motion = placebo.motion.values.astype(np.float64), planted.motion
    values = base + amplitude / planted.amplitude * (motion.values - base)
    known = np.isfinite(values).all(axis=(1, 2)) & motion.valid & placebo.motion.valid
    values[~known] = 0
    return replace(planted, amplitude=amplitude, motion=replace(motion, values=values.astype(np.float32), valid=known))


def at_amplitude(recordings: Sequence[Recording], *, amplitude: float) -> Iterator[Recording]:
    """Recordings of one field at one amplitude: of each stretch the clip that was built nearest to it, scaled.

    The clips of a stretch that differ in quality or seed count for themselves.
    """
    placebos = {_series(each): each for each in recordings if each.placebo}
    planted = [each for each in recordings if len(each.truth) and _series(each) in placebos]
    for key in dict.fromkeys(_series(each) for each in planted):
        near = min(
            (each for each in planted if _series(each) == key), key=lambda each: abs(np.log(each.amplitude / amplitude))
        )
        exact = np.isclose(near.amplitude, amplitude)
        yield near if exact else scaled(near, placebo=placebos[_series(near)], amplitude=amplitude)


def _series(recording: Recording) -> str:
    """Name of a clip without its amplitude."""
    return f"{recording.stretch} {recording.name.rsplit('-', 2)[1:]}"


def counted(system: System, recordings: Sequence[Recording]) -> tuple[int, int, int]:
    """Movements found, candidates that are wrong, movements planted."""
    right = wrong = planted = 0
    for each in recordings:
        found = system.find(each)
        hit = int((hits(found, each.truth) >= 0).sum())
        right, wrong, planted = right + hit, wrong + len(found) - hit, planted + len(each.truth)
    return right, wrong, planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a build")
    parser.add_argument("models", nargs="+", help="packaged models or checkpoint folders")
    parser.add_argument("--split", choices=SPLITS, default="development")
    args = parser.parse_args()
    plan = load_plan()
    real = [each for each in load(plan, folder=args.folder, split=args.split) if each.real]
    lines = []
    for name in args.models:
        system = make_system(name, plan=plan, folder=args.folder, say=lambda text: print(text, file=sys.stderr))
        for field in FIELDS:
            of_field = [each for each in real if each.placebo or each.field == field]
            levels = plan.amplitudes[field]
            counts = [counted(system, list(at_amplitude(of_field, amplitude=level))) for level in levels]
            right, wrong, planted = (sum(column) for column in zip(*counts, strict=True))
            each = ", ".join(f"{level:g}: {hit}/{all_}" for level, (hit, _, all_) in zip(levels, counts, strict=True))
            f1 = 2 * right / max(right + wrong + planted, 1)
            lines.append((name, field, each, f"{right} / {wrong} / {planted - right}", number(f1, 3)))
    print(markdown(("system", "field", "found, by amplitude", "hits / false alarms / misses", "F1"), lines))


if __name__ == "__main__":
    try:
        main()
    except MetstError as error:
        sys.exit(f"error: {error}")
