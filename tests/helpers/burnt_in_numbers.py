"""Recordings whose pictures say which frame they are, to people and to a script that reads the page's canvas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from helpers.numbered_clips import results_of, uneven_times
from metst.arrays import Image
from metst.video import write_video

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


def write_numbered_results(folder: Path, *, name: str, count: int, events: int = 8, uneven: bool = False) -> Path:
    """Results of a numbered recording, with the recording in them; gives their folder."""
    results = folder / Path(name).stem
    results.mkdir(parents=True)
    times = uneven_times(count) if uneven else None
    write_video(results / name, pictures(count), rate_hz=None if times else 30, times_s=times, preset="ultrafast")
    results_of(results / name, results, events=events)
    return results
