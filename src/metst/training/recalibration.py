"""Candidates that people judged in, a model whose confidence fits them out.

The confidence of a candidate is a logistic function of the log-odds of its peak (Platt, 1999): its slope and offset are
fitted anew, on what was accepted and rejected.  Which candidates there are, and in which order, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metst.arrays import BoolArray, Float64Array
from metst.coding.handed_on import HandedOn, handed_on
from metst.config import DecodeSettings, ModelInfo, PublishedDecodeSettings
from metst.decode import odds
from metst.errors import DataError, UsageError
from metst.metrics.calibration import confidence_bins, expected_calibration_error
from metst.models.checkpoint import Model

LEAST_OF_EACH = 20
"""Candidates that were right, and wrong, below which nothing is fitted: two values are fitted, and ten cases for each
are the rule of thumb for logistic regression (Peduzzi et al., J Clin Epidemiol 49, 1996)."""

_SECONDS_PER_MIN = 60.0


@dataclass(frozen=True, eq=False)
class Judged:
    """Candidates of a model that people decided about.

    Parameters
    ----------
    height : (N,) float64
        Log-odds of their peaks.
    confidence : (N,) float64
        As they were shown.
    right : (N,) bool
        Which are micro-expressions.
    person : (N,) str
        Who is on the recording.
    recordings : int
        From how many they are.
    per_min : float or None
        Micro-expressions per minute that were accepted, also those that the model had not found, in recordings whose
        review is finished; None where none is.
    """

    height: Float64Array
    confidence: Float64Array
    right: BoolArray
    person: tuple[str, ...]
    recordings: int
    per_min: float | None


def judged_candidates(roots: Iterable[Path], *, model: Model, coder: str | None = None) -> tuple[Judged, list[str]]:
    """What people said of the candidates of a model.

    Parameters
    ----------
    roots : iterable of Path
        Folders of results, or that hold some.
    model : Model
        What they were analysed with; its confidences may have been others.
    coder : str, optional
        Whose reviews count, as for :func:`metst.coding.handed_on.handed_on`.

    Returns
    -------
    judged : Judged
    notes : list of str
        Which results are left out, and why.

    Raises
    ------
    UsageError, DataError
        As there; or none was analysed with this model.
    """
    found, notes = handed_on(roots, coder=coder, unreleased=True)
    own = [each for each in found if each.analysis.model.get("weights_sha256") == model.info.weights_sha256]
    others = [f"{each.folder} is left out: it was analysed with another model" for each in found if each not in own]
    if not own:
        raise DataError(f"no results that were reviewed are of model {model.info.name}: say which model with --model")
    rows = [row for each in own for row in _rows(each)]
    height, confidence, right, person = zip(*rows, strict=True) if rows else ((), (), (), ())
    judged = Judged(
        np.array(height, dtype=np.float64),
        np.array(confidence, dtype=np.float64),
        np.array(right, dtype=bool),
        tuple(person),
        recordings=len(own),
        per_min=_per_min([each for each in own if each.finished]),
    )
    return judged, notes + others


def _per_min(finished: Sequence[HandedOn]) -> float | None:
    minutes = sum(each.analysis.source.duration_s for each in finished) / _SECONDS_PER_MIN
    events = sum(len(each.accepted.events) for each in finished)
    return events / minutes if events else None


def _rows(each: HandedOn) -> list[tuple[float, float, bool, str]]:
    """Height of the peak, confidence, whether right, and who, of the candidates of one recording."""
    decode = each.analysis.settings["decode"]
    if "rule" in decode:
        return []
    settings = DecodeSettings.model_validate(decode)
    rows = []
    for event, right in each.judged():
        assert event.confidence is not None  # the machine's have one
        shown = float(odds.log_odds(np.clip(event.confidence, odds.LEAST, 1 - odds.LEAST)))
        rows.append(((shown - settings.offset) / settings.confidence_slope, event.confidence, right, each.person))
    return rows


def recalibrated(model: Model, judged: Judged) -> tuple[ModelInfo, dict[str, Any]]:
    """The description of a model with a confidence that fits what people said, and how much better it is.

    How much is told by leaving one person after the other out, and fitting on all others.

    Parameters
    ----------
    model : Model
        Whose candidates they are.
    judged : Judged
        Of :func:`judged_candidates`.

    Returns
    -------
    info : ModelInfo
        Its confidences are for recordings with as many micro-expressions per minute as those whose review is finished.
    figures : dict
        Plain values: ``right, wrong, recordings, persons, per_min, slope, offset, ece_before, ece_after,
        brier_before, brier_after``; those after are null for a single person, the rate where no review
        is finished.

    Raises
    ------
    UsageError
        Its confidence is none that can be fitted, or SciPy is not installed.
    DataError
        Too few were right, or wrong.
    """
    decode = model.info.decode
    if isinstance(decode, PublishedDecodeSettings):
        raise UsageError(f"model {model.info.name} decodes by a published rule: its confidence cannot be calibrated")
    right, wrong = int(judged.right.sum()), int((~judged.right).sum())
    if min(right, wrong) < LEAST_OF_EACH:
        raise DataError(
            f"{right} candidates were accepted and {wrong} rejected: expected {LEAST_OF_EACH} of each; review more"
        )
    slope, offset = _fitted(judged, np.ones(len(judged.right), dtype=bool))
    persons = sorted(set(judged.person))
    after = _left_out(judged, persons) if len(persons) > 1 else None
    figures = {
        "right": right,
        "wrong": wrong,
        "recordings": judged.recordings,
        "persons": len(persons),
        "per_min": judged.per_min,
        "slope": slope,
        "offset": offset,
        **_error("before", judged.confidence, judged.right),
        **_error("after", after, judged.right),
    }
    return _described(model.info, decode, figures), figures


def _fitted(judged: Judged, chosen: BoolArray) -> tuple[float, float]:
    try:
        from metst.training.operating_point import fit_logistic
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "scipy":
            raise
        raise UsageError("calibrating a confidence needs SciPy: pip install 'metst[train]'") from error
    return fit_logistic(np.asarray(odds.probability(judged.height[chosen])), right=judged.right[chosen])


def _left_out(judged: Judged, persons: Sequence[str]) -> Float64Array:
    """``(N,)`` confidences, those of each person fitted on all others; as they were where the others tell nothing."""
    confidence = judged.confidence.copy()
    who = np.array(judged.person)
    for person in persons:
        rest = who != person
        if judged.right[rest].any() and not judged.right[rest].all():
            slope, offset = _fitted(judged, rest)
            confidence[~rest] = odds.probability(slope * judged.height[~rest] + offset)
    return confidence


def _error(when: str, confidence: Float64Array | None, right: BoolArray) -> dict[str, float | None]:
    if confidence is None:
        return {f"ece_{when}": None, f"brier_{when}": None}
    bins = confidence_bins(confidence, right=right)
    squares = np.square(confidence - right)
    return {f"ece_{when}": expected_calibration_error(bins), f"brier_{when}": float(squares.mean())}


def _described(info: ModelInfo, decode: DecodeSettings, figures: dict[str, Any]) -> ModelInfo:
    """The description with another calibration; live, whose peaks nobody judged, it changes by as much."""
    slope, offset = figures["slope"], figures["offset"]
    factor = slope / decode.confidence_slope
    shift = offset - factor * decode.confidence_offset
    rates = {"calibrated_per_min": figures["per_min"], "expected_per_min": figures["per_min"]}

    def changed(settings: DecodeSettings) -> DecodeSettings:
        moved = factor * settings.confidence_offset + shift
        fitted = {"confidence_slope": factor * settings.confidence_slope, "confidence_offset": moved}
        return settings.model_copy(update=fitted | rates)

    told = (
        f"{figures['right']} accepted and {figures['wrong']} rejected candidates of {figures['recordings']} recordings"
    )
    words = f"{info.decode_fitted_on}; confidence: {told}" if info.decode_fitted_on else f"confidence: {told}"
    return ModelInfo.model_validate(
        info.model_copy(
            update={
                "decode": changed(decode),
                "live_decode": info.live_decode and changed(info.live_decode),
                "decode_fitted_on": words,
                "provenance": info.provenance | {"calibrated_on": told},
            }
        ).model_dump()
    )
