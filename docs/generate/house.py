"""A picture of the packages: each imports only from those below it; arrows are imports that follow from no other."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from html import escape

from tests.test_layers import GRAPH, PACKAGES, ROOT, WINGS

WIDTH, MARGIN, GAP, LETTER = 860, 50, 22, 6.1  # pixels; LETTER: of a small letter, on average
STYLE = (
    "text{font-family:system-ui,sans-serif;fill:#1c2733}.name{font-size:14px;font-weight:600}.about{font-size:11px;fill:#46586b}"
    "rect{fill:#eef3f8;stroke:#9db2c6;rx:6px}.wing{fill:#fff}.edge{stroke:#5b7389;fill:none;marker-end:url(#to)}"
)


ARROW = (
    '<marker id="to" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
    '<path d="M0,0 L6,3 L0,6 z" fill="#5b7389"/></marker>'
)


class Box:
    """A package: its place, its size and its lines of text."""

    def __init__(self, name: str, left: float, top: float, width: float) -> None:
        self.name, self.left, self.top, self.width = name, left, top, width
        self.lines = textwrap.wrap(about(name), int((width - 20) / LETTER))
        self.wings = [", ".join(sorted(row)) for row in reversed(WINGS.get(name, []))]

    @property
    def height(self) -> float:
        """Of the name, the text and the parts."""
        return 28 + 14 * len(self.lines) + (26 if self.wings else 0)

    def draw(self) -> Iterator[str]:
        """As SVG."""
        yield f'<rect x="{self.left:g}" y="{self.top:g}" width="{self.width:g}" height="{self.height:g}"/>'
        yield f'<text class="name" x="{self.left + 10:g}" y="{self.top + 19:g}">{self.name}</text>'
        for number, line in enumerate(self.lines):
            place = f'x="{self.left + 10:g}" y="{self.top + 34 + 14 * number:g}"'
            yield f'<text class="about" {place}>{escape(line)}</text>'
        if self.wings:
            place = f'x="{self.left + 10:g}" y="{self.top + self.height - 11:g}"'
            yield f'<text class="about" {place}>{escape("  →  ".join(self.wings))}</text>'


def render() -> str:
    """The picture, as SVG."""
    boxes, top = {}, 10.0
    for row in reversed(PACKAGES):
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        placed = [Box(name, MARGIN + place * (width + GAP), top, width) for place, name in enumerate(sorted(row))]
        boxes |= {box.name: box for box in placed}
        top += max(box.height for box in placed) + GAP
    parts = [part for box in boxes.values() for part in box.draw()]
    parts += [_draw_edge(boxes[name], boxes[other]) for name, other in edges() if is_folder(name) and is_folder(other)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:g}" role="img">'
    return "\n".join(
        [
            head,
            f"<style>{STYLE}</style><defs>{ARROW}</defs>",
            f'<path fill="#fff" d="M0 0h{WIDTH}v{top:g}H0z"/>',
            *parts,
            "</svg>",
        ]
    )


def edges() -> list[tuple[str, str]]:
    """The imports between packages without those that follow from others."""
    imported: dict[str, set[str]] = {name: set() for row in PACKAGES for name in row}
    for module, names in GRAPH.items():
        own = module.split(".")[1:2]
        for other in names:
            inner = other.split(".")[1:2] if other.startswith("hwcls.") else []
            if own and inner and own != inner and own[0] in imported:
                imported[own[0]].add(inner[0])
    below: dict[str, set[str]] = {}  # reached by any number of imports
    for row in PACKAGES:
        for name in row:
            below[name] = imported[name].union(*(below.get(other, set()) for other in imported[name]))
    return [
        (name, other)
        for name, direct in sorted(imported.items())
        for other in sorted(direct)
        if not any(other in below[third] for third in direct)
    ]


def is_folder(name: str) -> bool:
    """Whether it is a package and no single module."""
    return (ROOT / name).is_dir()


def about(name: str) -> str:
    """The first sentence of a package's docstring; nothing of the modules that everything uses."""
    text = ast.get_docstring(ast.parse((ROOT / name / "__init__.py").read_text("utf-8"))) if is_folder(name) else ""
    return " ".join((text or "").partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".").replace("`", "")


def _draw_edge(box: Box, other: Box) -> str:
    bottom, gap = box.top + box.height, other.top - box.top - box.height
    if gap < 2 * GAP + 15:  # the next row, whose boxes may differ in height
        start, end = box.left + box.width / 2, other.left + other.width / 2
        start = min(max(end, box.left + 15), box.left + box.width - 15)
        end = min(max(start, other.left + 15), other.left + other.width - 15)
        return f'<path class="edge" d="M{start:g} {bottom:g} L{end:g} {other.top - 1:g}"/>'
    leftmost = other.left == MARGIN
    lane = MARGIN / 2 if leftmost else WIDTH - MARGIN / 2
    start, end = (box.left, other.left - 1) if leftmost else (box.left + box.width, other.left + other.width + 1)
    return f'<path class="edge" d="M{start:g} {box.top + 20:g} H{lane:g} V{other.top + 20:g} H{end:g}"/>'
