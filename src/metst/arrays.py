"""Array types and the progress callback, declared once: what functions of all rooms take and give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

OnProgress = Callable[[str, int, int | None], None]
"""``on_progress(stage, done, total)``; ``total`` is None while it is not known."""

AnyArray = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]
Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]

Block: TypeAlias = npt.NDArray[np.generic] | Sequence[str]
"""One column of a table (T,) or several (T, n) of one kind."""

Image = npt.NDArray[np.uint8]
"""Grey ``(H, W)`` or RGB ``(H, W, 3)``, eight bits."""
