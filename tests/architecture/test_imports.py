"""What importing the package may cost."""

import subprocess
import sys

import pytest

LIGHT = ["metst", "metst.cli", "metst.video", "metst.face", "metst.motion", "metst.inference", "metst.decode",
         "metst.metrics", "metst.results", "metst.report", "metst.models.checkpoint", "metst.analyze", "metst.stream",
         "metst.live", "metst.review.server", "metst.synthesis.clip", "metst.datasets", "metst.reproduction",
         "metst.formats.megc", "metst.formats.conversion", "metst.formats.compared", "metst.coding",
         "metst.datasets.reviewed_features", "metst.training", "metst.training.recalibration",
         "metst.evaluation"]  # fmt: skip

# Of the extras and of the tests: the plain installation has none of them, nor SciPy.
NOT_INSTALLED = {"torch", "pandas", "matplotlib", "skimage", "sklearn", "openpyxl", "xlrd", "onnx", "pylsl", "triton"}


def modules_after(statement: str) -> set[str]:
    # Numba takes SciPy along when it is there; None stands for a module that is not installed.
    code = f"import sys; sys.modules['scipy'] = None; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_what_analyses_videos_imports_the_plain_installation_only(module: str) -> None:
    assert not NOT_INSTALLED & modules_after(f"import {module}")


def test_the_command_line_starts_without_heavy_modules() -> None:
    loaded = modules_after("import metst.cli")
    assert not loaded & (NOT_INSTALLED | {"numpy", "cv2", "av", "numba"})


def test_a_scan_on_the_processor_imports_no_kernel_for_a_graphics_processor() -> None:
    code = "import torch; from metst.models.scan import selective_scan as scan; x = torch.ones(1, 2, 3)"
    loaded = modules_after(f"{code}; scan(x, x, -x[0].T, x[:, :, :2], x[:, :, :2], x[0, 0])")
    assert "metst.models.scan.operator" in loaded
    assert not {"metst.models.scan.triton_scan", "metst.models.scan.triton_kernels"} & loaded
