"""Text in tables that a spreadsheet would run: a name such as ``=cmd|...`` becomes text when it is written, and back.

Spreadsheets take a cell for a formula by its first character, and some part cells at semicolons and tabs as well.  An
apostrophe in front makes it text.  Reading takes that one off again, so that nothing is lost on the way.
"""

from __future__ import annotations

import re
from typing import Any

# At the start of a cell, or of what a program may take for one: a formula, with any apostrophes of its own.
_BARE = re.compile(r"(?:(?<=[;\t])|\A)(?='*[=+\-@\t\r])")
_MARKED = re.compile(r"(?:(?<=[;\t])|\A)'(?='*[=+\-@\t\r])")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan)")  # which no program runs


def harmless(cell: Any) -> Any:
    """A cell as it is written: text that would run as a formula with an apostrophe in front, all else as it is."""
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    return _BARE.sub("'", cell)


def as_meant(cell: str) -> str:
    """The text that :func:`harmless` was given; other text as it is."""
    return _MARKED.sub("", cell)
