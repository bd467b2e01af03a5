"""Interface: who codes, and whether faces are unlocked."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from metst.formats.names import FormatName
from metst.review.desk import AtDesk, Desk
from metst.review.pictures import FaceView

router = APIRouter(prefix="/api", tags=["session"])


class Session(BaseModel):
    """What holds for all windows of a server."""

    version: str = Field(description="of metst")
    coder: str = Field(description="whose layer is edited")
    with_machine: bool = Field(description="whether the coder starts from what the machine found")
    faces: FaceView = Field(description="how faces are shown")
    unlocked: bool = Field(description="whether faces may be shown as they are")
    uploads: bool = Field(description="whether recordings are taken in")
    formats: list[str] = Field(description="of exports")


class Unlock(BaseModel):
    """How faces are to be shown from now on."""

    model_config = ConfigDict(extra="forbid")

    faces: FaceView


def _session(desk: Desk) -> Session:
    return Session(
        version=version("metst"),
        coder=desk.coder,
        with_machine=desk.with_machine,
        faces=desk.faces,
        unlocked=desk.faces == "clear",
        uploads=desk.output is not None,
        formats=list(FormatName.__args__),  # type: ignore[attr-defined]
    )


@router.get("/session")
def get_session(desk: AtDesk) -> Session:
    """What holds for all windows of this server."""
    return _session(desk)


@router.post("/session/unlock")
def unlock(desk: AtDesk, body: Unlock) -> Session:
    """Show faces in another way from now on."""
    desk.faces = body.faces
    return _session(desk)
