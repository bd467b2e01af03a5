"""The site: these pages and the reference of the public names, built offline by `make docs`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

project = "metst"
author = "The metst authors"
copyright = author  # noqa: A001
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3  # links to headings are checked like links to pages
exclude_patterns = ["_build"]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say types, and shapes with them
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False

# A role that leads nowhere is an error; types in docstrings are words ("(T, 2) array"), not roles.
nitpicky = True
nitpick_ignore_regex = [("py:class", r"(?!metst\.).*"), ("py:exc", r"(?!metst\.).*")]

html_theme = "furo"
html_title = f"metst {release}"
html_static_path: list[str] = []
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"


def settings_in_words(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """List the fields of settings with default and meaning: they are declared as data, not in the docstring."""
    if what != "class" or not issubclass(obj, BaseModel):
        return
    lines += ["", ".. list-table::", "   :widths: 22 18 60", "   :header-rows: 1", ""]
    lines += ["   * - field", "     - default", "     - meaning"]
    for field, about in obj.model_fields.items():
        required = about.default is PydanticUndefined
        default = "required" if required else "..." if isinstance(about.default, BaseModel) else f"``{about.default!r}``"
        lines += [f"   * - ``{field}``", f"     - {default}", f"     - {about.description or type(about.default).__name__}"]
    lines.append("")


def setup(app: Sphinx) -> None:
    """Connect the hooks."""
    app.connect("autodoc-process-docstring", settings_in_words)
