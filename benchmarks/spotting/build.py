"""Builds the clips of the plan and measures them: what is there already is kept, so that a build can be resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import joblib
from head_clips import write_head_clip
from listing import Listing, entry_of, video_of
from material import write_stretch
from people import PersonClip, Split, chosen, find_people, hash_of
from plan import FIELDS, SPLITS, ClipPlan, FieldName, Plan
from planting import plant, track_of
from sources import fetch

from metst.errors import DataError, UsageError
from metst.storage import make_folder
from metst.synthesis.patterns import read_patterns

Say = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    """The part of the plan that is built.

    Parameters
    ----------
    splits, fields : tuple of str
        Those that are wanted.
    quick : bool
        Two amplitudes of each field, and one quality and seed.
    real : bool
        No portraits and no heads.
    """

    splits: tuple[Split, ...] = SPLITS
    fields: tuple[FieldName, ...] = FIELDS
    quick: bool = False
    real: bool = False

    def clips(self, plan: Plan) -> list[ClipPlan]:
        """What is wanted of a plan, in its order."""
        return [
            clip
            for clip in plan.clips(quick=self.quick)
            if clip.split in self.splits
            and (clip.field is None or clip.field in self.fields)
            and ("real" in clip.tags or not self.real)
        ]


@dataclass(frozen=True)
class Given:
    """Files that are given to a build, for nobody may hand them on or they have no package.

    Parameters
    ----------
    people : dict of str to Path
        Clips of people by their SHA-256.
    patterns : Path, optional
        The statistics of real movements.
    """

    people: dict[str, Path] = field(default_factory=dict)
    patterns: Path | None = None


def given(plan: Plan, *, footage: Path | None, patterns: Path | None) -> Given:
    """The files that a build is given, checked against the plan.

    Raises
    ------
    UsageError
        There is no such folder or file.
    DataError
        A clip or the statistics are not those of the plan.
    """
    if patterns is not None:
        read_patterns(patterns)
        if (found := hash_of(patterns)) != plan.statistics.sha256:
            raise DataError(
                f"{patterns} has SHA-256 {found}, the plan expects {plan.statistics.sha256}: give the plan's"
                f" {plan.statistics.file}"
            )
    people = {} if footage is None else find_people(footage, people=_people(plan))
    return Given(people, patterns)


def _people(plan: Plan) -> tuple[PersonClip, ...]:
    return chosen(plan.listing, sentences=plan.people.sentences)


def build(
    plan: Plan, *, folder: Path, files: Given, selection: Selection, strict: bool, workers: int, say: Say
) -> None:
    """Fetch footage, write clips, measure their motion, and keep the list of what is there.

    Raises
    ------
    UsageError
        ``strict``, and a file that the selection needs was not given.
    """
    make_folder(folder)
    wanted = selection.clips(plan)
    clips = [clip for clip in wanted if not _lacks(clip, files=files)]
    if lacking := sorted({_lacks(clip, files=files) for clip in wanted} - {""}):
        if strict:
            raise UsageError(f"missing: {', '.join(lacking)}: give --footage and --patterns, or leave out --strict")
        left = f"{len(wanted) - len(clips)} of {len(wanted)} clips are left out for want of {', '.join(lacking)}"
        say(f"{left}: see --footage and --patterns")
    for footage in {clip.footage.file: clip.footage for clip in clips}.values():
        if footage.registry not in ("packaged", "folder"):
            fetch(footage, folder=folder / "footage")
    # Clips of one stretch share what is kept of it: they are made one after the other.
    groups = [list(group) for _, group in groupby(sorted(clips, key=_stretch_key), key=_stretch_key)]
    tasks = (joblib.delayed(_made)(group, folder=folder, files=files) for group in groups)
    done = 0
    for entries in joblib.Parallel(n_jobs=workers, return_as="generator")(tasks):
        done += len(entries)
        say(f"{done} of {len(clips)}: {entries[-1]['name']}")
        # Read again each time: another part of the plan may be built into the folder meanwhile.
        listed = Listing.of(folder).clips if (folder / "build.json").is_file() else {}
        Listing(listed | {each["name"]: each for each in entries}).write(folder, plan=plan)


def _lacks(clip: ClipPlan, *, files: Given) -> str:
    """The file that a clip would need and that was not given; empty where there is none."""
    if clip.footage.registry == "folder" and clip.footage.sha256 not in files.people:
        return clip.footage.file
    return "the statistics of real movements" if clip.field == "patterns" and files.patterns is None else ""


def _stretch_key(clip: ClipPlan) -> str:
    return clip.stretch.name


def _made(clips: Sequence[ClipPlan], *, folder: Path, files: Given) -> list[dict[str, Any]]:
    """Clips of one stretch, each made unless it is there."""
    for clip in clips:
        home = folder / "clips" / clip.name
        stamp = home / "plan.sha256"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == clip.digest:
            continue
        shutil.rmtree(home, ignore_errors=True)
        _write(clip, folder=folder, files=files)
        stamp.write_text(clip.digest, encoding="utf-8")
    return [entry_of(clip, folder=folder) for clip in clips]


def _write(clip: ClipPlan, *, folder: Path, files: Given) -> None:
    home = folder / "clips" / clip.name
    make_folder(home)
    if clip.stretch.kind == "head":
        write_head_clip(home, clip=clip, model=fetch(clip.footage, folder=folder / "footage"))
        return
    source = _source(clip, folder=folder, files=files)
    if clip.raw:
        shutil.copyfile(source, video_of(clip, folder=folder))
        return
    track = track_of(source, kept=folder / "tracks" / f"{clip.stretch.name}-{_drawn(clip)}.npz")
    patterns = None if files.patterns is None else read_patterns(files.patterns)
    try:
        plant(home, clip=clip, footage=source, track=track, patterns=patterns)
    except UsageError as error:
        raise UsageError(f"{clip.name}: {error}") from error


def _source(clip: ClipPlan, *, folder: Path, files: Given) -> Path:
    """The footage itself where all of it is taken, else the stretch that was cut out or set in motion."""
    if clip.stretch.kind == "whole":
        return files.people[clip.footage.sha256]
    path = folder / "stretches" / f"{clip.stretch.name}-{_drawn(clip)}.mp4"
    if not path.is_file():
        make_folder(path.parent)
        packaged = clip.footage.registry == "packaged"
        write_stretch(path, clip=clip, source=None if packaged else fetch(clip.footage, folder=folder / "footage"))
    return path


def _drawn(clip: ClipPlan) -> str:
    """Names the pictures of a stretch before anything is planted."""
    return f"{clip.act or 'plain'}-{clip.stretch_digest[:12]}"
