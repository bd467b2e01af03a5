"""The classes, what each data set calls them, and the labels a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from metst.arrays import Float32Array, Int64Array, IntArray
from metst.errors import DataError, UsageError

CLASSES = ("negative", "positive", "surprise", "others", "neutral")
"""Order of the logits of every network."""

NEUTRAL = CLASSES.index("neutral")
"""Index of the class outside of events."""

EMOTIONS = CLASSES[:NEUTRAL]
"""The classes that an event can have."""

Statistic = Literal["mean", "median"]
"""What a typical duration is."""

EMOTION_MAPS: dict[str, dict[str, str]] = {
    "samm": {
        "anger": "negative",
        "contempt": "negative",
        "disgust": "negative",
        "fear": "negative",
        "sadness": "negative",
        "happiness": "positive",
        "surprise": "surprise",
        "other": "others",
    },
    "casme3": {
        "anger": "negative",
        "disgust": "negative",
        "fear": "negative",
        "sad": "negative",
        "happy": "positive",
        "surprise": "surprise",
        "others": "others",
    },
    "casme2": {name: name for name in EMOTIONS},
    "casme-ii": {
        "disgust": "negative",
        "fear": "negative",
        "repression": "negative",
        "sadness": "negative",
        "happiness": "positive",
        "surprise": "surprise",
        "others": "others",
    },
    "dfme": {
        "anger": "negative",
        "contempt": "negative",
        "disgust": "negative",
        "fear": "negative",
        "sadness": "negative",
        "happiness": "positive",
        "surprise": "surprise",
        "others": "others",
    },
    "smic": {name: name for name in ("negative", "positive", "surprise")},
}
"""Per data set, the emotion names of its label sheet (lower case) and the class of each.

CAS(ME)2 and SMIC name the classes themselves; repression of CASME II is negative, as in the joint set of the grand
challenge; a manifest may use any name that one of the others does.
"""
EMOTION_MAPS["manifest"] = {name: meant for names in list(EMOTION_MAPS.values()) for name, meant in names.items()}


def emotion_class(emotion: str, *, data_set: str) -> str:
    """Class of an emotion as a data set's label sheet writes it; case and outer blanks do not matter.

    Raises
    ------
    UsageError
        If no map exists for the data set.
    DataError
        If the data set's map does not know the emotion.
    """
    if data_set not in EMOTION_MAPS:
        raise UsageError(f"unknown data set {data_set!r}: expected one of {', '.join(EMOTION_MAPS)}")
    names = EMOTION_MAPS[data_set]
    name = emotion.strip().lower()
    if name not in names:
        raise DataError(f"unknown emotion {emotion!r} in {data_set}: expected one of {', '.join(names)}")
    return names[name]


def frame_labels(
    onset: IntArray, offset: IntArray, *, label: Sequence[str], length: int
) -> tuple[Float32Array, Int64Array]:
    """Targets of every frame of a video: the spotting score and the class, hard labels as published.

    The first and the last frame of an event are still neutral: the face is at rest there, and the
    published networks were trained on the frames strictly between them.  Where two events overlap
    the later one in the list gives the class.

    Parameters
    ----------
    onset, offset : (N,) int
        Frames, 0-based, half-open.
    label : sequence of str
        Class of each event, one of :data:`EMOTIONS`.
    length : int
        ``T``, frames of the video.

    Returns
    -------
    score : (T,) float32
        1 inside an event, else 0.
    classes : (T,) int64
        Index into :data:`CLASSES`; neutral outside of events.

    Raises
    ------
    DataError
        If an event reaches outside of the video or has an unknown class.
    """
    score = np.zeros(length, dtype=np.float32)
    classes = np.full(length, NEUTRAL, dtype=np.int64)
    for first, end, name in zip(onset, offset, label, strict=True):
        if not 0 <= first < end <= length:
            raise DataError(f"event on frames {first} to {end} does not lie in a video of {length} frames")
        if name not in EMOTIONS:
            raise DataError(f"unknown class {name!r} of an event: expected one of {', '.join(EMOTIONS)}")
        inside = slice(first + 1, end - 1)
        score[inside] = 1.0
        classes[inside] = EMOTIONS.index(name)
    return score, classes


def half_duration(onset: IntArray, offset: IntArray, *, statistic: Statistic = "mean") -> int:
    """``k_p`` of the published decoding rules: half of a typical event, in frames.

    ``int((mean(last - first) + 1) / 2)`` over the events of the *training* subjects, in the frames
    the model reads (ME-TST and ME-TST+: mean; BoostingVRME: median, of an even number the upper middle).

    Parameters
    ----------
    onset, offset : (N,) int
        Frames, 0-based, half-open: ``last = offset - 1``.
    statistic : {"mean", "median"}
        What a typical duration is.

    Raises
    ------
    DataError
        If there is no event.
    """
    if len(onset) == 0:
        raise DataError("the typical duration needs at least one event of the training subjects, got none")
    frames = np.asarray(offset) - np.asarray(onset)
    return int({"mean": frames.mean(), "median": np.sort(frames)[len(frames) // 2]}[statistic] / 2)
