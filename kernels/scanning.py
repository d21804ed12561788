"""Running sums and linear recurrences along the middle axis of an (outer, n, inner) array.

Statics: s = (outer, n, inner, reverse). The adjoint reads the rows in the opposite order. With inner = 1 the running
value stays in a register; otherwise it is the row that was written last.
"""

from .flags import at, helper, kernel


@helper
def _ends(n, backwards):
    """(first row, step) of a walk along the axis."""
    return (n - 1, -1) if backwards else (0, 1)


@kernel
def cumsum_forward(out, x, y, s):
    """out[o, j, i] = sum of x[o, k, i] over k <= j (k >= j if reverse)."""
    outer, n, inner = s[0], s[1], s[2]
    first, step = _ends(n, s[3] != 0)
    for o in range(outer):
        j = o * n + first
        if inner == 1:
            total = 0.0
            for _ in range(n):
                total += x[at(j)]
                out[at(j)] = total
                j += step
            continue
        for k in range(n):
            row, last = j * inner, (j - step) * inner
            for i in range(inner):
                out[at(row + i)] = x[at(row + i)] + (out[at(last + i)] if k > 0 else 0.0)
            j += step
    return 0


@kernel
def cumsum_reverse(xb, yb, ob, x, y, o, s):
    """The adjoint of a running sum is the running sum of the adjoints from the other end, computed in place."""
    outer, n, inner = s[0], s[1], s[2]
    first, step = _ends(n, s[3] == 0)
    for p in range(outer):
        j = p * n + first
        for k in range(n):
            row, last = j * inner, (j - step) * inner
            for i in range(inner):
                if k > 0:
                    ob[at(row + i)] += ob[at(last + i)]
                xb[at(row + i)] += ob[at(row + i)]
            j += step


@kernel
def linrec_forward(out, x, y, s):
    """z_k = x_k z_{k-1} + y_k along the axis, from z_{-1} = 0; if reverse, z_k = x_k z_{k+1} + y_k from the end."""
    outer, n, inner = s[0], s[1], s[2]
    first, step = _ends(n, s[3] != 0)
    for o in range(outer):
        j = o * n + first
        if inner == 1:
            z = 0.0
            for k in range(n):
                # The first x is not used: inf * 0 would be NaN.
                z = x[at(j)] * z + y[at(j)] if k > 0 else y[at(j)]
                out[at(j)] = z
                j += step
            continue
        for k in range(n):
            row, last = j * inner, (j - step) * inner
            for i in range(inner):
                z = x[at(row + i)] * out[at(last + i)] if k > 0 else 0.0
                out[at(row + i)] = z + y[at(row + i)]
            j += step
    return 0


@kernel
def linrec_reverse(xb, yb, ob, x, y, o, s):
    """With r_k = ob_k + x_{k+1} r_{k+1}, from the last row to the first: yb_k += r_k, xb_k += r_k z_{k-1}.

    r takes the place of ob.
    """
    outer, n, inner = s[0], s[1], s[2]
    first, step = _ends(n, s[3] == 0)
    for p in range(outer):
        j = p * n + first
        for k in range(n):
            row, last, earlier = j * inner, (j - step) * inner, (j + step) * inner
            for i in range(inner):
                if k > 0:
                    ob[at(row + i)] += x[at(last + i)] * ob[at(last + i)]
                if len(yb) > 0:
                    yb[at(row + i)] += ob[at(row + i)]
                if len(xb) > 0 and k < n - 1:
                    xb[at(row + i)] += ob[at(row + i)] * o[at(earlier + i)]
            j += step


@helper
def linrec_tangent(dout, dx, dy, x, y, o, s, choice, w):
    """With z_k = x_k z_{k-1} + y_k: dz_k = x_k dz_{k-1} + dx_k z_{k-1} + dy_k."""
    outer, n, inner = s[0], s[1], s[2]
    first, step = (n - 1, -1) if s[3] != 0 else (0, 1)
    for p in range(outer):
        j = p * n + first
        for k in range(n):
            row, last = j * inner, (j - step) * inner
            for i in range(inner):
                t = dy[at(row + i)]
                if k > 0:
                    t += x[at(row + i)] * dout[at(last + i)] + dx[at(row + i)] * o[at(last + i)]
                dout[at(row + i)] = t
            j += step
