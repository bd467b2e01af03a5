"""The published trainings against what the authors' networks, loss and optimiser gave for one batch.

The tolerances are those that the reference values were made with: what another program in single precision may differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from helpers.reference_values import NETWORKS, arrays, released_state
from metst.inference.signal import uniform_grid
from metst.labels import frame_labels, half_duration
from metst.models.convert import released_name
from metst.models.exact_layers import Linear
from metst.models.networks import Mamba, MambaBlock, StateTransitionNetwork
from metst.published.facts import DATA_SETS
from metst.timeline import TimeGrid
from metst.training import joint_loss, published_recipe
from metst.training.loop import Batch, Losses, Optimisation, Training, fit_network, fresh_network
from metst.training.recipes import Recipe
from metst.training.recordings import window_batches
from metst.training.windows import TrainingWindows, neutral_windows, window_starts

LOSS = {"rtol": 0, "atol": 2e-5}
"""Of one loss."""
STEPS = {"rtol": 0, "atol": 1e-5}
"""Of the losses of four steps."""
RATES = {"rtol": 0, "atol": 1e-7}
"""Of learning rates, beta1 and the shares of DropPath."""
PARTS = ("loss", "spotting", "recognition")
GOLDEN = arrays("training_golden")


@dataclass(frozen=True, eq=False)
class Published:
    """One published network in training, with the weights of the reference values and without DropPath."""

    name: str
    key: str
    recipe: Recipe
    network: StateTransitionNetwork

    def value(self, what: str) -> Any:
        return GOLDEN[f"{self.key}/{what}"]

    def released(self, parameter: str) -> str:
        return released_name(parameter, self.name)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=NETWORKS)
def published(request: pytest.FixtureRequest) -> Published:
    name = request.param.replace("_", "-")
    recipe, weights = published_recipe(name), released_state(request.param, seed=int(GOLDEN["seed"]))
    network = fresh_network(recipe.network, seed=0)
    network.load_state_dict({key: weights[f"module.{released_name(key, name)}"] for key in network.state_dict()})
    for block in blocks(network).values():
        block.drop_path = 0.0
    return Published(name, request.param, recipe, network.train())


def blocks(network: nn.Module) -> dict[str, MambaBlock]:
    return {name: module for name, module in network.named_modules() if isinstance(module, MambaBlock)}


def batch(recipe: Recipe) -> Batch:
    x = GOLDEN[f"batch/x_{recipe.network.in_channels}"]
    score, label = GOLDEN["batch/score"].astype(np.float32), GOLDEN["batch/label"].astype(np.int64)
    return torch.from_numpy(x.copy()), torch.from_numpy(score), torch.from_numpy(label)


def losses(case: Published, *, strategy: int) -> Losses:
    weights = GOLDEN[f"batch/class_weights_s{strategy}"].copy()
    return joint_loss(weights, recipe=case.recipe)(case.network, batch(case.recipe))


@pytest.mark.parametrize("strategy", [1, 0])
def test_losses_and_gradients_are_the_authors(published: Published, strategy: int) -> None:
    found = losses(published, strategy=strategy)
    expected = published.value(f"s{strategy}/loss")
    np.testing.assert_allclose([found[part].item() for part in PARTS], expected, **LOSS)
    torch.autograd.backward(found["loss"])
    gradient = {published.released(name): value.grad.double() for name, value in published.network.named_parameters()
                if value.grad is not None}  # fmt: skip
    norm = float(published.value(f"s{strategy}/grad_norm"))
    assert np.sqrt(sum(float((g**2).sum()) for g in gradient.values())) == pytest.approx(norm, rel=1e-5)
    names, in_graph = published.value("names").tolist(), published.value("has_grad")
    assert set(gradient) == {name for name, used in zip(names, in_graph, strict=True) if used}
    sums, lengths = (published.value(f"s{strategy}/grad_{what}") for what in ("sum", "l2"))
    for name, total, length in zip(names, sums, lengths, strict=True):
        if name in gradient:
            g = gradient[name]
            assert abs(float(g.norm()) - length) <= 1e-4 * length + 1e-6 * norm, name
            assert abs(float(g.sum()) - total) <= 1e-4 * length * np.sqrt(g.numel()) + 1e-6 * norm, name


@dataclass
class Watched:
    """What the optimiser used in each step."""

    rate: list[float]
    beta1: list[float]


@pytest.fixture
def watched() -> Iterator[Watched]:
    used = Watched([], [])

    def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        (group,) = optimiser.param_groups
        used.rate.append(float(group["lr"]))
        used.beta1.append(float(group["betas"][0]))

    handle = register_optimizer_step_pre_hook(look)
    yield used
    handle.remove()


def test_four_steps_are_the_authors(published: Published, watched: Watched) -> None:
    recipe, same = published.recipe, batch(published.recipe)
    training = Training(
        batch=lambda step: same,
        loss=joint_loss(GOLDEN["batch/class_weights_s1"].copy(), recipe=recipe),
        optimisation=Optimisation(recipe.learning_rate),
        steps=5 * recipe.epochs,
        epoch_steps=1,
        seed=0,
        validate=lambda network: 0.0,  # never better than the first epoch: three more, and it is over
        patience=3,
    )
    history = fit_network(published.network, training, device="cpu")
    found = [[epoch[part] for part in PARTS] for epoch in history]
    np.testing.assert_allclose(found, published.value("s1/steps_loss"), **STEPS)
    np.testing.assert_allclose([epoch["learning_rate"] for epoch in history], published.value("s1/steps_lr"), **RATES)
    np.testing.assert_allclose(watched.rate, published.value("s1/steps_lr"), **RATES)
    np.testing.assert_allclose(watched.beta1, published.value("s1/steps_beta1"), **RATES)


def test_schedules_are_the_authors(published: Published, watched: Watched) -> None:
    recipe, network = published.recipe, nn.Linear(1, 1)
    assert (recipe.learning_rate, recipe.epochs) == (published.value("max_lr"), published.value("epochs"))
    training = Training(
        batch=lambda step: (torch.ones(1, 1),),
        loss=lambda network, batch: {"loss": network(*batch).square().sum()},
        optimisation=Optimisation(recipe.learning_rate),
        steps=5 * recipe.epochs,
        epoch_steps=5,
        seed=0,
    )
    fit_network(network, training, device="cpu")
    np.testing.assert_allclose(watched.rate, GOLDEN[f"schedule/lr_{recipe.epochs}x5"], **RATES)
    np.testing.assert_allclose(watched.beta1, GOLDEN[f"schedule/beta1_{recipe.epochs}x5"], **RATES)


def test_blocks_are_skipped_as_often_as_the_authors(published: Published) -> None:
    network = StateTransitionNetwork(published.recipe.network)
    found = {published.released(f"{name}.norm_out.").removesuffix(".norm1."): block.drop_path
             for name, block in blocks(network).items()}  # fmt: skip
    assert all(isinstance(rate, float) for rate in found.values())
    rows = zip(*(published.value(f"drop_path/{what}") for what in ("blocks", "rates", "used")), strict=True)
    expected = {str(name): float(rate) for name, rate, used in rows if used}
    assert set(found) == set(expected)
    np.testing.assert_allclose([found[name] for name in expected], [*expected.values()], **RATES)


def test_weights_start_as_the_authors(published: Published) -> None:
    network = fresh_network(published.recipe.network, seed=3)
    mixers = [module for module in network.modules() if isinstance(module, Mamba)]
    bias = torch.cat([mixer.dt_proj.bias.detach() for mixer in mixers])
    assert torch.unique(bias).tolist() == published.value("start/dt_proj_bias_values").tolist()
    twin = len(published.value("drop_path/used")) / published.value("drop_path/used").sum()
    assert twin * len(bias) == published.value("start/dt_proj_bias_elements")
    kept = [mixer.dt_proj.weight for mixer in mixers]
    own = {id(mixer.out_proj.weight) for mixer in mixers}
    maps = [module.weight for module in network.modules() if isinstance(module, Linear)]
    for found, what in ((kept, "dt_proj_weight_std"), ([w for w in maps if id(w) not in own], "linear_weight_std")):
        values = torch.cat([weight.detach().flatten() for weight in found]).double()
        spread = 0.02 / np.sqrt(2 * len(values))  # of a standard deviation over so many draws
        assert float(values.std()) == pytest.approx(0.02, abs=4 * spread)
        assert published.value(f"start/{what}") == pytest.approx(0.02, rel=0.01)
    bound = max(float(m.out_proj.weight.detach().abs().max()) * np.sqrt(m.out_proj.in_features) for m in mixers)
    assert bound == pytest.approx(float(published.value("start/out_proj_bound_times_sqrt_inner")), rel=1e-4)


# Rules without a network


def test_targets_and_class_weights_are_the_authors() -> None:
    window, rows = 30, []
    for video, frames in enumerate(GOLDEN["batch/video_frames"].tolist()):
        events = GOLDEN["batch/events"][GOLDEN["batch/events"][:, 0] == video]
        names = [("negative", "positive", "surprise", "others")[kind] for kind in events[:, 4]]
        score, label = frame_labels(
            events[:, 1], events[:, 3] + 1, label=names, length=max(frames, events[:, 3].max() + 1)
        )
        rows += [(score[start:][:window], label[start:][:window]) for start in window_starts(frames, window=window)]
    score, label = (np.array(part) for part in zip(*rows, strict=True))
    np.testing.assert_array_equal(score, GOLDEN["batch/score"])
    np.testing.assert_array_equal(label, GOLDEN["batch/label"])
    flat = label.ravel().astype(np.int8)
    windows = TrainingWindows(np.zeros((len(flat), 36), np.float32), score.ravel().astype(np.uint8), flat,
                              np.arange(0, len(flat), window), window, 1)  # fmt: skip
    for strategy in (0, 1):
        weights = windows.class_weights(strategy=strategy, neutral_factor=6.0)
        np.testing.assert_array_equal(weights, GOLDEN[f"batch/class_weights_s{strategy}"])


def test_gains_are_the_authors() -> None:
    motion = np.ones((2, 36), np.float32)
    motion[0] = 0
    windows = TrainingWindows(motion, np.zeros(2, np.uint8), np.full(2, 4, np.int8), np.zeros(500, np.int64), 2, 0)
    draw = window_batches(windows, batch_size=500, gain=published_recipe("metst").gain, seed=1)
    found = np.unique(draw(0)[0][:, :, 1].numpy())
    np.testing.assert_array_equal(found, GOLDEN["augment/gains"].astype(np.float32))


STOPS, NOTHING_TO_LEARN = -1, -2
"""Numbers that stand for what the authors' program does instead: it ends with an error, or takes windows anyway."""


def test_numbers_of_neutral_windows_are_the_authors() -> None:
    for with_event, without, ratio, drawn in GOLDEN["neutral_windows/table"].tolist():
        found = neutral_windows(int(with_event), without=int(without), ratio=ratio)
        # Where the authors' program stops none are drawn here, and without any event there is nothing to learn.
        assert found == (0 if drawn in (STOPS, NOTHING_TO_LEARN) else drawn), (with_event, without, ratio)


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_half_durations_are_the_authors(statistic: Any) -> None:
    for row, expected in zip(GOLDEN["k_p/durations"], GOLDEN[f"k_p/{statistic}"], strict=True):
        durations = row[row >= 0]
        onset = 100 * np.arange(len(durations))
        assert half_duration(onset, onset + durations + 1, statistic=statistic) == expected


def test_windows_start_where_the_authors_do() -> None:
    for window, step, frames, native, read, count, last in GOLDEN["windows/table"].tolist():
        if native:
            facts = next(facts for facts in DATA_SETS.values() if facts.step == step)
            video = TimeGrid.uniform(frames, rate_hz=facts.video_rate_hz)
            frames = len(uniform_grid(video, rate_hz=facts.rate_hz))
        starts = window_starts(frames, window=window)
        assert (frames, len(starts), starts[-1] if starts else -1) == (read, count, last)
