"""metst: find micro-expressions in long videos of a face and say what they express."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# A module has this name too, and importing a module puts it here under its name.  Taken at once, the function stays:
# nobody imports `metst.analyze` before this line.  It imports what is heavy when it is called.
from metst.analyze import analyze
from metst.guard.silence import be_silent

if TYPE_CHECKING:
    from metst.config import AnalyzeSettings as AnalyzeSettings
    from metst.errors import MetstError as MetstError
    from metst.models.checkpoint import load_model as load_model
    from metst.report import write_report as write_report
    from metst.results import Analysis as Analysis
    from metst.results import read as read
    from metst.results import read_analysis as read_analysis
    from metst.results import write_analysis as write_analysis
    from metst.stream import Stream as Stream

    __version__: str

# The matrix threads of NumPy and of torch spin for a while after each product, on processors that the compiled loops
# want.  At rest sooner, a second thread makes whole videos 1.7 and training steps 1.5 times as fast, not 1.2 times.
# Read when those are loaded: who loaded them before, or set something else, keeps that.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "14")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

be_silent()

__all__ = [
    "Analysis",
    "AnalyzeSettings",
    "MetstError",
    "Stream",
    "__version__",
    "analyze",
    "load_model",
    "read",
    "read_analysis",
    "write_analysis",
    "write_report",
]

# Where the names stand that are imported when they are first used.
_HOME = {
    "Analysis": "metst.results",
    "AnalyzeSettings": "metst.config",
    "MetstError": "metst.errors",
    "Stream": "metst.stream",
    "load_model": "metst.models.checkpoint",
    "read": "metst.results",
    "read_analysis": "metst.results",
    "write_analysis": "metst.results",
    "write_report": "metst.report",
}


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first used: ``import metst`` stays instant."""
    if name == "__version__":
        from importlib.metadata import version

        return version("metst")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'metst' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, those that are not imported yet among them."""
    return sorted(__all__)
