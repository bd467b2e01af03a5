"""A drawn face with an arrow on each region: where a movement was, and which way it went."""

from __future__ import annotations

from typing import Final

import numpy as np

from metst.arrays import Float32Array, Float64Array
from metst.regions import LANDMARK_COUNT, REGIONS
from metst.report.drawing import ACCENT, LINE, MUTED, Box, Drawing, Panel, add, stroke

# Left half and midline of a drawn face by landmark (iBUG 300-W), origin between the outer eye corners,
# whose distance is 1; x right, y down.  The right half is its mirror image.  Set by hand: it is nobody's face.
_LEFT_HALF: Final = {
    0: (-0.80, -0.02), 1: (-0.79, 0.20), 2: (-0.76, 0.42), 3: (-0.71, 0.64), 4: (-0.63, 0.86),
    5: (-0.51, 1.06), 6: (-0.35, 1.22), 7: (-0.17, 1.32), 8: (0.0, 1.35),
    17: (-0.62, -0.19), 18: (-0.52, -0.29), 19: (-0.39, -0.33), 20: (-0.26, -0.31), 21: (-0.14, -0.25),
    27: (0.0, -0.02), 28: (0.0, 0.14), 29: (0.0, 0.29), 30: (0.0, 0.44),
    31: (-0.17, 0.52), 32: (-0.09, 0.55), 33: (0.0, 0.57),
    36: (-0.50, 0.0), 37: (-0.41, -0.07), 38: (-0.28, -0.07), 39: (-0.18, 0.02), 40: (-0.28, 0.06), 41: (-0.40, 0.06),
    48: (-0.30, 0.84), 49: (-0.19, 0.79), 50: (-0.07, 0.75), 51: (0.0, 0.77),
    57: (0.0, 0.98), 58: (-0.09, 0.97), 59: (-0.20, 0.93),
    60: (-0.26, 0.845), 61: (-0.09, 0.83), 62: (0.0, 0.835), 66: (0.0, 0.87), 67: (-0.09, 0.865),
}  # fmt: skip
_MIRRORED: Final = (
    *zip(range(9, 17), range(7, -1, -1), strict=True),
    *zip(range(22, 27), range(21, 16, -1), strict=True),
    (34, 32), (35, 31), (42, 39), (43, 38), (44, 37), (45, 36), (46, 41), (47, 40),
    (52, 50), (53, 49), (54, 48), (55, 59), (56, 58), (63, 61), (64, 60), (65, 67),
)  # fmt: skip
_OUTLINES: Final = (
    range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36), (*range(36, 42), 36), (*range(42, 48), 42),
    (*range(48, 60), 48), (*range(60, 68), 60),
)  # fmt: skip

# Size of the drawing in points; what of the face's plane it shows, face units.  Set by hand, as is all that follows.
_WIDTH, _HEIGHT = 166.0, 180.0
_ACROSS, _DOWN = (-0.95, 0.95), (1.44, -0.62)
_HEAD_PT, _SHORTEST_PT = 7.0, 0.8  # of an arrow: its head; under which it is left out
_DOT_PT: Final = 2.6  # width of the dot at a region

# The longest arrow has this length on the drawing, face units; a movement under the least is not enlarged to it.
_ARROW: Final = 0.30
_LEAST_FULL_ARROW: Final = 0.01
_STRONG: Final = 1 / 4  # arrows under this share of the longest are pale


def drawn_landmarks() -> Float64Array:
    """(68, 2) landmarks of the drawn face, face units."""
    points = np.zeros((LANDMARK_COUNT, 2))
    for number, point in _LEFT_HALF.items():
        points[number] = point
    for right, left in _MIRRORED:
        points[right] = points[left] * (-1, 1)
    return points


def region_centres() -> Float64Array:
    """(18, 2) centres of the regions on the drawn face, face units."""
    points = drawn_landmarks()
    return np.array([points[list(region.landmarks)].mean(axis=0) for region in REGIONS])


def enlargement(displacement: Float32Array) -> float:
    """How many times longer than the movement the arrows are drawn."""
    return _ARROW / max(float(np.nanmax(np.linalg.norm(displacement, axis=1))), _LEAST_FULL_ARROW)


def draw_facemap(displacement: Float32Array, *, key: str, label: str) -> str:
    """SVG of the face with the displacement of each region, (18, 2) in face units, enlarged."""
    drawing = Drawing(_WIDTH, _HEIGHT, key=key, label=label)
    panel = drawing.panel(Box(0, 0, _WIDTH, _HEIGHT), x=_ACROSS, y=_DOWN)
    points, centres = drawn_landmarks(), region_centres()
    nowhere = np.full((1, 2), np.nan)  # parts one outline from the next
    outlines = [part for line in _OUTLINES for part in (points[list(line)], nowhere)]
    panel.curve(*np.concatenate(outlines).T, colour=MUTED, width=0.6)
    # A coarse region says what its fine ones say together: only the fine ones get an arrow.
    coarse = {region.parent for region in REGIONS}
    shown = [i for i in range(len(REGIONS)) if i not in coarse and np.isfinite(displacement[i]).all()]
    arrows = displacement.astype(np.float64) * enlargement(displacement)
    places = np.column_stack(panel.at(*centres[shown].T))
    dots = "".join(f"M{_pair(place)}h0" for place in places)  # lines without a length, and with round ends
    add(drawing.root, "path", {"d": dots, "style": f"{stroke(LINE, width=_DOT_PT)};stroke-linecap:round"})
    for i in sorted(shown, key=lambda i: float(np.linalg.norm(arrows[i]))):
        _draw_arrow(panel, centres[i], arrows[i])
    return drawing.svg()


def _draw_arrow(panel: Panel, start: Float64Array, arrow: Float64Array) -> None:
    """A shaft and a head; arrows much shorter than the longest are pale."""
    strong = float(np.linalg.norm(arrow)) >= _ARROW * _STRONG
    colour, opacity = (ACCENT, "") if strong else (MUTED, ";opacity:.6")
    (x0, x1), (y0, y1) = panel.at(*np.stack([start, start + arrow]).T)
    length = float(np.hypot(x1 - x0, y1 - y0))
    if length < _SHORTEST_PT:
        return
    along = np.array([x1 - x0, y1 - y0]) / length
    head = min(_HEAD_PT, length)
    neck = np.array([x1, y1]) - head * along
    aside = 0.5 * head * np.array([-along[1], along[0]])
    add(
        panel.drawing.root,
        "path",
        {"d": f"M{x0:.1f} {y0:.1f}L{_pair(neck)}", "style": stroke(colour, width=1.6) + opacity},
    )
    path = f"M{x1:.1f} {y1:.1f}L{_pair(neck + aside)}L{_pair(neck - aside)}Z"
    add(panel.drawing.root, "path", {"d": path, "style": f"fill:{colour}{opacity}"})


def _pair(point: Float64Array) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
