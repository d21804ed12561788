"""Pictures of op tables: Graphviz text, and SVG with its own layout, which needs no other program.

`python -m fastad.tables.shown.drawing docs/s1-graph.svg` makes the picture in the README.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastad.tables.reference import Runner
from fastad.tables.shown.graph import Graph, Node, graph, s1_example
from fastad.tables.shown.layered import LayeredLayout, layered
from fastad.tables.table import Table

_LIGHT = {
    "ink": "#1f2328", "faint": "#6e7781", "edge": "#9aa4af", "value": "#0a5cc2", "adjoint": "#bc4c00",
    "op": ("#ffffff", "#c4ccd4"), "input": ("#e7f1fe", "#4a90e2"), "result": ("#e3f6e9", "#2f9e5b"),
    "const": ("#f6f8fa", "#c4ccd4"),
}  # fmt: skip
_DARK = {
    "ink": "#e6edf3", "faint": "#9198a1", "edge": "#6e7681", "value": "#79b8ff", "adjoint": "#ffa657",
    "op": ("#21262d", "#484f58"), "input": ("#10294a", "#4a90e2"), "result": ("#12321f", "#3fb950"),
    "const": ("#161b22", "#484f58"),
}  # fmt: skip
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_GAP, _LAYER_GAP, _MARGIN = 26, 54, 16
_WIDE = 1000  # pixels: a graph that is wider when drawn to the right is drawn downwards


def to_svg(table: Table, values: Sequence[Any] | None = None, limit: int = 60, run: Runner | None = None) -> str:
    """The graph as SVG text.

    With `values` (the inputs) every node shows its value, and its adjoint if the table has one scalar result. Of a
    table with more than `limit` rows only the first are drawn, and the picture says so.

    >>> table, values = s1_example()
    >>> to_svg(table, values).startswith("<svg")
    True
    """
    g = graph(table, values, limit, run)
    boxes = [_box(node) for node in g.nodes]
    canvas = _Canvas(g, boxes, across=1)
    if canvas.width > _WIDE:
        canvas = _Canvas(g, boxes, across=0)
    legend = _legend(g, canvas.height)
    height = canvas.height + (30 if legend else 0)
    width = max(canvas.width, 120 + 330 * g.has_adjoints + 200 * bool(g.omitted)) if legend else canvas.width
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fastad" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{_FONT}">'
    )
    parts = [head, f"<style>{_style()}</style>", *canvas.edges(), *canvas.nodes(), *legend, "</svg>"]
    return "\n".join(parts) + "\n"


def to_dot(table: Table, values: Sequence[Any] | None = None, limit: int = 60, run: Runner | None = None) -> str:
    """The graph in the language of Graphviz, with values and adjoints as in `to_svg`.

    >>> print(to_dot(*s1_example()).splitlines()[4])
      n0 [label="x₀\\nvalue 2\\nadjoint 39", fillcolor="#e7f1fe", color="#4a90e2"];
    """
    g = graph(table, values, limit, run)
    lines = ["digraph {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fontname="Helvetica"];']
    lines.append('  edge [color="#9aa4af"];')
    for node in g.nodes:
        facts = [
            node.label,
            node.type,
            node.value and f"value {node.value}",
            node.adjoint and f"adjoint {node.adjoint}",
        ]
        label = "\\n".join(_quoted(x) for x in facts if x)
        fill, stroke = _LIGHT[node.kind]
        lines.append(f'  n{node.row} [label="{label}", fillcolor="{fill}", color="{stroke}"];')
    lines += [f"  n{g.nodes[a].row} -> n{g.nodes[b].row};" for a, b in g.edges]
    if g.omitted:
        lines.append(f'  more [label="{_omitted(g)}", shape=plaintext, style=""];')
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _omitted(g: Graph) -> str:
    return f"the first {len(g.nodes):,} of {len(g.nodes) + g.omitted:,} rows"


# ── SVG ───────────────────────────────────────────────────────────────────────────────────────────────────────
def _box(node: Node) -> tuple[float, float]:
    """Width and height of a node, from its label, its type, and the line with value and adjoint."""
    facts = _extent(node.value, 13) + _extent(node.adjoint, 13) + (16 if node.adjoint else 0)
    width = max(_extent(node.label, 18), _extent(node.type, 11), facts) + 28
    return max(round(width / 2) * 2, 58), 38 + 14 * bool(node.type) + 20 * bool(node.value)


def _extent(text: str, size: float) -> float:
    """Approximate width of a text in pixels; the viewer chooses the font."""
    narrow, wide = sum(c in " ,.[]()|il" for c in text), sum(c in "−…×÷@" for c in text)
    return size * (0.62 * len(text) - 0.25 * narrow + 0.25 * wide)


class _Canvas:
    """Pixels of nodes and edges. `across` is the axis along which a layer extends: 1 when layers go rightwards."""

    def __init__(self, g: Graph, boxes: list[tuple[float, float]], across: int) -> None:
        self.g, self.boxes, self.across = g, boxes, across
        self.layout: LayeredLayout = layered(len(boxes), g.edges, [box[across] for box in boxes], _GAP)
        along = 1 - across
        depth = [0.0] * self.layout.layers
        for k, box in zip(self.layout.layer, boxes, strict=True):
            depth[k] = max(depth[k], box[along])
        self.centre: list[float] = []
        at = float(_MARGIN)
        for d in depth:
            self.centre.append(at + d / 2)
            at += d + _LAYER_GAP
        self.depth = depth
        spread = max((p + box[across] / 2 for p, box in zip(self.layout.position, boxes, strict=True)), default=0.0)
        spread = max([spread, *(p for route in self.layout.routes.values() for _, p in route)])
        extent = (at - _LAYER_GAP + _MARGIN if depth else 2.0 * _MARGIN, spread + 2 * _MARGIN)
        self.width, self.height = extent if across == 1 else extent[::-1]

    def point(self, layer: int, position: float, shift: float = 0.0) -> tuple[float, float]:
        """Pixel of a position in a layer, moved along the flow by `shift`."""
        flow = (self.centre[layer] + shift, position + _MARGIN)
        return flow if self.across == 1 else flow[::-1]

    def nodes(self) -> list[str]:
        found = []
        for k, node in enumerate(self.g.nodes):
            x, y = self.point(self.layout.layer[k], self.layout.position[k])
            found.append(_node_svg(node, x, y, *self.boxes[k]))
        return found

    def edges(self) -> list[str]:
        entries, exits = self._ports(1), self._ports(0)
        found = []
        for (a, b), route in self.layout.routes.items():
            along = 1 - self.across
            (first, p), (last, q) = (
                (route[0][0], route[0][1] + exits[a, b]),
                (route[-1][0], route[-1][1] + entries[a, b]),
            )
            points = [self.point(first, p, self.boxes[a][along] / 2), self.point(first, p, self.depth[first] / 2)]
            for layer, r in route[1:-1]:  # straight through a layer, so that it meets no node
                points += [self.point(layer, r, -self.depth[layer] / 2), self.point(layer, r, self.depth[layer] / 2)]
            points += [
                self.point(last, q, -self.depth[last] / 2 - 7),
                self.point(last, q, -self.boxes[b][along] / 2 - 7),
            ]
            found.append(f'<path class="edge" d="{self._curve(points)}"/>{self._arrow(points[-1])}')
        return found

    def _ports(self, end: int) -> dict[tuple[int, int], float]:
        """Where edges meet the side of a node: next to each other, in the order of their other ends."""
        groups: dict[int, list[tuple[float, tuple[int, int]]]] = {}
        for edge, route in self.layout.routes.items():
            other = route[-2][1] if end == 1 else route[1][1]
            groups.setdefault(edge[end], []).append((other, edge))
        shifts = {}
        for v, group in groups.items():
            step = min(14.0, 0.6 * self.boxes[v][self.across] / max(len(group), 1)) if end == 1 else 0.0
            for k, (_, edge) in enumerate(sorted(group)):
                shifts[edge] = (k - (len(group) - 1) / 2) * step
        return shifts

    def _curve(self, points: Sequence[tuple[float, float]]) -> str:
        """A smooth curve through the points, straight inside layers and bent between them."""
        text = f"M{points[0][0]:g} {points[0][1]:g}"
        for k, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
            if k % 2 == 0:
                text += f" L{x1:g} {y1:g}" if (x0, y0) != (x1, y1) else ""
            elif self.across == 1:
                half = (x1 - x0) / 2
                text += f" C{x0 + half:g} {y0:g} {x1 - half:g} {y1:g} {x1:g} {y1:g}"
            else:
                half = (y1 - y0) / 2
                text += f" C{x0:g} {y0 + half:g} {x1:g} {y1 - half:g} {x1:g} {y1:g}"
        return text

    def _arrow(self, tip: tuple[float, float]) -> str:
        x, y = tip
        shape = f"M{x:g} {y - 4:g}l7 4l-7 4z" if self.across == 1 else f"M{x - 4:g} {y:g}l4 7l4 -7z"
        return f'<path class="arrow" d="{shape}"/>'


def _node_svg(node: Node, x: float, y: float, width: float, height: float) -> str:
    top = y - height / 2
    low = top + height - 11
    texts = [_text("ink", x, top + 25, node.label, 17, 'font-weight="600"')]
    if node.type:
        texts.append(_text("faint", x, top + 41, node.type, 11))
    if node.value and node.adjoint:
        middle = x + (_extent(node.value, 13) - _extent(node.adjoint, 13)) / 2  # the two are centred together
        texts.append(_text("value", middle - 8, low, node.value, 13, 'text-anchor="end"'))
        texts.append(_text("adjoint", middle + 8, low, node.adjoint, 13, 'text-anchor="start"'))
    elif node.value:
        texts.append(_text("value", x, low, node.value, 13))
    box = f'<rect class="{node.kind}" x="{x - width / 2:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="9"/>'
    return f'<g text-anchor="middle"><title>{_escape(node.tip)}</title>{box}{"".join(texts)}</g>'


def _text(kind: str, x: float, y: float, text: str, size: int, more: str = "") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size}" {more}>{_escape(text)}</text>'


def _legend(g: Graph, top: float) -> list[str]:
    """The text under the picture: what the colours mean, and how many rows were left out."""
    words = [("value", "value")] if any(node.value for node in g.nodes) else []
    words += [("adjoint", "adjoint: derivative of the result by this value")] if g.has_adjoints else []
    words += [("faint", _omitted(g))] if g.omitted else []
    found, x = [], float(_MARGIN)
    for kind, text in words:
        if kind != "faint":
            found.append(f'<circle class="{kind}" cx="{x + 4:g}" cy="{top + 10:g}" r="4"/>')
            x += 14
        found.append(_text("faint", x, top + 14, text, 12))
        x += _extent(text, 12) + 24
    return found


def _style() -> str:
    """Colours for light and dark themes, valid inside this picture only."""
    return f"{_rules(_LIGHT)} @media (prefers-color-scheme: dark) {{ {_rules(_DARK)} }}"


def _rules(theme: dict[str, Any]) -> str:
    rules = [f".fastad .{name} {{ fill: {theme[name]} }}" for name in ("ink", "faint", "value", "adjoint")]
    rules += [
        f".fastad .{name} {{ fill: {theme[name][0]}; stroke: {theme[name][1]}; stroke-width: {width} }}"
        for name, width in (("op", 1.2), ("input", 1.6), ("result", 2), ("const", 1.2))
    ]
    rules.append(f".fastad .edge {{ fill: none; stroke: {theme['edge']}; stroke-width: 1.5 }}")
    rules.append(f".fastad .arrow {{ fill: {theme['edge']} }}")
    return " ".join(rules)


if __name__ == "__main__":
    import sys

    Path(sys.argv[1]).write_text(to_svg(*s1_example()), encoding="utf-8")


def _escape(text: str) -> str:
    """`html.escape`, without the table of entities that its module has."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")):
        text = text.replace(character, entity)
    return text
