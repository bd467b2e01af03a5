"""What importing the package may cost."""

import subprocess
import sys

LIGHT = ["metst", "metst.cli", "metst.video", "metst.face", "metst.motion", "metst.inference", "metst.decode",
         "metst.metrics", "metst.results", "metst.report", "metst.models.checkpoint", "metst.analyze", "metst.stream",
         "metst.live", "metst.review.server", "metst.synthesis.clip", "metst.datasets", "metst.reproduction",
         "metst.formats.megc", "metst.formats.conversion", "metst.formats.compared", "metst.coding",
         "metst.datasets.reviewed_features", "metst.training", "metst.training.recalibration",
         "metst.evaluation"]  # fmt: skip

# Of the extras and of the tests: the plain installation has none of them, nor SciPy.
NOT_INSTALLED = {"torch", "pandas", "matplotlib", "skimage", "sklearn", "openpyxl", "xlrd", "onnx", "pylsl", "triton"}


def printed_by(code: str) -> str:
    # Numba takes SciPy along when it is there; None stands for a module that is not installed.
    code = f"import sys; sys.modules['scipy'] = None\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def modules_after(statement: str) -> set[str]:
    return set(printed_by(f"{statement}; print('\\n'.join(sys.modules))").split())


def test_what_analyses_videos_imports_the_plain_installation_only() -> None:
    # One after the other in one process: who loads one of them first is named.
    step = f"__import__(name); print(name, *({NOT_INSTALLED!r} & set(sys.modules)), sep=' loads ')"
    said = printed_by(f"for name in {LIGHT!r}: {step}").splitlines()
    assert said == LIGHT


def test_the_command_line_starts_without_heavy_modules() -> None:
    loaded = modules_after("import metst.cli")
    assert not loaded & (NOT_INSTALLED | {"numpy", "cv2", "av", "numba"})


def test_a_scan_on_the_processor_imports_no_kernel_for_a_graphics_processor() -> None:
    code = "import torch; from metst.models.scan import selective_scan as scan; x = torch.ones(1, 2, 3)"
    loaded = modules_after(f"{code}; scan(x, x, -x[0].T, x[:, :, :2], x[:, :, :2], x[0, 0])")
    assert "metst.models.scan.operator" in loaded
    assert not {"metst.models.scan.triton_scan", "metst.models.scan.triton_kernels"} & loaded
