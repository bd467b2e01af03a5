"""Results that are to go: found, told and deleted, with the motion that is kept of their recordings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from metst.coding.journal import is_journal, read_journal
from metst.coding.layers_folder import LayersHeader, read_layers_header
from metst.errors import DataError, OutputError, UsageError
from metst.evaluation.analyses import (
    CORPUS_PAGE,
    CORPUS_TABLE,
    OVERLAY_FILE,
    REPORT_FILE,
    AnalysisTask,
    Choices,
    line_of,
)
from metst.motion.cache import MotionCache
from metst.report.corpus_page import is_summary, write_corpus_page, write_summary
from metst.results import Custody, discard, read_header
from metst.results.analysis_folder import (
    FILES,
    HEADER_FILE,
    LAYERS_FILE,
    LAYERS_FOLDER,
    REVIEW_FILE,
    AnalysisHeader,
    content_in,
)
from metst.results.overview import OVERVIEW_FILE, Overview
from metst.spelling.names import composed
from metst.storage import remedy
from metst.storage.database import BESIDE
from metst.storage.leftovers import leftovers, sweep
from metst.storage.locks import LOCK_FILE, only_reviewer, only_writer

_REVIEW = frozenset({REVIEW_FILE, *(f"{REVIEW_FILE}{end}" for end in BESIDE)})
"""What coders made of results, in their folder."""

_OURS = frozenset({*FILES, HEADER_FILE, OVERVIEW_FILE, REPORT_FILE, OVERLAY_FILE, *_REVIEW})
"""All that an analysis and its reviews write into their folder."""

_FIELDS = {
    sign: {each.alias or name for name, each in kind.model_fields.items() if each.is_required()}
    for sign, kind in ((HEADER_FILE, AnalysisHeader), (OVERVIEW_FILE, Overview), (LAYERS_FILE, LayersHeader))
}
"""Files by which a folder of results is known, and what all versions of metst say in them.

Other programs have files of these names, too: by its name alone nothing is taken for a result.
"""

_SIGNS = frozenset({*_FIELDS, REVIEW_FILE})
"""Names of all files by which a folder of results is known."""


@dataclass(frozen=True)
class Found:
    """A folder of results, or one that may be such.

    Parameters
    ----------
    folder : Path
    name : str
        Of the recording; that of the folder where nobody can tell.
    custody : Custody, optional
        Whose it is, and until when; None where nobody can tell.
    content : str
        Hash of the recording; empty where nobody can tell.
    own : frozenset of str
        Names of the files in it that are metst's; empty where it holds no results, or nobody can tell.
    problem : str
        Why nobody can tell; also empty where all is of another program.
    """

    folder: Path
    name: str
    custody: Custody | None
    content: str
    own: frozenset[str]
    problem: str = ""

    @property
    def foreign(self) -> bool:
        """Whether its files are those of another program."""
        return not self.own and not self.problem

    @property
    def files(self) -> list[Path]:
        """What an analysis wrote; last what says whose it is, by which the rest is found again if work stops here."""
        ours = (path for path in self.folder.iterdir() if path.name in self.own or _is_part(path))
        return sorted(
            ours, key=lambda path: (path.name in {HEADER_FILE, LAYERS_FILE}, path.name == REVIEW_FILE, path.name)
        )

    @property
    def analysed(self) -> bool:
        """Whether there is, or was, an analysis: not layers or reviews alone."""
        return LAYERS_FILE not in self.own and not self.own <= _REVIEW

    @property
    def others(self) -> list[str]:
        """Names of what it did not write, and what therefore stays; folders of other results are not meant."""
        rest = [
            path for path in self.folder.iterdir() if path.name not in {*self.own, LOCK_FILE} and not _is_part(path)
        ]
        return sorted(path.name for path in rest if not any(each.own for each in _results_in(path)))


def _is_part(path: Path) -> bool:
    return path.name.startswith(".metst-") and path.name != LOCK_FILE


def find_results(roots: Iterable[Path]) -> list[Found]:
    """All folders of results at or below some folders, links not followed, and what may be such.

    Raises
    ------
    UsageError
        One of them is no folder.
    """
    found: dict[Path, Found] = {}
    for root in roots:
        if not os.path.isdir(root):  # noqa: PTH112 - it does not fail where a folder above is closed
            raise UsageError(f"{root} is no folder: give folders of results, or one that holds them")
        found |= {each.folder.resolve(): each for each in _results_in(root)}
    return list(found.values())


def _results_in(root: Path) -> Iterator[Found]:
    closed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=closed.append):
        folders.sort()
        if not _SIGNS.isdisjoint(files):
            yield _found(Path(folder))
    for error in closed:
        where = Path(error.filename)
        problem = f"{where} cannot be looked into ({error.strerror}): what it holds stays"
        yield Found(where, where.name, None, "", frozenset(), problem)


def _found(folder: Path) -> Found:
    signs = {sign: _is_own(folder / sign, fields) for sign, fields in _FIELDS.items()}
    if (layered := signs.pop(LAYERS_FILE)) is not False:
        return _found_layers(folder, certain=layered is True)
    foreign = {sign for sign, own in signs.items() if own is False}
    reviewed = is_journal(folder / REVIEW_FILE)
    if len(foreign) == len(signs) and reviewed is not False:
        return _found_reviews(folder, certain=reviewed is True)
    foreign |= _REVIEW if reviewed is False else set()
    try:
        header = read_header(folder)
    except DataError as error:
        problem = "" if not any(own is not False for own in signs.values()) else str(error)
        own = _OURS - foreign if any(signs.values()) else frozenset()
        return Found(folder, folder.name, None, "", own, problem)
    own = _OURS - foreign - (FILES - {*header.files} if header.whole else set())
    return Found(folder, header.source.name, header.custody, header.source.content_hash, own)


def _found_layers(folder: Path, *, certain: bool) -> Found:
    """What ``metst import`` wrote: a folder of its own below the results, with tables of whatever name."""
    try:
        header = read_layers_header(folder)
    except DataError as error:
        own = frozenset({LAYERS_FILE, *(path.name for path in folder.glob("*.csv"))} if certain else ())
        return Found(folder, folder.name, None, "", own, str(error))
    own = frozenset({LAYERS_FILE, *header.sha256})
    custody = _custody_beside(folder) or header.custody
    return Found(folder, header.source.name, custody, header.source.content_hash, own)


def _found_reviews(folder: Path, *, certain: bool) -> Found:
    """Reviews of layers that were imported, or of an analysis that is gone: the layers say whose they are."""
    own = _REVIEW if certain else frozenset()
    custody = None
    with suppress(DataError):
        custody = read_layers_header(folder / LAYERS_FOLDER).custody
    try:
        recording = read_journal(folder).recording
    except DataError as error:
        return Found(folder, folder.name, custody, content_in(folder), own, str(error))
    return Found(folder, recording.name, custody or Custody(), recording.content_hash, own)


def _custody_beside(folder: Path) -> Custody | None:
    """Whose the analysis is that layers lie beside, where it says so: it may have come after them."""
    with suppress(DataError):
        custody = read_header(folder.parent).custody
        return custody if custody != Custody() else None
    return None


def _is_own(path: Path, fields: Set[str]) -> bool | None:
    """Whether a file is metst's, of whatever version, sealed or not; None where nobody can tell.

    One name may be missing: a damaged bit changes one, and what is damaged must not stay behind as somebody else's.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        return None
    return isinstance(value, dict) and len(fields - value.keys()) <= 1


def chosen(found: Sequence[Found], *, person: str | None, expired_on: date | None) -> list[Found]:
    """Those of one person, those whose last day is before a day, or both at once; without either, all results."""
    told = [each for each in found if each.own]
    if person is not None:
        told = [each for each in told if each.custody and composed(each.custody.person) == composed(person)]
    if expired_on is not None:
        told = [each for each in told if each.custody and each.custody.expired(expired_on)]
    return told


def delete(found: Sequence[Found], *, cache: MotionCache) -> tuple[list[Found], list[str]]:
    """Delete results, their recordings' motion in the cache, and their lines in tables over several recordings.

    The results themselves come last, those below others first, and last of each what says whose it is: cut off and
    called again, it goes on.

    Returns
    -------
    gone : list of Found
        What was deleted.
    problems : list of str
        What could not be deleted, and why.
    """
    problems, gone = [], []
    try:
        cache.forget({each.content for each in found if each.content})
    except OSError as error:
        problems.append(f"cannot delete motion in {cache.folder}: {remedy(error)}")
    going = {each.folder.resolve() for each in found}
    tables = {above for folder in going for above in folder.parents if is_summary(above / CORPUS_TABLE)}
    problems += _tell_the_rest(tables, going=going)
    for each in sorted(found, key=lambda each: -len(each.folder.parts)):  # layers are whose the analysis above says
        try:
            with only_writer(each.folder), _no_review_open(each):
                discard(each.folder, *(path.name for path in each.files if path.is_file() or path.is_symlink()))
                for folder in leftovers(each.folder):
                    shutil.rmtree(folder, ignore_errors=True)
            gone.append(each)
        except OutputError as error:
            problems.append(str(error))
    for folder in (*sorted(going, key=lambda path: -len(path.parts)), *tables):
        with suppress(OSError):  # what is not empty stays
            folder.rmdir()
    return gone, problems + (_tell_the_rest(tables, going=set()) if problems else [])


@contextmanager
def _no_review_open(found: Found) -> Iterator[None]:
    """Keep reviews closed while their log goes: what a coder does meanwhile would be lost."""
    with only_reviewer(found.folder) if (found.folder / REVIEW_FILE).exists() else nullcontext():
        yield


def _tell_the_rest(tables: Set[Path], *, going: Set[Path]) -> list[str]:
    """Write the tables and pages over several recordings anew, of those that stay; why one cannot be written."""
    problems = []
    for root in sorted(tables):
        staying = [each for each in _results_in(root) if each.own and each.folder.resolve() not in going]
        lines = [_line(each) for each in staying if each.analysed]
        try:
            if lines:
                write_summary(lines, root / CORPUS_TABLE)
                write_corpus_page(lines, root / CORPUS_PAGE, report=REPORT_FILE)
            else:
                discard(root, CORPUS_TABLE, CORPUS_PAGE)
        except OutputError as error:
            problems.append(str(error))
    return problems


def _line(found: Found) -> dict[str, Any]:
    try:
        path, error = Path(read_header(found.folder).source.path), None
    except DataError as fault:
        path, error = found.folder, str(fault)
    return line_of(AnalysisTask(path, found.folder, Choices()), error=error)


def sweep_all(roots: Iterable[Path], *, dry: bool) -> list[Path]:
    """Delete what dead processes left in some folders and those below; or only name it.

    Raises
    ------
    OutputError
        A folder cannot be read.
    """
    gone: list[Path] = []
    for root in roots:
        try:
            for folder, folders, _ in os.walk(root):
                gone += leftovers(Path(folder)) if dry else sweep(Path(folder))
                folders[:] = [name for name in folders if not _is_part(Path(name))]
        except OSError as error:
            raise OutputError(f"cannot look through {root}: {remedy(error)}") from error
    return gone
