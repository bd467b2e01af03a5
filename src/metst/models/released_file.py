"""What a released file claims to hold, looked through before any of it is believed.

PyTorch asks for memory as the file says, whatever the file holds: a few bytes are enough to ask for all there is.  A
pickle is a program, and this module reads its instructions without following any.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import IO

from metst.errors import CheckpointError
from metst.guard.limits import CHECKPOINT, check_file

EXPECTED = "expected a released checkpoint, the pickled state dict of one of the four published networks"
"""How each message about another file begins."""

_MAGIC = 0x1950A86A20F9469CFC6C
"""The number that the first pickle of a file by an older PyTorch is (torch.serialization.MAGIC_NUMBER)."""
_PICKLES = 5
"""Pickles that such a file begins with: number, version, sizes of types, tensors, order of their data."""
_SMALL = 2**16
"""A number up to it may stand in any file: nothing that is sized by it costs memory."""
_MODULES = ("torch", "collections")
"""Whose names a state dict asks for; PyTorch itself admits few of them, and never runs others."""


def check_released(path: Path) -> None:
    """Refuse a file that claims to hold more than it does, or that is no pickle of tensors.

    Raises
    ------
    CheckpointError
        It asks for other things than tensors, or for more than the file has bytes.
    OSError, ValueError, ...
        What a damaged file leads to.
    """
    check_file(path, CHECKPOINT, error=CheckpointError)
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(_PICKLES):
                _check(file, size=size, where=path)
        return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise CheckpointError(f"{path}: {EXPECTED}, but its tensors are packed: refused")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                _check(io.BytesIO(archive.read(entry)), size=size, where=path, data_in_archive=True)


def _check(file: IO[bytes], *, size: int, where: Path, data_in_archive: bool = False) -> None:
    """Look through one pickle: no number, and no sum of sizes of tensors, may be above the bytes of the file.

    A tensor's data is asked for by BINPERSID, of ("storage", type, key, place, number of elements).  Data in an archive
    has a size of its own there: only without one is memory asked for as the pickle says.
    """
    largest = max(size, _SMALL)
    claimed, number, key, known = 0, 0, "", set[str]()
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL" and str(argument).partition(" ")[0].partition(".")[0] not in _MODULES:
            raise CheckpointError(f"{where}: {EXPECTED}, but it asks for {argument}: nothing in it was run")
        if isinstance(argument, int) and "INT" in opcode.name + "INT" * opcode.name.startswith("LONG"):
            number = argument
            if abs(number) > largest and number != _MAGIC:
                raise CheckpointError(f"{where}: {EXPECTED}, but of {size} bytes it asks for {number}: refused")
        elif isinstance(argument, str) and argument.isdigit():
            key = argument
        elif opcode.name in ("BINPERSID", "PERSID"):
            # The same data under a key that was written before is there once.
            claimed += 0 if key in known else number
            known |= {key} if key else set()
            key = ""
            if claimed > largest and not data_in_archive:
                raise CheckpointError(f"{where}: {EXPECTED}, but in {size} bytes it claims {claimed} numbers: refused")
