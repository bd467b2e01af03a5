"""The notebooks among the examples, and what runs them: cells in order, the last value shown, no outputs kept."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parents[2]
EXAMPLES = HERE / "examples"

runner = runpy.run_path(str(HERE / ".ci" / "notebooks"))
run_notebook, CellError = runner["run_notebook"], runner["CellError"]


def notebook(path: Path, *sources: str, **cell: Any) -> Path:
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []} | cell
    words = {"cell_type": "markdown", "metadata": {}, "source": ["not code: ("]}
    cells = [words, *({**code, "source": source.splitlines(keepends=True)} for source in sources)]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), encoding="utf-8")
    return path


def test_cells_share_names_and_show_their_last_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ("import math\nn = 2", "n += 1\nn", "for i in range(n):\n    pass", "None")
    run_notebook(notebook(tmp_path / "a.ipynb", *cells))
    assert capsys.readouterr().out == "3\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise ValueError('no')", "cell of code 2: ValueError: no"),
        ("1 +", "cell of code 2: SyntaxError"),
        ("unknown", "cell of code 2: NameError"),
        ("class A:\n    def _repr_html_(self):\n        return 1\nA()", "cell of code 2: TypeError: _repr_html_ of A"),
    ],
)
def test_a_cell_that_does_not_run_is_named(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(CellError, match=words):
        run_notebook(notebook(tmp_path / "a.ipynb", "1", source))


@pytest.mark.parametrize("kept", [{"outputs": [{"output_type": "stream"}]}, {"execution_count": 3}])
def test_what_keeps_outputs_is_refused(tmp_path: Path, kept: dict[str, Any]) -> None:
    with pytest.raises(CellError, match="keeps outputs"):
        run_notebook(notebook(tmp_path / "a.ipynb", "1", **kept))


def test_the_notebooks_are_of_the_format_and_hold_code_alone() -> None:
    books = sorted(EXAMPLES.glob("*.ipynb"))
    assert books
    for path in books:
        book = json.loads(path.read_text(encoding="utf-8"))
        assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
        assert book["metadata"]["kernelspec"]["name"] == "python3"
        assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
        for source in runner["code_cells"](path):
            compile(source, str(path), "exec")
