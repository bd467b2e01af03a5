"""The selective scan of Mamba.

``selective`` is the entry for torch and the reference loop, ``operator`` what makes it a torch operator;
``numpy_scan`` calls the loops on arrays.  Behind both: ``checks`` of the operands, the loops ``forward`` and
``backward`` over blocks of ``rows``, their ``math``, how they ``compile`` and the ``pool`` they run on.
Beside it, with the same means: the ``convolution`` that comes before the scan in a Mamba layer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metst.models.scan.convolution_operator import causal_convolution as causal_convolution
    from metst.models.scan.selective import reference_scan as reference_scan
    from metst.models.scan.selective import selective_scan as selective_scan

# Where each name is defined.
_MODULES = {"causal_convolution": "convolution_operator", "reference_scan": "selective", "selective_scan": "selective"}

__all__ = ["causal_convolution", "reference_scan", "selective_scan"]


def __getattr__(name: str) -> Any:
    """Import the torch entry when it is first asked for: the kernels work without torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
