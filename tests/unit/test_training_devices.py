"""Graphics processors: who gets which, mixed precision, and a machine that has none."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metst.config import NetworkConfig
from metst.errors import UsageError
from metst.evaluation.executors import TASKS_PER_GPU, Executor, check_executor, run_tasks
from metst.models.networks import StateTransitionNetwork
from metst.training import devices, joint_loss, loop, published_recipe
from metst.training.devices import check_gpus, check_mixed_precision, take_gpu
from metst.training.loop import Batch, Optimisation, Training, fit_network, fresh_network

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RECIPE = published_recipe("metst-plus")
NETWORKS = {
    shape: NetworkConfig(name=shape, in_channels=36, width=16, blocks=9, d_state=8, slow_fast=slow_fast)
    for shape, slow_fast in (("single rate", False), ("slow-fast", True))
}


def batch(step: int) -> Batch:
    rng = np.random.default_rng(step)
    motion, label = rng.standard_normal((8, 36, 30)).astype(np.float32), rng.integers(0, 5, (8, 30))
    return torch.from_numpy(motion), torch.from_numpy((label < 4).astype(np.float32)), torch.from_numpy(label)


TRAINING = Training(
    batch, joint_loss(np.ones(5, np.float32), recipe=RECIPE), Optimisation(1e-3), steps=4, epoch_steps=4, seed=1
)


def trained(shape: str, *, mixed_precision: bool) -> tuple[StateTransitionNetwork, float]:
    network = fresh_network(NETWORKS[shape], seed=2)
    training = replace(TRAINING, mixed_precision=mixed_precision)
    (epoch,) = fit_network(network, training, device="cpu")
    assert isinstance(epoch["loss"], float)
    return network, epoch["loss"]


@pytest.mark.parametrize("shape", NETWORKS)
def test_mixed_precision_learns_about_the_same(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, which has bfloat16 too: the rules of what is computed in which precision are the same."""
    whole, loss = trained(shape, mixed_precision=False)
    monkeypatch.setattr(loop, "has_mixed_precision", lambda device: True)
    mixed, mixed_loss = trained(shape, mixed_precision=True)
    assert mixed_loss != loss
    assert abs(mixed_loss / loss - 1) < 0.02
    start = fresh_network(NETWORKS[shape], seed=2).state_dict()
    moved = [torch.cat([(value - start[name]).flatten() for name, value in network.named_parameters()])
             for network in (whole, mixed)]  # fmt: skip
    assert all(value.dtype == torch.float32 for value in mixed.parameters())
    assert torch.cosine_similarity(*moved, dim=0) > 0.8  # Adam's first steps go by the sign of the gradient alone


def test_mixed_precision_is_of_no_effect_on_the_processor_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    whole, _ = trained("slow-fast", mixed_precision=False)
    assert not caplog.records
    with caplog.at_level(logging.INFO, logger=loop.__name__):
        asked, _ = trained("slow-fast", mixed_precision=True)
    assert "mixed precision is for a graphics processor with bfloat16: training in float32" in caplog.messages
    assert all(torch.equal(value, asked.state_dict()[name]) for name, value in whole.state_dict().items())


def test_a_machine_without_graphics_processors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--gpus 2: PyTorch .* sees no graphics processor on this machine"):
        check_executor(Executor(gpus=2))
    with pytest.raises(UsageError, match="--mixed-precision is for a graphics processor"):
        check_mixed_precision()


def test_no_more_graphics_processors_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_gpus(2)
    with pytest.raises(UsageError, match="--gpus 3: PyTorch sees 2 on this machine: give at most 2"):
        check_gpus(3)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"workers": 1, "gpus": 2}, "1 workers for 2 graphics processors"),
        ({"kind": "slurm", "gpus": 1}, "--slurm-gpus"),
        ({"kind": "dask", "gpus": 1}, "a Dask worker has those"),
    ],
)
def test_graphics_processors_that_nobody_could_share_out_are_refused(settings: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Executor(**settings)  # type: ignore[arg-type]


def test_folds_at_a_time_follow_the_graphics_processors_unless_said() -> None:
    assert Executor(gpus=2).processes == 2 * TASKS_PER_GPU
    assert Executor(gpus=2, workers=4).processes == 4


@pytest.mark.parametrize(
    ("visible", "gpus", "expected"),
    [("", 2, ["0", "1", "0", "1", "0"]), ("3,5", 2, ["3", "5", "3", "5", "3"]), ("GPU-a,GPU-b", 1, ["GPU-a"] * 5)],
)
def test_processes_take_them_in_turn(
    visible: str, gpus: int, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for _ in range(5):  # as many processes would
        monkeypatch.setattr(devices, "_taken", [])
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        found.append(take_gpu(tmp_path, gpus=gpus))
        assert take_gpu(tmp_path, gpus=gpus) == os.environ["CUDA_VISIBLE_DEVICES"] == found[-1]
    assert found == expected


WORK = """
import os, time
def work(task):
    folder, name, together = task
    (folder / f"{name}.run").write_text(f"{os.getpid()} {os.environ['CUDA_VISIBLE_DEVICES']}")
    while sum(1 for _ in folder.glob("*.run")) < together:
        time.sleep(0.01)
"""


def test_each_worker_has_one_and_each_of_them_as_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shares_gpus.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tasks = [(tmp_path, str(number), 2) for number in range(4)]  # nobody ends before two have begun
    assert not run_tasks(__import__("shares_gpus").work, tasks, executor=Executor(workers=2, gpus=2))
    pairs = {tuple(path.read_text().split()) for path in tmp_path.glob("*.run")}
    assert sorted(gpu for _, gpu in pairs) == ["0", "1"]
    assert len({pid for pid, _ in pairs}) == 2
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
