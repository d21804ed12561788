"""Functions of scipy.special that are composed of other rows, for plain arrays and recorded values."""

from typing import Any

import numpy as np

from fastad.recording.dispatch import UFUNCS
from fastad.recording.elementwise import detached, elementwise
from fastad.recording.functions.registry import implements, implements_ufunc
from fastad.recording.operands import as_recorded, is_recorded


# ── functions that SciPy writes in Python: they convert their arguments to plain arrays, so fastad has its own ─
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log(sum(b * exp(a))) without overflow, as scipy.special.logsumexp."""
    a = _array(a)
    if b is not None:
        b = _array(b) * np.ones_like(a)
        a = np.where(b == 0, -np.inf, a * np.ones_like(b))
    top = _shift(a, axis)
    top = np.where(np.isfinite(top), top, 0.0)
    terms = np.exp(a - top) if b is None else b * np.exp(a - top)
    total = np.sum(terms, axis=axis, keepdims=keepdims)
    shift = top if keepdims else np.reshape(top, np.shape(total))
    if return_sign:
        return np.log(np.abs(total)) + shift, np.sign(total)
    return np.log(total) + shift


def softmax(x: Any, axis: Any = None) -> Any:
    """exp(x) / sum(exp(x)), as scipy.special.softmax."""
    x = _array(x)
    grown = np.exp(x - _shift(x, axis))
    return grown / np.sum(grown, axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = None) -> Any:
    """log(softmax(x)), as scipy.special.log_softmax."""
    x = _array(x)
    top = _shift(x, axis)
    shifted = x - np.where(np.isfinite(top), top, 0.0)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of digamma, as scipy.special.polygamma, for a static order n."""
    n = int(n)
    if n < 0:
        raise ValueError("polygamma: n must be a non-negative integer")
    digamma, gamma, zeta = (of_scipy(name) for name in ("psi", "gamma", "zeta"))
    return digamma(x) if n == 0 else (-1.0) ** (n + 1) * gamma(n + 1.0) * zeta(n + 1.0, x)


def multigammaln(a: Any, d: int) -> Any:
    """log of the multivariate gamma function, as scipy.special.multigammaln."""
    if d != int(d) or d < 1:
        raise ValueError("d should be a positive integer (dimension)")
    gammaln = of_scipy("gammaln")
    return 0.25 * d * (d - 1) * np.log(np.pi) + sum(gammaln(a - 0.5 * j) for j in range(int(d)))


def _shift(x: Any, axis: Any) -> Any:
    """The maximum, which is subtracted to keep exponentials in range. Results do not depend on it, so its derivative is
    left out."""
    return detached(np.max(x, axis=axis, keepdims=True))


def _array(x: Any) -> Any:
    return as_recorded(x) if is_recorded(x) else np.asarray(x)


def of_scipy(name: str) -> Any:
    """The function of scipy.special of that name, which takes recorded values and plain ones."""
    import scipy.special

    return getattr(scipy.special, name)


# ── ufuncs of SciPy ───────────────────────────────────────────────────────────────────────────────────────────
# scipy.special.zeta is a Python function that calls one of these two ufuncs.
implements_ufunc("_zeta")(UFUNCS["zeta"])
implements_ufunc("_riemann_zeta")(lambda x: UFUNCS["zeta"](x, 1.0))
implements_ufunc("loggamma")(lambda x: elementwise("where", x > 0, UFUNCS["gammaln"](x), np.nan))
implements(np.i0)(lambda x: UFUNCS["i0"](x))
implements_ufunc("yn")(lambda n, x: UFUNCS["yv"](n, x))  # jn and its like are the same ufuncs as jv
implements_ufunc("exp10")(lambda x: np.power(10.0, x))
implements_ufunc("cosm1")(lambda x: -2.0 * np.sin(0.5 * x) ** 2)


def _relative_entropy(x: Any, y: Any) -> tuple[Any, Any]:
    """Where it is finite, and x log(x / y), to all digits also for nearly equal ones; beside it what SciPy has: 0 for
    x = 0, infinity outside of the domain."""
    inside, at_zero = (x > 0) & (y > 0), (x == 0) & (y >= 0)
    a, b = np.where(inside, x, 1.0), np.where(inside, y, 1.0)
    near = np.abs(a - b) < 0.5 * b
    ratio = np.where(near, np.log1p(np.where(near, (a - b) / b, 0.0)), np.log(a) - np.log(b))
    outside = np.where((x != x) | (y != y), np.nan, np.inf)
    beside = np.where(at_zero, -of_scipy("entr")(np.where(at_zero, x, 1.0)), outside)
    return inside | at_zero, np.where(inside, a * ratio, beside)


@implements_ufunc("rel_entr")
def _rel_entr(x: Any, y: Any) -> Any:
    return _relative_entropy(x, y)[1]


@implements_ufunc("kl_div")
def _kl_div(x: Any, y: Any) -> Any:
    defined, entropy = _relative_entropy(x, y)
    return entropy + np.where(defined, y - x, 0.0)


@implements_ufunc("huber")
def _huber(d: Any, r: Any) -> Any:
    size = np.abs(r)
    return np.where(d < 0, np.inf, np.where(size <= d, 0.5 * r * r, d * (size - 0.5 * d)))


@implements_ufunc("pseudo_huber")
def _pseudo_huber(d: Any, r: Any) -> Any:
    divisor = d + np.hypot(d, r)
    finite = (divisor != 0) & (np.abs(r) != np.inf)
    slope = np.where(finite, r / np.where(finite, divisor, 1.0), np.sign(r))
    return np.where(d < 0, np.inf, np.where(d == 0, 0.0, r * (d * slope)))


implements_ufunc("softplus")(lambda x: -UFUNCS["log_expit"](-x))
