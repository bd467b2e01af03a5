"""The report: one page that holds everything it shows, and loads nothing."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from metst.arrays import OnProgress
from metst.config import FALSE_ALARM_FACTORS
from metst.report.wording import clock, length_in_words
from metst.results import Analysis
from metst.storage import fingerprint, write_whole
from metst.timeline import frame_for_people

# Beyond this many cards a page is neither read nor quick to open; the table still lists every candidate.
MOST_CARDS: Final = 60
MOST_GAPS: Final = 40
_MOST_READOUTS: Final = 60_000
_NO_SCORE: Final = "zz"  # more than any score, to the base of 36


def write_report(
    analysis: Analysis,
    path: str | Path,
    *,
    video: str | Path | None = None,
    blur: bool = True,
    on_progress: OnProgress | None = None,
) -> None:
    """Write the report of one analysis as a single self-contained HTML file.

    The page loads nothing from elsewhere, and equal analyses give equal pages.

    Parameters
    ----------
    analysis : Analysis
        What was found.
    path : str or Path
        The file to write.
    video : str or Path, optional
        The recording, for pictures; without it, or when it cannot be read any more, the page says so.
    blur : bool
        Average the faces over large cells and cover their eyes, in the pixels themselves.
    on_progress : callable, optional
        Called as ``on_progress("report", done, total)``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from metst.report.cards import Pictures, make_candidate, make_card
    from metst.report.movement import recent_movement
    from metst.report.plots import full_strip, row_count, timeline_rows

    chosen = _closest_look(analysis)
    total = row_count(analysis.grid.duration_s) + len(chosen)
    tell = on_progress or (lambda *_: None)
    movement = recent_movement(analysis.motion.displacement)
    rows, cards = [], []
    with closing(Pictures(analysis, chosen, video=None if video is None else Path(video), blur=blur)) as pictures:
        template = page_template("metst.report", "template.html.j2")
        for row in timeline_rows(analysis, movement=movement, linked=chosen):
            rows.append(row)
            tell("report", len(rows), total)
        for event in chosen:
            cards.append(make_card(analysis, event, pictures=pictures))
            tell("report", len(rows) + len(cards), total)
    page = template.render(
        **_about(analysis),
        rows=rows,
        full_strip=full_strip(movement),
        candidates=[make_candidate(analysis, event) for event in _by_confidence(analysis)],
        cards=cards,
        shown={event + 1 for event in chosen},
        picture_problem=pictures.problem,
        blur=blur,
    )
    write_whole(Path(path), page.encode())


def _granted_per_min(decode: Mapping[str, Any]) -> float | None:
    """What the confidences take for granted, as far as the settings say so."""
    return decode.get("expected_per_min") or decode.get("calibrated_per_min")


def _point(decode: Mapping[str, Any]) -> str:
    """The operating point and what it means; empty where there is none, as of analyses before there were any."""
    if (name := decode.get("operating_point")) is None:
        return ""
    if not decode["operating_points"]:
        return f"{name}, the model's own threshold {decode['peak_threshold']}"
    others = ", ".join(
        f"{other} about {factor / FALSE_ALARM_FACTORS[name]:.2g} times as many"
        for other, factor in FALSE_ALARM_FACTORS.items()
        if other != name
    )
    return f"{name}, threshold {decode['peak_threshold']}. Of false candidates there are {others}"


def _about(analysis: Analysis) -> dict[str, Any]:
    """What the page needs besides the drawings."""
    return {
        "analysis": analysis,
        "quality": _quality(analysis),
        "settings": list(_flat(analysis.settings)),
        "smooth_s": analysis.settings.get("decode", {}).get("smooth_s"),
        "per_min": _granted_per_min(analysis.settings.get("decode", {})),
        "rate_unknown": analysis.settings.get("decode", {}).get("calibrated_per_min", 0) is None,
        "point": _point(analysis.settings.get("decode", {})),
        "readout": _readout(analysis),
        "style": page_style(),
        "script": Markup(_asset("report.js")),
        "script_hash": _script_hash(),
    }


def _closest_look(analysis: Analysis) -> list[int]:
    """Events that get a card, the most confident first."""
    return _by_confidence(analysis)[:MOST_CARDS]


def _by_confidence(analysis: Analysis) -> list[int]:
    """All events, the most confident first; equal ones in order of time."""
    return [int(event) for event in np.argsort(-np.asarray(analysis.events.confidence), kind="stable")]


def page_template(package: str, name: str) -> Template:
    """A page of a package; it escapes what it is given, and knows ``length_in_words`` and ``percent``."""
    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["length_in_words"] = length_in_words
    environment.filters["percent"] = lambda share: f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
    return environment.get_template(name)


def page_style() -> Markup:
    """Style sheet that all pages share."""
    return Markup(_asset("report.css"))


def _asset(name: str) -> str:
    return files("metst.report").joinpath(name).read_text(encoding="utf-8")


def _script_hash() -> str:
    """What the page's content security policy lets run: this one script, and no other."""
    digest = bytes.fromhex(fingerprint(_asset("report.js").encode()))
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def _quality(analysis: Analysis) -> dict[str, Any]:
    """How much of the recording could be used, and what could not."""
    grid, gaps = analysis.grid, analysis.gaps
    reasons = Counter(reason for reason in analysis.motion.reason if reason)
    longest = sorted(gaps, key=lambda gap: gap.start - gap.stop)[:MOST_GAPS]
    return {
        "usable_share": float(analysis.usable.mean()) if len(grid) else 0.0,
        "reasons": [(reason, count / len(grid)) for reason, count in reasons.most_common()],
        "gap_count": len(gaps),
        "gaps": [
            {
                "from": clock(float(grid.time_s[gap.start]), decimals=2),
                "to": clock(float(grid.time_s[gap.stop - 1]), decimals=2),
                "first": int(frame_for_people(gap.start)),
                "last": int(frame_for_people(gap.stop - 1)),
                "reason": gap.reason,
            }
            for gap in sorted(longest, key=lambda gap: gap.start)
        ],
    }


def _flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _readout(analysis: Analysis) -> dict[str, Any]:
    """What the pointer reads off the curves, each frame's milliseconds, score in per mille and class.

    The longest part of the page, and therefore short: frames are ``step`` apart; milliseconds are told by what is added
    from one to the next, scores by two digits to the base of 36 (:data:`_NO_SCORE` where there is none), and classes by
    runs, each its number and how many frames it lasts.
    """
    step = max(1, -(-len(analysis.scores) // _MOST_READOUTS))
    scores, time_s = analysis.scores.values[::step], analysis.grid.time_s[::step]
    milliseconds = np.rint(1000 * time_s).astype(np.int64)
    words = np.array([np.base_repr(score, 36).zfill(2).lower() for score in range(1001)] + [_NO_SCORE])
    score = np.where(np.isfinite(scores[:, 0]), np.rint(1000 * np.clip(np.nan_to_num(scores[:, 0]), 0, 1)), -1)
    probability = np.nan_to_num(scores[:, 1:])
    kinds = probability.argmax(axis=1) if probability.shape[1] else np.zeros(len(scores), np.int64)
    runs = ((kind, len(list(run))) for kind, run in groupby(kinds.tolist()))
    return {
        "step": step,
        "ms": " ".join(map(str, np.diff(milliseconds, prepend=0).tolist())),
        "score": "".join(words[score.astype(np.int64)]),
        "class": " ".join(f"{kind} {length}" for kind, length in runs),
        "classes": [name.removeprefix("p_") for name in analysis.scores.channels[1:]],
    }
