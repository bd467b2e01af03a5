"""Draw the house: rooms by layer, and which room imports which, read from the code and from .importlinter.

python docs/make_architecture.py            # write docs/architecture.svg
python docs/make_architecture.py --check    # fail when the picture that is there is another one
"""

from __future__ import annotations

import argparse
import ast
import configparser
import itertools
import re
import sys
import textwrap
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "metst"
PICTURE = Path(__file__).with_name("architecture.svg")

WIDTH, BOX, HEIGHT, BAND, MARGIN = 1180, 178, 92, 150, 29  # px
SIDE, LANE = 24, 22  # px beside a box, and for a line that passes a layer
CHARACTERS, LINES = 29, 4  # of the words in a box
SWEEPS = 12

Layers = list[list[str]]
Edges = set[tuple[str, str]]


def read_layers() -> Layers:
    """Rooms and loose modules of each layer, the uppermost first."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter", encoding="utf-8")
    lines = contract["importlinter:contract:layers"]["layers"].split("\n")
    return [[name.split(".")[-1] for name in re.split(r"\s*[|:]\s*", line.strip())] for line in lines if line.strip()]


def read_edges(rooms: set[str]) -> Edges:
    """Which room imports which when it runs; a line that two others replace is left out."""
    graph = grimp.build_graph("metst", exclude_type_checking_imports=True, cache_dir=None)
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules:
        for target in graph.find_modules_directly_imported_by(module):
            one, other = (name.split(".")[1] if "." in name else "" for name in (module, target))
            if one != other and {one, other} <= rooms:
                below[one].add(other)

    def reached(room: str) -> set[str]:
        return below[room].union(*(reached(each) for each in below[room]))

    return {
        (room, each)
        for room in rooms
        for each in below[room]
        if not any(each in reached(between) for between in below[room] - {each})
    }


def words(name: str) -> tuple[int, str]:
    """Stage of a room (0: none), and the first sentence of its docstring."""
    path = SOURCE / name / "__init__.py" if (SOURCE / name).is_dir() else SOURCE / f"{name}.py"
    first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
    match = re.match(r"Stage (\d)[:,] (.*)", first)
    stage, said = (int(match[1]), match[2]) if match else (0, first)
    return stage, re.split(r"[.;] |\.$", said)[0]


def with_lanes(layers: Layers, edges: Edges) -> tuple[Layers, Edges]:
    """Layers and edges in which no line leaps over a layer: lines to one room share a lane through those between.

    A lane is called like the room it leads to, with the number of its layer: ``"video@5"``.
    """
    row = {name: i for i, layer in enumerate(layers) for name in layer}
    lanes: Layers = [[] for _ in layers]
    steps: Edges = set()
    for upper, lower in sorted(edges):
        path = [upper, *(f"{lower}@{i}" for i in range(row[upper] + 1, row[lower])), lower]
        steps |= set(itertools.pairwise(path))
        for lane in path[1:-1]:
            if lane not in lanes[int(lane.split("@")[1])]:
                lanes[int(lane.split("@")[1])].append(lane)
    return [[*layer, *more] for layer, more in zip(layers, lanes, strict=True)], steps


def place(layers: Layers, steps: Edges) -> dict[str, tuple[float, float]]:
    """Middle of the upper edge of each box and lane: within its layer, near what it is tied to."""
    layers = [list(layer) for layer in layers]
    at: dict[str, float] = {}
    for layer in layers:
        at |= dict(zip(layer, _spread(layer), strict=True))
    for _ in range(SWEEPS):
        for layer in layers:
            ties = {name: [at[b if a == name else a] for a, b in steps if name in (a, b)] for name in layer}
            pull = {name: sum(ties[name]) / len(ties[name]) if ties[name] else at[name] for name in layer}
            layer.sort(key=lambda name: (pull[name], name))
            at |= dict(zip(layer, _spread(layer), strict=True))
    return {name: (at[name], row * BAND + MARGIN) for row, layer in enumerate(layers) for name in layer}


def _spread(layer: list[str]) -> list[float]:
    """Middles of boxes and lanes that share the width."""
    widths = [LANE if "@" in name else BOX + SIDE for name in layer]
    spare = (WIDTH - sum(widths)) / len(layer)
    starts = [sum(widths[:i]) + spare * i for i in range(len(layer))]
    return [start + (width + spare) / 2 for start, width in zip(starts, widths, strict=True)]


def draw(layers: Layers, edges: Edges, *, ground: list[str]) -> str:
    """The picture as SVG."""
    lanes, steps = with_lanes(layers, edges)
    at = place(lanes, steps)
    height = len(layers) * BAND + 84
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="system-ui, sans-serif">',
        "<title>The rooms of metst by layer; a line goes from a room down to one that it imports</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    parts += [
        f'<rect y="{row * BAND}" width="{WIDTH}" height="{BAND}" fill="{"#f6f7f9" if row % 2 else "#ffffff"}"/>'
        for row in range(len(layers))
    ]
    parts += [_step(a, b, at=at) for a, b in sorted(steps)]
    parts += [_box(name, at=at[name]) for layer in layers for name in layer]
    top = len(layers) * BAND + MARGIN
    parts.append(f'<rect x="16" y="{top}" width="{WIDTH - 32}" height="56" rx="6" fill="#e9ecef" stroke="#adb5bd"/>')
    parts.append(_text("the ground, which every room may use", x=WIDTH / 2, y=top + 22, size=12))
    parts.append(_text("   ".join(ground), x=WIDTH / 2, y=top + 42, size=15, weight=600))
    return "\n".join([*parts, "</svg>", ""])


def _step(upper: str, lower: str, *, at: dict[str, tuple[float, float]]) -> str:
    """Line from a box or lane to the next, and a lane's own way past the boxes of its layer."""
    (x0, y0), (x1, y1) = at[upper], at[lower]
    stroke = 'fill="none" stroke="#5f6f7f" stroke-width="1.3"'
    if y0 == y1:  # in one layer: from side to side
        x0, x1 = (x0 + BOX / 2, x1 - BOX / 2) if x0 < x1 else (x0 - BOX / 2, x1 + BOX / 2)
        y0 = y1 = y0 + HEIGHT / 2
        path = f"M{x0:.0f} {y0:.0f} L{x1:.0f} {y1:.0f}"
    else:
        y0 += HEIGHT
        middle = (y0 + y1) / 2
        path = f"M{x0:.0f} {y0:.0f} C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
    if "@" in lower:
        return f'<path d="{path} V{y1 + HEIGHT:.0f}" {stroke}/>'
    return f'<path d="{path}" {stroke}/><circle cx="{x1:.0f}" cy="{y1:.0f}" r="3.5" fill="#5f6f7f"/>'


def _box(name: str, *, at: tuple[float, float]) -> str:
    stage, said = words(name)
    x, y = at[0] - BOX / 2, at[1]
    fill, edge = ("#dcebfa", "#2f6fab") if stage or name in ("analyze", "stream") else ("#fdf3df", "#b7862b")
    lines = textwrap.wrap(said, CHARACTERS, max_lines=LINES, placeholder=" ...")
    title = f"{stage}  {name}" if stage else name
    parts = [f'<rect x="{x:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="{edge}"/>']
    parts.append(_text(title, x=x + BOX / 2, y=y + 20, size=15, weight=600))
    parts += [_text(line, x=x + BOX / 2, y=y + 37 + 14 * i, size=11) for i, line in enumerate(lines)]
    return "".join(parts)


def _text(text: str, *, x: float, y: float, size: int, weight: int = 400) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" text-anchor="middle"'
        f' fill="#212529" xml:space="preserve">{escape(text)}</text>'
    )


def main() -> None:
    """Write the picture, or compare it with the one that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the picture is stale")
    *layers, ground = read_layers()
    drawn = draw(layers, read_edges({name for layer in layers for name in layer}), ground=sorted(ground))
    if not parser.parse_args().check:
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn:
        sys.exit(f"{PICTURE.name} does not show the code as it is: run python docs/make_architecture.py and commit it")


if __name__ == "__main__":
    main()
