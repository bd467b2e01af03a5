"""Statistics of how measured micro-expressions move the regions of the face, and patterns drawn from them.

Single events differ far more than any list of action units per class.  Whoever has measured some can give their mean
and principal components per class in a file; the file is the user's own, none comes with the package.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metst.arrays import AnyArray, Float64Array
from metst.errors import DataError, UsageError
from metst.guard.limits import SETTINGS, check_file
from metst.labels import EMOTIONS
from metst.regions import MIRRORED, REGION_NAMES

PATTERN_SHAPE = (len(REGION_NAMES), 2)
"""Regions; x to the right and y down."""

_PARTS = ("components", "std", "rest_std")
"""What a class has in a file beside its mean."""

_SHOWN = 3
"""Names of unknown regions that are told; set by hand."""

_REST_SHARE = 0.3
"""Share of the spread beside the components that is drawn: some of it is noise of the measurement.  Set by hand."""


_DAMAGED = (ValueError, TypeError, AttributeError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What a file that is none, or a damaged one, breaks numpy and zipfile with; a RuntimeError is told of one that is
encrypted, or packed in a way that zipfile does not know."""


@dataclass(frozen=True, eq=False)
class ClassPatterns:
    """How the events of one class move the regions, in units of the farthest region's motion.

    Parameters
    ----------
    mean : (18, 2) float64
        Mean pattern, x right, y down.
    components : (K, 18, 2) float64
        Principal components of what is left.
    std : (K,) float64
        Standard deviation along each component.
    rest_std : float
        Standard deviation of each number beside the components.
    """

    mean: Float64Array
    components: Float64Array
    std: Float64Array
    rest_std: float


@dataclass(frozen=True, eq=False)
class PatternStatistics:
    """Patterns of measured micro-expressions by class.

    Parameters
    ----------
    classes : mapping of str to ClassPatterns
        By name of the class, such as ``"negative"``.
    """

    classes: Mapping[str, ClassPatterns]

    def draw(self, rng: np.random.Generator, *, label: str) -> Float64Array:
        """One pattern of a class ``(18, 2)``, x right, y down: the farthest region moves 1.

        Half of the patterns are mirrored: no half of the face is preferred.

        Raises
        ------
        UsageError
            The statistics do not have this class.
        """
        if label not in self.classes:
            raise UsageError(f"the statistics of patterns have no class {label!r}: they have {', '.join(self.classes)}")
        of = self.classes[label]
        pattern = of.mean + np.tensordot(of.std * rng.standard_normal(len(of.std)), of.components, axes=1)
        pattern += _REST_SHARE * of.rest_std * rng.standard_normal(PATTERN_SHAPE)
        if rng.random() < 0.5:
            pattern = mirrored(pattern)
        return np.asarray(pattern / np.linalg.norm(pattern, axis=1).max())


def mirrored(pattern: Float64Array) -> Float64Array:
    """The pattern ``(18, 2)`` of the same movement with left and right swapped."""
    return np.asarray(pattern[MIRRORED] * [-1.0, 1.0])


def read_patterns(path: Path) -> PatternStatistics:
    """Statistics of patterns from an ``.npz`` file.

    Parameters
    ----------
    path : Path
        Holds ``regions`` ``(18,)``, the names of the regions in the product's order, and per class
        ``<class>_mean`` ``(18, 2)``, ``<class>_components`` ``(K, 18, 2)``, ``<class>_std`` ``(K,)`` and
        ``<class>_rest_std`` ``()``; what else it holds is not read.

    Raises
    ------
    UsageError
        There is no such file, or it cannot be opened.
    DataError
        It holds no such statistics, or those of other regions or of another order.
    """
    check_file(path, SETTINGS)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            SETTINGS.check(sum(part.file_size for part in data.zip.infolist()), where=str(path))
            names = [key.removesuffix("_mean") for key in data.files if key.endswith("_mean")]
            wanted = ["regions", *(f"{name}_{part}" for name in names for part in ("mean", *_PARTS))]
            found = {key: data[key] for key in wanted if key in data.files}
    except OSError as error:
        raise UsageError(f"{path} cannot be read as statistics of patterns: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise DataError(f"{path} holds no statistics of patterns: an .npz file was expected") from error
    if missing := [key for key in wanted if key not in found]:
        raise DataError(f"{path} holds no statistics of patterns: {missing[0]!r} is missing")
    _check_regions(found["regions"], path=path)
    if not names:
        raise DataError(f"{path} holds no statistics of patterns: not one class, such as 'negative_mean'")
    return PatternStatistics({name: _class_patterns(found, name=name, path=path) for name in names})


def _check_regions(regions: AnyArray, *, path: Path) -> None:
    names = [_plain(str(name)) for name in np.atleast_1d(regions).ravel()]
    known = [_plain(name) for name in REGION_NAMES]
    if names == known:
        return
    if sorted(names) == sorted(known):
        first = next(i for i, (a, b) in enumerate(zip(names, known, strict=True)) if a != b)
        came = f"region {first + 1} is {names[first]!r}, {known[first]!r} was expected"
        raise DataError(f"{path} has the regions in another order: {came}; sort them as metst.regions does")
    raise DataError(
        f"{path} is about other regions: expected the {len(known)} of metst.regions, got {len(names)} names"
    )


def _plain(name: str) -> str:
    """A name without what only spelling adds."""
    return " ".join(name.replace("_", " ").replace("-", " ").lower().split())


def _class_patterns(found: Mapping[str, AnyArray], *, name: str, path: Path) -> ClassPatterns:
    if name not in EMOTIONS:
        raise DataError(f"{path} has statistics of an unknown class {name!r}: expected some of {', '.join(EMOTIONS)}")
    count = np.shape(found[f"{name}_std"])[:1]
    shapes = {"mean": PATTERN_SHAPE, "components": (*count, *PATTERN_SHAPE), "std": count, "rest_std": ()}
    for part, shape in shapes.items():
        values = found[f"{name}_{part}"]
        if values.shape != shape or values.dtype.kind not in "fiu":
            came = f"{values.dtype} of shape {values.shape}"
            raise DataError(f"{path}: '{name}_{part}' must hold numbers of shape {shape}, got {came}")
        if not np.isfinite(values).all():
            raise DataError(f"{path}: '{name}_{part}' must hold finite numbers only")
    mean, components, std, rest = (found[f"{name}_{part}"].astype(np.float64) for part in shapes)
    if (std < 0).any() or rest < 0 or not (mean.any() or (components.any() and std.any())):
        raise DataError(f"{path}: class {name!r} must move something, and standard deviations be 0 or more")
    return ClassPatterns(mean, components, std, float(rest))
