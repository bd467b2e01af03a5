"""Interface: layers and their reviews."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

from metst.coding.layers import MACHINE
from metst.coding.reviewed import layer_event_json
from metst.coding.reviews import Reviews
from metst.coding.wanted import ConflictError
from metst.errors import DataError, MetstError, OutputError
from metst.review.bodies import (
    Adjudicate,
    Adjudicated,
    Begin,
    Changed,
    Edits,
    HistoryLine,
    Release,
    ReviewTold,
    SeenLayer,
    Stale,
    Step,
)
from metst.review.desk import AtDesk, Desk
from metst.review.recordings import Recording
from metst.review.refusals import Refused

router = APIRouter(prefix="/api/recordings/{rid}", tags=["reviews"])

_STALE: dict[int | str, dict[str, Any]] = {409: {"model": Stale}}


@router.get("/layers", response_model=list[SeenLayer])
def get_layers(desk: AtDesk, rid: str) -> Response:
    """All layers that this coder may see, but the own one."""
    recording = desk.recording(rid)
    seen = [line for line in desk.coders.lines(recording) if line.visible and not line.mine]
    return JSONResponse([
        {
            "name": line.name,
            "kind": line.kind,
            "released": line.released,
            "events": [
                {"key": f"{line.name}:{number}", **layer_event_json(event)}
                for number, event in enumerate(desk.coders.layer(recording, line.name).events, start=1)
            ],
        }
        for line in seen
    ])  # fmt: skip


@router.get("/review", response_model=ReviewTold)
def get_review(desk: AtDesk, rid: str, layer: str | None = None) -> Response:
    """All of a review: the coder's own, or one that the coder may see."""
    recording, name = desk.recording(rid), layer or desk.coder
    # As it is: to check ten thousand events anew would take a second.  It is begun, on the disk, when it is on its way.
    begin = BackgroundTask(_begin_meanwhile, desk, recording, name)
    return JSONResponse(desk.coders.state(recording, name), background=begin)


def _begin_meanwhile(desk: Desk, recording: Recording, name: str) -> None:
    with suppress(MetstError):  # who changes something is told
        desk.coders.have_begun(recording, name)


def _writable(desk: Desk, rid: str, layer: str | None) -> tuple[Reviews, str]:
    """The reviews of a recording and the layer that is changed, which has begun."""
    recording, name = desk.recording(rid), layer or desk.coder
    desk.coders.check_writable(recording, name)
    reviews = desk.coders.reviews(recording)
    if reviews.read_only:
        raise OutputError(f"nothing was saved: {reviews.read_only}")
    desk.coders.have_begun(recording, name)
    return reviews, name


@router.post("/edits", response_model=Changed, responses=_STALE)
def post_edits(desk: AtDesk, rid: str, body: Edits) -> Any:
    """Change events, all or none; it is on the disk when the answer comes."""
    reviews, name = _writable(desk, rid, body.layer)
    try:
        return reviews.edit(name, body.changes, by=desk.coder, what=body.what, id=body.id)
    except ConflictError as error:
        return _conflict(error, reviews, name)
    except DataError as error:
        raise Refused(str(error)) from error


@router.post("/undo", response_model=Changed, responses=_STALE)
def post_undo(desk: AtDesk, rid: str, body: Step) -> Any:
    """Take back the last edit that still holds."""
    reviews, name = _writable(desk, rid, body.layer)
    try:
        return reviews.undo(name, by=desk.coder, id=body.id, revision=body.revision)
    except ConflictError as error:
        return _conflict(error, reviews, name)


@router.post("/redo", response_model=Changed, responses=_STALE)
def post_redo(desk: AtDesk, rid: str, body: Step) -> Any:
    """Make again what was taken back last."""
    reviews, name = _writable(desk, rid, body.layer)
    try:
        return reviews.redo(name, by=desk.coder, id=body.id, revision=body.revision)
    except ConflictError as error:
        return _conflict(error, reviews, name)


def _conflict(error: ConflictError, reviews: Reviews, name: str) -> JSONResponse:
    body = {"detail": str(error), "events": error.events, "removed": error.removed, **reviews.steps(name)}
    return JSONResponse(Stale.model_validate(body).model_dump(), status_code=409)


@router.post("/begin")
def post_begin(desk: AtDesk, rid: str, body: Begin) -> ReviewTold:
    """Let a layer without edits begin with something else, or begin a layer of the coder's next round."""
    recording, name = desk.recording(rid), body.layer or desk.coder
    if body.another_round and body.layer:
        raise Refused("another_round makes a layer and names it: leave the layer away")
    if name != desk.coder:
        desk.coders.check_writable(recording, name)
    if body.another_round or name != desk.coder:
        desk.coders.check_released(recording)
    wanted = [MACHINE] if body.start == "machine" else body.layers
    desk.coders.check_begins_from(recording, wanted, agreed_only=body.agreed_only)
    if body.another_round:
        reviews = desk.coders.reviews(recording)
        state = reviews.begin_round(desk.coder, body.start, layers=body.layers, agreed_only=body.agreed_only)
    else:
        state = desk.coders.begin(recording, name, body.start, layers=body.layers, agreed_only=body.agreed_only)
    return ReviewTold.model_validate(state)


@router.post("/release")
def post_release(desk: AtDesk, rid: str, body: Release) -> ReviewTold:
    """Hand a layer on, or take it back."""
    reviews, name = _writable(desk, rid, body.layer)
    return ReviewTold.model_validate(reviews.release(name, body.released, by=desk.coder, id=body.id))


@router.get("/history")
def get_history(desk: AtDesk, rid: str, layer: str | None = None) -> list[HistoryLine]:
    """All that was done in a review, in order."""
    recording, name = desk.recording(rid), layer or desk.coder
    if name != desk.coder:
        desk.coders.line(recording, name)
    return [HistoryLine(**each) for each in desk.coders.reviews(recording).history(name)]


@router.post("/adjudication")
def post_adjudication(desk: AtDesk, rid: str, body: Adjudicate) -> Adjudicated:
    """Bring two layers together in one of their own."""
    recording = desk.recording(rid)
    for name in (body.a, body.b):
        desk.coders.line(recording, name)
    return Adjudicated(layer=desk.coders.reviews(recording).adjudicate(body.a, body.b, by=desk.coder))
