"""What a training keeps and leaves on disk, and where: every name of a file once."""

from __future__ import annotations

import json
from pathlib import Path

from metst.errors import DataError, UsageError

STATE_FILE = "state.safetensors"
"""What an unfinished training goes on from: large, and gone when the training is done."""
METRICS_FILE = "metrics.jsonl"
"""One line per epoch; it stays."""
MODEL_FOLDER = "model"
"""Of a fold: its checkpoint."""
PREDICTIONS_FILE = "predictions.csv"
"""Of a fold: what its model finds in the videos of its test subjects, frames from 1 and inclusive."""
PREDICTION_COLUMNS = ("subject", "video", "onset", "offset", "emotion", "confidence")
"""Of that file."""
SCORES_FOLDER = "scores"
"""Of a fold: what its network says of every frame of these videos, one file each."""
DONE_FILE = "done.json"
"""Of a fold, written last of all: the fold it lies in is complete."""


def training_folder(checkpoint: Path) -> Path:
    """Where the training of a checkpoint keeps its state and its metrics: in ``<checkpoint>.training`` beside it."""
    return checkpoint.with_name(f"{checkpoint.name}.training")


def discard_state(folder: Path) -> None:
    """Delete what only an unfinished training needs: the states of all its stages."""
    for state in folder.rglob(STATE_FILE):
        state.unlink()


def is_done(folder: Path, fingerprint: str) -> bool:
    """Whether a fold is complete.

    Raises
    ------
    UsageError
        The folder holds a fold with other settings.
    DataError
        What says so is damaged.
    """
    path = folder / DONE_FILE
    try:
        done = json.loads(path.read_bytes())
        found = done["fingerprint"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): delete its fold's folder and run again") from error
    if found != fingerprint:
        raise UsageError(f"{folder} holds a fold with other data or settings: give another folder")
    return True
