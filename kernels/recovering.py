"""Where the elements of a matrix stand in its products with the vectors of a coloring."""

from .flags import at, helper, kernel


@kernel
def readable(sides, side, colors, seen, indptr, indices):
    """Add `side` to sides[k] where no other element of its row has the color of element k. `seen` has two places for
    each color, -1 at first."""
    for i in range(len(indptr) - 1):
        for k in range(indptr[at(i)], indptr[at(i + 1)]):
            c = colors[at(indices[at(k)])]
            if c < 0:
                continue
            if seen[at(2 * c)] != i:
                seen[at(2 * c)] = i
                seen[at(2 * c + 1)] = k
                sides[at(k)] |= side
            elif seen[at(2 * c + 1)] >= 0:
                first = seen[at(2 * c + 1)]
                seen[at(2 * c + 1)] = -1
                sides[at(first)] &= ~side
    return 0


@helper
def _push(v, c, here, top, pattern, by_color, colors, position, stack):
    """Put the elements of row v with columns of color c, that have no place yet, on the stack: their places in
    `indices`, v, and the position of the element above them. Returns the new top of the stack."""
    indptr, indices, edges = pattern
    low, high = indptr[at(v)], indptr[at(v + 1)]
    while low < high:  # the first one with this color
        middle = (low + high) // 2
        if colors[at(indices[at(by_color[at(middle)])])] < c:
            low = middle + 1
        else:
            high = middle
    while low < indptr[at(v + 1)] and colors[at(indices[at(by_color[at(low)])])] == c:
        k = by_color[at(low)]
        if position[at(edges[at(k)])] == -1:
            position[at(edges[at(k)])] = -2
            stack[at(top)] = k
            stack[at(top + 1)] = v
            stack[at(top + 2)] = here
            top += 3
        low += 1
    return top


@kernel
def lay_out_trees(trees, pattern, by_color, colors, position, stack):
    """Number the elements off the diagonal of a symmetric pattern so that a branch of a tree of two colors is a run.

    trees: for each position the vertex, the vertex above it, and the position of the one above (-1: there is none).
    `by_color` are the places in `indices` of each row, by the color of the column. `position` (by edge) is -1 at first;
    `stack` has room for three integers an edge.
    """
    (vertex, above, parent), (indptr, indices, edges) = trees, pattern
    count = 0
    for i in range(len(indptr) - 1):
        for k in range(indptr[at(i)], indptr[at(i + 1)]):
            if edges[at(k)] < 0 or position[at(edges[at(k)])] != -1:
                continue
            top = _push(i, colors[at(indices[at(k)])], -1, 0, pattern, by_color, colors, position, stack)
            while top > 0:
                top -= 3
                place, v, here = stack[at(top)], stack[at(top + 1)], stack[at(top + 2)]
                w = indices[at(place)]
                position[at(edges[at(place)])] = count
                vertex[at(count)], above[at(count)], parent[at(count)] = w, v, here
                top = _push(w, colors[at(v)], count, top, pattern, by_color, colors, position, stack)
                count += 1
    return count


@kernel
def branch_sizes(sizes, signs, parent):
    """How many positions a branch has, and the sign of its first one: -1 at odd depths. `sizes` are 1 at first."""
    for k in range(len(parent)):
        signs[at(k)] = 1.0 if parent[at(k)] < 0 else -signs[at(parent[at(k)])]
    for k in range(len(parent) - 1, -1, -1):
        if parent[at(k)] >= 0:
            sizes[at(parent[at(k)])] += sizes[at(k)]
    return 0
