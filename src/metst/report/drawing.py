"""Drawings as SVG that lives inside the page and follows its light or dark colours.

A :class:`Drawing` has a size in points; a :class:`Panel` is a part of it with axes of its own.  Colours are those of
the page's style sheet.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from metst.arrays import FloatArray, Int64Array
from metst.report.ticks import Tick

INK, MUTED, LINE, ACCENT = (f"var(--{name})" for name in ("ink", "muted", "line", "accent"))
"""Colours of the style sheet: text and curves; secondary text; axes; what is pointed out."""

CLASS_COLOURS = 8
"""Colours of classes in the style sheet: ``--class-0`` and so on."""

Anchor = Literal["start", "middle", "end"]
Element = ElementTree.Element

# Sizes in points, set by hand.
_FONT_PT: Final = 7.5
_TICK_PT: Final = 2.5  # length of a mark beside an axis
_HATCH_PT: Final = 4  # from one slanted line to the next
_MIDDLE: Final = 0.35  # of the font's size: from the middle of its figures down to their baseline
_AXIS_PT: Final = 0.6  # width of axes and marks
_FINE: Final = 10  # steps of a point in which curves are drawn: finer ones are seen by nobody
_SHADES: Final = 31  # of a colour, over none: more of them are seen by nobody either


def class_colour(index: int) -> str:
    """Colour of a class; the style sheet has eight that colour-blind people can tell apart."""
    return f"var(--class-{index % CLASS_COLOURS})"


@dataclass(frozen=True)
class Box:
    """A part of a drawing in points: left, top, width, height."""

    left: float
    top: float
    width: float
    height: float


class Drawing:
    """An SVG element in the making.

    Parameters
    ----------
    width, height : float
        Points.
    key : str
        Unique in the page: keeps the identifiers of the drawings apart.
    label : str
        What is to be seen, for those who cannot.
    role : {"img", "group"}
        ``group`` where the drawing has links.
    """

    def __init__(self, width: float, height: float, *, key: str, label: str, role: Literal["img", "group"] = "img"):
        view = f"0 0 {width:g} {height:g}"
        style = {"font-size": f"{_FONT_PT}", "fill": "none", "stroke-linejoin": "round"}
        self.root = ElementTree.Element("svg", {"viewBox": view, "role": role, "aria-label": label, **style})
        self._hatch = f"{key}-hatch"

    def panel(self, box: Box, *, x: tuple[float, float], y: tuple[float, float]) -> Panel:
        """A part with axes: the values at its left and right end, and at its bottom and top."""
        return Panel(self, box, x, y)

    def hatch(self) -> str:
        """Paint of slanted lines."""
        if self.root.find("defs") is None:
            size = f"{_HATCH_PT}"
            shape = {"width": size, "height": size, "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
            pattern = add(add(self.root, "defs"), "pattern", {"id": self._hatch, **shape})
            add(pattern, "path", {"d": f"M0 0V{size}", "style": f"stroke:{MUTED};stroke-width:1"})
        return f"url(#{self._hatch})"

    def svg(self) -> str:
        """The element as text."""
        return ElementTree.tostring(self.root, encoding="unicode")


@dataclass(frozen=True, eq=False)
class Panel:
    """Axes on a part of a drawing; ``x`` and ``y`` are the values at its left, right and bottom, top."""

    drawing: Drawing
    box: Box
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: FloatArray | float, y: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Place of values on the drawing, points."""
        across = (np.asarray(x, dtype=np.float64) - self.x[0]) / (self.x[1] - self.x[0])
        up = (np.asarray(y, dtype=np.float64) - self.y[0]) / (self.y[1] - self.y[0])
        return self.box.left + across * self.box.width, self.box.top + (1 - up) * self.box.height

    def curve(self, x: FloatArray, y: FloatArray, *, colour: str, width: float, dashes: str = "") -> None:
        """Line through points; values that are not finite part it."""
        across, down = self.at(x, y)
        seen = np.isfinite(across) & np.isfinite(down)
        starts = np.flatnonzero(seen & ~np.concatenate([[False], seen[:-1]]))
        ends = np.flatnonzero(seen & ~np.concatenate([seen[1:], [False]])) + 1
        points = np.rint(np.column_stack([across, down])[seen] * _FINE).astype(np.int64)
        lengths = (ends - starts).tolist()
        steps = (_polyline(run) for run in np.split(points, np.cumsum(lengths)[:-1]) if len(run))
        add(self.drawing.root, "path", {"d": "".join(steps), "style": stroke(colour, width=width, dashes=dashes)})

    def level(self, y: float, *, colour: str, width: float, dashes: str = "") -> None:
        """Line across."""
        self.curve(np.array(self.x), np.array([y, y]), colour=colour, width=width, dashes=dashes)

    def upright(self, x: float, *, colour: str, width: float) -> None:
        """Line from bottom to top."""
        self.curve(np.array([x, x]), np.array(self.y), colour=colour, width=width)

    def span(self, start: float, stop: float, *, style: str, top: float = 1.0) -> None:
        """Area from one x to another, clipped to the panel, over the share ``top`` of its height from above."""
        (left, right), _ = self.at(np.clip([start, stop], *self.x), np.zeros(2))
        place = {"x": left, "y": self.box.top, "width": right - left, "height": top * self.box.height}
        add(self.drawing.root, "rect", {**{name: f"{value:.2f}" for name, value in place.items()}, "style": style})

    def hatched(self, start: float, stop: float) -> None:
        """Slanted lines from one x to another."""
        self.span(start, stop, style=f"fill:{self.drawing.hatch()};opacity:.6")

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str = INK,
        anchor: Anchor = "middle",
        bold: bool = False,
        link: str = "",
    ) -> None:
        """Text whose baseline is at a value."""
        across, down = self.at(x, y)
        parent = add(self.drawing.root, "a", {"href": link}) if link else self.drawing.root
        write(parent, float(across), float(down), text, colour=colour, anchor=anchor, bold=bold)

    def heat(self, share: FloatArray, *, x: tuple[float, float], rgb: tuple[int, int, int]) -> None:
        """Pixels from one x to another over the whole height: ``share`` (rows, columns) in [0, 1] is how much hides."""
        left, right = self.at(np.array(x), np.zeros(2))[0]
        image = Image.fromarray(np.rint(_SHADES * np.clip(share, 0, 1)).astype(np.uint8))
        image.putpalette(rgb * (_SHADES + 1))  # makes it one of colours by number
        alpha, png = bytes(np.linspace(0, 255, _SHADES + 1).round().astype(np.uint8)), io.BytesIO()
        image.save(png, "png", transparency=alpha, optimize=True)
        place = {"x": left, "y": self.box.top, "width": right - left, "height": self.box.height}
        content = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
        how = {"preserveAspectRatio": "none", "style": "image-rendering:pixelated", "href": content}
        add(self.drawing.root, "image", {**{name: f"{value:.2f}" for name, value in place.items()}, **how})

    def frame(self) -> None:
        """Lines at the left and at the bottom."""
        left, top, right, bottom = self.box.left, self.box.top, *self._corner()
        path = f"M{left:.2f} {top:.2f}V{bottom:.2f}H{right:.2f}"
        add(self.drawing.root, "path", {"d": path, "style": stroke(LINE, width=_AXIS_PT)})

    def x_ticks(self, ticks: Iterable[Tick]) -> None:
        """Marks below the panel, with their texts."""
        _, bottom = self._corner()
        for tick in ticks:
            across = float(self.at(tick.value, 0)[0])
            mark = f"M{across:.2f} {bottom:.2f}v{_TICK_PT}"
            add(self.drawing.root, "path", {"d": mark, "style": stroke(MUTED, width=_AXIS_PT)})
            write(self.drawing.root, across, bottom + _TICK_PT + _FONT_PT + 1, tick.text, colour=MUTED)

    def y_ticks(self, ticks: Iterable[Tick], *, marks: bool = True) -> None:
        """Marks beside the panel, with their texts."""
        for tick in ticks:
            down = float(self.at(0, tick.value)[1])
            if marks:
                mark = f"M{self.box.left:.2f} {down:.2f}h{-_TICK_PT}"
                add(self.drawing.root, "path", {"d": mark, "style": stroke(MUTED, width=_AXIS_PT)})
            write(self.drawing.root, self.box.left - 2 * _TICK_PT, down + _MIDDLE * _FONT_PT, tick.text,
                  colour=MUTED, anchor="end")  # fmt: skip

    def y_title(self, text: str, *, off: float) -> None:
        """Upright title ``off`` points to the left of the panel."""
        across, down = self.box.left - off, self.box.top + self.box.height / 2
        title = write(self.drawing.root, across, down, text, colour=MUTED)
        title.set("transform", f"rotate(-90 {across:.2f} {down:.2f})")

    def _corner(self) -> tuple[float, float]:
        return self.box.left + self.box.width, self.box.top + self.box.height


def _polyline(points: Int64Array) -> str:
    """Path through points ``(N, 2)``, in fine steps: the first where it is, the others from the one before."""
    words = [f"{x / _FINE:g},{y / _FINE:g}" for x, y in np.diff(points, axis=0, prepend=0).tolist()]
    return f"M{words[0]}" + (f"l{' '.join(words[1:])}" if len(words) > 1 else "")


def add(parent: Element, tag: str, attributes: dict[str, str] | None = None) -> Element:
    """A new element at the end of another."""
    return ElementTree.SubElement(parent, tag, attributes or {})


def write(
    parent: Element, x: float, y: float, text: str, *, colour: str, anchor: Anchor = "middle", bold: bool = False
) -> Element:
    """Text at a place in points."""
    style = f"fill:{colour};stroke:none" + (";font-weight:700" if bold else "")
    element = add(parent, "text", {"x": f"{x:.2f}", "y": f"{y:.2f}", "text-anchor": anchor, "style": style})
    element.text = text
    return element


def stroke(colour: str, *, width: float, dashes: str = "") -> str:
    """Style of a line."""
    return f"stroke:{colour};stroke-width:{width:g}" + (f";stroke-dasharray:{dashes}" if dashes else "")
