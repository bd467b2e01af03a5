"""The site: these pages and the reference of the public names, built offline by `make docs`."""

from __future__ import annotations

import pydoc
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from docutils.nodes import Element
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "metst"
author = "The metst authors"
copyright = author
pyproject = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
release = pyproject["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 4  # links to headings are checked like links to pages

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say types, and shapes with them
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

# A role that leads nowhere is an error; types in docstrings are words ("(T, 2) array"), not roles.
nitpicky = True
nitpick_ignore_regex = [("py:(class|exc|obj)", r"(?!metst\.).*")]

html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_title = f"metst {release}"
html_show_sphinx = False
html_copy_source = False


def settings_in_words(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """List the fields of settings with default and meaning: they are declared as data, not in the docstring."""
    if what != "class" or not issubclass(obj, BaseModel):
        return
    lines += ["", ".. list-table::", "   :widths: 22 18 60", "   :header-rows: 1", ""]
    lines += ["   * - field", "     - default", "     - meaning"]
    for field, about in obj.model_fields.items():
        lines += [f"   * - ``{field}``", f"     - {_default(about.default)}", f"     - {_meaning(about)}"]
    lines.append("")


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return "its own" if isinstance(value, BaseModel) else f"``{value!r}``"


def _meaning(about: Any) -> str:
    if about.description:
        return str(about.description)
    return f":class:`~{about.annotation.__module__}.{about.annotation.__qualname__}`"


plain: dict[str, list[str]] = {}
"""Docstrings without sections, as they stand: napoleon takes what is before a colon for a type."""


def keep_plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon: remember the docstring of a constant or property that has no section."""
    if what in ("attribute", "data", "property") and not any(line.startswith("---") for line in lines):
        plain[name] = list(lines)


def restore_plain(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """After napoleon: put it back."""
    lines[:] = plain.pop(name, lines)


def skip_fields(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of settings stand in the table, those of data classes under Parameters."""
    return True if what == "class" and name in ("model_config", "model_post_init") else None


def known_in_the_code(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """A role may name what the reference leaves out, as plain text: but it must be there."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or (node.get("reftype") == "class" and not target.startswith("metst.")):
        return None
    pydoc.locate(target)  # imports the module that a full name leads to
    modules = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "metst"}
    if target in modules:
        return text
    places = [node.get("py:module") or "metst", *modules] if "metst." not in target else [""]
    return text if any(_stands_in(modules, f"{place}.{target}".strip(".")) for place in places) else None


def _stands_in(modules: dict[str, Any], dotted: str) -> bool:
    """Whether the longest module of a dotted name has what follows it."""
    parts = dotted.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        value = modules.get(".".join(parts[:cut]))
        if value is None:
            continue
        for name in parts[cut:]:
            fields = getattr(value, "__annotations__", {})
            if not hasattr(value, name) and name not in fields:
                return False
            value = getattr(value, name, None)
        return True
    return False


def setup(app: Sphinx) -> None:
    """Connect the hooks."""
    app.connect("autodoc-process-docstring", keep_plain, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", restore_plain, priority=600)
    app.connect("autodoc-process-docstring", settings_in_words)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", known_in_the_code)
