"""What the product's own network learns from labelled recordings: long clips, with what each frame is and counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from metst.arrays import BoolArray, Float32Array, Int64Array
from metst.datasets.features import FeatureVideo, read_motion
from metst.errors import DataError
from metst.labels import CLASSES, NEUTRAL
from metst.regions import MIRRORED
from metst.timeline import true_runs
from metst.training.labelled_recipe import LabelledRecipe
from metst.training.loop import Batch
from metst.training.windows import IGNORED, input_stretches


@dataclass(frozen=True, eq=False)
class LabelledStretch:
    """One unbroken stretch of a labelled video, as the network reads it.

    Parameters
    ----------
    motion : (T, C) float32
        Input of the network, its baseline carried from the start of the stretch.
    score : (T,) float32
        1 inside a micro-expression, both ends included.
    label : (T,) int64
        Class, or :data:`metst.training.windows.IGNORED`.
    negative : (T,) bool
        Inside a labelled movement that is no micro-expression.
    """

    motion: Float32Array
    score: Float32Array
    label: Int64Array
    negative: BoolArray

    def __len__(self) -> int:
        return len(self.score)

    @property
    def micro(self) -> list[slice]:
        """Frames of its micro-expressions."""
        return true_runs(self.score > 0)

    @property
    def negatives(self) -> list[slice]:
        """Frames of its hard negatives."""
        return true_runs(self.negative)


def labelled_stretches(
    features: Path, videos: Sequence[FeatureVideo], *, recipe: LabelledRecipe
) -> tuple[LabelledStretch, ...]:
    """All stretches of some videos that are long enough to be scored.

    Raises
    ------
    DataError
        A file does not fit, or no frame of any video is a micro-expression.
    """
    stretches = tuple(
        stretch for video in videos if video.file for stretch in _of_video(features, video, recipe=recipe)
    )
    if not any(stretch.micro for stretch in stretches):
        raise DataError("no micro-expression with a usable face in the training videos: nothing can be learnt")
    return stretches


def _of_video(features: Path, video: FeatureVideo, *, recipe: LabelledRecipe) -> Iterator[LabelledStretch]:
    motion = read_motion(features, video)
    score, label, negative = _targets(video)
    for read in input_stretches(motion.displacement, motion.quality, settings=recipe.input):
        if read.grid.duration_s >= recipe.input.min_segment_s:
            nearest = motion.grid.frame_at(read.grid.time_s)
            yield LabelledStretch(read.values, score[nearest], label[nearest], negative[nearest])


def _targets(video: FeatureVideo) -> tuple[Float32Array, Int64Array, BoolArray]:
    """Score, class, and whether it is a hard negative, of every frame; a micro-expression goes before all else."""
    score = np.zeros(video.frames, np.float32)
    label = np.full(video.frames, NEUTRAL, np.int64)
    negative = np.zeros(video.frames, np.bool_)
    for event in sorted(video.events, key=lambda each: each.kind == "micro"):
        frames = slice(event.onset, event.offset)
        if event.kind == "micro":
            score[frames], negative[frames] = 1, False
            label[frames] = IGNORED if event.emotion is None else CLASSES.index(event.emotion)
        else:
            negative[frames] = True
    return score, label, negative


def epoch_steps(stretches: Sequence[LabelledStretch], *, recipe: LabelledRecipe) -> int:
    """Steps that see as many frames as there are; at least one."""
    frames = sum(map(len, stretches))
    return max(1, round(frames / (recipe.clip_frames * recipe.batch_size)))


def clip_batches(stretches: Sequence[LabelledStretch], *, recipe: LabelledRecipe, seed: int) -> Callable[[int], Batch]:
    """Batches by the number of the step.

    Returns
    -------
    callable
        ``batch(step)`` gives motion ``(B, C, T)`` float32 and, delayed by the model's lag, score ``(B, T)`` float32,
        class ``(B, T)`` int64 and weight ``(B, T)`` float32: 0 where no frame answers, or the network warms up.
    """
    micro = [(number, run) for number, each in enumerate(stretches) for run in each.micro]
    negatives = [(number, run) for number, each in enumerate(stretches) for run in each.negatives]
    lengths = np.cumsum([len(each) for each in stretches])

    def place(rng: np.random.Generator) -> tuple[int, int]:
        """Stretch and a frame of it that the clip shall hold."""
        kind = rng.random()
        chosen = micro if kind < recipe.event_share else negatives
        if kind >= recipe.event_share + recipe.negative_share or not chosen:
            frame = int(rng.integers(lengths[-1]))
            number = int(np.searchsorted(lengths, frame, side="right"))
            return number, frame - int(lengths[number]) + len(stretches[number])
        number, run = chosen[rng.integers(len(chosen))]
        return number, (run.start + run.stop) // 2

    def batch(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        clips = []
        for _ in range(recipe.batch_size):
            number, frame = place(rng)
            start = frame - int(rng.integers(recipe.clip_frames))
            clip = _clip(stretches[number], start=start, recipe=recipe)
            clips.append((_varied(rng, clip[0], recipe=recipe).T.copy(), *clip[1:]))
        return tuple(torch.from_numpy(np.stack(part)) for part in zip(*clips, strict=True))

    return batch


def _clip(
    stretch: LabelledStretch, *, start: int, recipe: LabelledRecipe
) -> tuple[Float32Array, Float32Array, Int64Array, Float32Array]:
    """Frames from ``start`` on, moved into the stretch; the last frame is repeated to hear the last answers."""
    frames, lag = recipe.clip_frames, recipe.scoring.lag
    start = min(max(start, 0), max(len(stretch) + lag - frames, 0))
    motion = stretch.motion[start : start + frames]
    motion = np.pad(motion, ((0, frames - len(motion)), (0, 0)), mode="edge")
    answers = slice(start, start + frames - lag)
    weight = np.where(stretch.negative[answers], np.float32(recipe.negative_weight), np.float32(1))
    if start:
        weight[: round(recipe.warm_up_s * recipe.input.rate_hz)] = 0
    around = (lag, frames - lag - len(weight))
    return (
        motion,
        np.pad(stretch.score[answers], around),
        np.pad(stretch.label[answers], around, constant_values=NEUTRAL),
        np.pad(weight, around),
    )


def _varied(rng: np.random.Generator, motion: Float32Array, *, recipe: LabelledRecipe) -> Float32Array:
    """The same movements of a mirrored face, stronger or weaker."""
    if rng.random() < recipe.mirrored_share:
        sides = motion.reshape(len(motion), len(MIRRORED), 2)[:, MIRRORED] * np.array([-1, 1], np.float32)
        motion = sides.reshape(motion.shape)
    return motion * np.float32(rng.uniform(*recipe.gain))
