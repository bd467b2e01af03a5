"""What a training keeps and leaves on disk, and where: every name of a file once."""

from __future__ import annotations

from pathlib import Path

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
