"""What the server refuses, and with which number of HTTP: one line for people in any case."""

from __future__ import annotations

from typing import ClassVar

from metst.errors import DataError, MetstError, OutputError, UsageError, VideoError


class Refused(MetstError):  # noqa: N818 - a request may be refused without anybody's fault
    """A request that is not done, and why; ``status`` is the number of HTTP (RFC 9110)."""

    status: ClassVar[int] = 400


class NobodyKnown(Refused):
    """Without the token."""

    status = 401


class NotAllowed(Refused):
    """From elsewhere, or something that this coder may not see."""

    status = 403


class NotThere(Refused):
    """No such recording, frame, series or layer."""

    status = 404


class Conflict(Refused):
    """It does not fit what is there: a stale revision, a recording that was moved away or changed."""

    status = 409


class TooLarge(Refused):
    """More than is taken."""

    status = 413


class NoSuchPart(Refused):
    """A part of an answer that it does not have, or nonsense."""

    status = 416


_STATUS: dict[type[MetstError], int] = {UsageError: 400, VideoError: 409, DataError: 409, OutputError: 507}
"""Of errors that other rooms raise; all others are 500, faults of the server."""


def status_of(error: MetstError) -> int:
    """Number of HTTP for an error."""
    if isinstance(error, Refused):
        return error.status
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
