"""Reductions over the middle axis of an (outer, n, inner) array: sum, amax, amin, argmax, argmin.

Statics: s = (outer, n, inner). A contiguous sum runs in eight lanes: independent running sums, which the processor
computes in parallel. The totals of blocks of 512 values are added with compensation, so the error hardly grows with the
length.
"""

from .flags import at, helper, kernel

_BLOCK = 512


@helper
def _lanes(x, x0, n):
    """Sum of n contiguous values in eight lanes."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % 8
    for j in range(x0, x0 + whole, 8):
        a += x[at(j)]
        b += x[at(j + 1)]
        c += x[at(j + 2)]
        d += x[at(j + 3)]
        e += x[at(j + 4)]
        f += x[at(j + 5)]
        g += x[at(j + 6)]
        h += x[at(j + 7)]
    total = ((a + e) + (c + g)) + ((b + f) + (d + h))
    for j in range(x0 + whole, x0 + n):
        total += x[at(j)]
    return total


@helper
def _add_exactly(a, b):
    """Knuth's TwoSum: a + b rounded, and the rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@helper
def _long_sum(x, x0, n):
    """Sum of n contiguous values, block by block with compensation."""
    total, lost = 0.0, 0.0
    for j in range(0, n, _BLOCK):
        count = _BLOCK if n - j > _BLOCK else n - j
        total, error = _add_exactly(total, _lanes(x, x0 + j, count))
        lost += error
    # After an infinity or an overflow the compensation is NaN, although the total is right.
    return total + lost if lost - lost == 0.0 else total


@helper
def _sum_rows(out, x, outer, n):
    for o in range(outer):
        out[at(o)] = _lanes(x, o * n, n) if n <= _BLOCK else _long_sum(x, o * n, n)


@helper
def _sum_columns(out, x, n, inner, o):
    """Add the rows of an (n, inner) block, four at a time, so that out is read and written less often."""
    r0, x0 = o * inner, o * n * inner
    for i in range(inner):
        out[at(r0 + i)] = 0.0
    whole = n - n % 4
    for j in range(0, whole, 4):
        k = x0 + j * inner
        for i in range(inner):
            a = x[at(k + i)] + x[at(k + inner + i)]
            b = x[at(k + 2 * inner + i)] + x[at(k + 3 * inner + i)]
            out[at(r0 + i)] += a + b
    for j in range(whole, n):
        k = x0 + j * inner
        for i in range(inner):
            out[at(r0 + i)] += x[at(k + i)]


@kernel
def sum_forward(out, x, y, s):
    """out[o, i] = sum over j of x[o, j, i]."""
    outer, n, inner = s[0], s[1], s[2]
    if inner == 1:
        _sum_rows(out, x, outer, n)
    else:
        for o in range(outer):
            _sum_columns(out, x, n, inner, o)
    return 0


@kernel
def sum_reverse(xb, yb, ob, x, y, o, s):
    outer, n, inner = s[0], s[1], s[2]
    for p in range(outer):
        if inner == 1:
            g = ob[at(p)]
            for j in range(p * n, p * n + n):
                xb[at(j)] += g
        else:
            for j in range(n):
                k = (p * n + j) * inner
                for i in range(inner):
                    xb[at(k + i)] += ob[at(p * inner + i)]


@helper
def _larger(a, b):
    """The larger of a and b, or NaN if either is NaN, without a branch."""
    return b if (b > a) | (b != b) else a


@helper
def _row_extreme(x, x0, n, sign):
    """The largest (sign 1) or smallest (sign −1) of n > 0 contiguous values, in four lanes."""
    a = sign * x[at(x0)]
    b, c, d = a, a, a
    whole = n - n % 4
    for j in range(x0, x0 + whole, 4):
        a = _larger(a, sign * x[at(j)])
        b = _larger(b, sign * x[at(j + 1)])
        c = _larger(c, sign * x[at(j + 2)])
        d = _larger(d, sign * x[at(j + 3)])
    for j in range(x0 + whole, x0 + n):
        a = _larger(a, sign * x[at(j)])
    return sign * _larger(_larger(a, b), _larger(c, d))


@helper
def _extreme(out, x, s, sign):
    outer, n, inner = s[0], s[1], s[2]
    if n == 0 and outer * inner > 0:
        return 1
    for o in range(outer):
        if inner == 1:
            out[at(o)] = _row_extreme(x, o * n, n, sign)
            continue
        r0 = o * inner
        for i in range(inner):
            out[at(r0 + i)] = x[at(r0 * n + i)]
        for j in range(1, n):
            k = r0 * n + j * inner
            for i in range(inner):
                out[at(r0 + i)] = sign * _larger(sign * out[at(r0 + i)], sign * x[at(k + i)])
    return 0


@helper
def _share(xb, g, x, extreme, x0, step, n):
    """Split g evenly among the values that equal the extreme (all that are NaN, if it is NaN)."""
    ties = 0
    for j in range(n):
        v = x[at(x0 + j * step)]
        ties += v == extreme or (v != v and extreme != extreme)
    part = g / ties
    for j in range(n):
        v = x[at(x0 + j * step)]
        if v == extreme or (v != v and extreme != extreme):
            xb[at(x0 + j * step)] += part


@helper
def _extreme_reverse(xb, ob, x, o, s):
    outer, n, inner = s[0], s[1], s[2]
    for p in range(outer):
        for i in range(inner):
            r = p * inner + i
            _share(xb, ob[at(r)], x, o[at(r)], p * n * inner + i, inner, n)


@kernel
def amax_forward(out, x, y, s):
    """out[o, i] = the largest x[o, :, i], or NaN if any is NaN. An error if n is 0."""
    return _extreme(out, x, s, 1.0)


@kernel
def amax_reverse(xb, yb, ob, x, y, o, s):
    """The adjoint goes to the largest value, in equal parts if several are largest."""
    _extreme_reverse(xb, ob, x, o, s)


@kernel
def amin_forward(out, x, y, s):
    """out[o, i] = the smallest x[o, :, i], or NaN if any is NaN. An error if n is 0."""
    return _extreme(out, x, s, -1.0)


@kernel
def amin_reverse(xb, yb, ob, x, y, o, s):
    """The adjoint goes to the smallest value, in equal parts if several are smallest."""
    _extreme_reverse(xb, ob, x, o, s)


@helper
def _where_extreme(x, x0, step, n, sign):
    """Index of the first extreme, or of the first NaN if there is one."""
    best, where = x[at(x0)], 0
    for j in range(n):
        v = x[at(x0 + j * step)]
        if v != v:
            return j
        if sign * v > sign * best:
            best, where = v, j
    return where


@helper
def _first(x, x0, n, value):
    """Index of the first x that equals value, or that is NaN if value is NaN."""
    for j in range(n):
        v = x[at(x0 + j)]
        if v == value or (v != v and value != value):
            return j
    return 0


@helper
def _arg_extreme(out, x, s, sign):
    outer, n, inner = s[0], s[1], s[2]
    if n == 0 and outer * inner > 0:
        return 1
    for o in range(outer):
        if inner == 1:
            out[at(o)] = _first(x, o * n, n, _row_extreme(x, o * n, n, sign))
            continue
        for i in range(inner):
            out[at(o * inner + i)] = _where_extreme(x, o * n * inner + i, inner, n, sign)
    return 0


@kernel
def argmax_forward(out, x, y, s):
    """out[o, i] = the first j with the largest x[o, j, i], where NaN counts as largest. An error if n is 0."""
    return _arg_extreme(out, x, s, 1.0)


@kernel
def argmin_forward(out, x, y, s):
    """out[o, i] = the first j with the smallest x[o, j, i], where NaN counts as smallest. An error if n is 0."""
    return _arg_extreme(out, x, s, -1.0)


@helper
def _extremum_tangent(out, dx, x, o, s):
    """The mean of the tangents of the values that equal the extreme (all NaN, if it is NaN)."""
    outer, n, inner = s[0], s[1], s[2]
    for p in range(outer):
        for i in range(inner):
            r = p * inner + i
            extreme, total, ties = o[at(r)], 0.0, 0.0
            for j in range(n):
                k = (p * n + j) * inner + i
                v = x[at(k)]
                if v == extreme or (v != v and extreme != extreme):
                    total += dx[at(k)]
                    ties += 1.0
            out[at(r)] = total / ties


@helper
def amax_tangent(dout, dx, dy, x, y, o, s, choice, w):
    _extremum_tangent(dout, dx, x, o, s)


@helper
def amin_tangent(dout, dx, dy, x, y, o, s, choice, w):
    _extremum_tangent(dout, dx, x, o, s)
