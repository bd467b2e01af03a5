"""A trained network as an ONNX file, to run elsewhere without PyTorch.

The graph is one step: a frame of ROI motion and the states go in, one row of results and the new states come out
(:mod:`metst.models.step`).  ``docs/export.md`` says how to use the file.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metst.arrays import Float32Array
from metst.config import ModelInfo
from metst.errors import OutputError, UsageError
from metst.models.checkpoint import Model
from metst.regions import AXES, REGIONS
from metst.results.tables import motion_columns
from metst.storage import make_folder, write_whole

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

    from metst.models.step import OneStep


STATE_IN, STATE_OUT = "state_in.", "state_out."
"""What the names of the states begin with, before and after the step."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch that is taken for rounding; a share of the largest result where that is over 1.

Set by hand.
"""

_CHECKED_FRAMES = 9  # odd: the last slow frame ends in padding


def export_onnx(model: Model, path: str | Path, *, batch: int = 1, overwrite: bool = False) -> None:
    """Write one step of a network as an ONNX file, whole or not at all.

    Before the file is put in its place, onnxruntime runs it over a short made-up sequence, and the results must be
    those of PyTorch.  The metadata of the file hold what :meth:`metst.models.checkpoint.Model.describe` says, and how
    to feed it: see :func:`file_metadata`.

    Parameters
    ----------
    model : Model
        The checkpoint.
    path : str or Path
        The file to write; its folder is made as needed.
    batch : int
        Sequences that are scored side by side.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    UsageError
        When the file is there already, ``batch`` is less than 1, or a package is missing.
    CheckpointError
        When the weights cannot be read.
    OutputError
        When the file cannot be written, or does not give the results of PyTorch.
    """
    path = Path(path)
    if batch < 1:
        raise UsageError(f"a batch has at least one sequence, got {batch}")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UsageError(f"{path} is there already: give another file, or ask to overwrite it")
    _require_packages()
    from metst.models.step import OneStep

    step = OneStep(model.network)
    graph = _trace(step, batch=batch)
    _describe(graph, file_metadata(model, delay=step.delay))
    data = graph.SerializeToString()
    _check(data, step, batch=batch)
    make_folder(path.parent)
    write_whole(path, data)


def file_metadata(model: Model, *, delay: int) -> dict[str, str]:
    """What the ONNX file says about itself.

    Parameters
    ----------
    model : Model
        The checkpoint.
    delay : int
        Frames by which the results come late.

    Returns
    -------
    dict of str
        What :meth:`metst.models.checkpoint.Model.describe` says (with ``settings``: classes, input, scoring and
        decoding as JSON), ``delay``, and ``channels``: the columns of ``motion.csv`` in the order of ``x``, as JSON.
    """
    return {**model.describe(), "delay": str(delay), "channels": json.dumps(_channels(model.info))}


def _channels(info: ModelInfo) -> list[str]:
    names = [REGIONS[number - 1].name for number in info.input.regions]
    return [column for name in names for column in motion_columns([name])[: len(AXES)]]


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError(f"exporting to ONNX needs more packages ({error}): pip install 'metst[train,onnx]'") from error


def _trace(step: OneStep, *, batch: int) -> ModelProto:
    """The graph, without the notes of the exporter: they quote source code and paths of this machine."""
    import onnx_ir
    import torch
    from onnx_ir.passes import common

    states = step.initial_state(batch)
    frame = torch.zeros(batch, step.network.config.in_channels)
    with _silent(), torch.no_grad():
        captured = torch.export.export(step, (frame, torch.ones(batch, dtype=torch.bool), states), strict=False)
        program = torch.onnx.export(
            captured,
            input_names=["x", "present", *(STATE_IN + name for name in states)],
            output_names=["score", "logits", "valid", *(STATE_OUT + name for name in states)],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for clean in (common.RemoveUnusedNodesPass(), common.ClearMetadataAndDocStringPass()):
        clean(program.model)
    return onnx_ir.to_proto(program.model)


@contextmanager
def _silent() -> Iterator[None]:
    """Without what PyTorch's exporter says about itself: nothing a user could act on."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        exporter.setLevel(level)


def _describe(graph: ModelProto, properties: dict[str, str]) -> None:
    import onnx

    onnx.helper.set_model_props(graph, properties)
    graph.producer_name, graph.producer_version = "metst", metadata.version("metst")
    graph.graph.name = properties["name"]


def _check(data: bytes, step: OneStep, *, batch: int) -> None:
    """Refuse a graph that is not valid, or that does not score a sequence as the network does."""
    import onnx
    import torch

    try:
        onnx.checker.check_model(data, full_check=True)
    except onnx.checker.ValidationError as error:
        raise OutputError(f"the exported graph is not valid ONNX, nothing was written: {error}") from error
    shape = (batch, step.network.config.in_channels, _CHECKED_FRAMES)
    motion = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = step.network(motion)
    for what, wanted, got in zip(("score", "logits"), expected, _run(data, motion, delay=step.delay), strict=True):
        difference = float(np.abs(got - wanted.numpy()).max())
        if not difference <= TOLERANCE * max(1.0, float(wanted.abs().max())):  # also when it is not a number
            raise OutputError(
                f"the exported graph and PyTorch differ in {what} by {difference:.2g} (expected rounding, at most"
                f" {TOLERANCE:g}): nothing was written; please report the model and the versions of torch and onnx"
            )


def _run(data: bytes, motion: Tensor, *, delay: int) -> tuple[Float32Array, Float32Array]:
    """Scores (B, T) and logits (B, T, K) of sequences (B, C, T) by onnxruntime, step by step."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith(STATE_IN)}
    batch, channels, frames = motion.shape
    padded = np.concatenate([motion.numpy(), np.zeros((batch, channels, delay), np.float32)], axis=2)
    scores, logits = [], []
    for t in range(frames + delay):
        inputs = {"x": padded[:, :, t], "present": np.full(batch, t < frames)}
        score, logit, _, *states = session.run(None, inputs | state)
        state = dict(zip(state, states, strict=True))
        scores.append(score)
        logits.append(logit)
    return np.stack(scores[delay:], axis=1), np.stack(logits[delay:], axis=1)
