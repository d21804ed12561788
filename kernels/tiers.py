"""The cheapest way to take a loop's adjoint with slots in memory and on disk, where writing and reading cost.

Costs in forward steps; memory is free. With c slots in memory and m free ones on disk, for l steps whose first
state is the current one (D), or also in a slot on disk (P):

    D(l, m) = min(t(l, c), write + P(l, m − 1))            D(l, 0) = t(l, c), Revolve's optimum
    P(l, m) = min(t(l, c), min over 0 < j < l of j + D(l − j, m) + read + P(j, m))

Herrmann & Pallez (2020), H-Revolve, ACM TOMS 46(2), for two levels. All functions of l are nearly linear in pieces.
Between the ends, a sum of one function of j and one of l − j has a minimum where one of the two bends upwards, so
only bends are tried: some hundred of them instead of l.
"""

from .flags import helper, kernel
from .segments import fewest_steps


@helper
def _bends(f, k):
    """Whether f bends upwards at k, by more than rounding."""
    return f[k + 1] - 2.0 * f[k] + f[k - 1] > 1e-12 * (1.0 + f[k])


@helper
def _best_split(length, p, d, bends, counts, read):
    """(cost, j) of the best split of a segment whose first state is on disk."""
    best, j = 1.0 + d[length - 1] + read + p[1], 1
    cost = length - 1.0 + d[1] + read + p[length - 1]
    if cost < best:
        best, j = cost, length - 1
    for side in range(2):  # where p bends, and where d does
        for k in range(counts[side]):
            i = bends[side, k] if side == 0 else length - bends[side, k]
            if i < 1:
                break
            cost = i + d[length - i] + read + p[i]
            if cost < best:
                best, j = cost, i
    return best, j


@helper
def _stored(costs, bends, counts, read, split):
    """Fill P with P(l, m) and split with the best j (0: go on in memory) for one m, from D(l, m)."""
    memory_only, d, p = costs[0], costs[1], costs[2]
    counts[:] = 0
    for k in range(2, d.size - 1):
        if _bends(d, k):
            bends[1, counts[1]] = k
            counts[1] += 1
    for length in range(2, d.size):
        p[length], split[length] = memory_only[length], 0
        best, j = _best_split(length, p, d, bends, counts, read)
        if best < p[length]:
            p[length], split[length] = best, j
        if length > 2 and _bends(p, length - 1):
            bends[0, counts[0]] = length - 1
            counts[0] += 1


@kernel
def splits(memory, write, read, table, costs, bends, counts):
    """Where to split a segment of l steps with m more free slots on disk, as table[m, l]; returns the least cost.

    0: not at all, go on in memory. Negative: only if its first state is on disk already. To work with: zeros of
    float64 (3, n + 1), int64 (2, n + 1) and (2,), where table is int32 (disk, n + 1).
    """
    memory_only, d, p = costs[0], costs[1], costs[2]
    for k in range(1, d.size):
        d[k] = memory_only[k] = fewest_steps(k, memory)
    for m in range(table.shape[0]):
        _stored(costs, bends, counts, read, table[m])
        for k in range(2, d.size):
            d[k] = min(memory_only[k], write + p[k])
            if not d[k] < memory_only[k]:
                table[m, k] = -table[m, k]
    return d[-1]


@kernel
def listed_splits(table, stack, out):
    """The splits in the order in which the planner asks for them; their number (those beyond out are not kept).

    stack: int64 (disk + 2, 3) to work with: length, free slots on disk, whether the first state is on disk.
    """
    stack[0, 0], stack[0, 1], stack[0, 2] = table.shape[1] - 1, table.shape[0], 0
    depth, count = 1, 0
    while depth > 0:
        depth -= 1
        length, free, on_disk = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        if length <= 1:
            continue
        if on_disk == 0:
            free -= 1
        m = table[free, length] if free >= 0 else 0
        m = abs(m) if on_disk != 0 else max(m, 0)
        if count < out.size:
            out[count] = m
        count += 1
        if m > 0:
            stack[depth, 0], stack[depth, 1], stack[depth, 2] = m, free, 1
            stack[depth + 1, 0], stack[depth + 1, 1], stack[depth + 1, 2] = length - m, free, 0
            depth += 2
    return count
