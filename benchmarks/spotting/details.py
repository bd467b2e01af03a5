"""What a system does on real people: where nothing is planted, on either field, by size of the movement, by person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from clips import Recording
from figures import Pair, scored
from plan import FIELDS, FieldName
from same import Exchange, Share, exchange, together
from scored import hits

from metst.metrics import interval_iou, match_intervals
from metst.timeline import Intervals

LIVELY = frozenset({"talking", "singing", "laughing"})
"""What people do who talk, sing or laugh; the sentences of a corpus are spoken with a still head and stand apart."""

UNLIKE = 0.4
"""A movement is unlike the table when its cosine with every mix that the table lists for its class is below this."""

SHIFTS = tuple(range(-10, 11))
"""By how many frames at :data:`SHIFT_RATE_HZ` the truth is moved: key frames that people set are biased."""

SHIFT_RATE_HZ = 30.0
EDGES_PX = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
EDGES_OWN = (0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
_RESAMPLES, _SEED = 1000, 7
_NAN = float("nan")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """Candidates a minute; the interval is 95 % over resamples of the persons."""

    of: str
    candidates: int
    minutes: float
    interval: Interval

    @property
    def per_min(self) -> float:
        """NaN of nothing."""
        return self.candidates / self.minutes if self.minutes else _NAN


@dataclass(frozen=True)
class FieldFigures:
    """On movements of one field that were planted into real footage."""

    field: FieldName
    f1: float
    f1_interval: Interval
    strs: float
    strs_interval: Interval
    counts: tuple[int, int, int]
    amplitude: tuple[Share, ...]
    pixels: tuple[Share, ...]
    own: tuple[Share, ...]


@dataclass(frozen=True)
class PersonFigures:
    """One person: candidates where nothing is planted, and F1 on either field."""

    person: str
    raw: Rate
    f1: dict[FieldName, float]


@dataclass(frozen=True)
class Details:
    """A system on the real people of a split."""

    system: str
    lively: Rate
    rest: Rate
    sentences: Rate
    placebo: Exchange
    fields: tuple[FieldFigures, ...]
    unlike: Share
    shifted: tuple[tuple[int, float], ...]
    persons: tuple[PersonFigures, ...]

    def for_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def details_of(
    system: str, *, recordings: Sequence[Recording], found: Sequence[Intervals], bootstrap: int = 1000
) -> Details:
    """All of one system on the real footage of one split."""
    real = [pair for pair in zip(recordings, found, strict=True) if pair[0].real]
    raw = [pair for pair in real if not len(pair[0].truth) and not pair[0].placebo]
    planted = [pair for pair in real if len(pair[0].truth)]
    return Details(
        system=system,
        lively=_rate("talking, singing, laughing", raw, chosen=lambda each: bool(LIVELY & set(each.tags))),
        rest=_rate("at rest", raw, chosen=lambda each: "rest" in each.tags),
        sentences=_rate("sentences", raw, chosen=lambda each: "sentence" in each.tags),
        placebo=_placebo(real, raw=raw),
        fields=tuple(_field(field, planted, bootstrap=bootstrap) for field in FIELDS),
        unlike=_unlike(planted),
        shifted=tuple((frames, f1_shifted(planted, frames=frames)) for frames in SHIFTS),
        persons=tuple(_person(person, raw=raw, planted=planted) for person in dict.fromkeys(p.person for p, _ in real)),
    )


def f1_shifted(pairs: Sequence[Pair], *, frames: int) -> float:
    """Strict F1 when the truth lies so many frames at :data:`SHIFT_RATE_HZ` later."""
    right = claimed = planted = 0
    for each, events in pairs:
        shift = round(frames / SHIFT_RATE_HZ / each.motion.grid.frame_s)
        ends = np.stack([events.onset, events.offset - 1], axis=1) - shift
        truth = np.stack([each.truth.onset, each.truth.offset - 1], axis=1)
        right += len(match_intervals(interval_iou(ends, truth)))
        claimed, planted = claimed + len(events), planted + len(truth)
    return 2 * right / (claimed + planted) if claimed + planted else _NAN


def _rate(of: str, pairs: Sequence[Pair], *, chosen: Callable[[Recording], bool]) -> Rate:
    inside = [(each, events) for each, events in pairs if chosen(each)]
    people = sorted({each.person for each, _ in inside})
    counts = np.array([sum(len(events) for each, events in inside if each.person == person) for person in people])
    minutes = np.array([sum(each.minutes for each, _ in inside if each.person == person) for person in people])
    interval = (_NAN, _NAN)
    if len(people) > 1:
        drawn = np.random.default_rng(_SEED).integers(len(people), size=(_RESAMPLES, len(people)))
        rates = counts[drawn].sum(axis=1) / minutes[drawn].sum(axis=1)
        interval = (float(np.percentile(rates, 2.5)), float(np.percentile(rates, 97.5)))
    return Rate(of, int(counts.sum()), float(minutes.sum()), interval)


def _placebo(real: Sequence[Pair], *, raw: Sequence[Pair]) -> Exchange:
    """Candidates of the clips as they are, against those of the same clips planted with nothing."""
    as_is = {each.stretch: events for each, events in raw}
    return together(
        exchange(as_is[each.stretch], events) for each, events in real if each.placebo and each.stretch in as_is
    )


def _field(field: FieldName, planted: Sequence[Pair], *, bootstrap: int) -> FieldFigures:
    pairs = [pair for pair in planted if pair[0].field == field]
    total = scored(pairs, bootstrap=bootstrap)
    ends = total["confidence_intervals"]
    hit, peak_px, multiples, amplitude = _by_event(pairs)
    levels = [(f"{level:g}", amplitude == level) for level in np.unique(amplitude)]
    return FieldFigures(
        field=field,
        f1=total["spotting"]["f1"],
        f1_interval=tuple(ends.get("spotting_f1", (_NAN, _NAN))),
        strs=total["strs"],
        strs_interval=tuple(ends.get("strs", (_NAN, _NAN))),
        counts=tuple(total["spotting"][name] for name in ("tp", "fp", "fn")),
        amplitude=tuple(Share(name, int(hit[inside].sum()), int(inside.sum())) for name, inside in levels),
        pixels=_binned(hit, peak_px, edges=EDGES_PX, unit=" px"),
        own=_binned(hit, multiples, edges=EDGES_OWN, unit=" x own"),
    )


def found_of(recording: Recording, events: Intervals) -> npt.NDArray[np.bool_]:
    """Which of the planted movements were hit."""
    return np.isin(np.arange(len(recording.truth)), hits(events, recording.truth))


def _by_event(pairs: Sequence[Pair]) -> tuple[npt.NDArray[Any], ...]:
    """Of each planted movement whether it was hit, its size in px and in multiples of the own movement; amplitude."""
    columns: list[list[npt.NDArray[Any]]] = [[np.zeros(0, bool)], *([np.zeros(0)] for _ in range(3))]
    for each, events in pairs:
        unknown = np.full(len(each.truth), np.nan)
        known = each.planted
        values = (
            found_of(each, events),
            unknown if known is None else known.peak_px,
            unknown if known is None else known.peak / known.own,
            np.full(len(each.truth), each.amplitude),
        )
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return tuple(np.concatenate(column) for column in columns)


def _binned(
    hit: npt.NDArray[np.bool_], value: npt.NDArray[np.float64], *, edges: Sequence[float], unit: str
) -> tuple[Share, ...]:
    bands = [(f"{low:g}-{high:g}{unit}", (value >= low) & (value < high)) for low, high in pairwise(edges)]
    return tuple(Share(name, int(hit[inside].sum()), int(inside.sum())) for name, inside in bands)


def _unlike(planted: Sequence[Pair]) -> Share:
    """Movements that are unlike the table, planted into people at rest: how many were found."""
    part = whole = 0
    for each, events in planted:
        if each.planted is not None and "rest" in each.tags:
            unlike = each.planted.table_cosine < UNLIKE
            part += int((found_of(each, events) & unlike).sum())
            whole += int(unlike.sum())
    return Share("unlike the table, at rest", part, whole)


def _person(person: str, *, raw: Sequence[Pair], planted: Sequence[Pair]) -> PersonFigures:
    own = [pair for pair in planted if pair[0].person == person]
    f1 = {field: f1_shifted([pair for pair in own if pair[0].field == field], frames=0) for field in FIELDS}
    return PersonFigures(person, _rate(person, raw, chosen=lambda each: each.person == person), f1)
