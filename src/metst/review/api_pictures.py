"""Interface: numbered pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from metst.review.answers import bytes_answer
from metst.review.desk import AtDesk, frame_of
from metst.review.pictures import FaceView, Wanted, at_most

router = APIRouter(prefix="/api/recordings/{rid}", tags=["pictures"])

_JPEG = {200: {"content": {"image/jpeg": {}}, "description": "The picture."}}
_FIRST_FRAME = 1
"""Frames count from it."""


@router.get("/frames/{number}.jpg", response_class=Response, responses=_JPEG)  # type: ignore[arg-type]
def get_frame(
    desk: AtDesk,
    request: Request,
    rid: str,
    number: int,
    width: Annotated[int | None, Query(ge=16, description="pixels; never more than the recording has")] = None,
    faces: Annotated[FaceView | None, Query(description="as unlocked when absent")] = None,
    magnify: Annotated[float, Query(ge=1, le=100, description="how many times larger motion is drawn")] = 1.0,
    since: Annotated[int | None, Query(description="frame from which that motion counts")] = None,
    face: Annotated[bool, Query(description="cut the face out")] = False,
    around: Annotated[int | None, Query(description="frame around whose face it is cut; the same for an event")] = None,
) -> Response:
    """One frame as the analysis saw it.

    The headers ``X-Frame`` and ``X-Time-S`` say which it is, ``X-Magnified`` how many times larger motion is drawn in
    it: less than wanted where the face would be torn, 1 across a gap.
    """
    recording = desk.recording(rid)
    at = frame_of(number, recording=recording)
    wanted = at_most(
        Wanted(
            at,
            width=width,
            faces=desk.check_faces(faces),
            times=magnify,
            since=None if since is None else frame_of(since, recording=recording),
            around=(at if around is None else frame_of(around, recording=recording)) if face else None,
        )
    )
    pictures = recording.pictures
    drawn = pictures.kept(wanted)
    if drawn is None or recording.watch.check().state != "found":
        motion = recording.motion if magnify > 1 and recording.analysed else None
        drawn = pictures.draw(wanted, frames=recording.frames(), motion=motion)
    headers = {
        "x-frame": str(number),
        "x-time-s": repr(float(recording.grid.time_s[at])),
        "x-magnified": f"{drawn.times:.4g}",
    }
    return bytes_answer(drawn.jpeg, request, media_type="image/jpeg", headers=headers)
