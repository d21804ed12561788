"""Moving values between a contiguous array and a strided region of another array.

A region is (offset, shape, strides) in units of elements; strides may be zero, negative or overlapping. Five operations
suffice for the three primitives and their derivatives. c are the elements of the contiguous array, p those of the
region:

    take      c  = p        strided
    take_add  c += p        strided_add, reverse
    put       p  = c        assemble
    put_add   p += c        strided_add; strided, reverse
    take_out  c += p, p = 0   assemble, reverse

All use one walk: the last two dimensions are loops, and a mixed-radix counter without memory counts the others.
"""

from .flags import at, helper, kernel

_TAKE, _TAKE_ADD, _PUT, _PUT_ADD, _TAKE_OUT = range(5)
_STRIP = 64


@helper
def _take(c, c0, p, p0, n, stride):
    if stride == 1:
        for i in range(n):
            c[at(c0 + i)] = p[at(p0 + i)]
    else:
        for i in range(n):
            c[at(c0 + i)] = p[at(p0 + i * stride)]


@helper
def _take_add(c, c0, p, p0, n, stride):
    if stride == 1:
        for i in range(n):
            c[at(c0 + i)] += p[at(p0 + i)]
    else:
        for i in range(n):
            c[at(c0 + i)] += p[at(p0 + i * stride)]


@helper
def _put(c, c0, p, p0, n, stride):
    if stride == 1:
        for i in range(n):
            p[at(p0 + i)] = c[at(c0 + i)]
    else:
        for i in range(n):
            p[at(p0 + i * stride)] = c[at(c0 + i)]


@helper
def _lane_sum(c, c0, n):
    """Sum in four lanes, because a single running sum would wait for every addition."""
    a, b, d, e = 0.0, 0.0, 0.0, 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):
        a += c[at(c0 + i)]
        b += c[at(c0 + i + 1)]
        d += c[at(c0 + i + 2)]
        e += c[at(c0 + i + 3)]
    for i in range(whole, n):
        a += c[at(c0 + i)]
    return (a + b) + (d + e)


@helper
def _put_add(c, c0, p, p0, n, stride):
    if stride == 1:
        for i in range(n):
            p[at(p0 + i)] += c[at(c0 + i)]
    elif stride == 0:
        p[at(p0)] += _lane_sum(c, c0, n)
    else:
        for i in range(n):
            p[at(p0 + i * stride)] += c[at(c0 + i)]


@helper
def _take_out(c, c0, p, p0, n, stride):
    for i in range(n):
        c[at(c0 + i)] += p[at(p0 + i * stride)]
        p[at(p0 + i * stride)] = 0.0


@helper
def _row(mode, c, c0, p, p0, n, stride):
    if mode == _TAKE:
        _take(c, c0, p, p0, n, stride)
    elif mode == _TAKE_ADD:
        _take_add(c, c0, p, p0, n, stride)
    elif mode == _PUT:
        _put(c, c0, p, p0, n, stride)
    elif mode == _PUT_ADD:
        _put_add(c, c0, p, p0, n, stride)
    else:
        _take_out(c, c0, p, p0, n, stride)


@helper
def _block(mode, c, c0, p, p0, m, n, down, across):
    """Apply an operation to an (m, n) block. In the region, rows are `down` apart and columns `across`."""
    if down == n * across:
        _row(mode, c, c0, p, p0, m * n, across)
        return
    # With a stride across of a multiple of 512 bytes, the cache lines of a long row evict each other before the next
    # row can use them, so the block is done in strips (measured: 4 times faster for 2048 x 2048).
    width = _STRIP if across % 64 == 0 and across != 0 and n > _STRIP else n
    for j in range(0, n, width):
        count = width if width < n - j else n - j
        for i in range(m):
            _row(mode, c, c0 + i * n + j, p, p0 + i * down + j * across, count, across)


@helper
def _advance(s, base, outer, done):
    """How far the position moves after `done` blocks: one step in the last outer dimension, with carries."""
    move = 0
    for d in range(outer - 1, -1, -1):
        size, stride = s[base + 1 + d], s[base + 1 + outer + 2 + d]
        move += stride
        if done % size != 0:
            return move
        move -= size * stride
        done //= size
    return move


@helper
def _walk(mode, c, p, s, base, nd):
    """Apply an operation to all of c and the region s[base:] = (offset, shape, strides) of p."""
    position = s[base]
    if nd < 2:
        n = s[base + 1] if nd == 1 else 1
        across = s[base + 2] if nd == 1 else 1
        _row(mode, c, 0, p, position, n, across)
        return
    m, n = s[base + nd - 1], s[base + nd]
    down, across = s[base + 2 * nd - 1], s[base + 2 * nd]
    blocks = 1 if m * n else 0
    for d in range(nd - 2):
        blocks *= s[base + 1 + d]
    for b in range(blocks):
        _block(mode, c, b * m * n, p, position, m, n, down, across)
        position += _advance(s, base, nd - 2, b + 1)


@kernel
def strided_forward(out, x, y, s):
    """out[i0, ..] = x[offset + sum of i * stride]; s = (offset, shape, strides)."""
    _walk(_TAKE, out, x, s, 0, (len(s) - 1) // 2)
    return 0


@kernel
def strided_reverse(xb, yb, ob, x, y, o, s):
    _walk(_PUT_ADD, ob, xb, s, 0, (len(s) - 1) // 2)


@kernel
def strided_add_forward(out, x, y, s):
    """out = 0, then out[offset + sum of i * stride] += x[i0, ..]: the transpose of strided."""
    out[:] = 0.0
    _walk(_PUT_ADD, x, out, s, 0, (len(s) - 1) // 2)
    return 0


@kernel
def strided_add_reverse(xb, yb, ob, x, y, o, s):
    _walk(_TAKE_ADD, xb, ob, s, 0, (len(s) - 1) // 2)


@kernel
def assemble_forward(out, x, y, s):
    """Write one piece, x, into its region of out; s = (nd, offset, shape, strides), later pieces may follow.

    The caller zeroes out and calls this for each piece in order.
    """
    _walk(_PUT, x, out, s, 1, s[0])
    return 0


@kernel
def assemble_reverse(xb, yb, ob, x, y, o, s):
    """Move one piece's part of the adjoint ob into its adjoint; ob becomes zero there.

    The caller goes through the pieces from the last to the first, so an earlier piece gets zero where a later one
    overwrote it. The region of a piece must not overlap itself.
    """
    _walk(_TAKE_OUT, xb, ob, s, 1, s[0])
