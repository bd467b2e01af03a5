"""The commands that are stopped: what each reads, and its words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import metst
from helpers.analyses import make_analysis
from helpers.feature_folders import feature_folder
from metst.results import write_analysis
from metst.synthesis.clip import write_clip
from metst.synthesis.recipe import ClipRecipe

MODELS = Path(metst.__file__).parent / "assets" / "models"


def _clip(inputs: Path, *, name: str = "clip") -> Path:
    recipe = ClipRecipe(count=1, amplitude=0.4, duration_s=1.6, rate_hz=25, end_s=1.5)
    return write_clip(inputs / name, recipe=recipe).video


def _analyze(inputs: Path, output: Path) -> list[str]:
    return ["analyze", str(_clip(inputs)), "-o", str(output), "-q"]


def _overlay(inputs: Path, output: Path) -> list[str]:
    return [*_analyze(inputs, output), "--overlay", "--motion-format", "safetensors", "--no-cache"]


def _again(inputs: Path, output: Path) -> list[str]:
    """Over the results of an earlier analysis with another model, which must not be mixed in."""
    return [*_analyze(inputs, output), "--model", "starter"]


def _synthesize(_inputs: Path, output: Path) -> list[str]:
    return ["synthesize", "-o", str(output), "--seconds", "2", "--count", "1", "-q"]


def _calibrate(inputs: Path, output: Path) -> list[str]:
    recipe = ClipRecipe(count=1, amplitude=0.4, duration_s=6.0, rate_hz=25)
    video = write_clip(inputs / "clip", recipe=recipe).video
    return ["calibrate", str(video), "-o", str(output), "--amplitudes", "0.2,0.4", "--repeats", "1", "-q"]


def _extract(inputs: Path, output: Path) -> list[str]:
    root = inputs / "lab"
    lines = ["subject,video,onset,apex,offset,emotion"]
    for subject in ("s1", "s2"):
        video = _clip(inputs, name=subject)
        (root / subject).mkdir(parents=True)
        shutil.copy(video, root / subject / "a.mp4")
        lines.append(f"{subject},a,10,15,20,positive")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    return ["extract", str(root), "-o", str(output), "-q"]  # in this process: with --workers it is another one


def _evaluate(inputs: Path, output: Path) -> list[str]:
    features = feature_folder(inputs / "features", subjects=3, frames=240)
    options = ["--recipe", "metst", "--width", "8", "--epochs", "1", "--workers", "1", "-q"]
    return ["evaluate", str(features), "-o", str(output), *options]


def _train_simulated(_inputs: Path, output: Path) -> list[str]:
    return ["train", "--recipe", "starter", "-o", str(output / "model"), "--steps", "4", "-q"]


def _train_recordings(inputs: Path, output: Path) -> list[str]:
    features = feature_folder(inputs / "features", subjects=3, frames=240)
    options = ["--recipe", "metst", "--width", "8", "--epochs", "2", "-q"]
    return ["train", "--features", str(features), "-o", str(output / "model"), *options]


def _convert(inputs: Path, output: Path) -> list[str]:
    import torch

    from helpers.reference_values import released_state

    torch.save(released_state("metst"), inputs / "released.pkl")
    return ["convert", str(inputs / "released.pkl"), str(output / "model"), "-q"]


def _convert_over(inputs: Path, output: Path) -> list[str]:
    """Over a model that lies there."""
    return [*_convert(inputs, output), "--overwrite"]


def _export_megc(inputs: Path, output: Path) -> list[str]:
    for name in ("006_1", "007_2"):
        write_analysis(make_analysis(duration_s=4.0, name=f"{name}.mp4"), inputs / "results" / name)
    return [
        "export",
        *map(str, sorted((inputs / "results").iterdir())),
        "--format",
        "megc",
        "--overwrite",  # one that was killed after its last step has left a whole file
        "-o",
        str(output / "megc.csv"),
        "-q",
    ]


def _export_bids(inputs: Path, output: Path) -> list[str]:
    """Two files."""
    write_analysis(make_analysis(duration_s=4.0), inputs / "results")
    return [
        "export",
        str(inputs / "results"),
        "--format",
        "bids",
        "-o",
        str(output / "x_events.tsv"),
        "--overwrite",
        "-q",
    ]


def _import(inputs: Path, output: Path) -> list[str]:
    coded = inputs / "coded.csv"
    coded.write_text("coder,label,onset_frame,offset_frame\nanna,smile,3,9\nben,frown,12,20\n")
    video = str(_clip(inputs))
    return ["import", str(coded), "--format", "csv", "--video", video, "-o", str(output / "clip"), "--overwrite", "-q"]


def _export_onnx(_inputs: Path, output: Path) -> list[str]:
    return ["export", "starter", "-o", str(output / "starter.onnx"), "--overwrite", "-q"]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "analyze": _analyze,
    "analyze-again": _again,
    "analyze-overlay": _overlay,
    "synthesize": _synthesize,
    "calibrate": _calibrate,
    "extract": _extract,
    "evaluate": _evaluate,
    "train-simulated": _train_simulated,
    "train-recordings": _train_recordings,
    "convert": _convert,
    "convert-over": _convert_over,
    "export-megc": _export_megc,
    "export-bids": _export_bids,
    "import": _import,
    "export-onnx": _export_onnx,
}


def before(name: str, output: Path) -> None:
    """What lies in the output folder before the command runs."""
    output.mkdir()
    if name == "analyze-again":
        write_analysis(make_analysis(duration_s=4.0, name="planted.mp4", seed=1), output / "planted")
    elif name == "convert-over":
        shutil.copytree(MODELS / "starter", output / "model")
