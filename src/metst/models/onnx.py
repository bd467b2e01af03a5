"""A trained network as an ONNX file, to run elsewhere without PyTorch.

Frames of ROI motion and the states go in, as many rows of results and the new states come out: one frame per step
(:mod:`metst.models.step`), or any number of them at a time (:mod:`metst.models.chunk`).  ``docs/export.md`` says how to
use the file.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from itertools import pairwise
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

    from metst.models.chunk import OneChunk
    from metst.models.step import OneStep


STATE_IN, STATE_OUT = "state_in.", "state_out."
"""What the names of the states begin with, before and after the step."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch that is taken for rounding; a share of the largest result where that is over 1.

Set by hand.
"""

_CHECKED_FRAMES = 9  # odd: the last slow frame ends in padding
_CHECKED_FRAMES_AT_ONCE = 131  # odd, too, and over two of the 64 frames that a LinearAttention may take together
_CHECKED_CHUNKS = (1, 2, 7, 30)  # chunks of odd and even size after odd and even ones; the next takes the rest
_TRACED_FRAMES = 12  # PyTorch takes very few frames for a case of its own
_FEWEST_TRACED = 4  # shorter chunks are compared with PyTorch instead: see above


def export_onnx(
    model: Model, path: str | Path, *, batch: int = 1, whole: bool = False, overwrite: bool = False
) -> None:
    """Write a network as an ONNX file, completely or not at all.

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
    whole : bool
        The graph takes any number of frames at a time, up to a whole recording, instead of one.
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
    _require_packages(whole=whole)
    from metst.models.chunk import OneChunk
    from metst.models.step import OneStep

    part = OneChunk(model.network) if whole else OneStep(model.network)
    graph = _trace(part, batch=batch)
    _describe(graph, file_metadata(model, delay=part.delay))
    data = graph.SerializeToString()
    _check(data, part, batch=batch)
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


def _require_packages(*, whole: bool) -> None:
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise UsageError(f"exporting to ONNX needs more packages ({error}): pip install 'metst[train,onnx]'") from error
    from metst.models.chunk import OPSET

    if whole and onnx.defs.onnx_opset_version() < OPSET:
        raise UsageError(
            f"a graph of many frames needs ONNX opset {OPSET}, and onnx {onnx.__version__} knows"
            f" {onnx.defs.onnx_opset_version()}: pip install --upgrade onnx onnxruntime, or export one step"
        )


def _trace(part: OneStep | OneChunk, *, batch: int) -> ModelProto:
    """The graph, without the notes of the exporter: they quote source code and paths of this machine."""
    import onnx_ir
    import torch
    from onnx_ir.passes import common

    from metst.models.chunk import OPSET, RUNTIME_DOMAIN, OneChunk, linear_attention_in_onnx

    states = part.initial_state(batch)
    whole = isinstance(part, OneChunk)
    size = (batch, _TRACED_FRAMES) if whole else (batch,)
    motion = torch.zeros(*size, part.network.config.in_channels)
    any_length = {1: torch.export.Dim("frames", min=_FEWEST_TRACED)}
    shapes = (any_length, any_length, dict.fromkeys(states)) if whole else None
    with _silent(), torch.no_grad():
        present = torch.ones(size, dtype=torch.bool)
        captured = torch.export.export(part, (motion, present, states), dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(
            captured,
            input_names=["x", "present", *(STATE_IN + name for name in states)],
            output_names=["score", "logits", "valid", *(STATE_OUT + name for name in states)],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    if whole:  # the exporter writes an older set; of all its nodes, the newer one only takes more types
        program.model.opset_imports.update({"": OPSET, RUNTIME_DOMAIN: 1})
    for clean in (common.RemoveUnusedNodesPass(), common.ClearMetadataAndDocStringPass()):
        clean(program.model)
    graph = onnx_ir.to_proto(program.model)
    if whole:
        graph.functions.append(linear_attention_in_onnx())
    return graph


@contextmanager
def _silent() -> Iterator[None]:
    """Without what PyTorch's exporter says about itself: nothing a user could act on."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            warnings.filterwarnings("ignore", r".*axis name: frames will not be used", UserWarning)  # yet it is
            yield
    finally:
        exporter.setLevel(level)


def _describe(graph: ModelProto, properties: dict[str, str]) -> None:
    import onnx

    onnx.helper.set_model_props(graph, properties)
    graph.producer_name, graph.producer_version = "metst", metadata.version("metst")
    graph.graph.name = properties["name"]


def _check(data: bytes, part: OneStep | OneChunk, *, batch: int) -> None:
    """Refuse a graph that is not valid, or that does not score a sequence as the network does."""
    import onnx
    import torch

    from metst.models.chunk import OneChunk

    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OutputError(f"the exported graph is not valid ONNX, nothing was written: {error}") from error
    whole = isinstance(part, OneChunk)
    frames = _CHECKED_FRAMES_AT_ONCE if whole else _CHECKED_FRAMES
    shape = (batch, part.network.config.in_channels, frames)
    motion = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = part.network(motion)
    steps = frames + part.delay
    ways = [_chunks((), steps=steps), _chunks(_CHECKED_CHUNKS, steps=steps)] if whole else [range(steps)]
    for way in ways:
        found = _run(data, motion, delay=part.delay, way=way)
        for what, wanted, got in zip(("score", "logits"), expected, found, strict=True):
            difference = float(np.abs(got - wanted.numpy()).max())
            if not difference <= TOLERANCE * max(1.0, float(wanted.abs().max())):  # also when it is not a number
                raise OutputError(
                    f"the exported graph and PyTorch differ in {what} by {difference:.2g} (expected rounding, at most"
                    f" {TOLERANCE:g}): nothing was written; please report the model and the versions of torch and onnx"
                )


def _chunks(sizes: Sequence[int], *, steps: int) -> list[slice]:
    """Chunks of these sizes, one after the other, and one of what is left."""
    ends = [int(end) for end in np.cumsum([0, *sizes])] + [steps]
    return [slice(start, end) for start, end in pairwise(ends)]


def _run(
    data: bytes, motion: Tensor, *, delay: int, way: Sequence[int] | Sequence[slice]
) -> tuple[Float32Array, Float32Array]:
    """Scores (B, T) and logits (B, T, K) of sequences (B, C, T) by onnxruntime, step by step or chunk by chunk."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, NotImplemented

    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except (Fail, InvalidArgument, InvalidGraph, NotImplemented) as error:
        raise OutputError(
            f"onnxruntime {onnxruntime.__version__} cannot run the exported graph, nothing was written ({error}):"
            " pip install --upgrade onnxruntime"
        ) from error
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith(STATE_IN)}
    batch, channels, frames = motion.shape
    padded = np.concatenate([motion.numpy().swapaxes(1, 2), np.zeros((batch, delay, channels), np.float32)], axis=1)
    present = np.broadcast_to(np.arange(frames + delay) < frames, (batch, frames + delay))
    scores, logits = [], []
    for part in way:
        score, logit, _, *states = session.run(None, {"x": padded[:, part], "present": present[:, part]} | state)
        state = dict(zip(state, states, strict=True))
        scores.append(score.reshape(batch, -1))
        logits.append(logit.reshape(batch, -1, logit.shape[-1]))
    return np.concatenate(scores, axis=1)[:, delay:], np.concatenate(logits, axis=1)[:, delay:]
