"""Results whose reviews were released in, a folder of features out: what was accepted is labels.

The motion is that of the results, so no video is needed.  What was proposed and rejected is a hard negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path, PurePath

from metst.coding.handed_on import HandedOn
from metst.coding.layers import LayerEvent
from metst.config import AnalyzeSettings
from metst.datasets.features import (
    INDEX_FILE,
    FeatureIndex,
    FeatureVideo,
    TrueEvent,
    file_name,
    motion_name,
    write_features_index,
)
from metst.datasets.types import LabelKind
from metst.errors import DataError, UsageError
from metst.labels import emotion_class
from metst.motion.cache import FORMAT
from metst.results import discard
from metst.results.motion_file import motion_bytes
from metst.spelling.names import composed
from metst.storage import fingerprint, write_whole
from metst.storage.locks import only_writer

_AS_READ = "manifest"
"""Data set that such features count as: one that a lab brings itself, with any class that a data set names."""


def features_of_reviews(found: Sequence[HandedOn], folder: Path, *, subject: str | None = None) -> FeatureIndex:
    """Write the motion of reviewed recordings with what was accepted and rejected in them.

    Parameters
    ----------
    found : sequence of HandedOn
        The recordings; those of one person are of one subject.
    folder : Path
        Where to write; ``features.json`` comes last.
    subject : str, optional
        Who is on recordings of which nobody said so.

    Raises
    ------
    UsageError
        Nobody said who is on a recording: training must not be tested on whom it saw.
    DataError
        Recordings were measured by other settings or by another version, or have names that no file can have.
    OutputError
        The folder cannot be written, or another process writes into it.
    """
    settings = _common_settings(found)
    keys = _keys(found, subject=subject)
    with only_writer(folder):
        discard(folder, INDEX_FILE)
        videos = [
            _written(each, folder / motion_name(number), key=key)
            for number, (each, key) in enumerate(zip(found, keys, strict=True))
        ]
        index = FeatureIndex(data_set=_AS_READ, settings=settings, metst_version=version("metst"), videos=tuple(videos))
        write_features_index(folder, index)
    return index


def _common_settings(found: Sequence[HandedOn]) -> AnalyzeSettings:
    if old := [str(each.folder) for each in found if each.analysis.motion_algorithm != FORMAT]:
        raise DataError(f"measured by another version of metst: {', '.join(old)}; analyse these again")
    names = AnalyzeSettings.model_fields
    each_ones = [
        AnalyzeSettings.model_validate({name: each.analysis.settings[name] for name in names}) for each in found
    ]
    if other := [str(each.folder) for each, own in zip(found, each_ones, strict=True) if own != each_ones[0]]:
        raise DataError(f"not measured as {found[0].folder}: {', '.join(other)}; analyse all with the same settings")
    return each_ones[0]


def _keys(found: Sequence[HandedOn], *, subject: str | None) -> list[tuple[str, str]]:
    """Subject and video of each; recordings of one person that are called the same get a number."""
    if nobodys := [str(each.folder) for each in found if not (each.analysis.custody.person or subject)]:
        raise UsageError(f"nobody said who is on {', '.join(nobodys)}: say it with --subject, or with analyze --person")
    keys: list[tuple[str, str]] = []
    for each in found:
        person = composed(each.analysis.custody.person or subject or "")
        name = composed(PurePath(each.analysis.source.name).stem)
        names = [name, *(f"{name} {k}" for k in range(2, len(found) + 2))]
        key = next((person, free) for free in names if (person, free) not in keys)
        file_name(*key)
        keys.append(key)
    return keys


def _written(each: HandedOn, path: Path, *, key: tuple[str, str]) -> FeatureVideo:
    analysis = each.analysis
    data = motion_bytes(analysis.motion)
    write_whole(path, data)
    labels = [_event(event, kind="micro") for event in each.accepted.events]
    negatives = [_event(event, kind="rejected") for event in each.rejected]
    return FeatureVideo(
        subject=key[0],
        video=key[1],
        frames=len(analysis.motion),
        rate_hz=analysis.source.rate_hz,
        file=path.name,
        sha256=fingerprint(data),
        events=(*labels, *negatives),
        problems=analysis.problems,
    )


def _event(event: LayerEvent, *, kind: LabelKind) -> TrueEvent:
    emotion = None
    if kind == "micro":
        with suppress(DataError):  # a word of the lab's own: what moved counts, and is of no class
            emotion = emotion_class(event.label, data_set=_AS_READ)
    return TrueEvent(onset=event.onset, apex=event.apex, offset=event.offset, kind=kind, emotion=emotion)
