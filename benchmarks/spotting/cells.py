"""Numbers and tables as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from same import Share


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))


def number(value: float, digits: int) -> str:
    """A number, or a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def share_of(share: Share) -> str:
    """A share and what it is a share of."""
    return f"{share.value:.2f} ({share.part}/{share.whole})" if share.whole else "-"
