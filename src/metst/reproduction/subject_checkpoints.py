"""The checkpoint of each subject: trained on all others, by its file name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metst.config import PublishedDecodeSettings
from metst.errors import CheckpointError, UsageError
from metst.models.checkpoint import INFO_FILE, Model, load_model
from metst.models.convert import convert_released
from metst.published.facts import DATA_SETS, TrainedOn
from metst.reproduction.author_caches import Features
from metst.spelling.names import composed
from metst.storage import temporary_folder

RELEASED_SUFFIXES = (".pkl", ".pth", ".pt")
"""How released checkpoints end; the authors write the first, the others are PyTorch's custom."""

_PREFIX = "subject_"  # before the subject in the authors' file names
_AUTHORS_SUBJECT = re.compile(rf"^({_PREFIX}|spno\.)")  # the same, and before the number of a subject of CAS(ME)³


def subject_key(name: str) -> str:
    """What tells subjects in the authors' files apart: ``spNO.1``, ``subject_1`` and ``1`` are one; 006 is not 6."""
    return name.casefold().removeprefix(_PREFIX).rpartition(".")[2]


def find_folds(folder: str | Path, subjects: Sequence[str]) -> dict[str, Path]:
    """Checkpoint folder or released file of each subject.

    Parameters
    ----------
    folder : path
        Holds one checkpoint per subject, called like the subject or ``subject_<subject>``.
    subjects : sequence of str
        Who is tested.

    Raises
    ------
    UsageError
        If there is no such folder, or if a subject has no checkpoint or several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}: expected one checkpoint per subject, like subject_006.pkl")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / INFO_FILE).is_file():
            found.setdefault(subject_key(path.name), []).append(path)
        elif path.is_file() and path.suffix.lower() in RELEASED_SUFFIXES:
            found.setdefault(subject_key(path.stem), []).append(path)
    missing = [subject for subject in subjects if subject_key(subject) not in found]
    if missing:
        have = ", ".join(path.name for paths in list(found.values())[:3] for path in paths) or "none"
        raise UsageError(
            f"{folder} lacks the checkpoints of {len(missing)} of {len(subjects)} subjects ({', '.join(missing[:10])}):"
            f" expected one per subject, a folder or a released file, like subject_006.pkl; it holds {have}"
        )
    twice = [path.name for subject in subjects if len(paths := found[subject_key(subject)]) > 1 for path in paths]
    if twice:
        raise UsageError(
            f"{folder} holds several checkpoints of one subject ({', '.join(twice[:4])}): keep one of them"
        )
    return {subject: found[subject_key(subject)][0] for subject in subjects}


@contextmanager
def fold_model(path: Path, *, data_set: TrainedOn) -> Iterator[Model]:
    """The model of a checkpoint folder or of a released file, which is converted for as long as it is needed.

    Raises
    ------
    CheckpointError, UsageError
        As :func:`metst.models.checkpoint.load_model` and :func:`metst.models.convert.convert_released`.
    """
    if path.is_dir():
        yield load_model(path)
        return
    with temporary_folder() as folder:
        convert_released(path, folder / "model", data_set=data_set)
        yield load_model(folder / "model")


def check_model(model: Model, features: Features, *, data_set: TrainedOn, where: Path) -> PublishedDecodeSettings:
    """Its published decoding, once it is known to be made for the data set and the features.

    Raises
    ------
    CheckpointError
        If it is no converted released checkpoint, or one for other features or another data set.
    """
    info = model.info
    if not isinstance(info.decode, PublishedDecodeSettings) or info.scoring.mode != "windows":
        raise CheckpointError(f"{where} ({info.name}) is no released checkpoint: convert one with metst convert")
    if not math.isclose(info.input.rate_hz, DATA_SETS[data_set].rate_hz, rel_tol=1e-6):
        raise CheckpointError(
            f"{where} was converted for another data set (it reads {info.input.rate_hz:g} frames per second): convert"
            f" it again with --data-set {data_set}"
        )
    if (info.network.in_channels, info.scoring.window) != (features.channels, features.window):
        raise CheckpointError(
            f"{where} ({info.name}) reads windows of {info.network.in_channels} channels and {info.scoring.window}"
            f" frames, but the cached features are ({features.channels}, {features.window}): take those that belong"
            " to this network and data set"
        )
    return info.decode


def was_trained_on(model: Model, subject: str) -> bool | None:
    """Whether a checkpoint was trained on a subject; None if it does not say, as released ones do not.

    Names are compared as a lab wrote them, but for case and the form of letters; what the authors write before the
    number of a subject of CAS(ME)³ or of a checkpoint is no part of a name.
    """
    seen = model.info.training_subjects
    return None if seen is None else _lab_key(subject) in {_lab_key(name) for name in seen}


def _lab_key(name: str) -> str:
    return _AUTHORS_SUBJECT.sub("", composed(name).casefold())
