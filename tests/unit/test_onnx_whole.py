"""`metst export --whole`: the file scores many frames at a time as the engine does, in chunks of any size."""

import copy
from collections import Counter
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import metst.models.onnx
from helpers.rounding import assert_within_rounding, rounding_errors
from helpers.shaken_networks import shaken
from metst.cli import app
from metst.config import DecodeSettings, InputSettings, ModelInfo, ScoringSettings
from metst.errors import OutputError, UsageError
from metst.models.checkpoint import Model, load_model, save_model
from metst.models.networks import PUBLISHED, Mamba
from metst.models.onnx import export_onnx
from metst.models.step import OneStep
from metst.published.facts import NETWORKS

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'metst[train,onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'metst[train,onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'metst[train,onnx]'")

ROUNDING = 64
"""Units of rounding between the file and the network in double precision."""
FURTHER = 4
"""How many times as far from it as the engine the file may be, where that is more."""

# Time steps start as in the own networks, for the reason given in tests/property/test_step_property.py.
SMALL = {"width": 8, "blocks": 3, "d_state": 4, "time_step_start": "spread"}
BATCH = {"metst": 2, "metst-2024": 1, "metst-plus": 2, "boosting-vrme": 2}
LENGTHS = (1, 2, 3, 4, 30, 31, 2999, 3000)
Float32 = npt.NDArray[np.float32]


class Exported:
    """A small network of the shape of a published one, its engine, and its file in onnxruntime."""

    def __init__(self, name: str, folder: Path) -> None:
        config = PUBLISHED[name].model_copy(update=SMALL)
        info = ModelInfo(
            network=config,
            classes=tuple("abcde"),
            input=InputSettings(regions=tuple(index + 1 for index in NETWORKS[name].regions)),
            scoring=ScoringSettings(),
            decode=DecodeSettings(peak_threshold=0.3),
            trained_on="made-up motion",
        )
        self.model = save_model(folder / name, network=shaken(config, seed=5, by=lambda _: 0.1), info=info)
        self.path = folder / f"{name}.onnx"
        export_onnx(self.model, self.path, batch=BATCH[name], whole=True)
        self.session = opened(self.path)


def opened(path: Path) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exported:
    return Exported(request.param, tmp_path_factory.mktemp("whole"))


each_network = pytest.mark.parametrize(
    "exported",
    ["boosting-vrme", *(pytest.param(each, marks=pytest.mark.slow) for each in ("metst", "metst-2024", "metst-plus"))],
    indirect=True,
)
slow_fast = pytest.mark.parametrize("exported", ["boosting-vrme"], indirect=True)


def motion(session: Any, length: int, *, seed: int = 3) -> Float32:
    """``(B, T, C)``."""
    batch, _, channels = session.get_inputs()[0].shape
    return np.random.default_rng(seed).standard_normal((batch, length, channels), np.float32)


def zeros(session: Any) -> dict[str, Float32]:
    return {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith("state_in.")}


def run(session: Any, x: Float32, *, lengths: list[int], sizes: list[int]) -> list[tuple[Float32, Float32]]:
    """Scores and logits of each sequence, in chunks of these sizes, over and over, by the file alone."""
    delay = int(session.get_modelmeta().custom_metadata_map["delay"])
    steps = x.shape[1] + delay
    t = np.arange(steps)
    present = t < np.array(lengths)[:, None]
    x = np.pad(x, ((0, 0), (0, delay), (0, 0)))
    x[~present] = np.nan
    ends, size = [0], cycle(sizes)
    while ends[-1] < steps:
        ends.append(ends[-1] + next(size))
    state, rows = zeros(session), []
    for start, end in pairwise(ends):
        chunk = {"x": x[:, start:end], "present": present[:, start:end]}
        score, logit, valid, *states = session.run(None, chunk | state)
        state = dict(zip(state, states, strict=True))
        late = t[start:end] - delay
        np.testing.assert_array_equal(valid, (late >= 0) & (late < np.array(lengths)[:, None]))
        rows.append((score, logit))
    scores, logits = (np.concatenate(part, axis=1)[:, delay:] for part in zip(*rows, strict=True))
    return [(scores[i, :length], logits[i, :length]) for i, length in enumerate(lengths)]


def assert_scores_as_the_engine(session: Any, model: Model, x: Float32, **how: list[int]) -> None:
    """Both are compared with the network in double precision: where its layers make much of rounding, both show it."""
    exact = copy.deepcopy(model.network).double()
    for i, got in enumerate(run(session, x, **how)):
        sequence = np.ascontiguousarray(x[i : i + 1, : how["lengths"][i]])
        with torch.inference_mode():
            wanted = exact(torch.from_numpy(sequence).double().transpose(1, 2))
        for found, engine, expected in zip(got, model.engine(sequence), wanted, strict=True):
            size = max(1.0, float(expected.abs().max()))  # a score is of size 1, however low
            own = rounding_errors(engine[0], expected[0].numpy(), size=size)
            assert_within_rounding(found, expected[0].numpy(), units=max(ROUNDING, FURTHER * own), size=size)


@each_network
@pytest.mark.parametrize("length", LENGTHS)
def test_a_whole_sequence_at_once(exported: Exported, length: int) -> None:
    x = motion(exported.session, length)
    assert_scores_as_the_engine(
        exported.session,
        exported.model,
        x,
        lengths=[length] * len(x),
        sizes=[length + exported.model.network.look_ahead],
    )


@each_network
@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=2, max_size=2),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_chunks_of_any_size(exported: Exported, lengths: list[int], sizes: list[int], seed: int) -> None:
    lengths = lengths[-BATCH[exported.model.info.name] :]
    x = motion(exported.session, max(lengths), seed=seed)
    assert_scores_as_the_engine(exported.session, exported.model, x, lengths=lengths, sizes=sizes)


@each_network
@pytest.mark.parametrize("sizes", [[1000], [777, 64]])
def test_a_long_sequence_in_chunks(exported: Exported, sizes: list[int]) -> None:
    x = motion(exported.session, 2999)
    assert_scores_as_the_engine(exported.session, exported.model, x, lengths=[2999] * len(x), sizes=sizes)


@each_network
@pytest.mark.parametrize("sizes", [(6, 4), (5, 4), (8, 1), (7, 3)])
def test_states_are_those_of_so_many_steps(exported: Exported, sizes: tuple[int, int]) -> None:
    """So that a chunk may follow on steps, and steps on a chunk; no state holds a row that belongs to no frame."""
    x = motion(exported.session, sum(sizes))
    step = OneStep(exported.model.network)
    state = step.initial_state(len(x))
    carried, first = zeros(exported.session), 0
    for size in sizes:
        chunk = x[:, first : first + size]
        present = np.ones(chunk.shape[:2], bool)
        _, _, _, *states = exported.session.run(None, {"x": chunk, "present": present, **carried})
        for t in range(size):
            with torch.inference_mode():
                *_, state = step(torch.from_numpy(chunk[:, t]), torch.from_numpy(present[:, t]), state)
        assert [f"state_in.{name}" for name in state] == list(carried)
        carried = dict(zip(carried, states, strict=True))
        for found, expected in zip(states, state.values(), strict=True):
            assert_within_rounding(found, expected.numpy(), units=ROUNDING, size=max(1.0, float(expected.abs().max())))
        first += size


@each_network
def test_each_scan_is_one_node(exported: Exported) -> None:
    graph = onnx.load(exported.path)
    assert {each.domain: each.version for each in graph.opset_import} == {"": 27, "com.microsoft": 1}
    nodes = Counter(node.op_type for node in graph.graph.node)
    scans = sum(isinstance(module, Mamba) for module in exported.model.network.modules())
    assert (nodes["LinearAttention"], nodes["CausalConvWithState"]) == (scans, scans)
    assert not nodes.keys() & {"Loop", "Scan", "If"}


@each_network
def test_a_runtime_without_the_node_of_onnxruntime_finds_it_in_nodes_of_onnx(exported: Exported) -> None:
    from onnx.reference import ReferenceEvaluator

    graph = onnx.load(exported.path)
    x = motion(exported.session, 12)
    inputs = {"x": x, "present": np.ones(x.shape[:2], bool), **zeros(exported.session)}
    expected = exported.session.run(None, inputs)
    for each in (*graph.opset_import, *graph.functions, *graph.graph.node):
        if each.domain == "com.microsoft":
            each.domain = "nobody.knows"
    renamed = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for way in (renamed, ReferenceEvaluator(onnx.load(exported.path))):
        for found, wanted in zip(way.run(None, inputs), expected, strict=True):
            assert_within_rounding(
                found.astype(np.float32), wanted.astype(np.float32), units=ROUNDING, size=max(1.0, np.abs(wanted).max())
            )


@each_network
def test_inputs_and_outputs_are_those_of_the_step_with_frames(exported: Exported) -> None:
    network, batch = exported.model.network, BATCH[exported.model.info.name]
    state = OneStep(network).initial_state(batch)
    shapes = {name: list(value.shape) for name, value in state.items()}
    assert {i.name: i.shape for i in exported.session.get_inputs()} == {
        "x": [batch, "frames", network.config.in_channels],
        "present": [batch, "frames"],
        **{f"state_in.{name}": shape for name, shape in shapes.items()},
    }
    assert {o.name: o.shape for o in exported.session.get_outputs()} == {
        "score": [batch, "frames"],
        "logits": [batch, "frames", 5],
        "valid": [batch, "frames"],
        **{f"state_out.{name}": shape for name, shape in shapes.items()},
    }
    about = exported.session.get_modelmeta().custom_metadata_map
    assert about == metst.models.onnx.file_metadata(exported.model, delay=network.look_ahead)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["starter", "metst-event"])
def test_the_packaged_models(name: str, tmp_path: Path) -> None:
    model = load_model(name)
    export_onnx(model, tmp_path / "whole.onnx", whole=True)
    session = opened(tmp_path / "whole.onnx")
    for length in LENGTHS:
        assert_scores_as_the_engine(session, model, 3 * motion(session, length), lengths=[length], sizes=[2048, 7])


# What is refused; a graph that was made before stands in for the exporter, which takes seconds


def put_in(monkeypatch: pytest.MonkeyPatch, graph: object) -> None:
    monkeypatch.setattr(metst.models.onnx, "_trace", lambda part, *, batch: graph)


def rename(graph: Any, name: str, to: str) -> None:
    """Another name for a value of the graph; who gives it its old one is for the caller to say."""
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = [to if each == name else each for each in names]


@slow_fast
@pytest.mark.parametrize("state", ["pathways.0.fast.1.0.mixer", "odd", "pathways.0.slow.2.0.mixer.conv"])
def test_a_graph_that_forgets_between_chunks_is_not_written(
    exported: Exported, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(exported.path)
    rename(graph, f"state_out.{state}", "forgotten")
    graph.graph.node.append(onnx.helper.make_node("Identity", [f"state_in.{state}"], [f"state_out.{state}"]))
    put_in(monkeypatch, graph)
    with pytest.raises(OutputError, match=r"differ in (score|logits) by .*nothing was written"):
        export_onnx(exported.model, tmp_path / "network.onnx", batch=2, whole=True)
    assert list(tmp_path.iterdir()) == []


@slow_fast
def test_a_graph_that_onnxruntime_does_not_know_is_not_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = onnx.load(exported.path)
    rename(graph, "valid", "there")
    graph.graph.node.append(onnx.helper.make_node("Where", ["there", "there", "there"], ["valid"]))  # of Booleans
    put_in(monkeypatch, graph)
    with pytest.raises(OutputError, match=r"onnxruntime \S+ cannot run .*nothing was written.* pip install --upgrade"):
        export_onnx(exported.model, tmp_path / "network.onnx", batch=2, whole=True)
    assert list(tmp_path.iterdir()) == []


@slow_fast
def test_an_onnx_without_the_nodes_is_told(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 26)
    with pytest.raises(UsageError, match=r"needs ONNX opset 27, and onnx \S+ knows 26: pip install --upgrade onnx"):
        export_onnx(exported.model, tmp_path / "network.onnx", whole=True)
    assert list(tmp_path.iterdir()) == []


@slow_fast
def test_the_command_writes_the_file(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(monkeypatch, onnx.load(exported.path))
    arguments = ["export", str(exported.model.folder), "--whole", "--batch", "2", "-o", str(tmp_path / "a.onnx"), "-q"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "a.onnx").read_bytes() == exported.path.read_bytes()


def test_whole_belongs_to_networks(tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path), "--format", "elan", "--whole", "-o", str(tmp_path / "a.eaf")]
    with pytest.raises(UsageError, match="--whole belongs to --format onnx"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
