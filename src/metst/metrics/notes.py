"""What a reader of the figures must know: unknown emotions, classes without a sample, names that do not meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from metst.labels import CLASSES, EMOTION_MAPS, EMOTIONS
from metst.metrics.comparison import Comparison, Rules
from metst.metrics.interval_tables import IntervalTable
from metst.metrics.resampling import FEWEST_SUBJECTS
from metst.spelling.alike import first_rows
from metst.spelling.names import close_names, composed


def emotion_counts(table: IntervalTable) -> dict[str, int]:
    """Every emotion of a table with its count, the most frequent first."""
    return dict(sorted(Counter(table.emotion).items(), key=lambda item: (-item[1], item[0])))


def emotion_notes(counts: Mapping[str, Mapping[str, int]], *, names: Sequence[str]) -> Iterator[str]:
    """Class names nobody knows, and emotions of the tables that are no class at all.

    Parameters
    ----------
    counts : mapping
        What :func:`emotion_counts` gives, by table; one of them is ``truth``.
    names : sequence of str
        Classes of recognition.
    """
    if unknown := [name for name in names if name not in EMOTIONS and name not in counts["truth"]]:
        yield f"unknown class {', '.join(unknown)}: neither one of {', '.join(EMOTIONS)} nor an emotion of the truth"
    for table, emotions in counts.items():
        strange = {name: count for name, count in emotions.items() if name not in names and name not in CLASSES}
        if strange:
            listed = ", ".join(f"{name} ({count}{_meaning(name)})" for name, count in strange.items())
            fate = "is left out of recognition" if table == "truth" else "counts as a wrong class"
            yield f"{table}: unknown emotion {listed}; a hit with it {fate}"


def table_notes(tables: Mapping[str, IntervalTable], *, listed: Iterable[tuple[str, str]]) -> Iterator[str]:
    """How files were read, intervals that begin before the video, and names that almost meet.

    Parameters
    ----------
    tables : mapping of str to IntervalTable
        By name; one of them is ``truth``.
    listed : iterable of (subject, video)
        All videos that any table or the list of videos names.
    """
    yield from dict.fromkeys(note for table in tables.values() for note in table.notes)
    for name, table in tables.items():
        if early := int((table.onset < 1).sum()):
            yield (
                f"{name}: intervals that begin before frame 1: {early}, the earliest at {table.onset.min()}; they "
                "count as written, as in the published programs (if your frames count from 0, add 1)"
            )
    truth = _names(tables["truth"])
    for name, table in tables.items():
        own = _names(table)
        alone = [key for key in own if key not in truth]
        others = [key for key in (*truth, *listed) if key not in own]
        close = close_names(alone, others) if name != "truth" else {}
        if close:
            pairs = [f"{'/'.join(mine)} perhaps {'/'.join(theirs)}" for mine, theirs in close.items()]
            yield (
                f"{name} and truth: {len(pairs)} video{'s' * (len(pairs) > 1)} that would meet but for case, zeros in "
                f"front or the form of letters: {first_rows(pairs)}"
            )


def length_notes(
    tables: Mapping[str, IntervalTable], *, videos: Iterable[tuple[str, str]] | Mapping[tuple[str, str], int | None]
) -> Iterator[str]:
    """Intervals that end after the last frame of their video, of tables by name, where the lengths are known."""
    lengths = videos if isinstance(videos, Mapping) else {}
    known = {(composed(subject), composed(video)): length for (subject, video), length in lengths.items() if length}
    for name, table in tables.items():
        keys = zip(table.subject, table.video, strict=True)
        beyond = np.array([int(last) - known.get(key, last) for key, last in zip(keys, table.offset, strict=True)])
        if late := int((beyond > 0).sum()):
            yield (
                f"{name}: intervals that end after the last frame: {late}, the latest by {beyond.max()}; they count as "
                "written, as in the published programs"
            )


def _names(table: IntervalTable) -> dict[tuple[str, str], None]:
    """Subject and video of all rows, once each."""
    return dict.fromkeys(zip(table.subject, table.video, strict=True))


def comparison_notes(compared: Mapping[str, Comparison], *, rules: Rules) -> Iterator[str]:
    """Classes without a sample, tables that do not meet, predictions that do not count.

    Parameters
    ----------
    compared : mapping of str to Comparison
        By name of the table of predictions, all with the same truth.
    rules : Rules
        Those of all of them.
    """
    for name, one in compared.items():
        if one.below is not None and len(one.below):
            yield f"{name}: {len(one.below)} with a confidence below {rules.threshold:g} do not count"
        if len(one.predictions) and len(one.truth) and not np.isin(one.predictions.video, one.truth.video).any():
            yield f"{name} and truth have no video in common: compare how subjects and videos are written"
    first, *others = compared.values()
    emotion = first.truth.emotion
    samples = np.bincount(emotion[emotion >= 0], minlength=len(rules.classes))
    if missing := [name for name, count in zip(rules.classes, samples, strict=True) if not count]:
        yield f"class without any sample: {', '.join(missing)}; it counts as 0 in the means over the classes"
    if any(not np.array_equal(first.counted, other.counted) for other in others):
        yield f"the {rules.scorer} scorer counts other videos in each table of predictions: the difference is not fair"


def resampling_notes(subjects: int, *, resamples: int) -> Iterator[str]:
    """Too few subjects to say how far the figures may be trusted, where that is asked for."""
    if resamples and subjects < FEWEST_SUBJECTS:
        yield f"fewer than {FEWEST_SUBJECTS} subjects: no intervals over resamples of the subjects"


def _meaning(emotion: str) -> str:
    """What a name of a data set stands for."""
    return f", perhaps {EMOTION_MAPS['manifest'][emotion]}" if emotion in EMOTION_MAPS["manifest"] else ""
