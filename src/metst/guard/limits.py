"""Sizes that a file may claim, checked before they are believed: memory is asked for only what a real file needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metst.errors import DataError, MetstError


@dataclass(frozen=True)
class Limit:
    """The most that something may have.

    Parameters
    ----------
    what : str
        Which thing.
    most : int
        How much of it.
    unit : str
        Of what.
    """

    what: str
    most: int
    unit: str

    def check(self, size: int, *, where: str, error: type[MetstError] = DataError) -> None:
        """Refuse a size above the limit.

        Parameters
        ----------
        size : int
            What the file claims, in the unit of the limit.
        where : str
            Which file.
        error : type of MetstError
            What is raised.

        Raises
        ------
        MetstError
            Of the class ``error``.
        """
        if size > self.most:
            raise error(f"{where}: {self.what} may have up to {self.most:,} {self.unit}, this one claims {size:,}")


_MIB = 2**20
"""Bytes."""

PICTURE = Limit("a picture", 89_478_485, "pixels")
"""A frame of a folder or of a video.  Pillow's own guard against pictures that unpack to more than a quarter of a GiB;
cameras for research have up to 30 million."""

TABLE = Limit("a table of text", 64 * _MIB, "bytes")
"""Label sheets, score tables and lists; ten times the largest known, and set by hand like those below."""

WORKBOOK = Limit("an unpacked workbook", 32 * _MIB, "bytes")
"""A .xlsx file is a ZIP archive; what its parts say that they unpack to, together."""

CELLS = Limit("a sheet", 4_000_000, "cells")
"""Empty ones between two that are filled, and merged ones, count: readers make each."""

SETTINGS = Limit("a file of settings", 64 * _MIB, "bytes")
"""JSON and TOML: model.json, recipes, grids, features.json."""

CHECKPOINT = Limit("a released checkpoint", 1024 * _MIB, "bytes")
"""A .pkl file, and what its tensors say that they hold; the largest released one has 20 MB."""

LANDMARKS = Limit("a table of landmarks", 4096 * _MIB, "bytes")
"""Of OpenFace or py-feat: up to 20 kB a frame; two hours at 30 frames a second.  Read row by row."""

LIMITS = (PICTURE, TABLE, WORKBOOK, CELLS, SETTINGS, CHECKPOINT, LANDMARKS)
"""All of them, as the documentation lists them."""


def check_file(path: Path, limit: Limit, *, error: type[MetstError] = DataError) -> None:
    """Refuse a file that is larger than its kind may be; one that cannot be looked at is left to who reads it.

    Raises
    ------
    MetstError
        Of the class ``error``.
    """
    try:
        size = path.stat().st_size
    except OSError:
        return
    limit.check(size, where=str(path), error=error)
