"""Greedy colorings of the columns of a pattern, and of symmetric patterns.

Patterns are CSR: row i has the columns `indices[indptr[i]:indptr[i + 1]]`. Vertices are colored one after another in a
given order, each with the smallest color that is not forbidden; colors count from 0, -1 is none. `forbidden[c]` is the
last vertex for which color c was forbidden (-1: none yet). All kernels return the number of colors.

Sources: Gebremedhin, Manne & Pothen (2005), What Color Is Your Jacobian?, SIAM Review 47(4), algorithm 4.2 (columns);
Gebremedhin, Tarafdar, Manne & Pothen (2007), New Acyclic and Star Coloring Algorithms with Application to Computing
Hessians, SIAM J. Sci. Comput. 29(3), algorithms 3.1 (acyclic) and 4.1 (star).
"""

from .flags import at, helper, kernel


@helper
def _take_first(colors, forbidden, v, count):
    """Give v the smallest color that is not forbidden; returns the number of colors then."""
    c = 0
    while forbidden[at(c)] == v:
        c += 1
    colors[at(v)] = c
    return c + 1 if c == count else count


@kernel
def color_columns(colors, forbidden, order, by_row, by_column):
    """No two columns of one color have an element in the same row. `by_column` is the pattern by columns."""
    (row_ptr, columns), (column_ptr, rows) = by_row, by_column
    count = 0
    for number in range(len(order)):
        v = order[at(number)]
        for k in range(column_ptr[at(v)], column_ptr[at(v + 1)]):
            i = rows[at(k)]
            for m in range(row_ptr[at(i)], row_ptr[at(i + 1)]):
                c = colors[at(columns[at(m)])]
                if c >= 0:
                    forbidden[at(c)] = v
        count = _take_first(colors, forbidden, v, count)
    return count


# ── symmetric patterns ────────────────────────────────────────────────────────────────────────────────────────
@kernel
def number_edges(edges, indptr, indices, place):
    """Give the elements (i, j) and (j, i) the same number; elements of the diagonal get -1. The indices of a row are
    ascending; `place` is a copy of indptr. Returns the number of edges, or -1 if the pattern is not symmetric."""
    count = 0
    for i in range(len(indptr) - 1):
        # What is left of row i before the diagonal was met from the other side.
        for k in range(place[at(i)], indptr[at(i + 1)]):
            j = indices[at(k)]
            if j < i:
                return -1
            if j == i:
                edges[at(k)] = -1
                continue
            m = place[at(j)]
            if m >= indptr[at(j + 1)] or indices[at(m)] != i:
                return -1
            edges[at(k)] = count
            edges[at(m)] = count
            place[at(j)] = m + 1
            count += 1
    return count


@helper
def _forbid_around(colors, forbidden, v, w, indptr, indices):
    """No color of w's neighbours for v."""
    for k in range(indptr[at(w)], indptr[at(w + 1)]):
        x = indices[at(k)]
        if x != w and colors[at(x)] >= 0:
            forbidden[at(colors[at(x)])] = v


@kernel
def color_stars(colors, forbidden, order, pattern, treated, first, stars, hubs):
    """Neighbours differ, and every path of four vertices has three colors: two colors together make stars.

    pattern: indptr, indices, edges (see `number_edges`). Work: `treated` has a place for each vertex, `first` two for
    each color: the vertex that saw this color first, and its neighbour's place in `indices`; both -1 at first.
    `stars` has the number of the star of each edge, `hubs` the hub of each star (-1: a single edge).
    """
    indptr, indices, edges = pattern
    count, made = 0, 0
    for number in range(len(order)):
        v = order[at(number)]
        for k in range(indptr[at(v)], indptr[at(v + 1)]):
            w = indices[at(k)]
            c = colors[at(w)]
            if w == v or c < 0:
                continue
            forbidden[at(c)] = v
            if first[at(2 * c)] == v:  # v has another neighbour of this color: it is a hub
                q = indices[at(first[at(2 * c + 1)])]
                if treated[at(q)] != v:
                    _forbid_around(colors, forbidden, v, q, indptr, indices)
                    treated[at(q)] = v
                _forbid_around(colors, forbidden, v, w, indptr, indices)
                treated[at(w)] = v
                continue
            first[at(2 * c)] = v
            first[at(2 * c + 1)] = k
            for m in range(indptr[at(w)], indptr[at(w + 1)]):
                x = indices[at(m)]
                if x != w and x != v and colors[at(x)] >= 0 and hubs[at(stars[at(edges[at(m)])])] == x:
                    forbidden[at(colors[at(x)])] = v
        count = _take_first(colors, forbidden, v, count)
        made = _join_stars(colors, v, pattern, first, stars, hubs, made)
    return count


@helper
def _join_stars(colors, v, pattern, first, stars, hubs, made):
    """Put the edges of v, which was colored, into stars; returns the number of stars."""
    indptr, indices, edges = pattern
    for k in range(indptr[at(v)], indptr[at(v + 1)]):
        w = indices[at(k)]
        c = colors[at(w)]
        if w == v or c < 0:
            continue
        found = -1
        for m in range(indptr[at(w)], indptr[at(w + 1)]):
            x = indices[at(m)]
            if x != v and x != w and colors[at(x)] == colors[at(v)]:
                found = stars[at(edges[at(m)])]
                hubs[at(found)] = w
                break
        if found < 0:
            q = first[at(2 * c + 1)]
            if first[at(2 * c)] == v and q != k:
                found = stars[at(edges[at(q)])]
                hubs[at(found)] = v
        if found < 0:
            found = made
            hubs[at(found)] = -1
            made += 1
        stars[at(edges[at(k)])] = found
    return made


@helper
def _root(parents, e):
    """The edge that stands for the tree of e; paths are halved (Tarjan & van Leeuwen, 1984)."""
    while parents[at(e)] != e:
        parents[at(e)] = parents[at(parents[at(e)])]
        e = parents[at(e)]
    return e


@helper
def _merge(parents, sizes, e, f):
    e, f = _root(parents, e), _root(parents, f)
    if e == f:
        return
    if sizes[at(e)] < sizes[at(f)]:
        e, f = f, e
    parents[at(f)] = e
    sizes[at(e)] += sizes[at(f)]


@kernel
def color_forests(colors, forbidden, order, pattern, first, visits, parents, sizes):
    """Neighbours differ, and every cycle has three colors: two colors together make forests.

    `first` as in `color_stars`; `visits` has two places for each edge: the vertex that came to its tree first, and from
    which neighbour; -1 at first. `parents` and `sizes` are trees as disjoint sets of edges.
    """
    indptr, indices, edges = pattern
    count = 0
    for number in range(len(order)):
        v = order[at(number)]
        for k in range(indptr[at(v)], indptr[at(v + 1)]):
            w = indices[at(k)]
            if w != v and colors[at(w)] >= 0:
                forbidden[at(colors[at(w)])] = v
        for k in range(indptr[at(v)], indptr[at(v + 1)]):
            w = indices[at(k)]
            if w == v or colors[at(w)] < 0:
                continue
            for m in range(indptr[at(w)], indptr[at(w + 1)]):
                x = indices[at(m)]
                if x == v or x == w or colors[at(x)] < 0 or forbidden[at(colors[at(x)])] == v:
                    continue
                tree = _root(parents, edges[at(m)])
                if visits[at(2 * tree)] != v:
                    visits[at(2 * tree)] = v
                    visits[at(2 * tree + 1)] = w
                elif visits[at(2 * tree + 1)] != w:  # another way to the same tree: a cycle of two colors
                    forbidden[at(colors[at(x)])] = v
        count = _take_first(colors, forbidden, v, count)
        _join_trees(colors, v, pattern, first, parents, sizes)
    return count


@helper
def _join_trees(colors, v, pattern, first, parents, sizes):
    """Put the edges of v, which was colored, into trees."""
    indptr, indices, edges = pattern
    for k in range(indptr[at(v)], indptr[at(v + 1)]):
        w = indices[at(k)]
        c = colors[at(w)]
        if w == v or c < 0:
            continue
        e = edges[at(k)]
        parents[at(e)] = e
        sizes[at(e)] = 1
        if first[at(2 * c)] != v:
            first[at(2 * c)] = v
            first[at(2 * c + 1)] = k
        else:
            _merge(parents, sizes, e, edges[at(first[at(2 * c + 1)])])
    for k in range(indptr[at(v)], indptr[at(v + 1)]):
        w = indices[at(k)]
        if w == v or colors[at(w)] < 0:
            continue
        for m in range(indptr[at(w)], indptr[at(w + 1)]):
            x = indices[at(m)]
            if x != v and x != w and colors[at(x)] == colors[at(v)]:
                _merge(parents, sizes, edges[at(k)], edges[at(m)])
