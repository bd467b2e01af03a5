"""Data sets as their owners publish them, read from a folder; one adapter per file.

Nothing of a data set is part of this package: they come under licences of their own, and whoever
uses them brings them.  :func:`load_dataset` recognises a folder by its layout, checks everything
at once, corrects what is known to be wrong, visibly, and returns one :class:`DataSet`.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from metst.datasets.casme2 import SHEET as CASME2_SHEET
from metst.datasets.casme2 import load_casme2
from metst.datasets.casme3 import SHEET as CASME3_SHEET
from metst.datasets.casme3 import load_casme3
from metst.datasets.folders import check_root, folder_of, matching, what_is_there
from metst.datasets.manifest import load_manifest, manifests
from metst.datasets.megc import load_megc, parts
from metst.datasets.samm_lv import SHEET as SAMM_LV_SHEET
from metst.datasets.samm_lv import load_samm_lv
from metst.datasets.smic import load_smic, sheet_pattern
from metst.datasets.types import Correction, DataSet, Fault, Label, LabelKind, RowTally, Source, Video
from metst.errors import UsageError
from metst.published.facts import Kind

__all__ = [
    "KINDS",
    "Correction",
    "DataSet",
    "Fault",
    "Kind",
    "Label",
    "LabelKind",
    "RowTally",
    "Source",
    "Video",
    "load_dataset",
    "recognise",
]

# How each kind is read: the folder, and whether known errors are corrected.
_LOADERS: dict[Kind, Callable[[Path, bool], DataSet]] = {
    "samm-lv": lambda root, errata: load_samm_lv(root, errata=errata),
    "casme3": lambda root, errata: load_casme3(root, errata=errata),
    "casme2": lambda root, errata: load_casme2(root, errata=errata),
    "smic-hs": lambda root, errata: load_smic(root, camera="hs", errata=errata),
    "smic-vis": lambda root, errata: load_smic(root, camera="vis", errata=errata),
    "smic-nir": lambda root, errata: load_smic(root, camera="nir", errata=errata),
    "megc": lambda root, errata: load_megc(root),  # noqa: ARG005 - there are no labels to correct
    "manifest": lambda root, errata: load_manifest(root),  # noqa: ARG005 - nor errata of one's own data
}

KINDS: tuple[Kind, ...] = tuple(_LOADERS)
"""Layouts that can be read."""

# Label sheets by which a kind is recognised: patterns of their names.
_SHEETS: dict[Kind, str] = {
    "samm-lv": SAMM_LV_SHEET,
    "casme3": CASME3_SHEET,
    "casme2": CASME2_SHEET,
    "smic-hs": sheet_pattern("hs"),
    "smic-vis": sheet_pattern("vis"),
    "smic-nir": sheet_pattern("nir"),
}


def load_dataset(root: str | PathLike[str], *, kind: Kind | None = None, errata: bool = True) -> DataSet:
    """Read a data set from its folder.

    Parameters
    ----------
    root : path
        The folder as it was downloaded and unpacked.
    kind : str, optional
        One of :data:`KINDS`; by default recognised by the layout.
    errata : bool
        Whether known errors of the label sheets are corrected.

    Returns
    -------
    DataSet
        With every inconsistency that remains in ``faults``: rows that cannot be read are left
        out of ``labels`` and named there, the others satisfy the promises of :class:`Label`.

    Raises
    ------
    UsageError
        If there is no such folder or kind, if the layout is that of no data set or of several, or
        if the packages that read workbooks are missing.
    DataError
        If a folder, or the label sheet itself, is missing or cannot be read.
    """
    root = Path(root)
    check_root(root)
    kind = kind or recognise(root)
    if kind not in _LOADERS:
        raise UsageError(f"unknown kind of data set {kind!r}: expected one of {', '.join(KINDS)}")
    return _LOADERS[kind](root, errata)


def recognise(root: Path) -> Kind:
    """Which data set a folder holds: by its label sheets, then by a manifest, then by the test sets' folders.

    Raises
    ------
    UsageError
        If it is none or more than one; the message says what was found.
    """
    found: list[Kind] = [kind for kind, pattern in _SHEETS.items() if matching(root, pattern)]
    if not found and manifests(root):
        found = ["manifest"]
    if not found and len(parts(root)) > 1:
        found = ["megc"]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{root} holds more than one data set ({', '.join(found)}): say which with --kind")
    subjects = folder_of(root, children=r"spNO\.\d+|s\d+|\d{3}_\d+")
    hint = f"; {subjects} holds folders of videos, but there is no label sheet" if subjects else ""
    kinds = "|".join(KINDS)
    raise UsageError(f"{root} is no data set known: {what_is_there(root)}{hint}; say which with --kind {kinds}")
