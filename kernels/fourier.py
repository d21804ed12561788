"""Discrete Fourier transforms along the middle axis of (outer, 2, n, inner): real and imaginary parts in turn.

Stockham's transform sorts itself (Cochran et al. 1967, "What is the fast Fourier transform?"; Van Loan 1992,
"Computational Frameworks for the Fast Fourier Transform", section 1.7). A pass of radix r takes numbers at
q + s (p + m j), j < r, to q + s (r p + j), for p < m and q < s, where r m s is n times inner; s begins with inner and
is multiplied by r. The innermost loop over q is over neighbours, so it becomes SIMD code, but in the first pass along a
last axis.

The second operand holds the roots of unity exp(2πi k/n): n cosines, then n sines.
"""

from .flags import at, helper, kernel


@helper
def _radix(m):
    """The radix of the next pass, for m left: 4, 2, 3, 5, or the least prime."""
    if m % 4 == 0:
        return 4
    if m % 2 == 0:
        return 2
    r = 3
    while m % r != 0:
        r = m if r * r > m else r + 2
    return r


@helper
def _pass2(y, x, roots, m, s, sign):
    n, plane = len(roots) // 2, len(y) // 2
    step = n // (2 * m)
    for p in range(m):
        c, d = roots[at(p * step)], sign * roots[at(n + p * step)]
        k, o = s * p, 2 * s * p
        for q in range(s):
            ar, ai = x[at(k + q)], x[at(plane + k + q)]
            br, bi = x[at(k + s * m + q)], x[at(plane + k + s * m + q)]
            y[at(o + q)], y[at(plane + o + q)] = ar + br, ai + bi
            ur, ui = ar - br, ai - bi
            y[at(o + s + q)], y[at(plane + o + s + q)] = ur * c - ui * d, ur * d + ui * c


@helper
def _pass3(y, x, roots, m, s, sign):
    n, plane = len(roots) // 2, len(y) // 2
    step = n // (3 * m)
    half = sign * 0.8660254037844386  # sin 60°
    for p in range(m):
        c1, d1 = roots[at(p * step)], sign * roots[at(n + p * step)]
        c2, d2 = roots[at(2 * p * step)], sign * roots[at(n + 2 * p * step)]
        k, o = s * p, 3 * s * p
        for q in range(s):
            ar, ai = x[at(k + q)], x[at(plane + k + q)]
            br, bi = x[at(k + s * m + q)], x[at(plane + k + s * m + q)]
            cr, ci = x[at(k + 2 * s * m + q)], x[at(plane + k + 2 * s * m + q)]
            er, ei = br + cr, bi + ci
            y[at(o + q)], y[at(plane + o + q)] = ar + er, ai + ei
            er, ei = ar - 0.5 * er, ai - 0.5 * ei
            hr, hi = -half * (bi - ci), half * (br - cr)
            ur, ui = er + hr, ei + hi
            y[at(o + s + q)], y[at(plane + o + s + q)] = ur * c1 - ui * d1, ur * d1 + ui * c1
            ur, ui = er - hr, ei - hi
            y[at(o + 2 * s + q)], y[at(plane + o + 2 * s + q)] = ur * c2 - ui * d2, ur * d2 + ui * c2


@helper
def _pass4(y, x, roots, m, s, sign):
    n, plane = len(roots) // 2, len(y) // 2
    step = n // (4 * m)
    for p in range(m):
        c1, d1 = roots[at(p * step)], sign * roots[at(n + p * step)]
        c2, d2 = roots[at(2 * p * step)], sign * roots[at(n + 2 * p * step)]
        c3, d3 = roots[at(3 * p * step)], sign * roots[at(n + 3 * p * step)]
        k, o = s * p, 4 * s * p
        for q in range(s):
            ar, ai = x[at(k + q)], x[at(plane + k + q)]
            br, bi = x[at(k + s * m + q)], x[at(plane + k + s * m + q)]
            cr, ci = x[at(k + 2 * s * m + q)], x[at(plane + k + 2 * s * m + q)]
            dr, di = x[at(k + 3 * s * m + q)], x[at(plane + k + 3 * s * m + q)]
            er, ei, fr, fi = ar + cr, ai + ci, ar - cr, ai - ci
            gr, gi, hr, hi = br + dr, bi + di, -sign * (bi - di), sign * (br - dr)
            y[at(o + q)], y[at(plane + o + q)] = er + gr, ei + gi
            ur, ui = fr + hr, fi + hi
            y[at(o + s + q)], y[at(plane + o + s + q)] = ur * c1 - ui * d1, ur * d1 + ui * c1
            ur, ui = er - gr, ei - gi
            y[at(o + 2 * s + q)], y[at(plane + o + 2 * s + q)] = ur * c2 - ui * d2, ur * d2 + ui * c2
            ur, ui = fr - hr, fi - hi
            y[at(o + 3 * s + q)], y[at(plane + o + 3 * s + q)] = ur * c3 - ui * d3, ur * d3 + ui * c3


@helper
def _pass_odd(y, x, roots, r, m, s, sign):
    """Any odd radix: numbers j and r - j are added and subtracted first, which halves the products."""
    n, plane = len(roots) // 2, len(y) // 2
    step = n // (r * m)
    turn = n // r
    for p in range(m):
        for j in range(r):
            c, d = roots[at(j * p * step)], sign * roots[at(n + j * p * step)]
            k, o = s * p, s * (r * p + j)
            for q in range(s):
                ur, ui = x[at(k + q)], x[at(plane + k + q)]
                for i in range(1, r // 2 + 1):
                    t = (i * j) % r * turn
                    a, b = k + s * m * i + q, k + s * m * (r - i) + q
                    e, f = roots[at(t)], sign * roots[at(n + t)]
                    ur += (x[at(a)] + x[at(b)]) * e - (x[at(plane + a)] - x[at(plane + b)]) * f
                    ui += (x[at(plane + a)] + x[at(plane + b)]) * e + (x[at(a)] - x[at(b)]) * f
                y[at(o + q)], y[at(plane + o + q)] = ur * c - ui * d, ur * d + ui * c


@helper
def _passes(n):
    count = 0
    while n > 1:
        n //= _radix(n)
        count += 1
    return count


@kernel
def fourier_forward(out, x, y, s, w):
    """out[o, k, i] = sum over j of x[o, j, i] exp(±2πi jk/n), with + where the last static integer is 1."""
    outer, n, inner = s[0], s[1], s[2]
    sign = 1.0 if s[3] != 0 else -1.0
    size = 2 * n * inner
    passes = _passes(n)
    for k in range(outer):
        source, own = x[k * size : (k + 1) * size], out[k * size : (k + 1) * size]
        if passes == 0:
            for i in range(size):
                own[at(i)] = source[at(i)]
        m, step = n, inner
        for left in range(passes - 1, -1, -1):
            target = own if left % 2 == 0 else w[:size]
            r = _radix(m)
            m //= r
            if r == 4:
                _pass4(target, source, y, m, step, sign)
            elif r == 2:
                _pass2(target, source, y, m, step, sign)
            elif r == 3:
                _pass3(target, source, y, m, step, sign)
            else:
                _pass_odd(target, source, y, r, m, step, sign)
            step *= r
            source = target
    return 0
