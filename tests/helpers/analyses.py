"""Analyses for the tests of results and report: what they hold is known, no video is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from metst.regions import REGION_NAMES
from metst.results import FACE_CHANNELS, Analysis, Condition, Motion, Source
from metst.timeline import Intervals, Series, TimeGrid

CLASSES = ("negative", "positive", "surprise", "others")

# Regions (0-based) that move in each class and how far at the apex, face units: x right, y down.
PATTERNS: dict[str, dict[int, tuple[float, float]]] = {
    "negative": {0: (0.004, 0.012), 1: (0.008, 0.016), 4: (-0.004, 0.012), 5: (-0.008, 0.016), 11: (0.0, 0.004)},
    "positive": {9: (-0.014, -0.018), 10: (0.014, -0.018), 16: (0.0, -0.006), 17: (0.0, -0.006), 8: (0.0, -0.006)},
    "surprise": dict.fromkeys(range(8), (0.0, -0.022)),
    "others": {14: (-0.006, -0.01), 15: (0.006, -0.01), 11: (0.0, -0.008)},
}

# Of scikit-image's astronaut, 512 x 512 pixels.
ASTRONAUT_FACE = (172.0, 62.0, 278.0, 188.0, 203.0, 119.0, 248.0, 118.0)
ASTRONAUT_UNIT_PX = 65.0


def make_analysis(
    *,
    duration_s: float = 20.0,
    rate_hz: float = 30.0,
    events: int = 3,
    gaps: tuple[tuple[float, float, str], ...] = (),
    seed: int = 0,
    name: str = "interview 07.mp4",
    problems: tuple[str, ...] = (),
    decode: dict[str, Any] | None = None,
) -> Analysis:
    """An analysis with ``events`` events, alternating in class, spread over the video and clear of the gaps."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(round(duration_s * rate_hz), rate_hz=rate_hz)
    reasons = _reasons(grid, gaps)
    usable = np.array([not reason for reason in reasons])
    found = _events(grid, usable=usable, count=events, rng=rng)
    face = np.tile(np.float32(ASTRONAUT_FACE), (len(grid), 1))
    score, probability = _scores(grid, found, rng=rng)
    motion = _motion(grid, found, rng=rng)
    for values in (score, probability, motion, face):
        values[~usable] = np.nan
    return Analysis(
        source=Source(name, f"/footage/{name}", 512, 512, len(grid), grid.duration_s, rate_hz, "h264"),
        scores=Series(
            grid, np.column_stack([score, probability]), usable, ("spot_score", *(f"p_{name}" for name in CLASSES))
        ),
        motion=Motion(
            displacement=Series(grid, motion, usable, REGION_NAMES),
            quality=np.where(usable[:, None], 0.9, 0).repeat(len(REGION_NAMES), axis=1).astype(np.float32),
            conditions=_conditions(usable),
            centres=_centres(usable),
            face_px=np.where(usable, ASTRONAUT_UNIT_PX, np.nan).astype(np.float32),
            head=np.where(usable[:, None], 0, np.nan).repeat(4, axis=1).astype(np.float32),
            face=Series(grid, face, usable, FACE_CHANNELS),
            face_quality=np.where(usable, 0.95, 0).astype(np.float32),
            reason=reasons,
        ),
        events=found,
        model={"name": "starter", "trained_on": "simulated facial motion, 1200 faces", "mode": "whole video"},
        settings={
            "face": {"landmark_interval_s": 0.2, "min_score": 0.5},
            "decode": {"peak_threshold": 0.5, "smooth_s": 0.1} if decode is None else decode,
        },
        problems=problems,
        version="0.1.0",
        created="2026-11-25T10:00:00+00:00",
        seconds=12.5,
    )


def _conditions(usable: np.ndarray) -> np.ndarray:
    """A blink early on, speech later."""
    conditions = np.zeros((len(usable), len(REGION_NAMES)), np.uint8)
    conditions[len(usable) // 8 : len(usable) // 8 + 6, 16:] = Condition.BLINK
    conditions[len(usable) // 2 : len(usable) // 2 + 45, 8:14] = Condition.SPEECH
    conditions[~usable] = 0
    return conditions


def _centres(usable: np.ndarray) -> np.ndarray:
    left, top, right, bottom = ASTRONAUT_FACE[:4]
    place = np.stack([np.linspace(left, right, len(REGION_NAMES)), np.linspace(top, bottom, len(REGION_NAMES))], axis=1)
    centres = np.tile(place.astype(np.float32), (len(usable), 1, 1))
    centres[~usable] = np.nan
    return centres


def _reasons(grid: TimeGrid, gaps: tuple[tuple[float, float, str], ...]) -> tuple[str, ...]:
    reasons = [""] * len(grid)
    for start_s, stop_s, reason in gaps:
        for i in np.flatnonzero((grid.time_s >= start_s) & (grid.time_s < stop_s)):
            reasons[i] = reason
    return tuple(reasons)


def _events(grid: TimeGrid, *, usable: np.ndarray, count: int, rng: np.random.Generator) -> Intervals:
    if count == 0:
        return Intervals.empty(CLASSES)
    rate, length = 1 / grid.frame_s, len(grid)
    onset, apex, offset = [], [], []
    for centre in (np.arange(count) + rng.uniform(0.35, 0.65, count)) * length / count:
        rise, fall = (max(2, round(rate * s)) for s in rng.uniform(0.15, 0.28, 2))
        start = int(np.clip(centre - rise, 0, length - rise - fall))
        if usable[start : start + rise + fall].all():
            onset.append(start)
            apex.append(start + rise)
            offset.append(start + rise + fall)
    labels = tuple(CLASSES[i % len(CLASSES)] for i in range(len(onset)))
    probability = np.full((len(onset), len(CLASSES)), 0.08)
    probability[np.arange(len(onset)), np.arange(len(onset)) % len(CLASSES)] = 1 - 0.08 * (len(CLASSES) - 1)
    confidence = rng.uniform(0.5, 0.98, len(onset))
    return Intervals(np.array(onset), np.array(apex), np.array(offset), labels, confidence, probability, CLASSES)


def _bump(grid: TimeGrid, *, onset: int, apex: int, offset: int) -> np.ndarray:
    """Raised cosine: 0 at onset, 1 at apex, 0 at offset."""
    phase = np.interp(np.arange(len(grid)), [onset, apex, offset], [0, np.pi, 2 * np.pi])
    return (1 - np.cos(phase)) / 2


def _scores(grid: TimeGrid, events: Intervals, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    noise = np.convolve(np.abs(rng.normal(0, 0.12, len(grid))), np.ones(5) / 5)[: len(grid)]
    score, probability = noise, np.full((len(grid), len(CLASSES)), 1 / len(CLASSES))
    for i, label in enumerate(events.label):
        bump = _bump(grid, onset=int(events.onset[i]), apex=int(events.apex[i]), offset=int(events.offset[i]))
        score = np.maximum(score, events.confidence[i] * bump)
        sure = np.eye(len(CLASSES))[CLASSES.index(label)]
        probability += bump[:, None] * (0.8 * sure + 0.05 - probability)
    return np.clip(score, 0, 1).astype(np.float32), probability.astype(np.float32)


def _motion(grid: TimeGrid, events: Intervals, *, rng: np.random.Generator) -> np.ndarray:
    steps = rng.normal(0, 0.0006, (len(grid), len(REGION_NAMES), 2))
    motion = np.cumsum(steps, axis=0) * 0.3 + rng.normal(0, 0.0006, steps.shape)
    for i, label in enumerate(events.label):
        bump = _bump(grid, onset=int(events.onset[i]), apex=int(events.apex[i]), offset=int(events.offset[i]))
        for region, apex in PATTERNS[label].items():
            motion[:, region] += bump[:, None] * np.array(apex)
    return motion.astype(np.float32)
