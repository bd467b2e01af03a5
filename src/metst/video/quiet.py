"""OpenCV's own lines on the screen, where an error of ours says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import cv2

_SILENT = 0  # LOG_LEVEL_SILENT of OpenCV
_LOCK = Lock()
_level, _users = _SILENT, 0
"""Level to go back to, and how many threads want silence."""


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Let OpenCV write nothing about damaged images, and cameras that it cannot open; in any number of threads."""
    global _level, _users  # OpenCV has one level for all threads
    log: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the two functions beside all others
    with _LOCK:
        if not _users:
            _level = log.getLogLevel()
            log.setLogLevel(_SILENT)
        _users += 1
    try:
        yield
    finally:
        with _LOCK:
            _users -= 1
            if not _users:
                log.setLogLevel(_level)
