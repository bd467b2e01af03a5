"""What importing the package may cost."""

import subprocess
import sys

import pytest

LIGHT = ["metst", "metst.cli", "metst.video", "metst.face", "metst.motion", "metst.scoring", "metst.decode",
         "metst.metrics", "metst.results", "metst.report", "metst.checkpoint", "metst.analyze"]  # fmt: skip


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_signal_path_and_results_do_not_import_torch(module: str) -> None:
    assert "torch" not in modules_after(f"import {module}")


def test_the_command_line_starts_without_heavy_modules() -> None:
    loaded = modules_after("import metst.cli")
    assert not loaded & {"numpy", "pandas", "scipy", "cv2", "av", "numba", "torch"}
