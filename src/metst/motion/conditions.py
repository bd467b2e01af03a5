"""Conditions that make motion doubtful, frame by frame in constant memory: see :class:`metst.results.Condition`.

What is compared is always relative, to the rest of the face or to how the face looked just before, so that light,
camera and skin drop out.  Two places are looked at: points all over the regions (exposure, sharpness, what lies outside
the picture) and a small patch over each eye.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from metst.arrays import BoolArray, Float32Array, Float64Array, FloatArray, Int64Array, UInt8Array
from metst.guard.kernels import kernel, part
from metst.motion.algebra import median
from metst.motion.canonical import Grid
from metst.regions import REGION_NAMES, REGIONS
from metst.results.flags import Condition, Flags
from metst.timeline import true_runs

# Where no origin is named, a number was set by hand: see metst.motion.
_POINTS_PER_REGION = 25  # at which exposure and sharpness are looked at

# Clipped luma: video range ends at 16 and 235; full range, which goes on, has little skin beyond.
_BRIGHTEST, _DARKEST = 235, 20
_MUCH_BRIGHT, _MUCH_DARK, _MUCH_OUTSIDE = 0.3, 0.5, 0.5  # of the points of a region
# Agreement with the template, of the region and of the median region; 0.5 is what a smooth occluder gives.
_OCCLUDED, _MOST_FITS = 0.55, 0.8
_DOUBT_S, _TRUST_S = 0.1, 0.3  # over which agreement is averaged as it falls, and as it rises
_SURELY = 3  # regions that disagree at once: not by chance
_BLURRED = 0.7  # of the usual sharpness
_SHARPNESS_S = 2.0  # over which the usual sharpness is averaged
_FINE_PER_UNIT, _COARSE_STEPS = 100, 4  # detail: differences over a hundredth of a face unit, against those over four

# Patch over an eye, in widths of the eye from the middle of its corners: rows down, columns across.
_EYE_ROWS: Float32Array = np.linspace(-0.2, 0.32, 12, dtype=np.float32)
_EYE_COLUMNS: Float32Array = np.linspace(-0.35, 0.35, 9, dtype=np.float32)
# Rows of the patch: the first six, the last five, and those along the middle.
_UPPER_END, _LOWER_START, _IRIS_START, _IRIS_END = 6, 7, 1, 9
_EYE_CORNERS = ((36, 39), (42, 45))  # landmarks
_BLACK_EYE = 1e-3  # grey levels, against a division by 0
_CLOSED, _OPENED = 0.35, 0.5  # of the usual openness
_LONGEST_BLINK_S = 0.5  # eyes that stay closed are in their usual state then
_OPENING_S, _SETTLING_S = 0.3, 1.0  # over which the usual openness follows a wider eye, and a narrower one
_LEAST_OPEN = 0.02  # open eyes show 0.08 to 0.3; what shows less is closed, or hidden, to begin with

_SPOT = 1.25  # times the brightest that the eyes usually show; lids and the white of the eye stay below
_TOP = 8  # points over both eyes, of 216: the brightest few may be a reflection
# Grey levels, and times the brightest: a bright face leaves less room, and compression makes a spot softer.
_CLIPPED, _LEAST_SPOT = 220.0, 1.08
_SPOTS = 0.04  # of the points over an eye: a reflection on the eyeball is smaller
_USUAL_SPOTS_S, _USUAL_TOP_S = 1.0, 2.0  # over which spots, and the brightest of the eyes, become usual
_GLARE_LASTS_S = 0.1  # after the last change

_LEAST_SWING = 0.01  # face units: about a millimetre
_LONGEST_SWING_S = 0.3  # half a cycle of 1.7 Hz
_SHORTEST_SWING_S = 0.055  # half a cycle of 9 Hz
_SWINGS_MEMORY_S = 1.0  # in which swings are forgotten to 1/e
_SPEAKING, _SILENT = 2.7, 1.2  # swings remembered

_UNSEEN = np.array(
    [[Condition.OUT_OF_VIEW], [Condition.OVEREXPOSED], [Condition.UNDEREXPOSED], [Condition.OCCLUDED]], np.uint8
)
"""What keeps a region from being seen, in the order in which it is looked for."""

_BEFORE_S = {Condition.SPEECH: 0.7, Condition.BLINK: 0.08}
"""How long each of these has been going on when it is noticed, seconds; set by hand."""


def _indices(*names: str) -> Int64Array:
    return np.array([REGION_NAMES.index(name) for name in names])


# Indices of regions, by the places they share.
_LIDS = _indices("left lower eyelid", "right lower eyelid")
_MOUTH = np.array(
    [region.number - 1 for region in REGIONS if REGION_NAMES.index("mouth") in (region.number - 1, region.parent)]
)
_AROUND_EYES = [
    np.array([r.number - 1 for r in REGIONS if r.side == side and ("brow" in r.name or "eyelid" in r.name)])
    for side in ("left", "right")
]
_INNER_MOUTH, _LIPS = _indices("mouth centre"), np.setdiff1d(_MOUTH, _indices("mouth centre"))
_LOWER_LIP, _NOSE = _indices("lower lip"), _indices("left nose wing", "right nose wing")


@dataclass(frozen=True, eq=False)
class Sites:
    """Where the picture is looked at, in the canonical face of one anchor.

    Parameters
    ----------
    regions : (18, P, 2) float32
        Points inside each region, face units.
    eyes : (2, rows, columns, 2) float32
        Points of the patch over each eye, face units.
    """

    regions: Float32Array
    eyes: Float32Array


def make_sites(grid: Grid, masks: Float32Array, *, landmarks: Float32Array) -> Sites:
    """Choose the points.

    Parameters
    ----------
    grid : Grid
        Where the masks lie.
    masks : (18, rows * columns) float32
        Share of each pixel in each region.
    landmarks : (68, 2) float32
        Canonical landmarks, face units.
    """
    x, y = grid.coordinates()
    pixels = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(-1, 2)
    regions = np.empty((len(masks), _POINTS_PER_REGION, 2), np.float32)
    for points, mask, region in zip(regions, masks, REGIONS, strict=True):
        inside = np.flatnonzero(mask > 0.5 * mask.max())
        if inside.size:
            points[:] = pixels[inside[np.linspace(0, len(inside) - 1, _POINTS_PER_REGION).astype(int)]]
        else:  # a turned head: the eye corners come together, and what lies far below them leaves the frame
            points[:] = landmarks[list(region.landmarks)].mean(axis=0)
    eyes = np.empty((2, len(_EYE_ROWS), len(_EYE_COLUMNS), 2), np.float32)
    for patch, (first, last) in zip(eyes, _EYE_CORNERS, strict=True):
        # Corners stay where they are when the lids close; the other points of the mesh do not.
        along = landmarks[last] - landmarks[first]
        down = np.array([-along[1], along[0]])
        patch[:] = (landmarks[first] + landmarks[last]) / 2 + _EYE_COLUMNS[:, None] * along
        patch += _EYE_ROWS[:, None, None] * down
    return Sites(regions, eyes)


@kernel()
def _look(
    grey: UInt8Array,
    warp: Float32Array,
    regions: Float32Array,
    eyes: Float32Array,
    step: int,
    counts: Float32Array,
    patches: Float32Array,
) -> tuple[float, float]:
    """Look at the sites in a frame; returns the share of fine detail, -1 where there is none to tell, and the mean
    grey level of the regions.

    ``warp`` (4,) maps face units to pixels; ``step`` is the finest distance compared, pixels.  Written are ``counts``
    (18, 3), the points of each region that are outside, too bright, too dark; and ``patches`` (2, rows, columns), the
    grey levels over the eyes, each 0 outside the picture.
    """
    height, width = grey.shape
    a, b, shift_x, shift_y = warp
    fine, coarse, reach = 0.0, 0.0, _COARSE_STEPS * step
    total, seen = 0.0, 0
    counts[:] = 0
    for region in range(regions.shape[0]):
        for k in range(regions.shape[1]):
            x, y = regions[region, k]
            column, row = int(a * x - b * y + shift_x + 0.5), int(b * x + a * y + shift_y + 0.5)
            if column < 0 or row < 0 or column >= width or row >= height:
                counts[region, 0] += 1
                continue
            level = float(grey[row, column])
            total, seen = total + level, seen + 1
            counts[region, 1] += level >= _BRIGHTEST
            counts[region, 2] += level <= _DARKEST
            if column + reach + 1 < width and row + reach + 1 < height:
                # Products of neighbouring differences: noise, independent in them, cancels out.
                beside, below = float(grey[row, column + 1]), float(grey[row + 1, column])
                fine += (grey[row, column + step] - level) * (grey[row + 1, column + step] - below)
                fine += (grey[row + step, column] - level) * (grey[row + step, column + 1] - beside)
                coarse += (grey[row, column + reach] - level) * (grey[row + 1, column + reach] - below)
                coarse += (grey[row + reach, column] - level) * (grey[row + reach, column + 1] - beside)
    for eye in range(2):
        for i in range(eyes.shape[1]):
            for j in range(eyes.shape[2]):
                x, y = eyes[eye, i, j]
                at_x, at_y = a * x - b * y + shift_x, b * x + a * y + shift_y
                patches[eye, i, j] = 0
                if at_x < 0 or at_y < 0 or at_x >= width - 1 or at_y >= height - 1:
                    continue
                left, top = int(at_x), int(at_y)
                u, v = at_x - left, at_y - top
                upper = (1 - u) * grey[top, left] + u * grey[top, left + 1]
                lower = (1 - u) * grey[top + 1, left] + u * grey[top + 1, left + 1]
                patches[eye, i, j] = (1 - v) * upper + v * lower
    return fine / coarse if coarse > 0 else -1.0, total / max(seen, 1)


def openness(patches: Float32Array) -> float:
    """How open both eyes are, from their patches ``(2, rows, columns)``: 0 or less is closed, the scale is personal.

    An open eye is darker in its upper half (iris, lashes, shadow of the lid) than below, and varies along its middle
    (iris, white).  A lid that closes makes the first difference vanish as lashes come down, and the second as skin is
    all there is.  Raised brows take away the first by bringing light, but widen the eye and add to the second; a wink
    leaves half.  Hence the product, of differences relative to the patch's mean.
    """
    return float(_openness(patches))


@kernel()
def _openness(patches: Float32Array) -> float:
    """:func:`openness`; as a kernel, for it is wanted in every frame."""
    total, (eyes, rows, columns) = 0.0, patches.shape
    for eye in range(eyes):
        whole, above, below = np.float32(0), 0.0, 0.0
        for row in range(rows):
            for column in range(columns):
                whole += patches[eye, row, column]
        mean, middle = _BLACK_EYE + whole / (rows * columns), np.zeros(columns)
        for row in range(rows):
            along = np.float32(0)
            for column in range(columns):
                along += patches[eye, row, column]
            level = along / columns
            if row < _UPPER_END:
                above += level / _UPPER_END
            elif row >= _LOWER_START:
                below += level / (rows - _LOWER_START)
            if _IRIS_START <= row < _IRIS_END:
                for column in range(columns):
                    middle[column] += patches[eye, row, column] / (_IRIS_END - _IRIS_START)
        total += max(below - above, 0.0) * _deviation(middle) / mean**2
    return total


@part()
def _deviation(values: Float64Array) -> float:
    """Standard deviation; Numba's own takes longer to compile."""
    mean, squares = 0.0, 0.0
    for value in values:
        mean += value
    mean /= len(values)
    for value in values:
        squares += (value - mean) * (value - mean)
    return float((squares / len(values)) ** 0.5)


@dataclass
class BlinkWatch:
    """Tells blinks from the openness of the eyes; eyes kept closed, or cast down, become the usual state."""

    usual: float = 0.0
    since_s: float | None = None

    def update(self, opened: float, *, time_s: float, elapsed_s: float) -> bool:
        """Whether the eyes are within a blink."""
        # Narrow eyes and low light leave little to lose: what is closed to begin with does not blink.
        if self.since_s is not None:
            if time_s - self.since_s > _LONGEST_BLINK_S:
                self.usual = opened
            if opened >= _OPENED * self.usual:
                self.since_s = None
        elif self.usual > _LEAST_OPEN and opened < _CLOSED * self.usual:
            self.since_s = time_s
        if self.since_s is None:
            slow_s = _OPENING_S if opened > self.usual else _SETTLING_S
            self.usual += (1 - math.exp(-elapsed_s / slow_s)) * (opened - self.usual)
        return self.since_s is not None


@dataclass
class GlareWatch:
    """Tells bright spots that come, move or go over an eye, as on glasses, from the eye itself.

    A spot is brighter, against the face, than anything the eyes usually show.  One that stays where it is on the face
    becomes usual; it hides the skin, but does not move it.
    """

    top: float = 0.0
    spots: Float32Array | None = None
    seen_s: FloatArray = field(default_factory=lambda: np.full(2, -math.inf))

    def update(self, patches: Float32Array, *, level: float, time_s: float, elapsed_s: float) -> BoolArray:
        """Over which eyes there is glare, ``(2,)``; ``level`` is the mean grey level of the face."""
        level = max(level, 1.0)
        brightest = float(np.partition(patches, -_TOP, axis=None)[-_TOP]) / level
        usual = (self.top if self.top else brightest) * level
        limit = min(_SPOT * usual, max(_CLIPPED, _LEAST_SPOT * usual))
        spots = (patches > limit).astype(np.float32)
        if self.spots is None:
            self.spots, self.top = spots, brightest
        usual_s, top_s = 1 - math.exp(-elapsed_s / _USUAL_SPOTS_S), 1 - math.exp(-elapsed_s / _USUAL_TOP_S)
        changed = (np.abs(spots - self.spots) > 0.5).mean(axis=(1, 2)) > _SPOTS
        self.spots += np.float32(usual_s) * (spots - self.spots)
        self.top += top_s * (brightest - self.top)
        self.seen_s[changed] = time_s
        return np.asarray(time_s - self.seen_s < _GLARE_LASTS_S, bool)


@dataclass
class SpeechWatch:
    """Tells sustained swings of the lower lip at the rate of syllables (2-8 Hz) from single movements."""

    turned_s: float = -math.inf
    extreme: float = 0.0
    extreme_s: float = 0.0
    rising: bool = True
    swings: float = 0.0
    speaking: bool = False

    def update(self, opened: float, *, time_s: float, elapsed_s: float) -> bool:
        """Whether the mouth speaks; ``opened`` is how low the lower lip is, face units."""
        self.swings *= math.exp(-elapsed_s / _SWINGS_MEMORY_S)
        away = (opened - self.extreme) if self.rising else (self.extreme - opened)
        if away >= 0:
            self.extreme, self.extreme_s = opened, time_s
        elif -away > _LEAST_SWING:
            self.swings += _SHORTEST_SWING_S <= self.extreme_s - self.turned_s <= _LONGEST_SWING_S
            self.turned_s, self.rising = self.extreme_s, not self.rising
            self.extreme, self.extreme_s = opened, time_s
        self.speaking = self.swings > (_SILENT if self.speaking else _SPEAKING)
        return self.speaking


@dataclass(eq=False)
class ConditionWatch:
    """Follows one stretch of a face and names the conditions of each of its frames."""

    last_s: float | None = None
    sharpness: float = 0.0
    agreement: Float32Array = field(default_factory=lambda: np.ones(len(REGIONS), np.float32))
    blink: BlinkWatch = field(default_factory=BlinkWatch)
    glare: GlareWatch = field(default_factory=GlareWatch)
    speech: SpeechWatch = field(default_factory=SpeechWatch)
    _sites: Sites | None = None
    _counts: Float32Array = field(default_factory=lambda: np.empty((len(REGIONS), 3), np.float32))
    _patches: Float32Array = field(default_factory=lambda: np.empty((2, len(_EYE_ROWS), len(_EYE_COLUMNS)), np.float32))

    def update(
        self,
        grey: UInt8Array,
        *,
        time_s: float,
        sites: Sites,
        scale: complex,
        shift: complex,
        displacement: Float32Array,
        agreement: Float32Array,
    ) -> Flags:
        """Conditions of the next frame.

        Parameters
        ----------
        grey : (H, W) uint8
            The frame.
        time_s : float
            Its timestamp.
        sites : Sites
            Where to look, canonical.
        scale, shift : complex
            Face units to pixels of the frame, ``p -> scale p + shift``.
        displacement : (18, 2) float32
            Motion of the regions, face units.
        agreement : (18,) float32
            How well the frame agrees with the template in each region, in [0, 1].

        Returns
        -------
        (18,) uint8
            Sets of :class:`metst.results.Condition`.
        """
        elapsed_s = 0.0 if self.last_s is None else time_s - self.last_s
        warp = np.array([scale.real, scale.imag, shift.real, shift.imag], np.float32)
        step = max(1, round(abs(scale) / _FINE_PER_UNIT))
        sharp, level = _look(grey, warp, sites.regions, sites.eyes, step, self._counts, self._patches)
        flags = self._seen(agreement, elapsed_s=elapsed_s)
        if self._is_blurred(sharp, sites=sites, elapsed_s=elapsed_s):
            flags |= np.uint8(Condition.BLURRED)
        for eye in np.flatnonzero(self.glare.update(self._patches, level=level, time_s=time_s, elapsed_s=elapsed_s)):
            flags[_AROUND_EYES[eye]] |= np.uint8(Condition.GLARE)
        opened = openness(self._patches)
        if self.last_s is None:
            self.blink.usual = opened
        if self.blink.update(opened, time_s=time_s, elapsed_s=elapsed_s):
            flags[_LIDS] |= np.uint8(Condition.BLINK)
        lip = float(displacement[_LOWER_LIP, 1].mean() - displacement[_NOSE, 1].mean())
        if (flags[_MOUTH] & Condition.OCCLUDED).any():
            self.speech = SpeechWatch(extreme=lip, extreme_s=time_s)
        elif self.speech.update(lip, time_s=time_s, elapsed_s=elapsed_s):
            flags[_MOUTH] |= np.uint8(Condition.SPEECH)
        self.last_s = time_s
        return flags

    def _seen(self, agreement: Float32Array, *, elapsed_s: float) -> Flags:
        """What keeps each region from being seen."""
        outside, bright, dark = self._counts.T / _POINTS_PER_REGION
        unseen = outside > _MUCH_OUTSIDE
        hidden = self._hidden(agreement, elapsed_s=elapsed_s) & ~unseen
        found = unseen, bright > _MUCH_BRIGHT, dark > _MUCH_DARK, hidden
        return np.asarray(np.bitwise_or.reduce(_UNSEEN * np.array(found)), np.uint8)

    def _is_blurred(self, sharp: float, *, sites: Sites, elapsed_s: float) -> bool:
        if sharp < 0:
            return False
        if self._sites is not sites:  # other points, other detail
            self._sites, self.sharpness = sites, sharp
        self.sharpness += (1 - math.exp(-elapsed_s / _SHARPNESS_S)) * (sharp - self.sharpness)
        return sharp < _BLURRED * self.sharpness

    def _hidden(self, agreement: Float32Array, *, elapsed_s: float) -> BoolArray:
        """Which regions do not look like themselves while most do."""
        doubt, trust = (np.float32(1 - math.exp(-elapsed_s / slow_s)) for slow_s in (_DOUBT_S, _TRUST_S))
        if (agreement < _OCCLUDED).sum() >= _SURELY:
            doubt = np.float32(1)  # the anchor may be placed anew on what hides the face, and then all agrees
        change = agreement - self.agreement
        self.agreement += np.where(change < 0, doubt, trust) * change
        hidden: BoolArray = np.asarray(self.agreement < _OCCLUDED, bool)
        if median(self.agreement) < _MOST_FITS:
            hidden[:] = False
        # An opening mouth changes its inside, an occluder a lip as well.
        elif not hidden[_LIPS].any():
            hidden[_INNER_MOUTH] = False
        return hidden


def outside_picture(landmarks: Float32Array, *, shape: tuple[int, ...]) -> Flags:
    """Conditions of a frame that was not measured, as far as its landmarks ``(68, 2)`` (pixels) tell: (18,) uint8."""
    outside = np.asarray(((landmarks < 0) | (landmarks >= shape[1::-1])).any(axis=1))
    share = np.array([outside[list(region.landmarks)].mean() for region in REGIONS])
    return (Condition.OUT_OF_VIEW * (share > _MUCH_OUTSIDE)).astype(np.uint8)


def backdated(conditions: Flags, *, time_s: Float64Array) -> Flags:
    """Let blinks and speech begin where they began, not where they were noticed.

    Parameters
    ----------
    conditions : (T, 18) uint8
        Frame by frame, from :meth:`ConditionWatch.update`.
    time_s : (T,) float64
        Timestamps.
    """
    result = conditions.copy()
    for condition, before_s in _BEFORE_S.items():
        regions = np.flatnonzero((conditions & condition).any(axis=0))
        for run in true_runs(np.asarray((conditions & condition).any(axis=1))):
            first = int(np.searchsorted(time_s, time_s[run.start] - before_s))
            result[first : run.start, regions] |= np.uint8(condition)
    return result
