"""Orders in which vertices are colored: by degree, fixed or as the order grows.

Source: Gebremedhin, Nguyen, Patwary & Pothen (2013), ColPack: Software for Graph Coloring and Related Problems, ACM
TOMS 40(1), section 3.
"""

from .flags import at, helper, kernel
from .pattern_fields import SMALLEST_LAST


@helper
def _insert(heads, links, v, degree):
    """Put v into the list of its degree."""
    n = len(links) // 2
    head = heads[at(degree)]
    links[at(v)] = head
    links[at(n + v)] = -1
    if head >= 0:
        links[at(n + head)] = v
    heads[at(degree)] = v


@helper
def _remove(heads, links, v, degree):
    n = len(links) // 2
    after, before = links[at(v)], links[at(n + v)]
    if before >= 0:
        links[at(before)] = after
    else:
        heads[at(degree)] = after
    if after >= 0:
        links[at(n + after)] = before


@kernel
def dynamic(order, degrees, way, by_row, by_column, heads, links):
    """Smallest last: the vertex that meets the fewest of those left comes last of them. Incidence: next comes the one
    that meets most of those before it.

    Vertices are columns, which meet in rows. `degrees` are changed; for incidence they are zeros at first. `heads` (one
    for each degree, -1) and `links` (two for each vertex) are lists of vertices by degree.
    """
    (row_ptr, columns), (column_ptr, rows) = by_row, by_column
    n = len(order)
    step = -1 if way == SMALLEST_LAST else 1
    for v in range(n - 1, -1, -1):
        _insert(heads, links, v, degrees[at(v)])
    degree = 0
    for number in range(n):
        degree = _next_degree(heads, degree, way)
        v = heads[at(degree)]
        _remove(heads, links, v, degree)
        degrees[at(v)] = -1
        order[at(n - 1 - number if way == SMALLEST_LAST else number)] = v
        for k in range(column_ptr[at(v)], column_ptr[at(v + 1)]):
            i = rows[at(k)]
            for m in range(row_ptr[at(i)], row_ptr[at(i + 1)]):
                w = columns[at(m)]
                if degrees[at(w)] < 0:
                    continue
                _remove(heads, links, w, degrees[at(w)])
                degrees[at(w)] += step
                _insert(heads, links, w, degrees[at(w)])
                if step * (degrees[at(w)] - degree) > 0:
                    degree = degrees[at(w)]
    return 0


@helper
def _next_degree(heads, degree, way):
    """The smallest (or largest) degree of all that are left; `degree` is a bound for it."""
    if way == SMALLEST_LAST:
        while heads[at(degree)] < 0:
            degree += 1
    else:
        while heads[at(degree)] < 0:
            degree -= 1
    return degree
