"""Sets of small integers that share their members: what the elements of a program depend on.

Set k of a pool is `items[starts[k]:starts[k + 1]]`, in no order; set 0 is empty. A union that equals one of its parts
is that part, so most elements of a dense program share a few sets. Unions are found by marks: `marks[j]` is the number
of the last union that met member j. That takes time in proportion to the members, without sorting.

There is no memory to be had in a kernel: a union that finds no room returns NO_ROOM, and Python makes the pool larger.
"""

from .flags import at, helper
from .pattern_fields import MEMBERS, NO_ROOM, SETS, STAMP


@helper
def size_of(pool, k):
    """Number of members of a set."""
    return pool.starts[at(k + 1)] - pool.starts[at(k)]


@helper
def _add_set(pool, end):
    """The new set whose members were written behind all others, up to `end`."""
    n = pool.state[at(SETS)]
    pool.starts[at(n + 1)] = end
    pool.state[at(SETS)] = n + 1
    return n


@helper
def union_of_two(pool, a, b):
    """The union of two sets."""
    if a == b or b == 0:
        return a
    if a == 0:
        return b
    items, starts, marks, state = pool.items, pool.starts, pool.marks, pool.state
    first, second = starts[at(a)], starts[at(b)]
    n, m = starts[at(a + 1)] - first, starts[at(b + 1)] - second
    begin = starts[at(state[at(SETS)])]
    if begin + n + m > len(items) or state[at(SETS)] + 2 > len(starts):
        return NO_ROOM
    stamp = state[at(STAMP)] + 1
    state[at(STAMP)] = stamp
    end = begin
    for i in range(n):
        j = items[at(first + i)]
        marks[at(j)] = stamp
        items[at(end)] = j
        end += 1
    for i in range(m):
        j = items[at(second + i)]
        if marks[at(j)] != stamp:
            items[at(end)] = j
            end += 1
    if end == begin + n:
        return a
    if end == begin + m:
        return b
    return _add_set(pool, end)


@helper
def union_of_many(pool, ids, members, low, high):
    """The union of the sets ids[members[low:high]]."""
    items, starts, marks, state = pool.items, pool.starts, pool.marks, pool.state
    first, others = 0, False
    for k in range(low, high):
        s = ids[at(members[at(k)])]
        if s == 0 or s == first:
            continue
        if first != 0:
            others = True
            break
        first = s
    if not others:
        return first
    begin, stamp = starts[at(state[at(SETS)])], state[at(STAMP)] + 1
    state[at(STAMP)] = stamp
    if state[at(SETS)] + 2 > len(starts):
        return NO_ROOM
    end, last, largest = begin, 0, 0
    for k in range(low, high):
        s = ids[at(members[at(k)])]
        if s == 0 or s == last:
            continue
        last = s
        if largest == 0 or size_of(pool, s) > size_of(pool, largest):
            largest = s
        if size_of(pool, s) == state[at(MEMBERS)]:
            return s
        for i in range(starts[at(s)], starts[at(s + 1)]):
            j = items[at(i)]
            if marks[at(j)] != stamp:
                marks[at(j)] = stamp
                if end == len(items):
                    return NO_ROOM
                items[at(end)] = j
                end += 1
    if end - begin == size_of(pool, largest):
        return largest
    return _add_set(pool, end)
