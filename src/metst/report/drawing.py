"""From a matplotlib figure to SVG that lives inside the page and follows its light or dark colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that matplotlib draws with and the page replaces: the page's style sheet decides what they are.
_STAND_INS = {name: f"#0a0b{index:02x}" for index, name in enumerate(("ink", "muted", "line", "accent"))}
INK, MUTED, LINE, ACCENT = _STAND_INS.values()
CLASS_COLOURS = 8
_CLASS_STAND_INS = {f"class-{index}": f"#0a0c{index:02x}" for index in range(CLASS_COLOURS)}

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 7.5,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.6,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.fonttype": "none",
    # Without it the identifiers, and with them the page, would differ from run to run.
    "svg.hashsalt": "metst",
}


@contextmanager
def drawing_style() -> Iterator[None]:
    """Within it figures are drawn the page's way; matplotlib's own settings come back afterwards."""
    with matplotlib.rc_context(_STYLE):
        yield


def class_colour(index: int) -> str:
    """Stand-in colour of a class; the style sheet has eight that colour-blind people can tell apart."""
    return _CLASS_STAND_INS[f"class-{index % CLASS_COLOURS}"]


def place(figure: Figure, *, box: tuple[float, float, float, float]) -> Axes:
    """Axes at left, bottom, width, height in inches."""
    width, height = figure.get_size_inches()
    left, bottom, across, up = box
    return figure.add_axes((left / width, bottom / height, across / width, up / height))


def inline_svg(figure: Figure, *, key: str, label: str, role: str = "img") -> str:
    """SVG element of a figure.

    Parameters
    ----------
    figure : Figure
        Drawn with :data:`INK` and the other stand-in colours.
    key : str
        Unique in the page: keeps the identifiers of the figures apart.
    label : str
        What is to be seen, for those who cannot.
    role : {"img", "group"}
        ``group`` where the drawing has links.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], count=1, flags=re.DOTALL)
    body = re.sub(r"(\d\.\d\d)\d+", r"\1", body)  # a hundredth of a point is finer than any screen
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)  # the page's own fonts
    body = body.replace(' target="_blank"', "")  # a link within the page stays in the page
    body = _own_identifiers(re.sub(r"\n\s*", "\n", body), key=key)
    for name, colour in (_STAND_INS | _CLASS_STAND_INS).items():
        body = body.replace(colour, f"var(--{name})")
    width, height = (72 * float(inches) for inches in figure.get_size_inches())
    opening = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="{role}" aria-label="{escape(label)}">'
    return opening + body[body.index(">") + 1 :].rstrip()


def _own_identifiers(svg: str, *, key: str) -> str:
    """Drop identifiers nothing refers to; put ``key`` before the others."""
    used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#((?!event-)[^"]+)"', svg))
    names = {name for pair in used for name in pair if name}

    def renamed(match: re.Match[str]) -> str:
        return f' id="{key}-{match[1]}"' if match[1] in names else ""

    svg = re.sub(r' id="([^"]+)"', renamed, svg)
    return re.sub(r'(url\(#|xlink:href="#)(?!event-)', rf"\1{key}-", svg)
