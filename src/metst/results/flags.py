"""What may make a facial movement look different from what it is, as named bits; and their words."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from metst.arrays import UInt8Array

Flags = UInt8Array


class Condition(IntFlag):
    """What was noticed about one region in one frame; hints for a reviewer, nothing is left out because of them."""

    OCCLUDED = 1
    """It does not look like itself while most of the face does: a hand, hair, a mouth wide open.

    Noticed while something comes, moves or goes; what stays in front of the face becomes its usual look.
    """
    BLURRED = 2
    """The face is less sharp than it just was: moved fast, or out of focus.  Set on every region."""
    OVEREXPOSED = 4
    """Much of it is as bright as the recording can show."""
    UNDEREXPOSED = 8
    """Much of it is black."""
    OUT_OF_VIEW = 16
    """Much of it lies outside the picture."""
    BLINK = 32
    """Both eyes close for less than half a second.  Set on the eyelids."""
    SPEECH = 64
    """The mouth opens and closes again and again, as in speaking or chewing.  Set on the mouth's regions."""
    GLARE = 128
    """A bright spot over an eye, as on glasses, comes, moves or goes.  Set on the brow and the lid of that eye."""


WORDS = {
    Condition.OCCLUDED: "occlusion",
    Condition.BLURRED: "blur",
    Condition.OVEREXPOSED: "overexposed",
    Condition.UNDEREXPOSED: "underexposed",
    Condition.OUT_OF_VIEW: "out-of-view",
    Condition.BLINK: "blink",
    Condition.SPEECH: "speech",
    Condition.GLARE: "glare",
}
"""The word for each condition, as in ``frames.csv``."""


def face_conditions(conditions: Flags) -> Flags:
    """What holds for any region: ``(T, R)`` to ``(T,)``."""
    return np.asarray(np.bitwise_or.reduce(conditions, axis=-1), np.uint8)


def in_words(flags: int) -> str:
    """Words of a set of conditions, separated by spaces; empty for none."""
    return " ".join(word for condition, word in WORDS.items() if flags & condition)
