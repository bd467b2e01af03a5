"""Interface: the recordings, and what was measured in them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from metst.errors import DataError
from metst.regions import REGION_NAMES
from metst.review.answers import bytes_answer
from metst.review.bodies import LayerKind
from metst.review.desk import AtDesk, Desk
from metst.review.jobs import JobState
from metst.review.measured_rows import condition_runs, regional_runs, series_names, series_of
from metst.review.recordings import Recording
from metst.review.refusals import NotAllowed
from metst.review.videos import VideoState

router = APIRouter(prefix="/api/recordings", tags=["recordings"])

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}, "description": "Little-endian numbers, one per frame."}
}
_FROM_SCORES = ("spot_score", "p_")
"""How the names of series begin that tell what the machine found."""


class Listed(BaseModel):
    """A recording in the list."""

    id: str
    name: str
    state: JobState
    stage: str = Field(description="of an analysis that runs")
    progress: float = Field(description="0 to 1")
    problem: str = Field(description="why it failed, or cannot be shown")
    frames: int
    duration_s: float
    candidates: int | None = Field(description="that the machine found; null while that is kept from the coder")
    open: int
    accepted: int
    rejected: int
    released: bool
    video: VideoState


class SourceTold(BaseModel):
    """The recording itself."""

    frames: int
    width: int
    height: int
    rate_hz: float
    duration_s: float
    codec: str


class GapTold(BaseModel):
    """Frames that could not be used."""

    first_frame: int
    last_frame: int
    reason: str


class ConditionTold(BaseModel):
    """Frames in which something may make motion look different from what it is."""

    first_frame: int
    last_frame: int
    region: str | None = Field(description="null: one region or more, not told apart")
    condition: str


class VideoTold(BaseModel):
    """Whether the recording is there, and how far a quicker copy of it is (null: none is needed)."""

    state: VideoState
    hint: str
    copy_progress: float | None


class LayerTold(BaseModel):
    """A layer, and whether this coder may see it."""

    name: str
    kind: LayerKind
    released: bool
    visible: bool
    mine: bool


class RecordingTold(BaseModel):
    """All that is small of a recording."""

    id: str
    name: str
    source: SourceTold
    classes: list[str]
    labels: list[str] = Field(description="classes, and all other labels in use")
    threshold: float | None
    series: list[str]
    regions: list[str]
    gaps: list[GapTold]
    conditions: list[ConditionTold]
    problems: list[str]
    video: VideoTold
    layers: list[LayerTold]
    read_only: str = Field(description="why nothing can be saved; empty when it can")


def _listed(desk: Desk, recording: Recording) -> Listed:
    candidates = None
    try:
        source = recording.source
        if desk.coders.with_machine and recording.analysed:
            candidates = recording.header_events
    except DataError as error:
        return _empty(recording.id, name=recording.folder.name, state="failed", problem=str(error))
    return Listed(
        id=recording.id, name=source.name, state="ready", stage="", progress=1.0, problem="", frames=source.frames,
        duration_s=source.duration_s, candidates=candidates, video=recording.watch.glance().state,
        **desk.coders.counts(recording),
    )  # fmt: skip


def _empty(rid: str, *, name: str, state: JobState, problem: str = "", stage: str = "", progress: float = 0) -> Listed:
    return Listed(
        id=rid, name=name, state=state, stage=stage, progress=progress, problem=problem, frames=0, duration_s=0,
        candidates=None, open=0, accepted=0, rejected=0, released=False, video="none",
    )  # fmt: skip


@router.get("")
def get_recordings(desk: AtDesk) -> list[Listed]:
    """All recordings: those with results, then uploads that wait, run or failed."""
    listed = [_listed(desk, each) for each in desk.library.all()]
    there = {each.id for each in listed}
    waiting = [
        _empty(job.id, name=job.name, state=job.state, problem=job.problem, stage=job.stage, progress=job.progress)
        for job in desk.jobs.all()
        if job.state != "ready" and job.id not in there
    ]
    return listed + waiting


@router.get("/{rid}")
def get_recording(desk: AtDesk, rid: str) -> RecordingTold:
    """What is small of a recording; series and pictures are got one by one."""
    recording = desk.recording(rid)
    source = recording.source
    seen = not recording.analysed or desk.coders.sees_machine(recording)
    tables = recording.tables if recording.analysed else None
    reviews = desk.coders.reviews(recording)
    names = [name for name in series_names(recording) if seen or not name.startswith(_FROM_SCORES)]
    return RecordingTold(
        id=rid,
        name=source.name,
        source=SourceTold(**{name: getattr(source, name) for name in SourceTold.model_fields}),
        classes=list(recording.classes),
        labels=list(dict.fromkeys([*recording.classes, *(_labels_in_use(desk, recording))])),
        threshold=None
        if tables is None or not seen
        else tables.header.settings.get("decode", {}).get("peak_threshold"),
        series=names,
        regions=list(REGION_NAMES if tables is None else tables.header.regions),
        gaps=[] if tables is None else [GapTold.model_validate(each) for each in tables.header.gaps],
        conditions=[ConditionTold(**each) for each in condition_runs(tables.conditions)] if tables is not None else [],
        problems=[] if tables is None else list(tables.header.problems),
        video=_video_of(recording),
        layers=[LayerTold(**vars(each)) for each in desk.coders.lines(recording)],
        read_only=reviews.read_only,
    )


def _labels_in_use(desk: Desk, recording: Recording) -> list[str]:
    names = [each.name for each in desk.coders.lines(recording) if each.visible]
    return sorted({event.label for name in names for event in desk.coders.layer(recording, name).events})


@router.get("/{rid}/conditions")
def get_conditions(desk: AtDesk, rid: str) -> list[ConditionTold]:
    """Conditions of each region; they are read with the motion, which takes longer than the rest."""
    recording = desk.recording(rid)
    if not recording.analysed:
        return []
    motion = recording.motion
    return [ConditionTold(**each) for each in regional_runs(motion.conditions, regions=motion.displacement.channels)]


@router.get("/{rid}/video")
def get_video(desk: AtDesk, rid: str) -> VideoTold:
    """Whether the recording is there now, and how far a quicker copy is."""
    recording = desk.recording(rid)
    return _video_of(recording)


def _video_of(recording: Recording) -> VideoTold:
    found = recording.watch.check(wait_s=0)
    return VideoTold(state=found.state, hint=found.hint, copy_progress=recording.proxy_progress)


@router.get("/{rid}/series/{name:path}", response_class=Response, responses=_BYTES)
def get_series(desk: AtDesk, request: Request, rid: str, name: str) -> Response:
    """Values over all frames: 32-bit floats, little-endian, NaN in gaps; ``time_s`` has 64 bits."""
    recording = desk.recording(rid)
    if name.startswith(_FROM_SCORES) and not desk.coders.sees_machine(recording):
        raise NotAllowed("what the machine found is kept from the coder until the own layer is released")
    return bytes_answer(series_of(recording, name), request, media_type="application/octet-stream")
