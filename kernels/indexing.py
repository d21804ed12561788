"""Indexing by computed values, and guards. Every index is checked.

An index is a float64 that must be an integer in [0, size). NaN, fractions and other values are errors.
"""

from .flags import at, helper, kernel


@helper
def _valid(v, size):
    """Whether v is an integer in [0, size)."""
    # Compared as a float first, because the conversion of NaN or 1e300 to an integer is undefined.
    return v >= 0.0 and v < size and float(int(v)) == v


_WHOLE = 2.0**52  # from here on there are no fractions
_BLOCK = 512  # indices that are checked before they are used: they stay in the first cache meanwhile


@helper
def _are_valid(y, first, last, size):
    """Whether y[first:last] are integers in [0, size). Without a branch, so that several are looked at together."""
    wrong = False
    for j in range(first, last):
        v = y[at(j)]
        wrong |= not ((v >= 0.0) & (v < size) & ((v + _WHOLE) - _WHOLE == v))
    return not wrong


@helper
def _take(out, x, y, first, last):
    for j in range(first, last):
        out[at(j)] = x[at(int(y[at(j)]))]


@helper
def _rows(length, inner):
    return length // inner if inner > 0 else 0


@kernel
def gather_forward(out, x, y, s):
    """out[j, :] = x[y[j], :] for rows of s[0] (inner) values. Returns 1 if an index is invalid."""
    inner = s[0]
    if inner == 0:
        return 0
    size = float(_rows(len(x), inner))
    for first in range(0, len(y), _BLOCK):
        last = min(first + _BLOCK, len(y))
        if not _are_valid(y, first, last, size):
            return 1
        if inner == 1:
            _take(out, x, y, first, last)
            continue
        for j in range(first, last):
            k = int(y[at(j)]) * inner
            for i in range(inner):
                out[at(j * inner + i)] = x[at(k + i)]
    return 0


@kernel
def gather_reverse(xb, yb, ob, x, y, o, s):
    inner = s[0]
    size = float(_rows(len(xb), inner))
    for j in range(len(y)):
        if _valid(y[at(j)], size):
            k = int(y[at(j)]) * inner
            for i in range(inner):
                xb[at(k + i)] += ob[at(j * inner + i)]


@helper
def _add(out, x, y, first, last):
    for j in range(first, last):
        out[at(int(y[at(j)]))] += x[at(j)]


@helper
def _add_rows(out, x, y, inner):
    """out[y[j], :] += x[j, :] for rows of inner values. Returns 1 if an index is invalid."""
    size = float(_rows(len(out), inner))
    for first in range(0, len(y), _BLOCK):
        last = min(first + _BLOCK, len(y))
        if not _are_valid(y, first, last, size):
            return 1
        if inner == 1:
            _add(out, x, y, first, last)
            continue
        for j in range(first, last):
            k = int(y[at(j)]) * inner
            for i in range(inner):
                out[at(k + i)] += x[at(j * inner + i)]
    return 0


@kernel
def scatter_add_forward(out, x, y, s):
    """out = 0, then out[y[j], :] += x[j, :] for rows of s[0] (inner) values. Returns 1 if an index is invalid."""
    out[:] = 0.0
    return _add_rows(out, x, y, s[0]) if s[0] > 0 else 0


@kernel
def scatter_add_reverse(xb, yb, ob, x, y, o, s):
    inner = s[0]
    size = float(_rows(len(ob), inner)) if len(xb) > 0 else 0.0
    for j in range(len(y)):
        if _valid(y[at(j)], size):
            k = int(y[at(j)]) * inner
            for i in range(inner):
                xb[at(j * inner + i)] += ob[at(k + i)]


@kernel
def wrap_index_forward(out, x, y, s):
    """out = x, or x + n where x is negative; s = (n,). Returns 1 unless all results are integers in [0, n)."""
    size = float(s[0])
    for first in range(0, len(x), _BLOCK):
        last = min(first + _BLOCK, len(x))
        for j in range(first, last):
            v = x[at(j)]
            out[at(j)] = v + size if v < 0.0 else v
        if not _are_valid(out, first, last, size):
            return 1
    return 0


@kernel
def guard_forward(out, x, y, s):
    """2 (a failed guard) if any x differs from y (NaN equals NaN); a y of one value is compared with every x."""
    single = len(y) == 1
    for j in range(len(x)):
        v = x[at(j)]
        w = y[at(0)] if single else y[at(j)]
        if v != w and (v == v or w == w):
            return 2
    return 0


@helper
def _start_from(out, x):
    """out = x, unless it stands in x's place already."""
    if out.ctypes.data != x.ctypes.data:
        for i in range(len(x)):
            out[at(i)] = x[at(i)]


@kernel
def put_blocks_forward(out, x, y, z, s):
    """out = x, then out[z[j], :] = y[j, :] in the order of j, for rows of s[0] (inner) values. Returns 1 if an index is
    invalid. Where out is x only y's places are written."""
    _start_from(out, x)
    inner = s[0]
    size = float(_rows(len(out), inner))
    for j in range(len(z)):
        v = z[at(j)]
        if not _valid(v, size):
            return 1
        k = int(v) * inner
        for i in range(inner):
            out[at(k + i)] = y[at(j * inner + i)]
    return 0


@kernel
def add_blocks_forward(out, x, y, z, s):
    """out = x, then out[z[j], :] += y[j, :], as `put_blocks`."""
    _start_from(out, x)
    return _add_rows(out, y, z, s[0])
