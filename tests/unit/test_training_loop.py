"""The training loop, on networks of a few weights."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from metst.arrays import OnProgress
from metst.errors import DataError, UsageError
from metst.training.layout import METRICS_FILE, STATE_FILE
from metst.training.loop import Batch, Losses, Optimisation, Training, fit_network
from metst.training.state import Metrics

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))


def batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(8, 3, generator=generator)
    return x, x.sum(dim=1, keepdim=True)


def loss(model: nn.Module, tensors: Batch) -> Losses:
    x, y = tensors
    error = (model(x) - y).square().mean()
    return {"loss": error, "twice": 2 * error}


TRAINING = Training(batch, loss, Optimisation(0.05), steps=6, epoch_steps=2, seed=5)


def fit(
    model: nn.Module, folder: Path | None = None, *, on_progress: OnProgress | None = None, **changes: object
) -> tuple[Metrics, ...]:
    training = replace(TRAINING, **changes)  # type: ignore[arg-type]
    return fit_network(model, training, folder=folder, device="cpu", on_progress=on_progress)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_steps_are_those_of_adam_on_the_one_cycle_schedule() -> None:
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    fit(
        model, batch=lambda step: (torch.tensor([[1.0]]), torch.tensor([[float(step)]])),
        optimisation=Optimisation(0.1), steps=2, epoch_steps=1,
    )  # fmt: skip
    reference = nn.Parameter(torch.tensor([[2.0]]))
    optimiser = torch.optim.Adam([reference], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, total_steps=2)
    for step in range(2):
        reference.grad = 2 * (reference.detach() - step)
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(model.weight.detach(), reference.detach())


@pytest.mark.parametrize("after", [1, 2])
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Path, after: int) -> None:
    whole, cut = network(), network()
    expected = fit(whole, tmp_path / "whole")

    class KilledError(RuntimeError):
        pass

    def stop(stage: str, done: int, total: int | None) -> None:
        if done == 2 * after + 1:  # in the middle of an epoch
            raise KilledError

    with pytest.raises(KilledError):
        fit(cut, tmp_path / "cut", on_progress=stop)
    resumed = network()
    steps: list[int] = []
    got = fit(resumed, tmp_path / "cut", on_progress=lambda stage, done, total: steps.append(done))
    assert steps[0] == 2 * after + 1  # nothing before the last whole epoch is done again
    assert same(whole, resumed)
    timeless = [{**record, "seconds": 0} for record in got]
    assert timeless == [{**record, "seconds": 0} for record in expected]


def test_metrics_are_one_json_line_per_epoch(tmp_path: Path) -> None:
    history = fit(network(), tmp_path, validate=lambda model: 0.5)
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert lines == list(history)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        assert line["twice"] == pytest.approx(2 * line["loss"])
        assert line["validation"] == 0.5
        assert line["seconds"] >= 0
        assert 0 < line["learning_rate"] <= 0.05


def test_the_best_epoch_is_kept_and_patience_ends_the_training() -> None:
    scores = iter([0.1, 0.7, 0.3, 0.2, 0.9])
    seen: list[dict[str, Tensor]] = []

    def validate(model: nn.Module) -> float:
        assert not model.training
        seen.append(weights(model))
        return next(scores)

    model = network()
    history = fit(model, steps=10, validate=validate, patience=2)
    assert [record["validation"] for record in history] == [0.1, 0.7, 0.3, 0.2]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in seen[1].items())


def test_the_best_weights_survive_a_restart(tmp_path: Path) -> None:
    whole = network()
    scores = iter([0.7, 0.3, 0.2])
    fit(whole, validate=lambda model: next(scores))
    first = iter([0.7])

    def once(model: nn.Module) -> float:
        return next(first)

    with pytest.raises(StopIteration):
        fit(network(), tmp_path, validate=once)
    resumed = network()
    rest = iter([0.3, 0.2])
    fit(resumed, tmp_path, validate=lambda model: next(rest))
    assert same(whole, resumed)


def test_the_seed_decides_what_the_network_draws() -> None:
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        fit(model, seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_the_callers_random_numbers_are_left_alone() -> None:
    model = network()
    before = torch.random.get_rng_state()
    fit(model)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    fit(network(), tmp_path, fingerprint="a")
    with pytest.raises(UsageError, match="another training"):
        fit(network(), tmp_path, fingerprint="b")


@pytest.mark.parametrize("about", [{}, {"format": "0", "fingerprint": ""}, {"format": "1", "fingerprint": ""}])
def test_a_state_that_an_earlier_version_left_is_refused(tmp_path: Path, about: dict[str, str]) -> None:
    save_file({"network.other": torch.zeros(1)}, tmp_path / STATE_FILE, metadata={"about": json.dumps(about)})
    with pytest.raises(UsageError, match="another training: give another folder, or delete this one"):
        fit(network(), tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"half a file")
    with pytest.raises(DataError, match="damaged"):
        fit(network(), tmp_path)


def test_metrics_that_a_kill_left_behind_are_completed(tmp_path: Path) -> None:
    history = fit(network(), tmp_path)
    path = tmp_path / METRICS_FILE
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert fit(network(), tmp_path) == history
    assert [json.loads(line) for line in path.read_text().splitlines()] == list(history)


def test_weights_that_the_last_step_broke_end_the_training(tmp_path: Path) -> None:
    def steep(model: nn.Module, tensors: Batch) -> Losses:
        # A finite loss whose gradient is not: 0 * inf.
        zero = next(model.parameters()).sum() * 0
        return {"loss": loss(model, tensors)["loss"] + (torch.sqrt(zero) if tensors[0] is last else 0)}

    last = batch(3)[0]
    with pytest.raises(DataError, match=r"weights \(.*\) are not finite after step 4"):
        fit(
            network(), tmp_path, batch=lambda step: (last, batch(3)[1]) if step == 3 else batch(step), loss=steep,
            steps=4,
        )  # fmt: skip
    assert len((tmp_path / METRICS_FILE).read_text().splitlines()) == 1  # the state is that of the epoch before


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    def broken(model: nn.Module, tensors: Batch) -> Losses:
        return {"loss": loss(model, tensors)["loss"] * float("nan")}

    with pytest.raises(DataError, match="step 1 is not finite"):
        fit(network(), loss=broken)
