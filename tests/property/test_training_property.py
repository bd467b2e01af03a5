"""A training that is cut off anywhere, any number of times, ends as if nothing had happened."""

import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from helpers.feature_folders import feature_folder
from metst.config import NetworkConfig
from metst.datasets.features import read_features_index
from metst.training.loop import Optimisation, Training, fit_network, fresh_network
from metst.training.losses import joint_loss
from metst.training.recipes import Recipe, WindowPlan
from metst.training.recordings import window_batches
from metst.training.windows import TrainingWindows, training_windows

# Odd blocks are dropped at random in training, so that the test sees whether these draws are the same.
NETWORK = NetworkConfig(name="tiny", in_channels=36, width=4, blocks=3, slow_fast=False, d_state=2)
RECIPE = Recipe(name="tiny", network=NETWORK, rule="fixed", learning_rate=3e-3, epochs=1)
PLAN = WindowPlan(rate_hz=30.0, window=12, batch_size=5, neutral_ratio=1.0)
STEPS, EPOCH_STEPS = 5, 2  # the last epoch is a short one


class Cut(BaseException):
    pass


@lru_cache(maxsize=1)
def windows() -> TrainingWindows:
    with tempfile.TemporaryDirectory() as folder:
        root = feature_folder(Path(folder) / "f", subjects=2, videos=1, still=0, frames=150)
        index = read_features_index(root)
        return training_windows(root, index, index.subjects, recipe=RECIPE, plan=PLAN, seed=0)


def fit(folder: Path, *, cut_after: int = STEPS + 1) -> dict[str, Tensor]:
    torch.set_num_threads(1)  # more would wait busily for each other
    network = fresh_network(NETWORK, seed=1)
    chosen, steps = windows(), 0

    def on_progress(stage: str, done: int, total: int | None) -> None:
        nonlocal steps
        steps += 1
        if steps == cut_after:
            raise Cut

    def validate(module: nn.Module) -> float:
        return float(next(module.parameters()).detach().sum())

    training = Training(
        window_batches(chosen, batch_size=PLAN.batch_size, gain=RECIPE.gain, seed=4),
        joint_loss(chosen.class_weights(strategy=1, neutral_factor=6.0), recipe=RECIPE),
        Optimisation(RECIPE.learning_rate),
        steps=STEPS,
        epoch_steps=EPOCH_STEPS,
        seed=4,
        validate=validate,
    )
    fit_network(network, training, folder=folder, device="cpu", on_progress=on_progress)
    return network.state_dict()


@lru_cache(maxsize=1)
def unbroken() -> dict[str, Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        return fit(Path(folder))


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, STEPS), max_size=3))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for after in cuts:
            try:
                fit(Path(folder), cut_after=after)
            except Cut:
                continue
        resumed = fit(Path(folder))
    assert all(torch.equal(value, resumed[name]) for name, value in unbroken().items())
