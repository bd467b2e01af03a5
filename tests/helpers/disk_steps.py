"""Each moment before something on the disk is changed, for tests that stop the work there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}

Strike = Callable[[int], None]


def watch(roots: Sequence[Path], strike: Strike) -> None:
    """Call ``strike`` with the number of each step under the roots, from 1; there is no way to take the hook back.

    A step is a moment before a file is opened for writing, renamed or deleted, or a folder made or removed.
    """
    prefixes = tuple(str(root) + os.sep for root in roots)
    number = 0

    def hook(event: str, values: tuple[object, ...]) -> None:
        nonlocal number
        if event == "open":
            path, _, flags = values
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in _CHANGES
            path = values[0] if changes else None
        if changes and isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(prefixes):
            number += 1
            strike(number)

    sys.addaudithook(hook)
