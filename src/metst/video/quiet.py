"""OpenCV's own lines on the screen, where an error of ours says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

_SILENT = 0  # LOG_LEVEL_SILENT of OpenCV


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Let OpenCV write nothing about damaged images, and cameras that it cannot open."""
    log: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the two functions beside all others
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)
