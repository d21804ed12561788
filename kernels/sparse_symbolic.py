"""Where the factors of a sparse matrix have numbers, by the places of its own alone.

The pivots stand on the diagonal, in order. Column j of L U has a number wherever the rows of A's column j lead by way
of earlier columns of L: a search in depth (Gilbert & Peierls, 1988), cut short where a column's rows are known to be
those of a later one too (Eisenstat & Liu, 1993, "Exploiting structural symmetry in a sparse partial pivoting code").
"""

from .flags import at, helper
from .memory import integers, view


@helper
def _prune(j, k, starts, ends, lower):
    """Let searches of later columns see of column k only rows up to j, if it has row j: column j leads to the rest."""
    low, high = starts[at(k)], starts[at(k + 1)]
    has = False
    for p in range(low, high):
        if lower[at(p)] == j:
            has = True
            break
    if not has:
        return False
    high -= 1
    while low <= high:
        if lower[at(low)] <= j:
            low += 1
        else:
            lower[at(low)], lower[at(high)] = lower[at(high)], lower[at(low)]
            high -= 1
    ends[at(k)] = low
    return True


@helper
def _search(j, root, found, marks, searched, stack):
    """Add the rows that lead from `root`, a row above the diagonal, to those of column j; `found` are their numbers."""
    starts, ends, lower, upper = searched
    path, places = stack
    path[0], places[0], depth = root, starts[at(root)], 0
    while depth >= 0:
        k, q = path[at(depth)], places[at(depth)]
        if q == ends[at(k)]:
            depth -= 1
            continue
        places[at(depth)] = q + 1
        i = lower[at(q)]
        if marks[at(i)] == j:
            continue
        marks[at(i)] = j
        if i > j:
            lower[at(found[0])] = i
            found[0] += 1
        else:
            upper[at(found[1])] = i
            found[1] += 1
            depth += 1
            path[at(depth)], places[at(depth)] = i, starts[at(i)]


@helper
def find_fill(p):
    """Bounds and rows of L below and of U above the diagonal, in no order within a column. p: n, entries and room for
    numbers, then addresses: bounds and rows of the columns of A; bounds of L and of U; rows of L and of U; five times n
    integers of scratch memory and two more. 1 where the room does not suffice."""
    n, count, room = p[0], p[1], p[2]
    own, rows = view(integers(p[3]), n + 1), view(integers(p[4]), count)
    starts, bounds = view(integers(p[5]), n + 1), view(integers(p[6]), n + 1)
    lower, upper = view(integers(p[7]), room), view(integers(p[8]), room)
    marks, ends = view(integers(p[9]), n), view(integers(p[9] + 8 * n), n)
    stack = view(integers(p[9] + 16 * n), n), view(integers(p[9] + 24 * n), n)
    pruned, found = view(integers(p[9] + 32 * n), n), view(integers(p[9] + 40 * n), 2)
    for k in range(n):
        marks[at(k)], pruned[at(k)] = -1, 0
    found[0], found[1], starts[0], bounds[0] = 0, 0, 0, 0
    for j in range(n):
        if found[0] + n > room or found[1] + n > room:
            return 1
        marks[at(j)] = j
        for q in range(own[at(j)], own[at(j + 1)]):
            i = rows[at(q)]
            if marks[at(i)] == j:
                continue
            marks[at(i)] = j
            if i > j:
                lower[at(found[0])] = i
                found[0] += 1
            else:
                upper[at(found[1])] = i
                found[1] += 1
                _search(j, i, found, marks, (starts, ends, lower, upper), stack)
        starts[at(j + 1)], bounds[at(j + 1)], ends[at(j)] = found[0], found[1], found[0]
        for q in range(bounds[at(j)], bounds[at(j + 1)]):
            k = upper[at(q)]
            if pruned[at(k)] == 0 and _prune(j, k, starts, ends, lower):
                pruned[at(k)] = 1
    return 0
