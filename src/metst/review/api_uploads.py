"""Interface: new recordings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from metst.review.desk import AtDesk
from metst.review.refusals import NotAllowed, Refused
from metst.review.uploads import check_space, free_path, received, safe_name

router = APIRouter(prefix="/api/uploads", tags=["uploads"])

_RAW = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""What is sent: the file as it is."""


class Taken(BaseModel):
    """An upload that waits to be analysed."""

    id: str
    name: str


@router.put("/{name:path}", status_code=201, openapi_extra=_RAW)
async def put_upload(desk: AtDesk, request: Request, name: str) -> Taken:
    """Take in a recording (raw body) and have it analysed."""
    if desk.output is None:
        raise NotAllowed("nothing is taken in here: start `metst review` with -o FOLDER")
    check_space(desk.output, int(request.headers.get("content-length", 0)))
    path = free_path(desk.output, safe_name(name))
    try:
        size = await received(request.stream(), path)
    except ClientDisconnect as error:
        raise Refused(f"{path.name} was not sent to its end: nothing of it is kept; upload it again") from error
    if not size:
        path.unlink(missing_ok=True)
        raise Refused(f"{path.name} is empty (0 bytes): expected a recording")
    job = desk.jobs.add(path)
    return Taken(id=job.id, name=job.name)


@router.delete("/{rid}", status_code=204)
def delete_upload(desk: AtDesk, rid: str) -> Response:
    """Take an upload back: one that waits or failed goes, one that is being analysed is stopped and goes."""
    desk.jobs.remove(rid)
    return Response(status_code=204)
