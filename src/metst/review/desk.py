"""What one server holds: who codes, what they may see, the recordings, and the work that waits."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from fastapi import Depends, Request

from metst.errors import MetstError
from metst.review.gate import Address
from metst.review.refusals import NotAllowed, NotThere

if TYPE_CHECKING:
    from metst.review.coders import Coders
    from metst.review.jobs import Jobs
    from metst.review.library import Library
    from metst.review.pictures import FaceView
    from metst.review.recordings import Recording

_TOKEN_BYTES = 24
"""Random bytes of a token: nobody guesses it.  Set by hand."""


_READ_AHEAD = 2
"""Recordings that are read when the server starts.  Set by hand."""


def new_token() -> str:
    """A token that nobody had before."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


@dataclass(eq=False)
class Desk:
    """One server.

    Parameters
    ----------
    coder : str
        Whose layer is edited.
    library : Library
    address : Address
    token : str
    with_machine : bool
        Whether the coder starts from what the machine found; else it is kept from them until they release their layer.
    output : Path, optional
        Folder for uploads; None: nothing is taken in.
    faces : {"eyes", "blurred", "clear"}
        How faces are shown.
    """

    coder: str
    library: Library
    address: Address
    token: str = field(default_factory=new_token, repr=False)
    with_machine: bool = True
    output: Path | None = None
    faces: FaceView = "eyes"
    coders: Coders = field(init=False)
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        from metst.review.coders import Coders
        from metst.review.jobs import Jobs

        self.coders = Coders(coder=self.coder, with_machine=self.with_machine)
        self.jobs = Jobs(self.output, on_done=self.library.add)

    def recording(self, rid: str) -> Recording:
        """A recording that is there, as it is on the disk now."""
        found = self.library.get(rid)
        if not found.was_rewritten:
            return found
        self.coders.forget(rid)
        self.library.renew(found.folder)
        return self.library.get(rid)

    def read_ahead(self) -> None:
        """Read the first recordings, before anybody asks for them."""
        for recording in self.library.all()[:_READ_AHEAD]:
            with suppress(MetstError):  # who opens it is told
                if recording.analysed:
                    _ = recording.tables
                recording.watch.check()

    def check_faces(self, faces: FaceView | None) -> FaceView:
        """How faces may be shown: as was unlocked, or less.

        Raises
        ------
        NotAllowed
            More was asked for.
        """
        from metst.review.pictures import FaceView

        if faces is None:
            return self.faces
        views = get_args(FaceView)  # from what hides most to what hides nothing
        if views.index(faces) > views.index(self.faces):
            raise NotAllowed(f"faces are not unlocked beyond {self.faces!r}: unlock them on the page first")
        return faces

    def close(self) -> None:
        """Let go of everything."""
        self.jobs.close()
        self.coders.close()
        self.library.close()


def _desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


AtDesk = Annotated[Desk, Depends(_desk_of)]
"""The desk of a request."""


def frame_of(number: int, *, recording: Recording) -> int:
    """A frame that is counted from 1, counted from 0.

    Raises
    ------
    NotThere
        The recording has no such frame.
    """
    count = len(recording.grid)
    if not 1 <= number <= count:
        raise NotThere(f"expected a frame from 1 to {count}, got {number}")
    return number - 1
