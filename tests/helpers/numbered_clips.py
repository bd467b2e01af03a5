"""Recordings whose pictures hold their own numbers, and results of them, without an analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from helpers.analyses import make_analysis
from metst.results import Analysis, Motion, write_analysis
from metst.results.recording import source_of
from metst.timeline import Series, TimeGrid
from metst.video import content_hash, probe_video, read_frames

BITS, CELL = 12, 16
"""Of a number, the lowest first, in two rows of squares in the upper left corner; side of a square in pixels."""
WIDTH, HEIGHT = 160, 120
"""Of a picture."""


def numbered_picture(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB picture that holds a number, below it a ground that differs from picture to picture."""
    rows, columns = np.mgrid[:height, :width]
    ground = (96 + 48 * np.sin((columns + 5 * number) / 17) + 24 * np.cos((rows - 3 * number) / 11)).astype(np.uint8)
    picture = np.repeat(ground[:, :, None], 3, axis=2)
    for bit in range(BITS):
        row, column = divmod(bit, BITS // 2)
        square = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        picture[square] = 255 if number >> bit & 1 else 0
    return picture


def number_in(jpeg: bytes) -> int:
    """The number in a picture of such a recording, in whatever size it was sent."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    cell = CELL * picture.shape[1] / WIDTH
    number = 0
    for bit in range(BITS):
        row, column = divmod(bit, BITS // 2)
        y, x = round((row + 0.5) * cell), round((column + 0.5) * cell)
        number |= int(picture[y - 1 : y + 2, x - 1 : x + 2].mean() > 127) << bit
    return number


def uneven_times(count: int, *, start_s: float = 0.0) -> list[float]:
    """Times as of a camera in the dark: 30 per second and half as many by turns, with a pause."""
    steps = np.where(np.arange(count) // 20 % 2, 1 / 30, 1 / 15)
    steps[count // 2] += 0.4
    return (start_s + np.concatenate([[0.0], np.cumsum(steps[:-1])])).round(6).tolist()


def results_of(video: Path, folder: Path, *, rate_hz: float | None = None, events: int = 3) -> Analysis:
    """Results of a recording, with its timestamps and without any measurement, written to a folder."""
    times_s: Sequence[float] = [frame.time_s for frame in read_frames(video, rate_hz=rate_hz)]
    grid, info = TimeGrid(np.array(times_s)), probe_video(video, rate_hz=rate_hz)
    made = make_analysis(duration_s=len(grid) / 30, rate_hz=30, events=events)
    assert len(made.grid) == len(grid)

    def moved(series: Series) -> Series:
        return replace(series, grid=grid)

    scale = info.width / made.source.width
    motion: Motion = made.motion
    motion = replace(
        motion,
        displacement=moved(motion.displacement),
        face=replace(moved(motion.face), values=motion.face.values * np.float32(scale)),
        centres=motion.centres * np.float32(scale),
    )
    source = source_of(video, info=info, grid=grid, content=content_hash(video))
    analysis = replace(made, source=source, scores=moved(made.scores), motion=motion)
    write_analysis(analysis, folder, motion_format="safetensors")
    return analysis
