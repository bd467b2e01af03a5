"""``calibration.json``: what a calibration found, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metst.errors import DataError
from metst.storage import unsealed

FIGURES_FILE = "calibration.json"
"""All figures of a calibration, in its folder."""


def read_figures(folder: Path) -> dict[str, Any]:
    """Read ``calibration.json``.

    Raises
    ------
    DataError
        There is none that can be read, or it is not what was written.
    """
    path = folder / FIGURES_FILE
    try:
        figures: dict[str, Any] = unsealed(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): calibrate the recording again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}; calibrate the recording again") from error
    if not isinstance(figures, dict) or not isinstance(figures.get("source"), dict):
        raise DataError(f"{path} holds no figures of a calibration: calibrate the recording again")
    return figures
