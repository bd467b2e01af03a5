"""An analysis as a notebook shows it: what it is of and the first candidates; no picture of anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from metst.timeline import frames_for_people

if TYPE_CHECKING:
    from metst.results.analysis import Analysis

_EVENTS_SHOWN: Final = 10
"""Candidates beyond which a cell of a notebook says how many more there are; set by hand."""

_HEADS: Final = ("#", "class", "confidence", "onset", "apex", "offset", "frames")
_RIGHT: Final = Markup('<td style="text-align: right">{}</td>')
_LEFT: Final = Markup('<td style="text-align: left">{}</td>')


def summary_of(analysis: Analysis) -> str:
    """HTML of one analysis: a few kilobytes, and what came from files is text in it."""
    source, usable = analysis.source, float(analysis.usable.mean()) if len(analysis.scores) else 0.0
    facts = (
        f"{source.duration_s:.1f} s, {source.frames} frames, {source.width} × {source.height} px,"
        f" {source.rate_hz:.4g} frames/s; {usable:.0%} usable; model {analysis.model.get('name') or 'without a name'}"
    )
    parts = [Markup("<b>{}</b><br><small>{}</small>").format(source.name, facts)]
    parts += [Markup("<br><small>{}</small>").format(problem) for problem in analysis.problems]
    parts.append(_table(analysis) if len(analysis.events) else Markup("<p>No movement candidate.</p>"))
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def _table(analysis: Analysis) -> Markup:
    events, count = analysis.events, len(analysis.events)
    times_s, (first, last) = events.times_s(analysis.grid), frames_for_people(events.onset, events.offset)
    rows = []
    for i in range(min(count, _EVENTS_SHOWN)):
        times = [f"{time_s:.2f} s" for time_s in times_s[i].tolist()]
        cells = [f"{events.confidence[i]:.0%}", *times, f"{first[i]}–{last[i]}"]
        number, label = _RIGHT.format(i + 1), _LEFT.format(events.label[i])
        rows.append(Markup("<tr>{}</tr>").format(Markup("").join([number, label, *map(_RIGHT.format, cells)])))
    heads = Markup("").join(Markup("<th>{}</th>").format(head) for head in _HEADS)
    more = f"and {count - _EVENTS_SHOWN} more: events() has all" if count > _EVENTS_SHOWN else ""
    table = Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table><small>{}</small>")
    return table.format(heads, Markup("").join(rows), more)
