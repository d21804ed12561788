"""One sweep over an op table that finds, for every element of every value, the set of inputs on which it depends.

A value's element k has its set in `ids[offset + k]` (see `sets`). Rows whose pattern needs more than what is here are
left to Python: `sweep` returns at them. A kernel that finds no room in the pool undoes its last row and says so.
"""

from .flags import at, helper, kernel
from .pattern_fields import ELEMENTWISE, NO_ROOM, OTHER, PIECES, SETS, VIEW
from .sets import union_of_many, union_of_two


@kernel
def sweep(pool, rows, row):
    """Do rows from `row` on. Returns the row at which it stopped, or -1 - row if that was for want of room."""
    n = len(rows.action)
    while row < n:
        action = rows.action[at(row)]
        before = pool.state[at(SETS)]
        if action == OTHER:
            return row
        if action == ELEMENTWISE:
            fits = _elementwise(pool, rows, row)
            if not fits:
                pool.state[at(SETS)] = before
                return -1 - row
        elif action == VIEW:
            start = rows.offset[at(row)]
            at_statics = rows.c[at(row)]
            _move(rows, at_statics + 1, rows.statics[at(at_statics)], start, rows.offset[at(rows.a[at(row)])], True)
        elif action == PIECES:
            _pieces(rows, row)
        row += 1
    return row


@helper
def _elementwise(pool, rows, row):
    """The union of the operands, element by element; false if there is no room."""
    mask, n, ids, out = rows.mask[at(row)], rows.size[at(row)], rows.ids, rows.offset[at(row)]
    done = False
    for k in range(3):
        if mask & (1 << k) == 0:
            continue
        operand = rows.a[at(row)] if k == 0 else rows.b[at(row)] if k == 1 else rows.c[at(row)]
        start, step = rows.offset[at(operand)], 1 if rows.size[at(operand)] == n else 0
        if not done:
            for i in range(n):
                ids[at(out + i)] = ids[at(start + i * step)]
            done = True
            continue
        last_x, last_y, last = 0, 0, 0
        for i in range(n):
            x, y = ids[at(out + i)], ids[at(start + i * step)]
            if x != last_x or y != last_y:
                last_x, last_y = x, y
                last = union_of_two(pool, x, y)
                if last == NO_ROOM:
                    return False
            ids[at(out + i)] = last
    return True


@helper
def _pieces(rows, row):
    """Pieces written into nothing, one after the other."""
    ids, out = rows.ids, rows.offset[at(row)]
    for i in range(rows.size[at(row)]):
        ids[at(out + i)] = 0
    place, end = rows.c[at(row)] + 1, rows.c[at(row)] + 1
    if rows.c[at(row)] >= 0:
        end += rows.statics[at(rows.c[at(row)])]
    k = rows.a[at(row)]
    while place < end:
        width = 1 + 2 * rows.statics[at(place)]
        _move(rows, place + 1, width, rows.offset[at(rows.operands[at(k)])], out, False)
        place, k = place + 1 + width, k + 1


@helper
def _move(rows, place, width, plain, strided, take):
    """Copy ids between a run from `plain` on and a region from `strided` on: out of the region if `take`.

    The region is statics[place:place + width]: offset, shape, strides.
    """
    ids, s, counter, nd = rows.ids, rows.statics, rows.counter, (width - 1) // 2
    total = 1
    for d in range(nd):
        total *= s[at(place + 1 + d)]
        counter[at(d)] = 0
    if total == 0:
        return
    p, done = strided + s[at(place)], 0
    n, stride = (s[at(place + nd)], s[at(place + 2 * nd)]) if nd > 0 else (1, 0)
    while True:
        for i in range(n):
            if take:
                ids[at(plain + done + i)] = ids[at(p + i * stride)]
            else:
                ids[at(p + i * stride)] = ids[at(plain + done + i)]
        done += n
        d = nd - 2
        while d >= 0:
            counter[at(d)] += 1
            p += s[at(place + 1 + nd + d)]
            if counter[at(d)] < s[at(place + 1 + d)]:
                break
            p -= counter[at(d)] * s[at(place + 1 + nd + d)]
            counter[at(d)] = 0
            d -= 1
        if d < 0:
            return


# ── single rows ───────────────────────────────────────────────────────────────────────────────────────────────
@kernel
def unite(pool, out, x, y):
    """out[i] = the union of x[i] and y[i]. Returns NO_ROOM or 0."""
    before = pool.state[at(SETS)]
    for i in range(len(out)):
        found = union_of_two(pool, x[at(i)], y[at(i)])
        if found == NO_ROOM:
            pool.state[at(SETS)] = before
            return NO_ROOM
        out[at(i)] = found
    return 0


@kernel
def product(pool, out, indptr, members, ids):
    """out[i] = the union of ids[members[indptr[i]:indptr[i + 1]]]. Returns NO_ROOM or 0."""
    before = pool.state[at(SETS)]
    for i in range(len(out)):
        found = union_of_many(pool, ids, members, indptr[at(i)], indptr[at(i + 1)])
        if found == NO_ROOM:
            pool.state[at(SETS)] = before
            return NO_ROOM
        out[at(i)] = found
    return 0


@kernel
def running(pool, out, x, outer, n, inner, backward):
    """Along the middle axis of (outer, n, inner), out is the union of x and of all before it. Returns NO_ROOM or 0."""
    before = pool.state[at(SETS)]
    for o in range(outer):
        for k in range(n):
            row = n - 1 - k if backward else k
            other = row + 1 if backward else row - 1
            for i in range(inner):
                place = (o * n + row) * inner + i
                found = x[at(place)]
                if k > 0:
                    found = union_of_two(pool, out[at((o * n + other) * inner + i)], found)
                if found == NO_ROOM:
                    pool.state[at(SETS)] = before
                    return NO_ROOM
                out[at(place)] = found
    return 0


@kernel
def bucket(indptr, members, labels):
    """Members of each label: members[indptr[l]:indptr[l + 1]] = where labels == l, in order. `indptr` is zeros at
    first. Negative labels are left out."""
    for i in range(len(labels)):
        if labels[at(i)] >= 0:
            indptr[at(labels[at(i)] + 1)] += 1
    for k in range(1, len(indptr)):
        indptr[at(k)] += indptr[at(k - 1)]
    for i in range(len(labels)):
        label = labels[at(i)]
        if label >= 0:
            members[at(indptr[at(label)])] = i
            indptr[at(label)] += 1
    for k in range(len(indptr) - 1, 0, -1):
        indptr[at(k)] = indptr[at(k - 1)]
    indptr[at(0)] = 0
    return 0


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────
@kernel
def fill(pool, ids, indptr, indices, column, by_column):
    """Indices of that matrix, sorted in each row: by way of its transpose. `column` is zeros of the number of columns
    plus 1, `by_column` has room for as many integers as `indices`."""
    items, starts = pool.items, pool.starts
    m = len(ids)
    if _is_sorted(pool, ids):
        for i in range(m):
            s = ids[at(i)]
            for k in range(starts[at(s + 1)] - starts[at(s)]):
                indices[at(indptr[at(i)] + k)] = items[at(starts[at(s)] + k)]
        return 0
    for i in range(m):
        s = ids[at(i)]
        for k in range(starts[at(s)], starts[at(s + 1)]):
            column[at(items[at(k)] + 1)] += 1
    for j in range(1, len(column)):
        column[at(j)] += column[at(j - 1)]
    for i in range(m):
        s = ids[at(i)]
        for k in range(starts[at(s)], starts[at(s + 1)]):
            j = items[at(k)]
            by_column[at(column[at(j)])] = i
            column[at(j)] += 1
    begin = 0
    for j in range(len(column) - 1):
        for k in range(begin, column[at(j)]):
            i = by_column[at(k)]
            indices[at(indptr[at(i)])] = j
            indptr[at(i)] += 1
        begin = column[at(j)]
    for i in range(m, 0, -1):
        indptr[at(i)] = indptr[at(i - 1)]
    indptr[at(0)] = 0
    return 0


@helper
def _is_sorted(pool, ids):
    for i in range(len(ids)):
        s = ids[at(i)]
        for k in range(pool.starts[at(s)] + 1, pool.starts[at(s + 1)]):
            if pool.items[at(k)] < pool.items[at(k - 1)]:
                return False
    return True
