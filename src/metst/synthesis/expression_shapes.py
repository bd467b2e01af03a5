"""Expression shapes of parametric heads (ARKit names), and the action units as mixes of them."""

from __future__ import annotations

from collections.abc import Mapping

from metst.errors import UsageError
from metst.synthesis.action_units import Contraction, halves_of, stronger_half

UNIT_SHAPES: Mapping[str, Mapping[str, float]] = {
    "1": {"browInnerUp": 1.0},
    "2": {"browOuterUp": 1.0},
    "4": {"browDown": 1.0},
    "5": {"eyeWide": 1.0},
    "6": {"cheekSquint": 1.0, "eyeSquint": 0.3},
    "7": {"eyeSquint": 1.0},
    "9": {"noseSneer": 1.0},
    "10": {"mouthUpperUp": 1.0},
    "12": {"mouthSmile": 1.0},
    "14": {"mouthDimple": 1.0},
    "15": {"mouthFrown": 1.0},
    "17": {"mouthShrugLower": 1.0},
    "20": {"mouthStretch": 1.0},
    "24": {"mouthPress": 1.0},
    "25": {"mouthLowerDown": 0.5, "mouthUpperUp": 0.2},
    "26": {"jawOpen": 1.0},
    "45": {"eyeBlink": 1.0},
}
"""Action unit -> ARKit expression shapes and their weights at full contraction, per half of the face; weights under 1
are set by hand."""

MIDLINE_SHAPES = (
    "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip
"""Shapes without halves."""

PAIRED_SHAPES = (
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn",
    "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress",
    "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
"""Shapes with a ``Left`` and a ``Right`` half, named as the person has them: the person's left is image right."""

SHAPES = (*MIDLINE_SHAPES, *(name + half for name in PAIRED_SHAPES for half in ("Left", "Right")))
"""Every expression shape a head model carries, in this order."""


def shape_weights(units: Mapping[str, Contraction]) -> dict[str, float]:
    """Weights of the expression shapes for a mix of action units.

    Parameters
    ----------
    units : mapping of str to float or (float, float)
        Contraction per FACS number, of both halves of the *image* or of its left and right half; 1 is full
        contraction.  Shapes without halves move whole, with the stronger half.

    Raises
    ------
    UsageError
        A unit is not in the table.
    """
    weights: dict[str, float] = {}
    for unit, contraction in units.items():
        if unit not in UNIT_SHAPES:
            raise UsageError(f"unknown action unit {unit!r}: a rendered head has {', '.join(UNIT_SHAPES)}")
        left, right = halves_of(contraction)
        for shape, share in UNIT_SHAPES[unit].items():
            # The person's left is image right.
            halves = {shape + "Left": right, shape + "Right": left}
            for name, strength in ({shape: stronger_half(contraction)} if shape in MIDLINE_SHAPES else halves).items():
                if strength:
                    weights[name] = weights.get(name, 0.0) + strength * share
    return weights
