"""Data sets as their owners publish them, read from a folder; one adapter per file.

Nothing of a data set is part of this package: they come under licences of their own, and whoever
uses them brings them.  :func:`load_dataset` recognises a folder by its label sheets, checks everything
at once, corrects what is known to be wrong, visibly, and returns one :class:`DataSet`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from metst.datasets import casme2, casme3, casme_ii, dfme, manifest, samm, samm_lv, smic
from metst.datasets.folders import check_root, folder_of, label_files, what_is_there
from metst.datasets.label_sheets import Form, LabelSheets
from metst.datasets.megc import load_megc, parts
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

# How each kind is read: the folder, whether known errors are corrected, and the sheets that may hold labels.
_LOADERS: dict[Kind, Callable[[Path, bool, LabelSheets], DataSet]] = {
    "samm-lv": lambda root, errata, sheets: samm_lv.load_samm_lv(root, errata=errata, sheets=sheets),
    "casme3": lambda root, errata, sheets: casme3.load_casme3(root, errata=errata, sheets=sheets),
    "casme2": lambda root, errata, sheets: casme2.load_casme2(root, errata=errata, sheets=sheets),
    "smic-hs": lambda root, errata, sheets: smic.load_smic(root, camera="hs", errata=errata, sheets=sheets),
    "smic-vis": lambda root, errata, sheets: smic.load_smic(root, camera="vis", errata=errata, sheets=sheets),
    "smic-nir": lambda root, errata, sheets: smic.load_smic(root, camera="nir", errata=errata, sheets=sheets),
    "casme-ii": lambda root, errata, sheets: casme_ii.load_casme_ii(root, errata=errata, sheets=sheets),
    "samm": lambda root, errata, sheets: samm.load_samm(root, errata=errata, sheets=sheets),
    "dfme": lambda root, errata, sheets: dfme.load_dfme(root, errata=errata, sheets=sheets),
    "megc": lambda root, errata, sheets: load_megc(root),  # noqa: ARG005 - there are no labels to correct
    "manifest": lambda root, errata, sheets: manifest.load_manifest(root, sheets=sheets),  # noqa: ARG005 - nor errata
}

KINDS: tuple[Kind, ...] = tuple(_LOADERS)
"""Layouts that can be read."""

# Sheets by whose columns a kind is recognised; SMIC's cameras share one, and their names tell them apart.
_FORMS: dict[Kind, tuple[Form, ...]] = {
    "samm-lv": (samm_lv.LABELS,),
    "casme3": (casme3.MICRO, casme3.ALL),
    "casme2": (casme2.LABELS,),
    "casme-ii": (casme_ii.LABELS,),
    "samm": (samm.LABELS,),
    "dfme": (dfme.LABELS,),
}
_SMIC: dict[Kind, Form] = {kind: smic.labels_form(camera) for camera, kind in smic.KINDS.items()}


def load_dataset(
    root: str | PathLike[str],
    *,
    kind: Kind | None = None,
    errata: bool = True,
    labels: Sequence[str | PathLike[str]] = (),
) -> DataSet:
    """Read a data set from its folder.

    Parameters
    ----------
    root : path
        The folder as it was downloaded and unpacked.
    kind : str, optional
        One of :data:`KINDS`; by default recognised by the columns of the label sheets.
    errata : bool
        Whether known errors of the label sheets are corrected.
    labels : sequence of path
        Workbooks or CSV files with the labels; by default those below the folder that fit.

    Returns
    -------
    DataSet
        With every inconsistency that remains in ``faults``: rows that cannot be read are left
        out of ``labels`` and named there, the others satisfy the promises of :class:`Label`.

    Raises
    ------
    UsageError
        If there is no such folder, file or kind, if the layout is that of no data set or of several, or
        if the packages that read workbooks are missing.
    DataError
        If a folder, or the label sheet itself, is missing or cannot be read.
    """
    root = Path(root)
    check_root(root)
    if kind is not None and kind not in _LOADERS:
        raise UsageError(f"unknown kind of data set {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == "megc" and labels:
        raise UsageError("the test sets of the challenge (megc) have no labels: leave --labels out")
    files = [Path(path) for path in labels] or label_files(root)
    sheets = LabelSheets(root, files, given=bool(labels), content=what_is_there(root))
    return _LOADERS[kind or recognise(root, sheets=sheets)](root, errata, sheets)


def recognise(root: Path, *, sheets: LabelSheets) -> Kind:
    """Which data set a folder holds.

    By the columns of its label sheets, then by a manifest, then by the test sets' folders; where no columns fit, by
    the names that the sheets were published under.

    Raises
    ------
    UsageError
        If it is none or more than one; the message says what was found.
    DataError
        If nothing was recognised and a sheet could not be read.
    """
    found = _by_columns(root, sheets)
    if not found and sheets.fitting(manifest.LABELS):
        found = ["manifest"]
    if not found:
        found = [kind for kind, forms in {**_FORMS, **{k: (form,) for k, form in _SMIC.items()}}.items()
                 if any(map(sheets.named, forms))]  # fmt: skip
    if not found and len(parts(root)) > 1:
        found = ["megc"]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{root} holds more than one data set ({', '.join(found)}): say which with --kind")
    sheets.raise_unread()
    raise UsageError(f"{root} is no data set known: {_what_was_seen(root, sheets)}; say which with --kind "
                     f"{'|'.join(KINDS)}, and which sheet with --labels")  # fmt: skip


def _by_columns(root: Path, sheets: LabelSheets) -> list[Kind]:
    found: list[Kind] = [kind for kind, forms in _FORMS.items() if any(map(sheets.told, forms))]
    found += [smic.KINDS[camera] for camera in smic.cameras(root, sheets)]
    if "samm-lv" in found and "samm" in found:
        found.remove("samm")  # its sheet lies there for the emotions
    return [kind for kind in KINDS if kind in found]


def _what_was_seen(root: Path, sheets: LabelSheets) -> str:
    """The sheets and what they lack, or the folder's content where there are none."""
    if sheets.any_seen:
        forms: list[tuple[str, Form]] = [(kind, form) for kind, forms in _FORMS.items() for form in forms]
        forms += [("smic", smic.labels_form("hs")), ("manifest", manifest.LABELS)]
        return sheets.nearest(forms)
    subjects = folder_of(root, children=r"spNO\.\d+|s\d+|sub\d+|\d{3}_\d+")
    hint = f"; {subjects} holds folders of videos, but there is no label sheet" if subjects else ""
    return f"{what_is_there(root)}{hint}"
