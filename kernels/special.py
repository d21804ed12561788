"""Special functions for GPUs, where SciPy's are not, and NVIDIA's library has none of the name.

They compute what the functions of scipy.special with these names do, most by Cephes' methods (Moshier, Methods and
Programs for Mathematical Functions, 1989). Series and fractions end where a term changes nothing, in float64 and in
float32.
"""

import math

from .flags import helper
from .memory import ExternalFunction, types

_lgamma = ExternalFunction("lgamma", types.float64(types.float64))
_tgamma = ExternalFunction("tgamma", types.float64(types.float64))
_erfc = ExternalFunction("erfc", types.float64(types.float64))
_erfcx = ExternalFunction("fastad_erfcx", types.float64(types.float64))
_i0 = ExternalFunction("fastad_i0", types.float64(types.float64))
_i1 = ExternalFunction("fastad_i1", types.float64(types.float64))

_EULER = 0.5772156649015329
_MOST = 10_000  # terms of a series
_TINY = 1e-30  # in place of a denominator that is 0


@helper
def _is_one(x):
    """To rounding, which the factors of a fraction may never lose."""
    return 1.0 + 0.5 * abs(x - 1.0) == 1.0


# ── the gamma function and its relatives ──────────────────────────────────────────────────────────────────────
@helper
def _is_pole(x):
    return x <= 0.0 and float(math.floor(x)) == x


@helper
def psi(x):
    """The logarithmic derivative of Γ: by reflection, recurrence, and the asymptotic series (Abramowitz & Stegun,
    6.3)."""
    if x == 0.0:
        return -1.0 / x
    if x != x or x <= -9007199254740992.0 or (x < 0.0 and float(math.floor(x)) == x):
        return float("nan")
    result = 0.0
    if x < 0.0:
        result = -math.pi / math.tan(math.pi * (x - float(math.floor(x))))
        x = 1.0 - x
    while x < 12.0:
        result -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    tail = 691.0 / 32760.0 - y / 12.0
    tail = 1.0 / 240.0 - y * (1.0 / 132.0 - y * tail)
    tail = 1.0 / 12.0 - y * (1.0 / 120.0 - y * (1.0 / 252.0 - y * tail))
    return result + math.log(x) - 0.5 / x - y * tail


@helper
def _bernoulli(i):
    """(2i + 2)! / B₂ᵢ₊₂."""
    if i < 4:
        return 12.0 if i == 0 else (-720.0 if i == 1 else (30240.0 if i == 2 else -1209600.0))
    if i < 8:
        low = 47900160.0 if i == 4 else -1.8924375803183791606e9
        return low if i < 6 else (7.47242496e10 if i == 6 else -2.950130727918164224e12)
    low = 1.1646782814350067249e14 if i == 8 else -4.5979787224074726105e15
    return low if i < 10 else (1.8152105401943546773e17 if i == 10 else -7.1661652561756670113e18)


@helper
def zeta(x, q):
    """Hurwitz' ζ, the sum of (q + k)⁻ˣ, by Euler and Maclaurin's formula."""
    if x == 1.0:
        return float("inf")
    if not x > 1.0 or q != q:
        return float("nan")
    if q <= 0.0:
        if float(math.floor(q)) == q:
            return float("inf")
        if float(math.floor(x)) != x:
            return float("nan")
    if q > 1e8:
        return (1.0 / (x - 1.0) + 1.0 / (2.0 * q)) * q ** (1.0 - x)
    total, a, b, i = q**-x, q, 0.0, 0
    while i < 9 or a <= 9.0:
        i += 1
        a += 1.0
        b = a**-x
        total += b
        if total + b == total:
            return total
    w = a
    total += b * w / (x - 1.0) - 0.5 * b
    factor, k = 1.0, 0.0
    for j in range(12):
        factor *= x + k
        b /= w
        term = factor * b / _bernoulli(j)
        total += term
        if total + term == total:
            return total
        k += 1.0
        factor *= x + k
        b /= w
        k += 1.0
    return total


@helper
def gammasgn(x):
    """The sign of Γ."""
    if x != x:
        return x
    if x > 0.0:
        return 1.0
    if x == 0.0:
        return 1.0 if 1.0 / x > 0.0 else -1.0
    low = float(math.floor(x))
    if low == x:
        return float("nan")
    return -1.0 if 2.0 * float(math.floor(0.5 * low)) != low else 1.0


@helper
def rgamma(x):
    """1 / Γ."""
    if x <= 0.0 and float(math.floor(x)) == x:
        return 0.0
    if abs(x) > 170.0:
        return gammasgn(x) * math.exp(-_lgamma(x))
    return 1.0 / _tgamma(x)


@helper
def _log_beta(a, b):
    return _lgamma(a) + _lgamma(b) - _lgamma(a + b)


@helper
def _beta(a, b):
    if abs(a) + abs(b) < 100.0:
        return _tgamma(a) * _tgamma(b) * rgamma(a + b)
    return gammasgn(a) * gammasgn(b) * gammasgn(a + b) * math.exp(_log_beta(a, b))


@helper
def _has_limit(a, b):
    """Whether B(a, b) is finite where a is a pole of Γ: the poles of Γ(a) and Γ(a + b) then cancel."""
    return float(math.floor(b)) == b and 1.0 - a - b > 0.0


@helper
def _limit(a, b):
    """|B(a, b)| where it has one; between two poles there is a third."""
    return float("inf") if _is_pole(b) else _beta(1.0 - a - b, b)


@helper
def _parity(b):
    return 1.0 if 2.0 * float(math.floor(0.5 * b)) == b else -1.0


@helper
def betaln(a, b):
    """The logarithm of |B(a, b)|."""
    if _is_pole(a):
        return _log_beta(1.0 - a - b, b) if _has_limit(a, b) else float("inf")
    if _is_pole(b):
        return _log_beta(1.0 - a - b, a) if _has_limit(b, a) else float("inf")
    return _log_beta(a, b)


@helper
def beta(a, b):
    """Γ(a) Γ(b) / Γ(a + b)."""
    if _is_pole(a):
        return _parity(b) * _limit(a, b) if _has_limit(a, b) else float("inf")
    if _is_pole(b):
        return _parity(a) * _limit(b, a) if _has_limit(b, a) else float("inf")
    return _beta(a, b)


@helper
def log_ndtr(x):
    """The logarithm of the normal distribution function."""
    t = 0.7071067811865476 * x
    if x < -1.0:
        return math.log(0.5 * _erfcx(-t)) - t * t
    return math.log1p(-0.5 * _erfc(t))


# ── distribution functions ────────────────────────────────────────────────────────────────────────────────────
@helper
def _density(a, x):
    """xᵃ exp(-x) / Γ(a)."""
    return math.exp(a * math.log(x) - x - _lgamma(a))


@helper
def _gamma_series(a, x):
    """The lower incomplete gamma function, for x < a + 1 (Abramowitz & Stegun, 6.5.29)."""
    term = 1.0 / a
    total, n = term, a
    for _ in range(_MOST):
        n += 1.0
        term *= x / n
        total += term
        if total + term == total:
            break
    return total * _density(a, x)


@helper
def _gamma_fraction(a, x):
    """The upper one for others, by its continued fraction (6.5.31), by Lentz' method."""
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    h = d
    for i in range(1, _MOST):
        an = -float(i) * (float(i) - a)
        b += 2.0
        d = an * d + b
        d = _TINY if abs(d) < _TINY else d
        c = b + an / c
        c = _TINY if abs(c) < _TINY else c
        d = 1.0 / d
        h *= d * c
        if _is_one(d * c):
            break
    return h * _density(a, x)


@helper
def gammainc(a, x):
    """The regularised lower incomplete gamma function."""
    if not (a >= 0.0 and x >= 0.0):
        return float("nan")
    if a == 0.0:
        return 1.0 if x > 0.0 else float("nan")
    if x == 0.0:
        return 0.0
    if x == float("inf"):
        return 1.0
    return _gamma_series(a, x) if x < a + 1.0 else 1.0 - _gamma_fraction(a, x)


@helper
def gammaincc(a, x):
    """The regularised upper incomplete gamma function."""
    if not (a >= 0.0 and x >= 0.0):
        return float("nan")
    if a == 0.0:
        return 0.0 if x > 0.0 else float("nan")
    if x == 0.0:
        return 1.0
    if x == float("inf"):
        return 0.0
    return 1.0 - _gamma_series(a, x) if x < a + 1.0 else _gamma_fraction(a, x)


@helper
def _beta_fraction(a, b, x):
    """The continued fraction of the incomplete beta function (26.5.8), by Lentz' method."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (_TINY if abs(d) < _TINY else d)
    h = d
    for i in range(1, _MOST):
        m = float(i)
        even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        d, c = 1.0 + even * d, 1.0 + even / c
        d, c = (_TINY if abs(d) < _TINY else d), (_TINY if abs(c) < _TINY else c)
        d = 1.0 / d
        h *= d * c
        d, c = 1.0 + odd * d, 1.0 + odd / c
        d, c = (_TINY if abs(d) < _TINY else d), (_TINY if abs(c) < _TINY else c)
        d = 1.0 / d
        h *= d * c
        if _is_one(d * c):
            break
    return h


@helper
def betainc(a, b, x):
    """The regularised incomplete beta function."""
    if not (a >= 0.0 and b >= 0.0 and x >= 0.0 and x <= 1.0) or (a == 0.0 and b == 0.0):
        return float("nan")
    if x == 0.0 or x == 1.0:
        return x
    if a == 0.0 or b == 0.0:
        return 1.0 if a == 0.0 else 0.0
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - betaln(a, b))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


@helper
def stdtr(df, t):
    """Student's distribution function."""
    if not df > 0.0 or t != t:
        return float("nan")
    if t * t < df:  # near 1/2 the tail would lose the difference from it
        half = 0.5 * betainc(0.5, 0.5 * df, t * t / (df + t * t))
        return 0.5 - half if t < 0.0 else 0.5 + half
    tail = 0.5 * betainc(0.5 * df, 0.5, df / (df + t * t))
    return tail if t < 0.0 else 1.0 - tail


# ── modified Bessel functions of orders 0 and 1 ───────────────────────────────────────────────────────────────
@helper
def _scaled(x, square):
    """exp(-x) I(x) of an order, the square of which is given, for large x (9.7.1)."""
    term, total, k = 1.0, 1.0, 0.0
    while k < 40.0:
        k += 1.0
        odd = 2.0 * k - 1.0
        term *= -(4.0 * square - odd * odd) / (8.0 * k * x)
        total += term
        if total + term == total:
            break
    return total / math.sqrt(2.0 * math.pi * x)


@helper
def i0e(x):
    """exp(-|x|) I₀(x)."""
    size = abs(x)
    return _i0(size) * math.exp(-size) if size < 30.0 else _scaled(size, 0.0)


@helper
def i1e(x):
    """exp(-|x|) I₁(x)."""
    size = abs(x)
    found = _i1(size) * math.exp(-size) if size < 30.0 else _scaled(size, 1.0)
    return -found if x < 0.0 else found


@helper
def _small_k0(x):
    """K₀ by its series (9.6.13), for x up to 2."""
    y, term, total, harmonic, k = 0.25 * x * x, 1.0, 0.0, 0.0, 0.0
    for _ in range(40):
        k += 1.0
        term *= y / (k * k)
        harmonic += 1.0 / k
        total += term * harmonic
        if total + term * harmonic == total:
            break
    return total - (math.log(0.5 * x) + _EULER) * _i0(x)


@helper
def _large_k(x, order):
    """exp(x) K of order 0 or 1, for others, by Steed's continued fraction (Temme, 1975)."""
    b = 2.0 * (1.0 + x)
    d = 1.0 / b
    h, delta, q1, q2, a1 = d, d, 0.0, 1.0, 0.25
    q, c, a = a1, a1, -a1
    total = 1.0 + q * delta
    for i in range(2, _MOST):
        a -= 2.0 * (float(i) - 1.0)
        c = -a * c / float(i)
        new = (q1 - b * q2) / a
        q1, q2 = q2, new
        q += c * new
        b += 2.0
        d = 1.0 / (b + a * d)
        delta = (b * d - 1.0) * delta
        h += delta
        step = q * delta
        total += step
        if total + step == total:
            break
    k0 = math.sqrt(math.pi / (2.0 * x)) / total
    return k0 if order == 0 else k0 * (x + 0.5 - a1 * h) / x


@helper
def k0e(x):
    """exp(x) K₀(x)."""
    if not x > 0.0:
        return float("inf") if x == 0.0 else float("nan")
    return _small_k0(x) * math.exp(x) if x <= 2.0 else _large_k(x, 0)


@helper
def k1e(x):
    """exp(x) K₁(x); by the Wronskian of I and K (9.6.15) where K₀ has a series."""
    if not x > 0.0:
        return float("inf") if x == 0.0 else float("nan")
    if x > 2.0:
        return _large_k(x, 1)
    return (1.0 / x - _i1(x) * _small_k0(x)) / _i0(x) * math.exp(x)


@helper
def k0(x):
    """K₀."""
    return _small_k0(x) if 0.0 < x and x <= 2.0 else k0e(x) * math.exp(-x)


@helper
def k1(x):
    """K₁."""
    return k1e(x) * math.exp(-x)
