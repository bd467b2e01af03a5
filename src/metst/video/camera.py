"""A camera as a source of frames, timed when they were taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from metst.errors import VideoError
from metst.video.guard import PictureGuard
from metst.video.pixels import rgb_to_grey
from metst.video.quiet import silent_opencv
from metst.video.reading import Frame

_MISSES_ALLOWED = 30  # in a row, before a camera counts as lost: about a second; set by hand
_MISS_PAUSE_S = 0.03  # between two tries, about a frame at 30 Hz; set by hand

Opener = Callable[[int], Any]


class Camera:
    """Frames of one camera, in full-range grey.

    A frame's time is when the driver handed it over, on the clock of :func:`time.monotonic`, counted from
    the opening of the camera: what cameras say of their own timestamps differs from driver to driver.

    Parameters
    ----------
    index : int
        Number of the camera, from 0, as the operating system counts them.
    opener : callable
        Opens the camera; an object with the methods of ``cv2.VideoCapture``.

    Raises
    ------
    VideoError
        There is no such camera, or another program holds it.
    """

    def __init__(self, index: int = 0, *, opener: Opener = cv2.VideoCapture) -> None:
        self.name = f"camera {index}"
        self.problems: list[str] = []
        with silent_opencv():
            self._device = opener(index)
        if not self._device.isOpened():
            raise VideoError(f"{self.name} cannot be opened: connect one, close what uses it, or name a video file")
        self.rate_hz: float | None = max(float(self._device.get(cv2.CAP_PROP_FPS)), 0.0) or None  # 0 or -1: unknown
        self._start_s = time.monotonic()

    def frames(self) -> Iterator[Frame]:
        """Frames as they come, each later than the one before.

        Raises
        ------
        VideoError
            The camera has stopped to give pictures.
        """
        guard = PictureGuard(lambda _kind, message: self.problems.append(f"{self.name}: {message}"))
        try:
            yield from self._frames(guard)
        finally:
            guard.close()

    def _frames(self, guard: PictureGuard) -> Iterator[Frame]:
        index, misses, last_s = 0, 0, -1.0
        while misses <= _MISSES_ALLOWED:
            grabbed = self._device.grab()
            time_s = time.monotonic() - self._start_s
            picture = self._device.retrieve()[1] if grabbed else None
            if picture is None or time_s <= last_s:
                misses += 1
                time.sleep(_MISS_PAUSE_S)
                continue
            whole = picture if picture.ndim == 2 else rgb_to_grey(picture[..., ::-1])
            grey, cut = guard.take(np.asarray(whole, np.uint8), time_s=time_s)
            yield Frame(index, time_s, grey, cut)
            index, misses, last_s = index + 1, 0, time_s
        raise VideoError(f"{self.name} gives no pictures any more: check its connection")

    def clock_s(self, time_s: float) -> float:
        """When a frame was taken, on the clock of :func:`time.monotonic`."""
        return self._start_s + time_s

    def close(self) -> None:
        """Let the camera go."""
        self._device.release()
