"""What a network is trained on: windows of the training subjects' videos, a target for every frame.

The motion of all videos lies in one array, one stretch behind the other; a window is a place in it.
Windows overlap by half and would take twice the memory if they were cut out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metst.arrays import BoolArray, Float32Array, Int8Array, Int64Array, IntArray, UInt8Array
from metst.config import InputSettings
from metst.datasets.features import FeatureIndex, FeatureVideo, read_motion
from metst.errors import DataError
from metst.inference import network_input
from metst.inference.signal import GapHold, QualityHold
from metst.labels import CLASSES, NEUTRAL, frame_labels, half_duration
from metst.published.facts import SCALE, TRAINING
from metst.timeline import Series, TimeGrid, true_runs
from metst.training.recipes import Recipe, WindowPlan

IGNORED = -1
"""Class of a frame of a micro-expression whose emotion no map knows: it counts for spotting only."""

# Timestamps carry rounding: a frame that is early by less than this share of a frame is on time.
_FRAME_TOLERANCE = 1e-3
# For data sets without a published plan: the rate nearest to this one that divides the videos', ...
_NETWORK_HZ = 30.0
# ... and windows of so many median durations, which gives the published 30 of SAMM-LV and 50 of CAS(ME)3.
_DURATIONS_PER_WINDOW = 2.4
# Frames; a shorter one has nothing around a micro-expression.  Set by hand.
_SHORTEST_WINDOW = 8
# Room for the frames of a video whose rate changes or that has gaps: a share more, and some.  Set by hand.
_ROOM_SHARE, _ROOM_FRAMES = 1.01, 8


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """Windows chosen for training.

    Parameters
    ----------
    motion : (F, C) float32
        Input of the network over all stretches.
    score : (F,) uint8
        1 inside a micro-expression.
    label : (F,) int8
        Class, or :data:`IGNORED`.
    starts : (W,) int64
        First frame of each window.
    window : int
        Frames per window, ``k``.
    with_event : int
        How many of them hold a frame of a micro-expression; these come first.
    """

    motion: Float32Array
    score: UInt8Array
    label: Int8Array
    starts: Int64Array
    window: int
    with_event: int

    def __len__(self) -> int:
        return len(self.starts)

    def frames(self, rows: IntArray) -> Int64Array:
        """Frames ``(b, k)`` of some windows."""
        return np.asarray(self.starts[rows][:, None] + np.arange(self.window))

    def inputs(self, rows: IntArray, *, gain: Float32Array) -> Float32Array:
        """Motion ``(b, C, k)`` of some windows against their first frame, times their gain ``(b,)``."""
        x = self.motion[self.frames(rows)]
        x -= x[:, :1].copy()
        x *= gain[:, None, None]
        return np.ascontiguousarray(x.transpose(0, 2, 1))

    def class_weights(self, *, strategy: int, neutral_factor: float) -> Float32Array:
        """Weights ``(5,)`` of the cross-entropy: all classes count alike, then neutral by its factor.

        A class weighs ``frames / (classes * frames of the class)`` over the frames of all windows; one without
        any frame weighs 0, and so does neutral under strategy 0.
        """
        counts = np.zeros(len(CLASSES), np.int64)
        for start in self.starts:
            label = self.label[start : start + self.window]
            counts += np.bincount(label[label != IGNORED], minlength=len(CLASSES))
        present = counts > 0
        weights = np.zeros(len(CLASSES))
        weights[present] = counts.sum() / (present.sum() * counts[present])
        weights[NEUTRAL] *= 0.0 if strategy == 0 else neutral_factor
        return weights.astype(np.float32)


def window_plan(recipe: Recipe, index: FeatureIndex, subjects: tuple[str, ...]) -> WindowPlan:
    """The recipe's plan for this data set, or one derived from the training subjects' videos.

    Derived: the network reads every n-th frame so that the rate comes nearest to 30 per second (200 gives every
    7th, 30 every one); a window lasts 2.4 times the median micro-expression, at least 8 frames.

    Raises
    ------
    DataError
        There is no micro-expression.
    """
    if index.data_set in recipe.plans:
        return recipe.plans[index.data_set]
    videos = [video for video in index.of(subjects) if video.file and video.rate_hz]
    durations_s = [(event.offset - event.onset) / video.rate_hz for video in videos for event in video.micro]
    if not durations_s:
        raise _nothing_to_learn(subjects)
    native_hz = float(np.median([video.rate_hz for video in videos]))
    rate_hz = native_hz / max(1, round(native_hz / _NETWORK_HZ))
    half = round(_DURATIONS_PER_WINDOW * float(np.median(durations_s)) * rate_hz / 2)
    window = max(2 * half, _SHORTEST_WINDOW)
    return WindowPlan(rate_hz=rate_hz, window=window, batch_size=32, neutral_ratio=1.0)


def input_settings(recipe: Recipe, plan: WindowPlan) -> InputSettings:
    """How motion becomes the input of the network, as published: against the first frame of each window."""
    common = InputSettings(rate_hz=plan.rate_hz, regions=recipe.regions, reference="window", scale=SCALE)
    if not recipe.as_published:
        return common
    return common.model_copy(update={"sampling": "latest", "gaps": "still", "min_quality": 0.0})


def typical_half_duration(
    folder: Path, index: FeatureIndex, subjects: tuple[str, ...], *, recipe: Recipe, plan: WindowPlan
) -> int:
    """``k_p`` of these subjects, in frames of the network (:func:`metst.labels.half_duration`), at least 1."""
    ends = [np.zeros((0, 2), np.int64)]
    for video in index.of(subjects):
        if video.file and video.micro:
            motion = read_motion(folder, video)
            ends.append(network_frames(video, motion.grid, start_s=motion.grid.time_s[0], rate_hz=plan.rate_hz))
    first, last = np.concatenate(ends).T
    if not len(first):
        raise _nothing_to_learn(subjects)
    return max(1, half_duration(first, last + 1, statistic=recipe.statistic))


def training_windows(
    folder: Path,
    index: FeatureIndex,
    subjects: tuple[str, ...],
    *,
    recipe: Recipe,
    plan: WindowPlan,
    seed: int,
) -> TrainingWindows:
    """Choose windows: every one with a frame of a micro-expression, and neutral ones at random.

    Windows start every half window in every stretch with a face, as published in the whole video; what is left at
    its end is not used, as published.  Without ``recipe.background`` only videos with micro-expressions count, as
    published.

    Parameters
    ----------
    folder : Path
        Of the features.
    index : FeatureIndex
        Its index.
    subjects : tuple of str
        Training subjects.
    recipe, plan
        What is chosen.
    seed : int
        Of the choice of neutral windows.

    Raises
    ------
    DataError
        No window holds a micro-expression, or a file does not fit.
    """
    videos = [v for v in index.of(subjects) if v.file and (v.micro or recipe.background)]
    settings = input_settings(recipe, plan)
    stretches = _Joined(_expected_frames(videos, rate_hz=plan.rate_hz), channels=2 * len(settings.regions))
    starts: list[int] = []
    hard: list[bool] = []
    for video in videos:
        motion = read_motion(folder, video)
        for stretch in input_stretches(motion.displacement, motion.quality, settings=settings):
            inside = window_starts(len(stretch), window=plan.window)
            starts += [stretches.length + start for start in inside]
            hard += _hold_negatives(video, motion.grid, grid=stretch.grid, plan=plan, starts=inside)
            targets = frame_targets(video, motion.grid, grid=stretch.grid, rate_hz=plan.rate_hz)
            stretches.append(stretch.values, *targets)
    motion_, score, label = stretches.arrays()
    chosen, with_event = _chosen(
        np.array(starts, np.int64), score, hard=np.array(hard, bool), recipe=recipe, plan=plan, seed=seed
    )
    if not with_event:
        raise _nothing_to_learn(subjects)
    return TrainingWindows(motion_, score, label, chosen, plan.window, with_event)


def window_starts(frames: int, *, window: int) -> range:
    """First frames of the windows of a stretch: every half window, as many as fit, as published."""
    return range(0, frames - window + 1, window // 2)


def _nothing_to_learn(subjects: Sequence[str]) -> DataError:
    return DataError(
        f"no micro-expression to learn from in the videos of {', '.join(subjects) or 'no subject'}: expected at least"
        " one that is longer than two frames of the network, in a stretch with a face of at least one window"
    )


def input_stretches(motion: Series, quality: Float32Array, *, settings: InputSettings) -> list[Series]:
    """Input of the network for every stretch with a face, as scoring makes it."""
    if settings.gaps == "still":
        motion = GapHold().feed(motion)
    found = []
    for run in true_runs(motion.valid):
        part = motion.part(run)
        held = QualityHold(settings.min_quality).feed(part.values, quality=quality[run])
        found.append(network_input(Series(part.grid, held, part.valid, part.channels), settings=settings))
    return found


def network_frames(
    video: FeatureVideo, grid: TimeGrid, *, start_s: float, rate_hz: float, kinds: tuple[str, ...] = ("micro",)
) -> Int64Array:
    """First and last frame ``(N, 2)`` of labels on the network's grid from ``start_s``: rounded down, as published."""
    events = [event for event in video.events if event.kind in kinds]
    ends = np.array([(event.onset, event.offset - 1) for event in events], np.int64).reshape(-1, 2)
    return np.floor((grid.time_s[ends] - start_s) * rate_hz + _FRAME_TOLERANCE).astype(np.int64)


def frame_targets(
    video: FeatureVideo, video_grid: TimeGrid, *, grid: TimeGrid, rate_hz: float
) -> tuple[UInt8Array, Int8Array]:
    """Targets of the frames of a stretch: 1 and the emotion on ``onset + 1 .. offset - 1``, as published.

    Parameters
    ----------
    video : FeatureVideo
        With its labels.
    video_grid : TimeGrid
        Of all its frames.
    grid : TimeGrid
        Of the network, ``F`` frames.
    rate_hz : float
        Of the network.

    Returns
    -------
    score : (F,) uint8
    label : (F,) int8
        Index into :data:`metst.labels.CLASSES`, or :data:`IGNORED`.
    """
    frames = network_frames(video, video_grid, start_s=grid.time_s[0], rate_hz=rate_hz)
    emotions = [event.emotion for event in video.micro]
    # An event may reach over the ends of the stretch.
    before = -min(0, *frames[:, 0].tolist(), 0)
    end = max(len(grid), *(frames[:, 1] + 1).tolist(), 0) + before
    inside = slice(before, before + len(grid))
    onset, offset = frames[:, 0] + before, frames[:, 1] + 1 + before
    score, label = frame_labels(onset, offset, label=[name or "others" for name in emotions], length=end)
    nameless = np.array([name is None for name in emotions], bool)
    unknown, _ = frame_labels(onset[nameless], offset[nameless], label=["others"] * nameless.sum(), length=end)
    label[unknown > 0] = IGNORED
    return score[inside].astype(np.uint8), label[inside].astype(np.int8)


def _hold_negatives(
    video: FeatureVideo, video_grid: TimeGrid, *, grid: TimeGrid, plan: WindowPlan, starts: range
) -> list[bool]:
    """Which windows hold a frame of a macro-expression, a blink, or a candidate that was rejected."""
    kinds = ("macro", "blink", "rejected")
    ends = network_frames(video, video_grid, start_s=grid.time_s[0], rate_hz=plan.rate_hz, kinds=kinds)
    return [bool(((ends[:, 0] < start + plan.window) & (ends[:, 1] >= start)).any()) for start in starts]


def _expected_frames(videos: Sequence[FeatureVideo], *, rate_hz: float) -> int:
    """Frames on the network's grid, with room for gaps and changing rates."""
    return sum(
        int(_ROOM_SHARE * video.frames * (rate_hz / video.rate_hz if video.rate_hz else 1)) + _ROOM_FRAMES
        for video in videos
    )


class _Joined:
    """Stretches one behind the other, each copied as it comes: memory holds them once.

    Parameters
    ----------
    room : int
        Frames that are expected; more fit as well.
    channels : int
        Of the motion.
    """

    def __init__(self, room: int, *, channels: int) -> None:
        self.length = 0
        self._motion = np.empty((room, channels), np.float32)
        self._score = np.empty(room, np.uint8)
        self._label = np.empty(room, np.int8)

    def append(self, motion: Float32Array, score: UInt8Array, label: Int8Array) -> None:
        """Add ``n`` frames."""
        place = slice(self.length, self.length + len(motion))
        if place.stop > len(self._score):
            room = (place.stop + len(self._score), self._motion.shape[1])
            self._motion = np.resize(self._motion, room)
            self._score, self._label = np.resize(self._score, room[0]), np.resize(self._label, room[0])
        self._motion[place], self._score[place], self._label[place] = motion, score, label
        self.length = place.stop

    def arrays(self) -> tuple[Float32Array, UInt8Array, Int8Array]:
        """All frames."""
        return self._motion[: self.length], self._score[: self.length], self._label[: self.length]


def _chosen(
    starts: Int64Array,
    score: UInt8Array,
    *,
    hard: BoolArray,
    recipe: Recipe,
    plan: WindowPlan,
    seed: int,
) -> tuple[Int64Array, int]:
    """First frames of the chosen windows, those with an event first, and how many these are."""
    before = np.concatenate([[0], np.cumsum(score, dtype=np.int64)])
    with_event = before[starts + plan.window] > before[starts]
    neutral = np.flatnonzero(~with_event)
    drawn = np.random.default_rng([seed, 0]).permutation(neutral)
    if recipe.hard_negatives:
        drawn = drawn[np.argsort(~hard[drawn], kind="stable")]
    events = int(with_event.sum())
    wanted = neutral_windows(events, without=len(neutral), ratio=plan.neutral_ratio)
    return np.concatenate([starts[with_event], starts[np.sort(drawn[:wanted])]]), events


def neutral_windows(with_event: int, *, without: int, ratio: float) -> int:
    """How many windows without an event are drawn, as published: by the ratio, else all but two.

    With fewer than two the authors' program ends with an error; here none are drawn.  Without any window with an
    event theirs takes the first 50 windows; here none, and then there is nothing to learn.

    Parameters
    ----------
    with_event, without : int
        Windows of the two kinds that there are.
    ratio : float
        Windows without per window with one; the product is rounded down.
    """
    if not with_event:
        return 0
    wanted = int(with_event * ratio)
    return wanted if wanted < without else max(0, without - TRAINING.neutral_spared)
