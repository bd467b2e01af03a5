"""Corrections of published label sheets: a table of cells, and rules for the rest.

Nothing here is silent: what is applied becomes a :class:`~metst.datasets.types.Correction`, and
all of it can be switched off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from metst.datasets.types import Correction, Journal, LabelKind, Source
from metst.published.facts import Kind

Column = Literal["onset", "apex", "offset"]


@dataclass(frozen=True)
class Entry:
    """A row of a label sheet with the frames as the sheet counts them, both ends included.

    Parameters
    ----------
    source : Source
        Its row.
    subject, video : str
        Names as written, or as the adapter resolved them.
    onset, offset : int
        Frames.
    apex : int or None
        None if unknown.
    kind : {"micro", "macro", "blink"}
        What it is.
    emotion : str or None
        As written; None where no sheet could tell.
    action_units : tuple of str
        As written.
    first_frame : int or None
        The number of the video's first frame; None if the numbers are those in the images' names.
    """

    source: Source
    subject: str
    video: str
    onset: int
    apex: int | None
    offset: int
    kind: LabelKind
    emotion: str | None = ""
    action_units: tuple[str, ...] = ()
    first_frame: int | None = None

    @property
    def ordered(self) -> bool:
        """Whether onset, apex and offset follow one another."""
        return self.onset <= (self.onset if self.apex is None else self.apex) <= self.offset


@dataclass(frozen=True)
class Erratum:
    """One cell: data set, sheet, row as it was published, column, value, reason."""

    data_set: Kind
    sheet: str
    row: int
    column: Column
    value: int
    why: str


@dataclass(frozen=True)
class Rule:
    """A correction of every row that fits."""

    data_set: Kind
    column: Column
    fits: Callable[[Entry], bool]
    value: Callable[[Entry], int]
    why: str


LONGEST_CASME3 = 30
"""Frames between onset and offset beyond which the owners of CAS(ME)3 do not trust an offset."""

# Sheets, and reasons.
_LONG, _PART_A = "SAMM_LongVideos_V*_Release", "cas(me)3_part_A_ME_label_JpgIndex_v2"
_OFFSET, _APEX, _TWICE = "the offset contradicts the row", "the apex lies outside", "the row starts before frame 1"
_FROM_ONE = "frames count from 1: 0 is the first"

# Errors that users of the data sets found, by cell.
ERRATA: tuple[Erratum, ...] = (
    Erratum("samm-lv", _LONG, 56, "offset", 5739, _OFFSET),
    Erratum("samm-lv", _LONG, 125, "apex", 1105, _APEX),
    Erratum("samm-lv", _LONG, 132, "apex", 4945, _APEX),
    Erratum("samm-lv", _LONG, 133, "apex", 5130, _APEX),
    Erratum("casme3", _PART_A, 128, "apex", 123, _APEX),
    Erratum("casme3", _PART_A, 708, "offset", 34, _OFFSET),
    Erratum("casme3", _PART_A, 749, "onset", 2647, "the onset contradicts the row"),
    Erratum("casme3", _PART_A, 750, "onset", 1, _TWICE),
    Erratum("casme3", _PART_A, 750, "apex", 1, _TWICE),
    Erratum("casme3", _PART_A, 796, "offset", 1845, _OFFSET),
    Erratum("casme3", _PART_A, 798, "offset", 2403, _OFFSET),
)


def _apex_known(entry: Entry) -> int:
    return entry.onset if entry.apex is None else entry.apex


# Errors that many rows share; each says why.
RULES: tuple[Rule, ...] = (
    Rule(
        "casme2",
        "offset",
        fits=lambda entry: entry.offset == 0 and entry.apex is not None,
        value=_apex_known,
        why="offset 0: the apex is the last frame known",
    ),
    Rule("casme3", "apex", fits=lambda entry: entry.onset == entry.apex == 0, value=lambda _: 1, why=_FROM_ONE),
    Rule("casme3", "onset", fits=lambda entry: entry.onset == 0, value=lambda _: 1, why=_FROM_ONE),
    Rule(
        "casme3",
        "offset",
        fits=lambda entry: (
            entry.kind == "micro"
            and entry.offset - entry.onset > LONGEST_CASME3
            and entry.onset < _apex_known(entry) < entry.offset
        ),
        value=lambda entry: 2 * _apex_known(entry) - entry.onset,
        why=f"owners' rule: apex + (apex - onset) where offset - onset > {LONGEST_CASME3}",
    ),
)

FRACTIONS_CUT: dict[Kind, str] = {"samm-lv": "fractions of frames are cut off, as the authors' programs do"}
"""Data sets of which a sheet with fractions of frames circulates, beside one with the same numbers cut off."""

NAMES_IN_OTHER_CASE: dict[Kind, str] = {"casme3": "names of CAS(ME)3 differ in case between sheet and folders"}
"""Data sets in which a name in another case is a known slip of the sheet, and not another subject or video."""


def apply_errata(entries: Sequence[Entry], *, data_set: Kind, first_row: int, journal: Journal) -> list[Entry]:
    """Entries with the listed cells and the rules applied, in the same order.

    The lists in circulation do not say how they count rows.  So a correction goes to the first row
    that contradicts itself as written and no longer does once corrected, of these: the row of the
    spreadsheet, the label and the micro-expression of that number, from 1 and from 0.  Where there
    is none nothing is changed, and a note says so.

    Parameters
    ----------
    entries : sequence of Entry
        Labels of one sheet.
    data_set : str
        Which data set.
    first_row : int
        Spreadsheet row of the first label.
    journal : Journal
        Gets corrections and notes.
    """
    fixed = {entry.source.row: entry for entry in entries}
    unused = []
    micro = any(entry.kind == "micro" for entry in entries)
    for row, group in _listed(data_set).items() if micro else ():
        candidates = (fixed[place] for place in _places(entries, row, first_row=first_row) if place in fixed)
        fixes = ((entry, _fixed(entry, group)) for entry in candidates)
        before, after = next(((entry, better) for entry, better in fixes if better is not None), (None, None))
        if before is None or after is None:
            unused.append(row)
            continue
        for erratum in group:
            _record(before, after, column=erratum.column, why=f"listed: {erratum.why}", journal=journal)
        fixed[after.source.row] = after
    if unused:
        rows = ", ".join(map(str, unused))
        journal.notes.append(f"listed corrections that no row of this sheet calls for, not applied: rows {rows}")
    return [_by_rules(fixed[entry.source.row], data_set=data_set, journal=journal) for entry in entries]


def _listed(data_set: Kind) -> dict[int, list[Erratum]]:
    """Errata of a data set by row: cells of one row are corrected together."""
    groups: dict[int, list[Erratum]] = defaultdict(list)
    for erratum in ERRATA:
        if erratum.data_set == data_set:
            groups[erratum.row].append(erratum)
    return groups


def _places(entries: Sequence[Entry], row: int, *, first_row: int) -> list[int]:
    """Spreadsheet rows that a published row number can mean."""
    micro = [entry.source.row for entry in entries if entry.kind == "micro"]
    return [row, first_row - 1 + row, first_row + row, *micro[row - 1 : row + 1]]


def _fixed(entry: Entry, group: Sequence[Erratum]) -> Entry | None:
    """The entry with a group of cells corrected, None where the entry does not call for it."""
    fixed = entry
    for erratum in group:
        fixed = _with(fixed, erratum.column, erratum.value)
    shorter = fixed.offset - fixed.onset < entry.offset - entry.onset
    too_long = group[0].data_set == "casme3" and entry.offset - entry.onset > LONGEST_CASME3 and shorter
    no_apex = entry.apex is None and fixed.apex is not None
    called_for = _contradicts(entry) or too_long or no_apex
    return fixed if entry.kind == "micro" and called_for and not _contradicts(fixed) else None


def _contradicts(entry: Entry) -> bool:
    return not entry.ordered or entry.onset < 1


def _by_rules(entry: Entry, *, data_set: Kind, journal: Journal) -> Entry:
    for rule in RULES:
        if rule.data_set == data_set and rule.fits(entry):
            fixed = _with(entry, rule.column, rule.value(entry))
            _record(entry, fixed, column=rule.column, why=rule.why, journal=journal)
            entry = fixed
    return entry


def _with(entry: Entry, column: Column, value: int) -> Entry:
    if column == "onset":
        return replace(entry, onset=value)
    return replace(entry, apex=value) if column == "apex" else replace(entry, offset=value)


def _record(before: Entry, after: Entry, *, column: Column, why: str, journal: Journal) -> None:
    old, new = (str(getattr(entry, column)) for entry in (before, after))
    if old != new:
        journal.corrections.append(Correction(before.source, column, old, new, why))
