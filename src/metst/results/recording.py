"""What is told of a recording in results: as it was read, not as its header says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metst.results.analysis import Source
from metst.spelling.names import given_name
from metst.timeline import TimeGrid

if TYPE_CHECKING:
    from metst.video import VideoInfo


def source_of(path: Path, *, info: VideoInfo, grid: TimeGrid, content: str, changed: bool = False) -> Source:
    """The recording as it was read: its length and rate are those of the decoded timestamps.

    Of one that was changed meanwhile nobody knows the content.
    """
    from metst.video import rate_and_loss

    return Source(
        name=given_name(path),
        path=given_name(path),
        width=info.width,
        height=info.height,
        frames=len(grid),
        duration_s=grid.duration_s,
        rate_hz=rate_and_loss(grid)[0],
        codec=info.codec,
        content_hash="" if changed else content,
        changed=changed,
    )
