"""What docstrings and documents call a module is one: names outlive the modules that had them."""

import ast
import re
from pathlib import Path

import pytest

from helpers.benchmark_modules import CHECKOUT

SOURCE = CHECKOUT / "src" / "metst"
ROOMS = sorted(path.parent for path in SOURCE.rglob("__init__.py"))
TEXTS = [*SOURCE.rglob("*.py"), *(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "README.md"]
"""What speaks of the present: the list of changes keeps the names of its day."""


def misnamed(docstring: str, modules: set[str]) -> list[str]:
    """Words that a room's docstring has where it names its modules, and that are none.

    A paragraph names modules when most of its words in double backticks, written like a module's name, are modules.
    """
    wrong = []
    for paragraph in docstring.split("\n\n"):
        words = re.findall(r"``([a-z_]+)(?:\.py)?``", paragraph)
        strange = [word for word in words if word not in modules]
        if 2 * len(strange) < len(words):
            wrong += strange
    return wrong


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.relative_to(SOURCE.parent).as_posix())
def test_a_room_names_modules_that_it_has(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
    modules = {path.stem for path in room.iterdir()}
    assert not misnamed(docstring, modules)


def test_a_name_that_is_gone_is_found() -> None:
    assert misnamed("``reading`` and ``stream`` and ``clock.py``.", {"reading", "clock"}) == ["stream"]
    assert not misnamed("A column ``emotion`` beside ``curve`` and ``strict``.", {"curve"})


def known(dotted: str) -> bool:
    """Whether a module, or a word in the module that the name leads to."""
    place = SOURCE
    for name in dotted.split(".")[1:]:
        if (place / name).is_dir():
            place = place / name
        elif (module := place / f"{name}.py").is_file():
            place = module
        else:
            text = (place / "__init__.py" if place.is_dir() else place).read_text(encoding="utf-8")
            return re.search(rf"\b{name}\b", text) is not None
    return True


def test_dotted_names_lead_to_something() -> None:
    assert known("metst.video.clock.Clock")
    assert not known("metst.video.stream.Clock")
    found = {
        f"{path.relative_to(CHECKOUT)}: {match[1]}"
        for path in TEXTS
        for match in re.finditer(r"`~?(metst(?:\.\w+)+)(?:\(\))?`", path.read_text(encoding="utf-8"))
        if not known(match[1])
    }
    assert not found
