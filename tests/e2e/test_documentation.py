"""The pages of docs/: what is marked as runnable runs, and everything else names commands and modules that exist."""

import ast
import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from metst.cli import app
from metst.synthesis.clip import ClipRecipe, write_clip

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(
    r"(?:<!-- (?P<mark>runs|file: (?P<file>[\w.]+)) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.M
)


class Block(NamedTuple):
    """One fenced block of a page."""

    language: str
    code: str
    runs: bool
    file: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [
        Block(each["language"], each["code"], each["mark"] == "runs", each["file"]) for each in FENCE.finditer(text)
    ]
    marks = re.findall(r"^<!-- (?:runs|file: .*) -->$", text, re.M)
    assert len(marks) == sum(block.runs or block.file is not None for block in found), "a mark that no block follows"
    return found


RUNNABLE = [page for page in PAGES if any(block.runs for block in blocks(page))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = ClipRecipe(count=2, amplitude=0.25, duration_s=6, seed=2)
    return write_clip(tmp_path_factory.mktemp("clip"), recipe=recipe).video


def test_some_pages_have_code_that_runs() -> None:
    assert {"docs/start.md", "docs/scoring.md"} <= {name(page) for page in RUNNABLE}


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_what_a_page_says_runs(page: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks in order, in one folder that holds ``my.mp4`` and the files the page shows; Python in one namespace."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    shutil.copyfile(clip, "my.mp4")
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.code, encoding="utf-8")
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        if not block.runs:
            continue
        if block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.code, name(page), "exec"), namespace)
        else:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.code], capture_output=True, text=True, check=False, timeout=240
            )
            assert done.returncode == 0, f"{block.code}\n{done.stdout}\n{done.stderr}"


def imports(code: str) -> Iterator[tuple[str, str | None]]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, None) for each in node.names)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_names_what_exists(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            for module, attribute in imports(block.code):
                if module.split(".")[0] == "metst":
                    loaded = importlib.import_module(module)
                    assert attribute is None or hasattr(loaded, attribute), f"{module}.{attribute}"


def command_lines(page: Path) -> Iterator[list[str]]:
    for block in blocks(page):
        if block.language == "bash":
            for line in block.code.replace("\\\n", " ").splitlines():
                for part in line.split("&&"):
                    words = shlex.split(part, comments=True)
                    if words and Path(words[0]).name == "metst":
                        yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    group = typer.main.get_command(app)
    for words in command_lines(page):
        command: Any = group
        while words and hasattr(command, "commands"):
            if words[0].startswith("-"):
                break
            assert words[0] in command.commands, f"metst {words[0]}: no such command"
            command, words = command.commands[words[0]], words[1:]
        known = {"--help"}.union(*(each.opts + each.secondary_opts for each in command.params))
        unknown = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)} - known
        assert not unknown, f"metst {command.name}: no option {unknown}"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")], ids=name
)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), target


def test_each_example_is_named_and_short() -> None:
    said = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    scripts = sorted((ROOT / "examples").glob("*.py"))
    assert len(scripts) >= 4
    for script in scripts:
        assert f"examples/{script.name}" in said
        assert len(script.read_text(encoding="utf-8").splitlines()) < 40
