"""`metst evaluate`: released files in, counts out, on a made-up data set in the layout of SAMM Long Videos."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import dataset_folders as make
from helpers.command_line import run
from helpers.reference_values import released_state
from metst.storage import unsealed

WINDOWS, CHANNELS = 5, 10


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data set, cache and one released checkpoint per subject, as files."""
    root = tmp_path_factory.mktemp("released")
    make.samm_lv(root / "SAMM", length=7 * 15 * (WINDOWS + 1))
    rng = np.random.default_rng(0)
    cache = [[rng.normal(size=(CHANNELS, 30)) for _ in range(WINDOWS)] for _ in range(2)]
    (root / "SAMMLV_dataset.pkl").write_bytes(pickle.dumps(cache))
    (root / "weights").mkdir()
    for seed, subject in enumerate(("006", "007")):
        torch.save(released_state("metst_2024", seed=seed), root / "weights" / f"subject_{subject}.pkl")
    return root


def options(root: Path, **changes: object) -> list[object]:
    given = {"published": "samm-lv", "features": root / "SAMMLV_dataset.pkl", "checkpoints": root / "weights",
             "labels": root / "SAMM", **changes}  # fmt: skip
    return ["evaluate", *(part for name, value in given.items() for part in (f"--{name}", value))]


def test_released_files_and_converted_ones_give_the_same(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *options(released), "-o", tmp_path / "a", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["found"] | {"detections": 0} == {
        "subjects": 2, "videos": 2, "windows": 10, "micro_expressions": 2, "micro_expressions_left_out": 0,
        "detections": 0,
    }  # fmt: skip
    assert result["protocol"]["network"] == "metst-2024"
    assert result["protocol"]["k_p"] == {"006": 5, "007": 5}
    for scorer in ("greedy", "strict"):
        spotting = result["scorers"][scorer]["raw"]["spotting"]
        assert spotting["tp"] + spotting["fn"] == 2
        assert spotting["tp"] + spotting["fp"] == result["found"]["detections"] > 0
    assert "greedy" in err
    assert "strict" in err
    assert "k_p is the published one" in err
    for subject in ("006", "007"):
        converted = [released / "weights" / f"subject_{subject}.pkl", tmp_path / "converted" / subject]
        assert run(capsys, "convert", *converted, "--data-set", "samm-lv")[0] == 0
    code, out, _ = run(capsys, *options(released, checkpoints=tmp_path / "converted"), "-o", tmp_path / "b", "--json")
    assert (code, json.loads(out)["scorers"]) == (0, result["scorers"])
    assert (tmp_path / "a" / "predictions.csv").read_bytes() == (tmp_path / "b" / "predictions.csv").read_bytes()


def test_what_a_model_was_trained_on_is_said_in_red(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for subject in ("006", "007"):
        folder = tmp_path / "models" / subject
        run(capsys, "convert", released / "weights" / f"subject_{subject}.pkl", folder, "--data-set", "samm-lv")
        info = unsealed((folder / "model.json").read_bytes())
        (folder / "model.json").write_text(json.dumps(info | {"training_subjects": ["006", "009"]}))
    arguments = [*options(released, checkpoints=tmp_path / "models"), "-o", tmp_path / "out"]
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "006 was trained on subject 006" in err
    assert not (tmp_path / "out").exists()
    code, _, err = run(capsys, *arguments, "--allow-training-subjects")
    assert code == 0
    assert "subject 006 was scored by a model that was trained on it" in err
    assert "subject 007 was scored" not in err


def test_a_cache_that_would_run_code(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache.pkl"
    cache.write_bytes(b"cos\nsystem\n(Vtouch " + str(tmp_path / "was-run").encode() + b"\ntR.")
    code, out, err = run(capsys, *options(released, features=cache), "-o", tmp_path / "out")
    assert (code, out) == (1, "")
    assert "it asks for os.system" in err
    assert "refused, nothing was run" in err
    assert not (tmp_path / "was-run").exists()
    assert not (tmp_path / "out").exists()


def test_rows_that_are_no_labels_are_told(released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*make.SAMM_ROWS, ["007", "007_2_2", 1, 20, -1, 10, 5, "Micro - 1/2", "4", ""]]
    make.xlsx(tmp_path / "SAMM_LongVideos_V3_Release.xlsx", [*[["About"]] * 9, make.SAMM_HEADER, *rows])
    code, out, err = run(capsys, *options(released, labels=tmp_path), "-o", tmp_path / "out", "--json")
    assert code == 3
    assert "rows of the label sheets that could not be read as labels: 1" in err
    assert "some micro-expressions have no class" in err
    assert any("row 14" in fault for fault in json.loads(out)["label_faults"])


def test_published_is_required(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "evaluate", "-o", tmp_path)
    assert code == 2
    assert "--published" in err
