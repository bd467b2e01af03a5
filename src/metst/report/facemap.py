"""A drawn face with an arrow on each region: where a movement was, and which way it went."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from metst.regions import REGIONS
from metst.report.drawing import ACCENT, LINE, MUTED, inline_svg, place

# Left half and midline of a drawn face by landmark (iBUG 300-W), origin between the outer eye corners,
# whose distance is 1; x right, y down.  The right half is its mirror image.
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

# The longest arrow has this length on the drawing; a movement under the least unit is not enlarged to it.
_ARROW: Final = 0.30
_LEAST_FULL_ARROW: Final = 0.01

Float64 = npt.NDArray[np.float64]


def drawn_landmarks() -> Float64:
    """(68, 2) landmarks of the drawn face, face units."""
    points = np.zeros((68, 2))
    for number, point in _LEFT_HALF.items():
        points[number] = point
    for right, left in _MIRRORED:
        points[right] = points[left] * (-1, 1)
    return points


def region_centres() -> Float64:
    """(18, 2) centres of the regions on the drawn face, face units."""
    points = drawn_landmarks()
    return np.array([points[list(region.landmarks)].mean(axis=0) for region in REGIONS])


def enlargement(displacement: npt.NDArray[np.float32]) -> float:
    """How many times longer than the movement the arrows are drawn."""
    return _ARROW / max(float(np.nanmax(np.linalg.norm(displacement, axis=1))), _LEAST_FULL_ARROW)


def draw_facemap(displacement: npt.NDArray[np.float32], *, key: str, label: str) -> str:
    """SVG of the face with the displacement of each region, (18, 2) in face units, enlarged."""
    figure = Figure(figsize=(2.3, 2.5))
    axes = place(figure, box=(0.0, 0.0, 2.3, 2.5))
    axes.set(xlim=(-0.95, 0.95), ylim=(1.45, -0.62), aspect="equal")
    axes.set_axis_off()
    points, centres = drawn_landmarks(), region_centres()
    outlines = [points[list(line)] for line in _OUTLINES]
    axes.add_collection(LineCollection(outlines, colors=MUTED, linewidths=0.8, alpha=0.7))
    # A coarse region says what its fine ones say together: only the fine ones get an arrow.
    coarse = {region.parent for region in REGIONS}
    shown = [i for i in range(len(REGIONS)) if i not in coarse and np.isfinite(displacement[i]).all()]
    arrows = displacement[shown].astype(np.float64) * enlargement(displacement)
    strong = np.linalg.norm(arrows, axis=1) >= _ARROW / 4
    axes.scatter(centres[shown, 0], centres[shown, 1], s=6, color=LINE, zorder=2)
    for chosen, colour, alpha in ((~strong, MUTED, 0.6), (strong, ACCENT, 1.0)):
        if chosen.any():
            axes.quiver(
                *centres[shown][chosen].T, *arrows[chosen].T, angles="xy", scale_units="xy", scale=1, units="inches",
                width=0.022, headwidth=4.5, headlength=4.5, headaxislength=4.2, minlength=0.5,
                color=colour, alpha=alpha, zorder=3,
            )  # fmt: skip
    return inline_svg(figure, key=key, label=label)
