"""The names that ``import metst`` offers: all there, and none of them paid for before it is used."""

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files

import pytest

import metst

NAMES = {
    "Analysis", "AnalyzeSettings", "MetstError", "Stream", "__version__", "analyze", "load_model", "read",
    "read_analysis", "write_analysis", "write_report",
}  # fmt: skip


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_dir_lists_the_public_names() -> None:
    assert set(dir(metst)) == NAMES == set(metst.__all__)


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_each_name_is_what_stands_in_its_module(name: str) -> None:
    value = getattr(metst, name)
    assert callable(value)
    assert value.__name__ == name
    assert value is getattr(sys.modules[value.__module__], name)


def test_the_version_is_that_of_the_installed_package() -> None:
    assert metst.__version__ == version("metst")


def test_type_checkers_may_read_the_annotations() -> None:
    assert (files("metst") / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'metst' has no attribute 'analyse'"):
        metst.analyse  # noqa: B018


def test_a_star_import_brings_the_public_names() -> None:
    code = "before = set(globals()); from metst import *; print(*sorted(set(globals()) - before - {'before'}))"
    assert set(in_a_fresh_python(code).split()) == NAMES


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = in_a_fresh_python("import sys, metst; dir(metst); metst.__version__; print(*sys.modules)").split()
    assert "metst" in loaded
    assert not {"numpy", "cv2", "torch", "av", "numba", "pydantic", "jinja2", "rich"} & set(loaded)


@pytest.mark.parametrize(
    "first",
    [
        "import metst",
        "import metst.analyze",
        "from metst.analyze import analyze",
        "from metst import analyze",
        "import importlib; importlib.import_module('metst.analyze')",
        "import metst; metst.Stream; import metst.analyze",
        "import metst.stream, metst.report; from metst import Analysis",
        "import metst.cli.analyze",
        "from metst import *",
    ],
)
def test_analyze_is_the_function_whatever_was_imported_before(first: str) -> None:
    code = f"{first}\nimport metst, types; print(type(metst.analyze) is types.FunctionType, metst.analyze.__name__)"
    assert in_a_fresh_python(code) == "True analyze"
