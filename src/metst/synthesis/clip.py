"""A clip with planted micro-expressions on disk: video, truth table and the recipe that rebuilds it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from metst.arrays import Float64Array, Image, OnProgress
from metst.config import FaceSettings
from metst.errors import DataError, FaceError, OutputError, UsageError
from metst.face import FaceFrame, track_face
from metst.regions import LANDMARK_COUNT
from metst.results import Block, table_of
from metst.spelling.names import check_name
from metst.storage import faults_in_words, write_parts, write_whole
from metst.storage.locks import only_writer
from metst.synthesis.events import PlantedEvent, draw_schedule
from metst.synthesis.inject import animate_portrait, inject_events, truth_intervals
from metst.synthesis.patterns import PatternStatistics, read_patterns
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.synthesis.recipe import ClipRecipe
from metst.timeline import TimeGrid, frame_for_people, frames_for_people
from metst.video import read_colour_stream, read_frames, write_video
from metst.video.hashing import Stamp, content_hash, content_stamp, is_unchanged

_FEWEST_FRAMES = 2
"""From one to the next something can move."""


@dataclass(frozen=True)
class Clip:
    """Where a written clip is, and what is in it."""

    video: Path
    truth: Path
    events: tuple[PlantedEvent, ...]
    grid: TimeGrid


def write_clip(
    folder: Path,
    *,
    recipe: ClipRecipe,
    footage: Path | None = None,
    head_model: Path | None = None,
    patterns: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Clip:
    """Plant micro-expressions and write ``planted.mp4``, ``truth.csv`` and ``recipe.json``.

    Parameters
    ----------
    folder : Path
        Made when absent.
    recipe : ClipRecipe
        How many, how strong, when.
    footage : Path, optional
        Video to plant into; when absent, that of the recipe, else its head, else the packaged portrait set in motion.
    head_model : Path, optional
        File of the parametric head, for a recipe with one; that of the installed package when absent.
    patterns : Path, optional
        Statistics that patterns are drawn from in place of action units, as
        :func:`metst.synthesis.patterns.read_patterns` reads them; those of the recipe when absent.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        The stretch is too short for the events, the face is not visible where one falls, an unknown class or unit, no
        head model, one for a clip without a head, patterns for a head or beside units, or the clip would replace its
        own footage.
    FaceError
        The footage shows no face, or one that is too small.
    DataError
        Footage or patterns are not those of the recipe, or the latter no statistics of patterns.
    OutputError
        The folder or a file cannot be written.
    """
    video, beside = folder / "planted.mp4", (folder / "recipe.json", folder / "truth.csv")
    if footage is None and recipe.footage:
        footage = Path(recipe.footage)
        if not footage.exists():
            raise UsageError(f"the recipe was made of {footage.name}, which is not here: name that file as well")
    if head_model is not None and (footage is not None or recipe.head is None):
        raise UsageError("a head model is only for a clip with a rendered head: ask for a head, or leave out the model")
    if footage is not None and _same_file(video, footage):
        raise UsageError(f"{video} is the footage itself, which the clip would replace: choose another folder")
    recipe, statistics = _drawn_from(recipe, patterns=patterns)
    made = _planned(recipe, footage=footage, head_model=head_model, statistics=statistics)
    grid = TimeGrid(made.time_s)
    truth = truth_table(made.events, grid=grid, video=video.name)
    written = _handed_on(made.recipe, folder=folder)
    with only_writer(folder):
        counted = _then_remove(_counted(made.images, total=len(grid), on_progress=on_progress), beside)
        write_video(video, counted, times_s=made.time_s.tolist(), crf=recipe.crf, codec=recipe.codec)
        write_whole(beside[0], written.model_dump_json(indent=2).encode())
        write_parts(beside[1], table_of(truth).csv_parts())
    return Clip(video, beside[1], made.events, grid)


def _handed_on(recipe: ClipRecipe, *, folder: Path) -> ClipRecipe:
    """The recipe as it is written into this folder: without the places of a machine."""
    files = {"footage": recipe.footage, "patterns": recipe.patterns}
    return recipe.model_copy(update={field: _told(Path(name), folder=folder) for field, name in files.items() if name})


def _told(file: Path, *, folder: Path) -> str:
    """A file as a recipe in ``folder`` names it: from there where it lies near, else by name, never by its place."""
    place, here = file.resolve(), folder.resolve()
    return Path(os.path.relpath(place, here)).as_posix() if place.is_relative_to(here.parent) else place.name


def _drawn_from(recipe: ClipRecipe, *, patterns: Path | None) -> tuple[ClipRecipe, PatternStatistics | None]:
    """The recipe with the statistics it draws from, and these; checked for each other."""
    if patterns is None and recipe.patterns:
        patterns = Path(recipe.patterns)
        if not patterns.exists():
            raise UsageError(f"the recipe draws from {patterns.name}, which is not here: name it with --patterns, too")
    if patterns is None:
        return recipe, None
    statistics, found = read_patterns(patterns), content_hash(patterns)
    if recipe.patterns_hash not in ("", found):
        raise DataError(f"{patterns} is not what this recipe draws from, which was {recipe.patterns}: give that file")
    values = recipe.model_dump() | {"patterns": str(patterns), "patterns_hash": found}
    return ClipRecipe.model_validate(values), statistics


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there, or has a name that no file can have
        return False


def _then_remove(images: Iterator[Image], files: Sequence[Path]) -> Iterator[Image]:
    """All images; then the files of an earlier clip go: the new video is about to replace the one they belong to."""
    yield from images
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{file} of an earlier clip cannot be replaced: {error.strerror}") from error


@dataclass(frozen=True, eq=False)
class _Planned:
    """A clip that can be made: all that could be refused has been checked."""

    recipe: ClipRecipe
    time_s: Float64Array
    events: tuple[PlantedEvent, ...]
    images: Iterator[Image]


def _planned(
    recipe: ClipRecipe, *, footage: Path | None, head_model: Path | None, statistics: PatternStatistics | None
) -> _Planned:
    rng = np.random.default_rng(recipe.seed)
    if footage is not None:
        return _footage_clip(recipe, footage=footage, rng=rng, statistics=statistics)
    time_s = np.arange(round(recipe.duration_s * recipe.rate_hz)) / recipe.rate_hz
    if len(time_s) < _FEWEST_FRAMES:
        raise UsageError(f"{recipe.duration_s:g} s at {recipe.rate_hz:g} frames/s are {len(time_s)} frames: too few")
    events = _schedule(recipe, rng=rng, last_s=float(time_s[-1]), statistics=statistics)
    if recipe.head is not None:
        images = _head_images(recipe, time_s=time_s, events=events, head_model=head_model)
    else:
        images = _portrait_images(recipe, time_s=time_s, events=events, rng=rng)
    return _Planned(recipe, time_s, events, images)


def _footage_clip(
    recipe: ClipRecipe, *, footage: Path, rng: np.random.Generator, statistics: PatternStatistics | None
) -> _Planned:
    check_name(footage)
    stamp, found = content_stamp(footage), content_hash(footage)
    if recipe.footage_hash not in ("", found):
        raise DataError(f"{footage} is not the footage of this recipe, which was {recipe.footage}: give that file")
    if recipe.head is not None or recipe.size is not None:
        raise UsageError("footage keeps its own picture: leave out the head and the size")
    time_s, landmarks = _track(footage)
    events = _schedule(recipe, rng=rng, last_s=float(time_s[-1]), statistics=statistics)
    source = (frame.rgb for frame in read_colour_stream(footage))
    planted = inject_events(source, landmarks=landmarks, time_s=time_s, events=events)
    images = _of_one_content(planted, footage=footage, stamp=stamp, content=found)
    recorded = recipe.model_copy(update={"footage": str(footage), "footage_hash": found})
    return _Planned(recorded, time_s, events, images)


def _of_one_content(images: Iterator[Image], *, footage: Path, stamp: Stamp, content: str) -> Iterator[Image]:
    """All images; then an error if somebody wrote to the footage meanwhile: the clip is not put in its place."""
    yield from images
    if not is_unchanged(footage, stamp=stamp, content=content):
        raise DataError(f"{footage} was changed while it was read: nothing was written; run again")


def truth_table(
    events: tuple[PlantedEvent, ...], *, grid: TimeGrid, video: str, subject: str = "planted"
) -> dict[str, Block]:
    """Truth as people read it, by column: frames from 1, both ends included, and the action units (or "pattern")."""
    truth = truth_intervals(events, grid=grid)
    first, last = frames_for_people(truth.onset, truth.offset)
    ordered = sorted(events, key=lambda event: event.onset_s)
    return {
        "subject": [subject] * len(events),
        "video": [video] * len(events),
        "onset": first,
        "apex": frame_for_people(truth.apex),
        "offset": last,
        "emotion": list(truth.label),
        "action_units": [event.units_in_words for event in ordered],
        "side": [event.side for event in ordered],
    }


def _schedule(
    recipe: ClipRecipe, *, rng: np.random.Generator, last_s: float, statistics: PatternStatistics | None
) -> tuple[PlantedEvent, ...]:
    end_s = min(last_s, recipe.end_s if recipe.end_s is not None else last_s)
    return draw_schedule(
        rng,
        count=recipe.count,
        start_s=recipe.start_s,
        end_s=end_s,
        amplitude=recipe.amplitude,
        amplitude_max=recipe.amplitude_max,
        labels=recipe.labels,
        units=recipe.units,
        durations_s=recipe.durations_s,
        patterns=statistics,
    )


def _head_images(
    recipe: ClipRecipe,
    *,
    time_s: Float64Array,
    events: tuple[PlantedEvent, ...],
    head_model: Path | None,
) -> Iterator[Image]:
    """A rendered head; its picture's size is that of the recipe where that names one."""
    from metst.synthesis.heads.load import load_head_model
    from metst.synthesis.heads.render import render_scene
    from metst.synthesis.heads.scene import HeadScene

    settings = dict(recipe.head or {})
    if recipe.size is not None:
        width, height = recipe.size
        camera = settings.get("camera", {})
        if isinstance(camera, dict):  # what else stands there is refused below
            settings["camera"] = camera | {"width": width, "height": height}
    try:
        scene = HeadScene.model_validate(settings)
    except ValidationError as error:
        raise UsageError(f"a head cannot be made: {faults_in_words(error, whole='its settings')}") from error
    model = load_head_model(head_model)  # here, not at the first frame: what is missing is said before a file is made
    return render_scene(scene, time_s=time_s, events=events, rng_seed=recipe.seed, model=model)


def _portrait_images(
    recipe: ClipRecipe, *, time_s: Float64Array, events: tuple[PlantedEvent, ...], rng: np.random.Generator
) -> Iterator[Image]:
    picture = portrait(recipe.size)
    return animate_portrait(
        picture,
        landmarks=portrait_landmarks(picture),
        time_s=time_s,
        events=events,
        rng=rng,
        noise_sigma=recipe.noise_sigma,
    )


def _track(footage: Path) -> tuple[Float64Array, Float64Array]:
    """Timestamps (T,) and landmarks (T, 68, 2) of every frame; NaN where there is no face."""
    every_frame = FaceSettings(landmark_interval_s=0.0)
    time_s: list[float] = []
    landmarks: list[Float64Array] = []
    reasons: Counter[str] = Counter()
    for found in track_face(read_frames(footage), settings=every_frame):
        time_s.append(found.frame.time_s)
        landmarks.append(_points(found))
        if found.face is None:
            reasons[found.reason] += 1
    if not landmarks:
        raise FaceError(f"{footage.name}: no frame to plant into")
    points = np.stack(landmarks)
    if not np.isfinite(points).any():
        raise FaceError(f"{footage.name}: no face to plant into ({reasons.most_common(1)[0][0]})")
    return np.array(time_s), points


def _points(found: FaceFrame) -> Float64Array:
    return np.full((LANDMARK_COUNT, 2), np.nan) if found.face is None else found.face.landmarks.astype(np.float64)


def _counted(images: Iterator[Image], *, total: int, on_progress: OnProgress | None) -> Iterator[Image]:
    for done, image in enumerate(images, start=1):
        if on_progress:
            on_progress("planting", done, total)
        yield image
