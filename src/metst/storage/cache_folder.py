"""Where the user's caches lie: the motion of recordings, and copies of them for the review."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

FOLDER_VARIABLE: Final = "METST_CACHE_DIR"
"""Variable of the environment that names the folder."""

PICTURES_SUFFIX: Final = ".pictures.mp4"
"""How the name of a copy of a recording ends; see :mod:`metst.review.proxy`."""


def default_folder() -> Path:
    """``METST_CACHE_DIR``, or the place that the system has for caches."""
    return Path(os.environ.get(FOLDER_VARIABLE) or platformdirs.user_cache_path("metst", appauthor=False) / "motion")
