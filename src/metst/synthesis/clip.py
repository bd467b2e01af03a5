"""A clip with planted micro-expressions on disk: video, truth table and the recipe that rebuilds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from metst.config import FaceSettings, Settings
from metst.errors import FaceError, OutputError
from metst.face import FaceFrame, track_face
from metst.results import Block, table_of
from metst.synthesis.events import PlantedEvent, draw_schedule
from metst.synthesis.inject import animate_portrait, inject_events, truth_intervals
from metst.synthesis.portrait import portrait, portrait_landmarks
from metst.timeline import TimeGrid, frame_for_people, frames_for_people
from metst.video import read_colour_stream, read_frames, write_video

OnProgress = Callable[[str, int, int | None], None]
Image = npt.NDArray[np.uint8]


class ClipRecipe(Settings):
    """All that decides a planted clip besides its footage."""

    count: int = Field(10, ge=0, description="number of micro-expressions")
    amplitude: float = Field(0.2, ge=0, le=1, description="fraction of full contraction")
    start_s: float = Field(0.5, ge=0, description="start of the stretch that is planted into, seconds")
    end_s: float | None = Field(None, ge=0, description="end of that stretch; the end of the clip when absent")
    labels: tuple[str, ...] = Field(
        ("negative", "positive", "surprise"), description="classes, planted in equal numbers"
    )
    seed: int = Field(1, ge=0, description="seed of all chance")
    crf: int = Field(18, ge=0, le=51, description="H.264 quality")
    duration_s: float = Field(20.0, gt=0, description="length of a portrait clip, seconds")
    rate_hz: float = Field(30.0, gt=0, description="frame rate of a portrait clip")
    noise_sigma: float = Field(1.5, ge=0, description="sensor noise of a portrait clip, grey levels")


@dataclass(frozen=True)
class Clip:
    """Where a written clip is, and what is in it."""

    video: Path
    truth: Path
    events: tuple[PlantedEvent, ...]
    grid: TimeGrid


def write_clip(
    folder: Path, *, recipe: ClipRecipe, footage: Path | None = None, on_progress: OnProgress | None = None
) -> Clip:
    """Plant micro-expressions and write ``planted.mp4``, ``truth.csv`` and ``recipe.json``.

    Parameters
    ----------
    folder : Path
        Made when absent.
    recipe : ClipRecipe
        How many, how strong, when.
    footage : Path, optional
        Video to plant into; the packaged portrait is set in motion when absent.
    on_progress : callable, optional
        Called as ``on_progress(stage, done, total)``.

    Raises
    ------
    UsageError
        The stretch is too short for the events, or the face is not visible where one falls.
    FaceError
        The footage shows no face.
    """
    rng = np.random.default_rng(recipe.seed)
    if footage is None:
        time_s = np.arange(round(recipe.duration_s * recipe.rate_hz)) / recipe.rate_hz
        events = _schedule(recipe, rng=rng, last_s=float(time_s[-1]))
        images = _portrait_images(recipe, time_s=time_s, events=events, rng=rng)
    else:
        time_s, landmarks = _track(footage)
        events = _schedule(recipe, rng=rng, last_s=float(time_s[-1]))
        source = (frame.rgb for frame in read_colour_stream(footage))
        images = inject_events(source, landmarks=landmarks, time_s=time_s, events=events)
    grid = TimeGrid(time_s)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    video = folder / "planted.mp4"
    write_video(
        video, _counted(images, total=len(grid), on_progress=on_progress), times_s=time_s.tolist(), crf=recipe.crf
    )
    (folder / "recipe.json").write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    truth = truth_table(events, grid=grid, video=video.name)
    (folder / "truth.csv").write_bytes(b"".join(table_of(truth).csv_parts()))
    return Clip(video, folder / "truth.csv", events, grid)


def truth_table(
    events: tuple[PlantedEvent, ...], *, grid: TimeGrid, video: str, subject: str = "planted"
) -> dict[str, Block]:
    """Truth as people read it, by column: frames from 1, both ends included, and the action units."""
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
        "action_units": ["+".join(event.units) for event in ordered],
        "side": [event.side for event in ordered],
    }


def _schedule(recipe: ClipRecipe, *, rng: np.random.Generator, last_s: float) -> tuple[PlantedEvent, ...]:
    end_s = min(last_s, recipe.end_s if recipe.end_s is not None else last_s)
    return draw_schedule(
        rng,
        count=recipe.count,
        start_s=recipe.start_s,
        end_s=end_s,
        amplitude=recipe.amplitude,
        labels=recipe.labels,
    )


def _portrait_images(
    recipe: ClipRecipe, *, time_s: npt.NDArray[np.float64], events: tuple[PlantedEvent, ...], rng: np.random.Generator
) -> Iterator[Image]:
    return animate_portrait(
        portrait(),
        landmarks=portrait_landmarks(),
        time_s=time_s,
        events=events,
        rng=rng,
        noise_sigma=recipe.noise_sigma,
    )


def _track(footage: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Timestamps (T,) and landmarks (T, 68, 2) of every frame; NaN where there is no face."""
    every_frame = FaceSettings(landmark_interval_s=0.0)
    time_s: list[float] = []
    landmarks: list[npt.NDArray[np.float64]] = []
    for found in track_face(read_frames(footage), settings=every_frame):
        time_s.append(found.frame.time_s)
        landmarks.append(_points(found))
    points = np.stack(landmarks)
    if not np.isfinite(points).any():
        raise FaceError(f"{footage.name}: no face to plant into")
    return np.array(time_s), points


def _points(found: FaceFrame) -> npt.NDArray[np.float64]:
    return np.full((68, 2), np.nan) if found.face is None else found.face.landmarks.astype(np.float64)


def _counted(images: Iterator[Image], *, total: int, on_progress: OnProgress | None) -> Iterator[Image]:
    for done, image in enumerate(images, start=1):
        if on_progress:
            on_progress("planting", done, total)
        yield image
