"""The cheapest adjoint of a loop with slots in memory and on disk, where writing to disk and reading from it cost time.

Costs are in forward steps; memory is free. With c slots in memory and m free slots on disk, the costs of l steps whose
first state is the current one are D; if that state is also in a slot on disk, they are P:

    D(l, m) = min(t(l, c), write + P(l, m − 1))            D(l, 0) = t(l, c), Revolve's optimum
    P(l, m) = min(t(l, c), min over 0 < j < l of j + D(l − j, m) + read + P(j, m))

Herrmann & Pallez (2020), H-Revolve, ACM TOMS 46(2), for two levels. With enough slots on disk, D and P do not depend on
m. All functions of l are nearly piecewise linear. Except at the ends, a sum of a function of j and a function of l − j
has a minimum only where one of the two bends upwards, so only these bends are tried: far fewer than l.

Lengths are in units of one step, or of several steps for long loops.
"""

from .flags import helper, kernel
from .segments import fewest_steps


@helper
def _bends(f, k):
    """Whether f bends upwards at k by more than rounding errors."""
    return f[k + 1] - 2.0 * f[k] + f[k - 1] > 1e-12 * (1.0 + f[k])


@helper
def _best_split(length, unit, p, d, bends, counts, read):
    """(cost, j) of the best split of a segment whose first state is on disk."""
    best, j = unit + d[length - 1] + read + p[1], 1
    cost = (length - 1.0) * unit + d[1] + read + p[length - 1]
    if cost < best:
        best, j = cost, length - 1
    for side in range(2):  # where p bends, and where d does
        for k in range(counts[side]):
            i = bends[side, k] if side == 0 else length - bends[side, k]
            cost = i * unit + d[length - i] + read + p[i]
            if cost < best:
                best, j = cost, i
    return best, j


@helper
def _note_bend(f, length, bends, counts, side):
    """Note whether f, known up to `length`, bends upwards just before."""
    if length > 2 and _bends(f, length - 1):
        bends[side, counts[side]] = length - 1
        counts[side] += 1


@helper
def _stored(unit, write, read, unlimited, costs, bends, counts, split):
    """Fill P with P(l, m) and `split` with the best j, for one m, from D(l, m). If `unlimited`, for any m, and fill D
    too."""
    memory_only, d, p = costs[0], costs[1], costs[2]
    counts[:] = 0
    p[1] = memory_only[1]
    for length in range(2, d.size):
        p[length], split[length] = memory_only[length], 0
        best, j = _best_split(length, unit, p, d, bends, counts, read)
        if best < p[length]:
            p[length], split[length] = best, j
        if unlimited:
            d[length] = min(memory_only[length], write + p[length])
        _note_bend(p, length, bends, counts, 0)
        _note_bend(d, length, bends, counts, 1)


@kernel
def splits(memory, unit, write, read, unlimited, table, work):
    """Write to table[m, l] where to split a segment of l units with m more free slots on disk.

    0: do not split, continue in memory. Negative: split only if the first state is on disk already. If `unlimited`,
    table[0, l] is for as many slots as can be of use. `table` is int32 of shape (disk, n + 1). `work` are zeros:
    float64 of shape (3, n + 1), int64 of shapes (2, n + 1) and (2,).
    """
    costs, bends, counts = work
    memory_only, d, p = costs[0], costs[1], costs[2]
    for k in range(1, d.size):
        d[k] = memory_only[k] = fewest_steps(k * unit, memory)
    for m in range(table.shape[0]):
        _stored(unit, write, read, unlimited, costs, bends, counts, table[m])
        for k in range(2, d.size):
            d[k] = min(memory_only[k], write + p[k])
            if not d[k] < memory_only[k]:
                table[m, k] = -table[m, k]


@helper
def _set(segment, length, free, on_disk):
    segment.length, segment.free, segment.on_disk = length, free, on_disk


@kernel
def listed_splits(table, length, unit, unlimited, stack, out):
    """Write the splits of a segment to `out`, in the order in which the planner reads them, as many as fit.

    Returns their number, and how many slots on disk are in use at once. `stack` is work memory, the records SEGMENT
    of one segment more than slots in use.
    """
    _set(stack[0], length, table.shape[0], 0)
    depth, count, used = 1, 0, 0
    while depth > 0:
        depth -= 1
        top = stack[depth]
        length, free, on_disk = top.length, top.free, top.on_disk
        if length <= 1:
            continue
        if on_disk == 0 and not unlimited:
            free -= 1
        m = table[0 if unlimited else free, -(-length // unit)] if unlimited or free >= 0 else 0
        m = unit * (abs(m) if on_disk != 0 else max(m, 0))
        if count < out.size:
            out[count] = m
        count += 1
        if m > 0:
            _set(top, m, free, 1)
            _set(stack[depth + 1], length - m, free, 0)
            depth += 2
            used = max(used, depth - 1)
    return count, used
