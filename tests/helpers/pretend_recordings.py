"""Recordings of a few bytes, for tests of what is kept and written of them: their motion is drawn from those bytes.

Everything around is the real thing: hashes, cache, scores, tables, the lists of a corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metst.regions import REGION_NAMES
from metst.results import FACE_CHANNELS, Motion
from metst.storage import write_whole
from metst.timeline import Series, TimeGrid
from metst.video import VideoInfo

FRAMES, RATE_HZ = 30, 30.0
PROBLEM = "frame 7 cannot be decoded"
"""What is wrong with a recording whose content has an odd first byte."""


@lru_cache(maxsize=64)
def motion_of_content(content: bytes) -> Motion:
    """Motion that no other content has."""
    rng = np.random.default_rng(list(hashlib.sha256(content).digest()))
    grid = TimeGrid.uniform(FRAMES, rate_hz=RATE_HZ)
    valid = np.arange(FRAMES) >= rng.integers(1, 4)
    burst = np.exp(-(((grid.time_s - rng.uniform(0.4, 0.7)) / 0.1) ** 2))
    displacement = (
        0.03 * burst[:, None, None] * rng.normal(0, 1, (18, 2)) + rng.normal(0, 5e-4, (FRAMES, 18, 2))
    ).astype(np.float32)
    displacement[~valid] = np.nan

    def drawn(*shape: int) -> np.ndarray:
        values = rng.random((FRAMES, *shape), np.float32)
        values[~valid] = np.nan
        return values

    face = drawn(len(FACE_CHANNELS))
    return Motion(
        displacement=Series(grid, displacement, valid, REGION_NAMES),
        quality=np.where(valid[:, None], rng.uniform(0.5, 1, (FRAMES, 18)), 0).astype(np.float32),
        conditions=(rng.integers(0, 8, (FRAMES, 18)) * valid[:, None]).astype(np.uint8),
        centres=drawn(18, 2),
        face_px=drawn(),
        head=drawn(4),
        face=Series(grid, face, valid, FACE_CHANNELS),
        face_quality=np.where(valid, rng.random(FRAMES), 0).astype(np.float32),
        reason=tuple("" if each else "no face" for each in valid.tolist()),
    )


def problems_of_content(content: bytes, *, name: str) -> tuple[str, ...]:
    """What is told of a recording of that name."""
    return (f"{name}: {PROBLEM}",) if content[0] % 2 else ()


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Let the stages that look at pictures take such recordings."""

    def probe(path: Path, **_: Any) -> VideoInfo:
        return VideoInfo(Path(path), 64, 48, FRAMES, FRAMES / RATE_HZ, RATE_HZ, "bytes", False)

    def read(path: Path, *, on_problem: Callable[[str], None], **_: Any) -> bytes:
        content = path.read_bytes()
        for problem in problems_of_content(content, name=path.name):
            on_problem(problem)
        return content

    def report(_: object, path: Path, *, video: Path, **__: Any) -> None:
        write_whole(path, b"<p>pictures of " + video.read_bytes().hex().encode())

    patch.setattr("metst.video.probe_video", probe)
    patch.setattr("metst.motion.measured.read_frames", read)
    patch.setattr("metst.motion.measured.ahead", lambda frames, **_: frames)
    patch.setattr("metst.motion.measured.track_face", lambda content, **_: content)
    patch.setattr("metst.motion.measured.extract_motion", lambda content, **_: motion_of_content(content))
    patch.setattr("metst.report.write_report", report)
