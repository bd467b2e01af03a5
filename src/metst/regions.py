"""The 18 facial regions as a table, nothing else.

Landmarks are the 68 points of the iBUG 300-W scheme, counted from 0.  *Left* and *right* are
sides of the image, not of the person.  ``REGIONS[i]`` has number ``i + 1``; ``parent`` and
``mirror`` are indices into :data:`REGIONS`.

The published geometry (ME-TST+, arXiv 2508.08082; BoostingVRME, arXiv 2508.18834) is in pixels
of the square face crop, :data:`CROP_PX` on a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

LANDMARK_COUNT: Final = 68
"""Points of the iBUG 300-W scheme."""

INNER_POINTS: Final = slice(17, LANDMARK_COUNT)
"""Landmarks inside the face; those before them lie along the jaw."""

OUTER_EYE_CORNERS: Final = (36, 45)
"""Landmarks, left and right in the picture; they lie one face unit apart."""

CROP_PX: Final = 320
"""Side of the published face crop, pixels."""

AXES: Final = ("x", "y")
"""To the image's right, and down."""

Side = Literal["left", "right", "centre"]


@dataclass(frozen=True)
class Edges:
    """Four distances in crop pixels."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Patch:
    """Rectangle of the crop in which optical flow is computed.

    Parameters
    ----------
    points : tuple of int
        Landmarks whose bounding box ``[min, max)`` the patch is built on.
    margin : Edges
        How far the patch reaches beyond that box.
    clip_top, clip_left : bool
        Whether that edge stops at the crop's border.
    rows_below : tuple of float, optional
        For the lower eyelids: first and last row below the middle of the box, in units of half
        the box's width; takes the place of the margins above and below.
    """

    points: tuple[int, ...]
    margin: Edges
    clip_top: bool = False
    clip_left: bool = True
    rows_below: tuple[float, float] | None = None


@dataclass(frozen=True)
class Pooling:
    """Which flow vectors the published extractor averages into one region's motion.

    Parameters
    ----------
    patch : Patch
        Where the flow comes from.
    share : float
        Share of the pixels, those with the largest displacement, that is averaged.
    cut : Edges
        Without ``point`` the border dropped from the patch; with it the reach around that landmark.
    point : int, optional
        Landmark around which the pixels are taken.
    low_patch_bottom : int, optional
        Bottom border dropped in place of ``cut.bottom`` when the patch is too low for both borders.
    """

    patch: Patch
    share: float
    cut: Edges
    point: int | None = None
    low_patch_bottom: int | None = None


@dataclass(frozen=True)
class Region:
    """One region of interest.

    Parameters
    ----------
    number : int
        Position in the published channel order, from 1.
    name : str
        What people call it.
    side : {"left", "right", "centre"}
        Side of the image.
    landmarks : tuple of int
        A coarse region's outline, or the one point a fine region surrounds.
    parent : int or None
        Index of the coarse region that a fine one lies in.
    mirror : int
        Index of the region on the other half of the face; its own on the midline.
    published : Pooling
        Geometry and share of the published extractor.
    """

    number: int
    name: str
    side: Side
    landmarks: tuple[int, ...]
    parent: int | None
    mirror: int
    published: Pooling


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def _square(patch: Patch, share: float, *, point: int) -> Pooling:
    return Pooling(patch, share, _REACH, point=point)


# Crop pixels and shares are those of the published code, BoostingVRME; ME-TST has five of the regions.
_TRIM = Edges(10, 10, 10, 10)  # border of a coarse patch
_REACH = Edges(10, 10, 10, 10)  # around the landmark of a fine region
_LEFT_BROW = Patch(_span(17, 21), Edges(15, 5, 5, 0), clip_top=True)
_RIGHT_BROW = Patch(_span(22, 26), Edges(15, 5, 0, 0), clip_top=True, clip_left=False)
_MOUTH = Patch(_span(48, 66), Edges(15, 10, 20, 20))
_NOSE = Patch(_span(30, 35), Edges(20, 5, 30, 30))
_LEFT_LID = Patch(_span(36, 41), Edges(0, 0, 0, 0), rows_below=(0.5, 1.5))
_RIGHT_LID = Patch(_span(42, 47), Edges(0, 0, 0, 0), rows_below=(0.5, 1.5))
_LID_TRIM = Edges(5, 5, 5, 5)

REGIONS: Final[tuple[Region, ...]] = (
    Region(1, "left brow", "left", _span(17, 21), None, 4, Pooling(_LEFT_BROW, 0.3, _TRIM, low_patch_bottom=4)),
    Region(2, "left brow inner", "left", (20,), 0, 5, _square(_LEFT_BROW, 0.2, point=20)),
    Region(3, "left brow middle", "left", (19,), 0, 6, _square(_LEFT_BROW, 0.2, point=19)),
    Region(4, "left brow outer", "left", (18,), 0, 7, _square(_LEFT_BROW, 0.2, point=18)),
    Region(5, "right brow", "right", _span(22, 26), None, 0, Pooling(_RIGHT_BROW, 0.3, _TRIM)),
    Region(6, "right brow inner", "right", (23,), 4, 1, _square(_RIGHT_BROW, 0.3, point=23)),
    Region(7, "right brow middle", "right", (24,), 4, 2, _square(_RIGHT_BROW, 0.3, point=24)),
    Region(8, "right brow outer", "right", (25,), 4, 3, _square(_RIGHT_BROW, 0.3, point=25)),
    Region(9, "mouth", "centre", _span(48, 66), None, 8, Pooling(_MOUTH, 0.3, _TRIM)),
    Region(10, "left mouth corner", "left", (48,), 8, 10, Pooling(_MOUTH, 0.2, Edges(10, 10, 10, 20), point=48)),
    Region(11, "right mouth corner", "right", (54,), 8, 9, Pooling(_MOUTH, 0.2, Edges(10, 10, 20, 10), point=54)),
    Region(12, "upper lip", "centre", (51,), 8, 11, _square(_MOUTH, 0.2, point=51)),
    Region(13, "lower lip", "centre", (57,), 8, 12, _square(_MOUTH, 0.2, point=57)),
    Region(14, "mouth centre", "centre", (62,), 8, 13, _square(_MOUTH, 0.2, point=62)),
    Region(15, "left nose wing", "left", (31,), None, 15, Pooling(_NOSE, 0.2, Edges(20, 5, 20, 10), point=31)),
    Region(16, "right nose wing", "right", (35,), None, 14, Pooling(_NOSE, 0.2, Edges(20, 5, 10, 20), point=35)),
    Region(17, "left lower eyelid", "left", _span(36, 41), None, 17, Pooling(_LEFT_LID, 0.3, _LID_TRIM)),
    Region(18, "right lower eyelid", "right", _span(42, 47), None, 16, Pooling(_RIGHT_LID, 0.3, _LID_TRIM)),
)
"""The published order, coarse regions and the fine ones inside them."""

MIRRORED: Final = [region.mirror for region in REGIONS]
"""Positions of the regions after left and right are swapped."""

HEAD: Final = Pooling(Patch((29, 30), Edges(13, 13, 13, 13), clip_left=False), 0.7, Edges(15, 10, 5, 5))
"""The nose tip, whose motion stands for the head's and is subtracted from every region."""

REGION_NAMES: Final[tuple[str, ...]] = tuple(region.name for region in REGIONS)
"""In the published order."""

METST_REGIONS: Final = (0, 4, 8, 14, 15)
"""Indices of the five regions that ME-TST (arXiv 2409.09707) reads."""

CHANNEL_NAMES: Final[tuple[str, ...]] = tuple(f"{name} {axis}" for name in REGION_NAMES for axis in AXES)
"""Names of the 36 channels of ME-TST+: per region x (to the image's right), then y (down)."""

METST_CHANNELS: Final[tuple[int, ...]] = tuple(2 * index + axis for index in METST_REGIONS for axis in range(len(AXES)))
"""Where ME-TST's ten channels are among the 36."""
