"""Checkpoint folders: written whole, read with care; released checkpoints converted without running them."""

import io
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.reference_values import tensor_shapes
from helpers.rounding import assert_within_rounding
from metst.cli.options import reachable_model
from metst.config import (
    DecodeSettings,
    InputSettings,
    ModelInfo,
    NetworkConfig,
    PublishedDecodeSettings,
    ScoringSettings,
)
from metst.errors import CheckpointError, OutputError, UsageError
from metst.evaluation.executors import Executor
from metst.evaluation.models import scored_model
from metst.models import checkpoint
from metst.models.checkpoint import known_models, load_model, save_model
from metst.models.convert import convert_released
from metst.models.networks import StateTransitionNetwork
from metst.storage import fingerprint, sealed, unsealed

ROUNDING = 32
"""Units of rounding between torch and the engine; 4 were seen."""

CONFIG = NetworkConfig(name="small", in_channels=6, width=8, blocks=3, slow_fast=True, d_state=4, classes=3)
INFO = ModelInfo(
    network=CONFIG,
    classes=("up", "down", "neutral"),
    input=InputSettings(regions=(1, 5, 9), scale=50),
    scoring=ScoringSettings(lag=4),
    decode=DecodeSettings(peak_threshold=0.3),
    training_subjects=("s01", "s02"),
    trained_on="made-up motion",
    provenance={"seed": "1"},
)


@pytest.fixture
def network() -> StateTransitionNetwork:
    torch.manual_seed(1)
    return StateTransitionNetwork(CONFIG).eval()


@pytest.fixture
def saved(tmp_path: Path, network: StateTransitionNetwork) -> Path:
    save_model(tmp_path / "model", network=network, info=INFO)
    return tmp_path / "model"


def edit_json(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    path = folder / "model.json"
    content = unsealed(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_what_was_saved_is_loaded(saved: Path, network: StateTransitionNetwork) -> None:
    model = load_model(saved)
    kept = model.info.model_copy(update={"metst_version": "", "weights_sha256": ""})
    assert kept == INFO
    assert model.info.metst_version
    x = torch.randn(2, 6, 21)
    with torch.inference_mode():
        for got, expected in zip(model.network(x), network(x), strict=True):
            assert_within_rounding(got, expected, units=8)
    for array, expected in zip(model.engine(x.transpose(1, 2).numpy()), network(x), strict=True):
        assert_within_rounding(torch.from_numpy(array), expected.detach(), units=ROUNDING)
    assert not model.network.training
    assert model.network is model.network
    assert model.engine is model.engine
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "weights.safetensors"]
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_whoever_may_read_the_description_may_read_the_weights(saved: Path) -> None:
    modes = {path.name: path.stat().st_mode for path in saved.iterdir()}
    assert len(modes) == 2
    assert len(set(modes.values())) == 1


def test_a_result_can_record_which_model_made_it(saved: Path) -> None:
    model = load_model(saved)
    described = model.describe()
    assert described["name"] == "small"
    assert described["trained_on"] == "made-up motion"
    assert described["training_subjects"] == "s01, s02"
    settings = json.loads(described["settings"])
    assert InputSettings.model_validate(settings["input"]) == INFO.input
    assert DecodeSettings.model_validate(settings["decode"]) == INFO.decode
    assert described["weights_sha256"] == model.info.weights_sha256


def test_building_the_network_leaves_the_random_numbers_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    assert load_model(saved).network is not None
    assert torch.equal(torch.get_rng_state(), before)


def test_both_kinds_of_decoding_come_back_as_what_they_were(tmp_path: Path, network: StateTransitionNetwork) -> None:
    published = INFO.model_copy(update={"decode": PublishedDecodeSettings(rule="extensible", k_p=11)})
    save_model(tmp_path / "model", network=network, info=published)
    assert load_model(tmp_path / "model").info.decode == published.decode
    assert isinstance(ModelInfo.model_validate_json(INFO.model_dump_json()).decode, DecodeSettings)


def test_a_checkpoint_is_read_and_scored_without_torch(saved: Path, network: StateTransitionNetwork) -> None:
    code = (
        "import sys, numpy; sys.modules['torch'] = None; from metst.models.checkpoint import load_model; "
        f"model = load_model({str(saved)!r}); assert model.info.name == 'small'; "
        "print(model.engine(numpy.ones((1, 9, 6), 'f'))[0].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    with torch.inference_mode():
        expected, _ = network(torch.ones(1, 6, 9))
    assert_within_rounding(torch.tensor(json.loads(done.stdout)), expected, units=ROUNDING)


@pytest.mark.parametrize("use", ["load_model({model!r}).network", "convert_released({released!r}, {out!r})"])
def test_what_needs_torch_says_how_to_get_it(tmp_path: Path, saved: Path, use: str) -> None:
    (tmp_path / "released.pkl").write_bytes(b"")
    call = use.format(model=str(saved), released=str(tmp_path / "released.pkl"), out=str(tmp_path / "out"))
    code = f"""
import sys
from metst.models.checkpoint import load_model
from metst.models.convert import convert_released
from metst.errors import UsageError
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
try:
    {call}
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip().endswith("needs PyTorch: pip install 'metst[train]'")
    assert "\n" not in done.stdout.strip()


def test_nothing_that_is_there_is_overwritten_unasked(saved: Path, network: StateTransitionNetwork) -> None:
    before = (saved / "weights.safetensors").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        save_model(saved, network=network, info=INFO)
    with torch.no_grad():
        network.spot_head.bias.add_(1)
    save_model(saved, network=network, info=INFO, overwrite=True)
    assert (saved / "weights.safetensors").read_bytes() != before
    assert float(load_model(saved).network.spot_head.bias.detach()) == pytest.approx(1)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_folder_that_is_no_checkpoint_is_never_replaced(tmp_path: Path, network: StateTransitionNetwork) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="not a checkpoint"):
        save_model(tmp_path / "photos", network=network, info=INFO, overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"precious"


def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_else(
    saved: Path, network: StateTransitionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    before = load_model(saved).info
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match="the disk is full"):
            save_model(saved, network=network, info=INFO, overwrite=True)
    assert load_model(saved).info == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_move_that_fails_puts_the_old_checkpoint_back(
    saved: Path, network: StateTransitionNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, move, old = load_model(saved).info, Path.replace, (saved / "model.json").stat().st_ino

    def fail_on_the_new_one(self: Path, target: Path) -> Path:
        if target == saved and (self / "model.json").stat().st_ino != old:
            raise PermissionError(13, "Permission denied")
        return move(self, target)

    with monkeypatch.context() as patched:
        patched.setattr("metst.storage._exchanged", lambda *_: False)  # as where the system cannot
        patched.setattr(Path, "replace", fail_on_the_new_one)
        with pytest.raises(OutputError, match="no permission to write there"):
            save_model(saved, network=network, info=INFO, overwrite=True)
    assert load_model(saved).info == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, network: StateTransitionNetwork) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"cannot write .*model: a file stands where a folder is needed"):
        save_model(tmp_path / "file" / "model", network=network, info=INFO)


def test_weights_and_description_must_be_of_the_same_network(tmp_path: Path, network: StateTransitionNetwork) -> None:
    other = INFO.model_copy(update={"network": CONFIG.model_copy(update={"width": 16})})
    with pytest.raises(UsageError, match="width=16"):
        save_model(tmp_path / "model", network=network, info=other)


def test_a_packaged_name_goes_before_a_folder_that_is_called_so(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packaged = load_model("starter").info
    shutil.copytree(saved, tmp_path / "starter")
    monkeypatch.chdir(tmp_path)
    assert load_model("starter").info == packaged
    assert "the packaged one, not the folder of this name; for the folder write ./starter" in caplog.text
    caplog.clear()
    own = load_model(saved).info
    for folder in ("./starter", str(tmp_path / "starter"), Path("starter")):
        assert load_model(folder).info == own
    assert not caplog.text
    assert scored_model("starter").model == "starter"
    assert scored_model("./starter").model == str(tmp_path / "starter")
    elsewhere = Executor("dask")
    assert reachable_model("starter", elsewhere) == "starter"
    assert reachable_model("./starter", elsewhere) == str(tmp_path / "starter")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    monkeypatch.setattr(checkpoint, "_packaged_folder", lambda: saved.parent)
    assert known_models() == ("model",)
    assert load_model("model").info.trained_on == "made-up motion"
    with pytest.raises(UsageError, match=r"no checkpoint 'missing'.*known name \(model\)"):
        load_model("missing")
    with pytest.raises(UsageError, match="no checkpoint"):
        load_model(tmp_path / "nowhere")


def loaded_or_refused(folder: Path) -> ModelInfo | str:
    try:
        return load_model(folder).info
    except CheckpointError as error:
        return str(error)


@pytest.mark.parametrize("name", ["saved", "metst-event"])
def test_no_flipped_bit_is_read_as_another_model(saved: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "flipped"
    shutil.copytree(saved if name == "saved" else load_model(name).folder, folder)
    expected, refused = load_model(folder).info, 0
    for path, tried in ((folder / "model.json", 700), (folder / "weights.safetensors", 40)):
        content = path.read_bytes()
        for bit in range(7, 8 * len(content), max(1, 8 * len(content) // tried) | 1):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            found = loaded_or_refused(folder)
            assert found == expected or (isinstance(found, str) and str(path) in found), bit
            refused += isinstance(found, str)
        path.write_bytes(content)
    assert refused > 300


def test_a_model_without_a_seal_is_read(saved: Path) -> None:
    """Earlier versions wrote none, and who changes the file on purpose takes it out."""
    edit_json(saved, lambda content: content.update(trained_on="something else"))
    assert load_model(saved).info.trained_on == "something else"
    content = (saved / "model.json").read_bytes()
    (saved / "model.json").write_bytes(sealed(content.decode()).replace(b"something else", b"something elsa"))
    with pytest.raises(CheckpointError, match=r"model\.json: it is not what was written.*sha256_of_the_rest"):
        load_model(saved)


def drop_weights(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def cut_weights(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip_one_bit(folder: Path) -> None:
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no json": (lambda folder: (folder / "model.json").unlink(), "model.json is missing"),
    "no weights": (drop_weights, "weights.safetensors is missing"),
    "half the weights": (cut_weights, "damaged or was exchanged"),
    "one bit": (flip_one_bit, "damaged or was exchanged"),
    "not json": (lambda folder: (folder / "model.json").write_text("{"), "model.json is not valid: file: Invalid JSON"),
    "unknown key": (
        lambda folder: edit_json(folder, lambda content: content.update(windows=3)),
        "model.json is not valid: windows: Extra inputs are not permitted",
    ),
    "other format": (
        lambda folder: edit_json(folder, lambda content: content.update(format=2)),
        "model.json is not valid: format: Input should be 1",
    ),
    "other class count": (
        lambda folder: edit_json(folder, lambda content: content.update(classes=["a", "b"])),
        "2 class names for a head of 3 classes",
    ),
    "other regions": (
        lambda folder: edit_json(folder, lambda content: content["input"].update(regions=[1, 2])),  # type: ignore[attr-defined]
        "2 regions make 4 channels, but the network reads 6",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_checkpoint_is_one_clear_line(saved: Path, fault: str) -> None:
    damage, message = BROKEN[fault]
    damage(saved)
    with pytest.raises(CheckpointError) as raised:
        load_model(saved)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def store(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """Other weights under a matching hash: a faulty checkpoint, not a damaged file."""
    save_file(state, folder / "weights.safetensors")
    digest = fingerprint(folder / "weights.safetensors")
    edit_json(folder, lambda content: content.update(weights_sha256=digest))


USES = pytest.mark.parametrize("use", ["network", "engine"])


@USES
def test_weights_of_another_class_count_name_the_head(saved: Path, use: str) -> None:
    state = load_file(saved / "weights.safetensors")
    state["recog_head.weight"] = torch.zeros(7, 24)
    store(saved, state)
    with pytest.raises(CheckpointError, match=r"recog_head.weight is \(7, 24\), not \(3, 24\)"):
        getattr(load_model(saved), use)


@USES
def test_weights_with_other_names_are_named(saved: Path, use: str) -> None:
    state = load_file(saved / "weights.safetensors")
    state["surplus"] = state.pop("spot_head.bias")
    store(saved, state)
    with pytest.raises(CheckpointError, match=r"1 missing \(spot_head.bias\); 1 unexpected \(surplus\)"):
        getattr(load_model(saved), use)


@USES
def test_weights_that_are_no_safetensors_are_one_clear_line(saved: Path, use: str) -> None:
    (saved / "weights.safetensors").write_bytes(b"not tensors at all")
    digest = fingerprint(saved / "weights.safetensors")
    edit_json(saved, lambda content: content.update(weights_sha256=digest))
    with pytest.raises(CheckpointError, match="damaged") as raised:
        getattr(load_model(saved), use)
    assert "\n" not in str(raised.value)


# Released checkpoints


class Evil:
    """A pickle that writes a file when it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "owned")


def as_bytes(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("wrap", ["plain", "zip", "tensor beside"])
def test_code_in_a_released_file_is_never_run(tmp_path: Path, wrap: str) -> None:
    evil = Evil(tmp_path / "owned")
    content = {
        "plain": lambda: pickle.dumps({"module.fc_spot.weight": evil}, protocol=2),
        "zip": lambda: as_bytes({"module.fc_spot.weight": evil}),
        "tensor beside": lambda: as_bytes({"module.fc_spot.weight": torch.zeros(1), "more": evil}),
    }[wrap]()
    (tmp_path / "released.pkl").write_bytes(content)
    with pytest.raises(CheckpointError, match="nothing in it was run") as raised:
        convert_released(tmp_path / "released.pkl", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["released.pkl"]
    pickle.loads(pickle.dumps(evil))  # what running it would have done
    assert (tmp_path / "owned").exists()


NO_RELEASE = {
    "empty": b"",
    "text": b"subject,video,onset,offset\n",
    "half": as_bytes({"module.a": torch.ones(50)})[:300],
    "old and half": as_bytes({"module.a": torch.ones(50)}, _use_new_zipfile_serialization=False)[:-5],
    "a list": as_bytes([1, 2]),
    "numbers": as_bytes({"epoch": 3}),
    "plain pickle": pickle.dumps({"epoch": [1, 2]}),
    "another network": as_bytes({"module.conv1.weight": torch.ones(3, 3)}),
    "nothing in it": as_bytes({}),
}


@pytest.mark.parametrize("kind", NO_RELEASE)
def test_what_is_no_released_checkpoint_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "released.pkl").write_bytes(NO_RELEASE[kind])
    with pytest.raises(CheckpointError, match="expected a released checkpoint") as raised:
        convert_released(tmp_path / "released.pkl", tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_wrong_calls_of_the_conversion_are_usage_errors(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        convert_released(tmp_path / "missing.pkl", tmp_path / "out")
    (tmp_path / "released.pkl").write_bytes(NO_RELEASE["a list"])
    with pytest.raises(UsageError, match="is there already"):
        convert_released(tmp_path / "released.pkl", saved)
    with pytest.raises(UsageError, match="expected one of samm-lv, casme3"):
        convert_released(tmp_path / "released.pkl", tmp_path / "out", data_set="smic")


def released(name: str) -> dict[str, torch.Tensor]:
    """Zeros under the names and shapes of a released checkpoint."""
    return {f"module.{key}": torch.zeros(shape) for key, shape in tensor_shapes(name).items()}


@pytest.mark.parametrize(
    ("name", "data_set", "expected"),
    [
        ("metst_2024", "casme3", (30, 50, 25, "fixed", 17, 5)),
        ("metst", "samm-lv", (200 / 7, 30, 15, "fixed", 5, 5)),
        ("metst_plus", "casme3", (30, 50, 25, "fixed", 17, 18)),
        ("boosting_vrme", "casme3", (30, 50, 25, "extensible", 11, 18)),
        ("boosting_vrme", "samm-lv", (200 / 7, 30, 15, "extensible", 6, 18)),
    ],
)
def test_a_released_checkpoint_gets_the_settings_it_was_published_with(
    tmp_path: Path, name: str, data_set: str, expected: tuple[object, ...]
) -> None:
    torch.save(released(name), tmp_path / "released.pkl")
    info = convert_released(tmp_path / "released.pkl", tmp_path / "out", data_set=data_set)
    assert info == load_model(tmp_path / "out").info
    assert isinstance(info.decode, PublishedDecodeSettings)
    got = (info.input.rate_hz, info.scoring.window, info.scoring.hop, info.decode.rule, info.decode.k_p)
    assert (*got, len(info.input.regions)) == expected
    assert info.name == name.replace("_", "-")
    assert (info.input.reference, info.scoring.mode, info.decode.strategy) == ("window", "windows", 1)
    assert info.training_subjects is None
    assert info.provenance["converted_from"] == "released.pkl"


def test_the_unused_twin_of_the_trunk_is_left_out(tmp_path: Path) -> None:
    state = released("metst")
    torch.save(state, tmp_path / "whole.pkl")
    torch.save({k: v for k, v in state.items() if "recog_pathway" not in k}, tmp_path / "lean.pkl")
    convert_released(tmp_path / "whole.pkl", tmp_path / "whole")
    convert_released(tmp_path / "lean.pkl", tmp_path / "lean")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "lean")]
    assert weights[0] == weights[1]
    assert len(weights[0]) < 0.55 * (tmp_path / "whole.pkl").stat().st_size


def test_missing_surplus_and_misshapen_tensors_are_named_as_in_the_file(tmp_path: Path) -> None:
    state = released("boosting_vrme")
    del state["module.fuse_1.conv.0.bias"]
    state["module.block9.0.norm1.weight"] = torch.zeros(3)
    state["module.fc_recog.0.weight"] = torch.zeros(7, 384)
    torch.save(state, tmp_path / "released.pkl")
    with pytest.raises(CheckpointError) as raised:
        convert_released(tmp_path / "released.pkl", tmp_path / "out")
    message = str(raised.value)
    assert "taken for boosting-vrme" in message
    assert "1 missing (fuse_1.conv.0.bias)" in message
    assert "1 unexpected (block9.0.norm1.weight)" in message
    assert "fc_recog.0.weight is (7, 384), not (5, 384)" in message
    assert not (tmp_path / "out").exists()
