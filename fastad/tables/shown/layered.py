"""Layered drawing of directed acyclic graphs: longest-path layers, barycenter order.

Sugiyama, Tagawa & Toda (1981), "Methods for visual understanding of hierarchical system structures".

Vertices are numbers 0 … n−1, edges are pairs (from, to) with from < to. An edge over several layers passes through an
invisible vertex in each layer between its ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Edge = tuple[int, int]


@dataclass(frozen=True)
class LayeredLayout:
    """The layer of every vertex and its position in the layer, and the points (layer, position) of every edge."""

    layer: list[int]
    position: list[float]
    routes: dict[Edge, list[tuple[int, float]]]
    layers: int


def layered(n: int, edges: Sequence[Edge], size: Sequence[float], gap: float) -> LayeredLayout:
    """Place n vertices with these sizes across the layers, at least `gap` apart.

    >>> layout = layered(3, [(0, 2), (1, 2)], [10.0, 10.0, 10.0], 4.0)
    >>> layout.layer, layout.position
    ([0, 0, 1], [5.0, 19.0, 12.0])
    """
    layer = _longest_paths(n, edges)
    chains, extents = _with_invisible(layer, edges, size)
    links = [link for chain in chains.values() for link in pairwise(chain)]
    before, after = _neighbours(len(extents), links)
    rows = _ordered(layer, before, after)
    position = _positions(rows, extents, before, after, gap)
    routes = {e: [(layer[v], position[v]) for v in chain] for e, chain in chains.items()}
    return LayeredLayout(layer[:n], position[:n], routes, len(rows))


def _longest_paths(n: int, edges: Sequence[Edge]) -> list[int]:
    """Layers by the longest path from a source; then sources move next to the first vertex that uses them.

    Every edge goes to a larger number, as rows of a table do.
    """
    layer = [0] * n
    for a, b in sorted(edges, key=lambda e: e[1]):
        layer[b] = max(layer[b], layer[a] + 1)
    users: dict[int, int] = {}
    for a, b in edges:
        users[a] = min(users.get(a, layer[b]), layer[b])
    for v in set(users) - {b for _, b in edges}:
        layer[v] = users[v] - 1
    return layer


def _with_invisible(
    layer: list[int], edges: Sequence[Edge], size: Sequence[float]
) -> tuple[dict[Edge, list[int]], list[float]]:
    """(chain of vertices, one in each layer, for every edge; sizes of all vertices). The layers of invisible vertices
    are appended to `layer`."""
    extents, chains = list(size), {}
    for a, b in edges:
        chain = [a]
        for k in range(layer[a] + 1, layer[b]):
            chain.append(len(layer))
            layer.append(k)
            extents.append(0.0)
        chains[a, b] = [*chain, b]
    return chains, extents


def _neighbours(n: int, links: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    before: list[list[int]] = [[] for _ in range(n)]
    after: list[list[int]] = [[] for _ in range(n)]
    for a, b in links:
        before[b].append(a)
        after[a].append(b)
    return before, after


# ── order within the layers ───────────────────────────────────────────────────────────────────────────────────
def _ordered(layer: list[int], before: list[list[int]], after: list[list[int]], sweeps: int = 12) -> list[list[int]]:
    """Sort the layers by the mean positions of neighbours, forward and backward in turn. Returns the order with the
    fewest crossings."""
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for v, k in enumerate(layer):
        rows[k].append(v)
    best, fewest = [list(row) for row in rows], _crossings(rows, after)
    for sweep in range(sweeps):
        inner, neighbours = (rows[1:], before) if sweep % 2 == 0 else (rows[-2::-1], after)
        for row in inner:
            place = {v: i for other in rows for i, v in enumerate(other)}
            row.sort(key=lambda v: _mean([place[u] for u in neighbours[v]], place[v]))
        count = _crossings(rows, after)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    return best


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(rows: list[list[int]], after: list[list[int]]) -> int:
    """The number of crossings of edges between neighbouring layers."""
    place = {v: i for row in rows for i, v in enumerate(row)}
    count = 0
    for row in rows:
        links = [(i, place[w]) for i, v in enumerate(row) for w in after[v]]
        count += sum((a - c) * (b - d) < 0 for k, (a, b) in enumerate(links) for c, d in links[:k])
    return count


# ── positions ─────────────────────────────────────────────────────────────────────────────────────────────────
def _positions(
    rows: list[list[int]], size: list[float], before: list[list[int]], after: list[list[int]], gap: float
) -> list[float]:
    """Positions close to the means of the neighbours' positions, in the given order and without overlaps."""
    position = [0.0] * len(size)

    def weight(v: int, u: int) -> float:  # long edges should be straight
        return (1.0, 3.0, 9.0)[(size[v] == 0) + (size[u] == 0)]

    def place(row: list[int], wanted: list[float], weights: list[float]) -> None:
        for v, x in zip(row, _separated(wanted, weights, [size[v] for v in row], gap), strict=True):
            position[v] = x

    for row in rows:
        place(row, [0.0] * len(row), [1.0] * len(row))
    looks: list[Callable[[int], list[int]]] = [before.__getitem__, after.__getitem__, lambda v: before[v] + after[v]]
    for sweep in range(30):
        look = looks[2] if sweep >= 12 else looks[sweep % 2]
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            pulls = [[(weight(v, u), position[u]) for u in look(v)] or [(0.1, position[v])] for v in row]
            totals = [sum(w for w, _ in pull) for pull in pulls]
            place(row, [sum(w * x for w, x in pull) / t for pull, t in zip(pulls, totals)], totals)
    start = min((position[v] - size[v] / 2 for v in range(len(size))), default=0.0)
    return [round(x - start, 2) for x in position]


def _separated(wanted: list[float], weights: list[float], size: list[float], gap: float) -> list[float]:
    """The positions closest to the wanted ones, by weighted least squares, that keep the order and minimum distances.

    After subtraction of the minimum distances this is isotonic regression: neighbours in the wrong order are pooled.
    """
    offsets, reach = [], 0.0
    for k, s in enumerate(size):
        reach += (size[k - 1] + s) / 2 + gap if k else 0.0
        offsets.append(reach)
    pools: list[list[float]] = []  # weighted sum, weight, count
    for w, t, o in zip(wanted, weights, offsets, strict=True):
        pools.append([t * (w - o), t, 1.0])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [x + y for x, y in zip(pools[-1], last, strict=True)]
    levels = [total / weight for total, weight, count in pools for _ in range(int(count))]
    return [level + o for level, o in zip(levels, offsets, strict=True)]
