"""The published networks against what the original code answered with the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from helpers.reference_values import NETWORKS, arrays, released_state, tensor_shapes
from helpers.rounding import assert_within_rounding
from metst.models.checkpoint import Model, load_model
from metst.models.convert import convert_released
from metst.models.networks import PUBLISHED, StateTransitionNetwork

ROUNDING = 256
"""Units of rounding between two programs in single precision; 87 were seen."""


@pytest.fixture(scope="module", params=NETWORKS)
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Model]:
    """A released checkpoint, converted, written and read again."""
    folder = tmp_path_factory.mktemp(request.param)
    torch.save(released_state(request.param), folder / "released.pkl")
    convert_released(folder / "released.pkl", folder / "model")
    return request.param, load_model(folder / "model")


Advance = Callable[[np.ndarray, Any, bool], tuple[np.ndarray, np.ndarray, Any]]


def by_torch(model: Model) -> Advance:
    def advance(x: np.ndarray, state: Any, last: bool) -> tuple[np.ndarray, np.ndarray, Any]:
        with torch.inference_mode():
            score, logits, state = model.network.advance(torch.from_numpy(x.copy()), state, last=last)
        return score.numpy(), logits.numpy(), state

    return advance


def by_engine(model: Model) -> Advance:
    return lambda x, state, last: model.engine.advance(x.transpose(0, 2, 1), state, last=last)


WAYS = pytest.mark.parametrize("way", [by_torch, by_engine])


def golden(name: str, kind: str, length: int) -> np.ndarray:
    return arrays(f"{name}_golden")[f"{kind}_{length}"]


@WAYS
@pytest.mark.parametrize("length", [30, 50, 200])
def test_a_converted_checkpoint_answers_like_the_original(
    converted: tuple[str, Model], way: Callable[[Model], Advance], length: int
) -> None:
    name, model = converted
    score, logits, _ = way(model)(golden(name, "x", length), None, True)
    assert_within_rounding(score, golden(name, "spot", length), units=ROUNDING)
    assert_within_rounding(logits, golden(name, "recog", length), units=ROUNDING)


@WAYS
@pytest.mark.parametrize("length", [76, 77])
def test_a_shorter_sequence_answers_like_the_original_until_its_end_is_in_sight(
    converted: tuple[str, Model], way: Callable[[Model], Advance], length: int
) -> None:
    name, model = converted
    score, logits, _ = way(model)(golden(name, "x", 200)[:, :, :length], None, True)
    assert score.shape == (2, length)
    known = slice(0, length - model.engine.look_ahead)
    assert_within_rounding(score[:, known], golden(name, "spot", 200)[:, known], units=ROUNDING)
    assert_within_rounding(logits[:, known], golden(name, "recog", 200)[:, known], units=ROUNDING)


@WAYS
def test_a_stream_of_uneven_chunks_answers_like_the_original(
    converted: tuple[str, Model], way: Callable[[Model], Advance]
) -> None:
    name, model = converted
    advance, x = way(model), golden(name, "x", 200)
    state, scores, logits = None, [], []
    for chunk in np.split(x, np.cumsum([1, 1, 2, 1, 63, 7, 100, 24]), axis=2):
        score, logit, state = advance(chunk, state, False)
        scores.append(score)
        logits.append(logit)
    held_back = 200 - sum(score.shape[1] for score in scores)
    score, logit, _ = advance(x[:, :, :0], state, True)
    assert 0 < held_back <= model.engine.look_ahead == model.network.look_ahead
    assert_within_rounding(np.concatenate([*scores, score], axis=1), golden(name, "spot", 200), units=ROUNDING)
    assert_within_rounding(np.concatenate([*logits, logit], axis=1), golden(name, "recog", 200), units=ROUNDING)


@pytest.mark.parametrize(
    ("name", "millions"), [("metst_2024", 0.63), ("metst", 1.90), ("metst_plus", 16.65), ("boosting_vrme", 8.36)]
)
def test_parameters_that_are_used(name: str, millions: float) -> None:
    """Counted from the original's list, less its second normalisations and its unused twin of the trunk."""
    shapes = tensor_shapes(name)
    twin = {"metst_2024": "blocks_recog.", "metst": "recog_pathway."}.get(name, "none")
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    used = [
        shape
        for key, shape in shapes.items()
        if ".norm2." not in key and not key.startswith(twin) and not key.endswith(buffers)
    ]
    network = StateTransitionNetwork(PUBLISHED[name.replace("_", "-")])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == sum(int(np.prod(shape)) for shape in used)
    assert round(count / 1e6, 2) == millions
