"""`metst export`: the ONNX file scores what the network scores, says what it is, and is whole or not there."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from scipy.signal import lfilter
from typer.testing import CliRunner

import metst
import metst.models.onnx
from helpers.rounding import assert_within_rounding
from metst.cli import app
from metst.config import DecodeSettings, InputSettings, ModelInfo, NetworkConfig, ScoringSettings
from metst.errors import OutputError, UsageError
from metst.models.checkpoint import Model, load_model, save_model
from metst.models.networks import StateTransitionNetwork
from metst.models.onnx import export_onnx

ROUNDING = 64
"""Units of rounding between the file and the network; 8 were seen."""

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'metst[train,onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'metst[train,onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'metst[train,onnx]'")

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "export.md"
BATCH = {"single rate": 2, "slow-fast": 1, "slow-fast, separate": 2}
SHAPES = {
    "single rate": {"slow_fast": False, "blocks": 2},
    "slow-fast": {"slow_fast": True, "blocks": 3},
    "slow-fast, separate": {"slow_fast": True, "blocks": 3, "pathways": "separate"},
}
Float32 = npt.NDArray[np.float32]


def small_model(folder: Path, shape: str) -> Model:
    torch.manual_seed(2)
    config = NetworkConfig(name="small", in_channels=6, width=8, d_state=4, classes=3, **SHAPES[shape])
    network = StateTransitionNetwork(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    info = ModelInfo(
        network=config,
        classes=("up", "down", "neutral"),
        input=InputSettings(regions=(1, 5, 9), scale=50, baseline_s=0.5),
        scoring=ScoringSettings(lag=4),
        decode=DecodeSettings(peak_threshold=0.3),
        training_subjects=("s01",),
        trained_on="made-up motion",
    )
    return save_model(folder, network=network, info=info)


Exported = tuple[Model, Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exported:
    """A checkpoint and its ONNX file."""
    folder = tmp_path_factory.mktemp("export")
    model = small_model(folder / "model", request.param)
    export_onnx(model, folder / "out" / "network.onnx", batch=BATCH[request.param])
    return model, folder / "out" / "network.onnx"


each_shape = pytest.mark.parametrize(
    "exported", ["single rate", "slow-fast", pytest.param("slow-fast, separate", marks=pytest.mark.slow)], indirect=True
)
one_shape = pytest.mark.parametrize("exported", ["slow-fast"], indirect=True)


def run(path: Path, x: Float32, *, lengths: list[int]) -> list[tuple[Float32, Float32]]:
    """Scores and logits of sequences (B, C, T) of these lengths, by the file alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    delay = int(session.get_modelmeta().custom_metadata_map["delay"])
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith("state_in.")}
    rows = []
    for t in range(x.shape[2] + delay):
        frame = x[:, :, t] if t < x.shape[2] else np.full(x.shape[:2], np.nan, np.float32)
        present = np.array([t < length for length in lengths])
        score, logits, valid, *states = session.run(None, {"x": frame, "present": present, **state})
        state = dict(zip(state, states, strict=True))
        assert valid.tolist() == [delay <= t < length + delay for length in lengths]
        rows.append((score, logits))
    scores, logits = (np.stack(part, axis=1)[:, delay:] for part in zip(*rows, strict=True))
    return [(scores[i, :length], logits[i, :length]) for i, length in enumerate(lengths)]


@each_shape
@pytest.mark.parametrize("lengths", [(2, 1), (3, 4), (12, 12), (7, 30), (30, 2)])
def test_the_file_scores_what_the_network_scores(exported: Exported, lengths: tuple[int, int]) -> None:
    model, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = lengths[-session.get_inputs()[0].shape[0] :]
    x = np.random.default_rng(3).standard_normal((len(lengths), 6, max(lengths)), np.float32)
    for i, got in enumerate(run(path, x, lengths=list(lengths))):
        with torch.inference_mode():
            expected = model.network(torch.from_numpy(x[i : i + 1, :, : lengths[i]]))
        for one, other in zip(got, expected, strict=True):
            assert_within_rounding(one, other[0].numpy(), units=ROUNDING)


@pytest.mark.slow
def test_the_packaged_model_as_a_file(tmp_path: Path) -> None:
    model = load_model("starter")
    export_onnx(model, tmp_path / "starter.onnx")
    x = 3 * np.random.default_rng(4).standard_normal((1, 36, 91), np.float32)
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(x))
    for one, other in zip(run(tmp_path / "starter.onnx", x, lengths=[91])[0], expected, strict=True):
        assert_within_rounding(one, other[0].numpy(), units=ROUNDING)


@each_shape
def test_the_file_says_what_it_is(exported: Exported) -> None:
    model, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    parts = json.loads(about["settings"])
    told = ModelInfo.model_validate({**parts, "trained_on": about["trained_on"]})
    for part in ("network", "classes", "input", "scoring", "decode"):
        assert getattr(told, part) == getattr(model.info, part)
    assert json.loads(about["channels"]) == [
        *("left_brow_x", "left_brow_y", "right_brow_x", "right_brow_y", "mouth_x", "mouth_y")
    ]
    assert int(about["delay"]) == model.network.look_ahead
    assert about["weights_sha256"] == model.info.weights_sha256
    assert about["metst_version"] == model.info.metst_version
    graph = onnx.load(path)
    assert (graph.producer_name, graph.producer_version) == ("metst", version("metst"))
    assert about["training_subjects"] == "s01"


@each_shape
def test_states_go_in_and_out_under_the_same_names(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported[1], providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    assert [i.name for i in inputs[:2]] == ["x", "present"]
    assert [o.name for o in outputs[:3]] == ["score", "logits", "valid"]
    assert [(i.name.removeprefix("state_in."), i.shape) for i in inputs[2:]] == [
        (o.name.removeprefix("state_out."), o.shape) for o in outputs[3:]
    ]
    assert {i.type for i in inputs[2:]} == {"tensor(float)"}


@each_shape
def test_the_file_tells_nothing_of_the_machine_it_was_made_on(exported: Exported) -> None:
    data = exported[1].read_bytes()
    for path in (Path(metst.__file__).parent, Path(torch.__file__).parent, exported[1].parent):
        assert str(path).encode() not in data
    assert not any(node.doc_string or node.metadata_props for node in onnx.load(exported[1]).graph.node)


@one_shape
def test_the_example_of_the_documentation_runs(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = exported
    graph = onnx.load(path)
    (tmp_path / "starter.onnx").write_bytes(graph.SerializeToString())
    names = [f"{region}_{axis}" for region in ("left_brow", "right_brow", "mouth") for axis in ("x", "y")]
    d = 0.02 * np.random.default_rng(5).standard_normal((40, 6)).cumsum(axis=0)
    table = pd.DataFrame(d, columns=names).assign(time_s=np.arange(40) / 30)
    for region in ("left_brow", "right_brow", "mouth"):
        table[f"{region}_quality"] = 1.0
    table.to_csv(tmp_path / "motion.csv")
    monkeypatch.chdir(tmp_path)
    code = DOCUMENTATION.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    found: dict[str, Float32] = {}
    exec(code, found)
    steps = np.diff(d, axis=0, prepend=d[:1])
    x = np.float32(50 * lfilter([1], [1, -np.exp(-1 / (30 * 0.5))], steps, axis=0))
    x = np.concatenate([x, np.repeat(x[-1:], 4, axis=0)])
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(x.T.copy())[None])[0][0, 4:]
    assert_within_rounding(found["scores"], expected.numpy(), units=ROUNDING)


# What is refused; a graph that was made before stands in for the exporter, which takes seconds


def put_in(monkeypatch: pytest.MonkeyPatch, graph: object) -> None:
    monkeypatch.setattr(metst.models.onnx, "_trace", lambda step, *, batch: graph)


@one_shape
def test_a_graph_that_scores_something_else_is_not_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = exported
    graph = onnx.load(path)
    bias = next(each for each in graph.graph.initializer if each.name.endswith("spot_head.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.1), bias.name))
    put_in(monkeypatch, graph)
    target = tmp_path / "old.onnx"
    target.write_text("old")
    with pytest.raises(OutputError, match=r"differ in score by 0\.0\d+ .*nothing was written"):
        export_onnx(model, target, overwrite=True)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("old.onnx", "old")]


@one_shape
def test_a_graph_that_is_not_valid_is_not_written(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = exported
    graph = onnx.load(path)
    del graph.graph.node[3]
    put_in(monkeypatch, graph)
    with pytest.raises(OutputError, match="not valid ONNX, nothing was written"):
        export_onnx(model, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


@one_shape
def test_a_file_is_replaced_only_when_asked(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = exported
    put_in(monkeypatch, onnx.load(path))
    target = tmp_path / "network.onnx"
    target.write_text("old")
    with pytest.raises(UsageError, match="there already"):
        export_onnx(model, target)
    assert target.read_text() == "old"
    export_onnx(model, target, overwrite=True)
    assert target.read_bytes() == path.read_bytes()
    with pytest.raises(UsageError, match="there already"):
        export_onnx(model, tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="cannot make the folder"):
        export_onnx(model, target / "network.onnx")


@one_shape
@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime", "torch"])
def test_a_missing_package_is_named_with_what_to_install(
    exported: Exported, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"{package}.*pip install 'metst\[train,onnx\]'"):
        export_onnx(exported[0], tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


@one_shape
def test_a_batch_of_none_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one sequence, got 0"):
        export_onnx(exported[0], tmp_path / "network.onnx", batch=0)


@one_shape
def test_the_command_writes_the_file(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = exported
    put_in(monkeypatch, onnx.load(path))
    arguments = ["export", str(model.folder), "-o", str(tmp_path / "network.onnx"), "-q"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert (done.exit_code, done.stdout) == (0, "")
    assert (tmp_path / "network.onnx").read_bytes() == path.read_bytes()


def test_the_command_takes_one_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--format onnx takes one model, got 2: starter, other"):
        CliRunner().invoke(app, ["export", "starter", "other", "-o", str(tmp_path / "a.onnx")], catch_exceptions=False)
