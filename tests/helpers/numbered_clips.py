"""Recordings whose pictures say which frame they are, in blocks that survive compression and scaling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from helpers.analyses import make_analysis
from metst.arrays import Image
from metst.results import Analysis, write_analysis
from metst.timeline import Series, TimeGrid
from metst.video import content_hash, write_video

BITS = 16
BLOCK_PX = 24
LEFT_PX, TOP_PX = 64, 432  # below every face of the helpers, so that barred eyes cover nothing
SIDE_PX = 512


def numbered(frame: int) -> Image:
    """A picture of 512 x 512 with the number of a frame, as blocks and, below them, the same inverted."""
    picture = np.full((SIDE_PX, SIDE_PX, 3), 96, np.uint8)
    picture[100:200, 170:280] = (178, 140, 120)
    cv2.putText(picture, f"{frame}", (150, 330), cv2.FONT_HERSHEY_SIMPLEX, 3, (230, 230, 230), 8)
    for bit in range(BITS):
        level = 235 if frame >> bit & 1 else 20
        left = LEFT_PX + bit * BLOCK_PX
        picture[TOP_PX : TOP_PX + BLOCK_PX, left : left + BLOCK_PX] = level
        picture[TOP_PX + BLOCK_PX : TOP_PX + 2 * BLOCK_PX, left : left + BLOCK_PX] = 255 - level
    return picture


READ_NUMBER = f"""
const canvas = document.querySelector("canvas.picture");
const scale = canvas.width / {SIDE_PX};
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const level = (x, y) => pixels[4 * (Math.round(y * scale) * canvas.width + Math.round(x * scale))];
let number = 0;
for (let bit = 0; bit < {BITS}; bit += 1) {{
  const x = {LEFT_PX} + (bit + 0.5) * {BLOCK_PX};
  const [upper, lower] = [level(x, {TOP_PX + BLOCK_PX / 2}), level(x, {TOP_PX + BLOCK_PX * 1.5})];
  if (Math.abs(upper - lower) < 120) return null;
  if (upper > lower) number |= 1 << bit;
}}
return number;
"""
"""Script that reads the number off the picture on the page; null where there is none to read."""


def pictures(count: int) -> Iterator[Image]:
    """Numbered pictures, from 1 on."""
    return (numbered(frame) for frame in range(1, count + 1))


def uneven_times(count: int, *, seed: int = 7) -> list[float]:
    """Timestamps of a variable frame rate: steps of 20 to 90 ms, and some of a second."""
    draw = np.random.default_rng(seed)
    steps = draw.integers(20, 91, count) / 1000
    steps[draw.integers(1, count, max(count // 200, 1))] = 1.0
    return np.cumsum([0.0, *steps[:-1]]).round(3).tolist()


def at_times(analysis: Analysis, times_s: list[float]) -> Analysis:
    """The same analysis, of frames at other times."""
    grid = TimeGrid(np.array(times_s))

    def moved(series: Series) -> Series:
        return replace(series, grid=grid)

    motion = replace(
        analysis.motion, displacement=moved(analysis.motion.displacement), face=moved(analysis.motion.face)
    )
    source = replace(analysis.source, duration_s=grid.duration_s)
    return replace(analysis, scores=moved(analysis.scores), motion=motion, source=source)


def write_numbered_results(folder: Path, *, name: str, count: int, events: int = 8, uneven: bool = False) -> Path:
    """Results of a numbered recording, with the recording in them; gives their folder."""
    results = folder / Path(name).stem
    results.mkdir(parents=True)
    times = uneven_times(count) if uneven else None
    write_video(results / name, pictures(count), rate_hz=None if times else 30, times_s=times, preset="ultrafast")
    analysis = make_analysis(duration_s=count / 30, events=events, name=name)
    if times:
        analysis = at_times(analysis, times)
    source = replace(analysis.source, path=name, content_hash=content_hash(results / name), frames=count)
    write_analysis(replace(analysis, source=source), results)
    return results
