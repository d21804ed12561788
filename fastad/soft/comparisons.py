"""Relaxed comparisons: truth values in [0, 1] that are smooth in both operands and in sigma.

Blondel & Roulet (2024), The Elements of Differentiable Programming, on relaxed comparison operators.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.elementwise import elementwise
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.soft.hardness import switched
from fastad.soft.numbers import delivered, quiet, ratio, real, result_dtype, width

_GAUSSIAN_LIMIT = 28.0  # exp(-28²) is 0


def greater_equal(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x ≥ y, relaxed: sigmoid((x − y) / sigma), where sigmoid(z) = 1 / (1 + exp(−z)).

    Where x = y the value is 1/2 for every sigma. Elsewhere it tends to the exact truth value as sigma → 0.
    greater_equal(x, y) + greater_equal(y, x) = 1. `greater` differs from it in "hard" mode only.

    Parameters
    ----------
    x, y
        Numbers or arrays, recorded or plain. They are broadcast. Infinities of the same sign give NaN.
    sigma
        Width of the transition, in units of x: a positive number or array. It may be recorded, and is differentiated
        like x and y. A sigma below 1e-150 counts as 1e-150.
    kernel
        "gaussian" or "sech". All comparisons accept it, but only `equal` and `not_equal` depend on it.

    Returns
    -------
    Truth values between 0 and 1: float32 if x and y are, else float64.

    Raises
    ------
    ValueError
        If sigma is not recorded and not positive, or the kernel is unknown.

    >>> import numpy as np, fastad as fad
    >>> [float(p) for p in fad.soft.greater_equal(np.array([0.0, 1.0, 2.0]), 1.0, sigma=1e-3)]
    [0.0, 0.5, 1.0]
    >>> float(fad.grad(fad.soft.greater_equal)(1.0, 1.0, 0.5))
    0.5
    """
    return _ordered(np.greater_equal, x, y, sigma, kernel)


def less_equal(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x ≤ y, relaxed: `greater_equal(y, x, sigma)`.

    >>> import fastad as fad
    >>> float(fad.soft.less_equal(0.0, 1.0, sigma=1e-9))
    1.0
    """
    return _ordered(np.greater_equal, y, x, sigma, kernel)


def greater(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x > y, relaxed: the same as `greater_equal`, except in "hard" mode.

    >>> import fastad as fad
    >>> float(fad.soft.greater(1.0, 1.0))
    0.5
    """
    return _ordered(np.greater, x, y, sigma, kernel)


def less(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x < y, relaxed: `greater(y, x, sigma)`.

    >>> import fastad as fad
    >>> float(fad.soft.less(0.0, 1.0, sigma=1e-9))
    1.0
    """
    return _ordered(np.greater, y, x, sigma, kernel)


def equal(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x = y, relaxed: the similarity k(x − y) / k(0), which is 1 where x = y and decreases to 0 with the distance.

    kernel "gaussian": k(t) = exp(−t² / sigma), whose width is the square root of sigma;
    kernel "sech": k(t) = sech(t / sigma) = 2 / (exp(t/sigma) + exp(−t/sigma)).
    Arguments, result and errors as for `greater_equal`.

    >>> import numpy as np, fastad as fad
    >>> bool(fad.soft.equal(1.0, 3.0, sigma=4.0) == np.exp(-1.0))
    True
    >>> float(fad.soft.equal(1.0, 1.0, kernel="sech"))
    1.0
    """
    return _similar(np.equal, lambda s: s, x, y, sigma, kernel)


def not_equal(x: Any, y: Any, sigma: Any = 1.0, kernel: str = "gaussian") -> Any:
    """x ≠ y, relaxed: 1 − equal(x, y, sigma, kernel).

    >>> import fastad as fad
    >>> float(fad.soft.not_equal(1.0, 1.0))
    0.0
    """
    return _similar(np.not_equal, lambda s: 1.0 - s, x, y, sigma, kernel)


def sigmoid(z: Any) -> Any:
    """1 / (1 + exp(−z)), accurate in both tails."""
    if isinstance(z, Recorded):
        return elementwise("expit", z)
    from scipy.special import expit

    return expit(z)


# ── similarities ──────────────────────────────────────────────────────────────────────────────────────────────
def _gaussian(t: Any, width: Any) -> Any:
    z = ratio(t, np.sqrt(width), _GAUSSIAN_LIMIT)
    return np.exp(-(z * z))


def _sech(t: Any, width: Any) -> Any:
    z = ratio(t, width)
    if isinstance(z, Recorded):
        return elementwise("sech", z)
    u = np.exp(-np.abs(z))
    return 2.0 * u / (1.0 + u * u)


_KERNELS: dict[str, Callable[[Any, Any], Any]] = {"gaussian": _gaussian, "sech": _sech}


def _kernel(name: str) -> Callable[[Any, Any], Any]:
    if name not in _KERNELS:
        raise ValueError(f"kernel must be one of {', '.join(map(repr, _KERNELS))}, not {name!r}{at_line()}")
    return _KERNELS[name]


# ── both forms of a comparison ────────────────────────────────────────────────────────────────────────────────
def _ordered(exact: Any, x: Any, y: Any, sigma: Any, kernel: str) -> Any:
    _kernel(kernel)
    return _compared(exact, lambda t, w: sigmoid(ratio(t, w)), x, y, sigma)


def _similar(exact: Any, of_similarity: Callable[[Any], Any], x: Any, y: Any, sigma: Any, kernel: str) -> Any:
    similarity = _kernel(kernel)
    return _compared(exact, lambda t, w: of_similarity(similarity(t, w)), x, y, sigma)


@quiet
def _compared(exact: Any, relaxed: Callable[[Any, Any], Any], x: Any, y: Any, sigma: Any) -> Any:
    a, b, w = real(x), real(y), width(sigma)
    dtype = result_dtype(x, y)
    return switched(
        lambda: delivered(relaxed(a - b, w), dtype),
        lambda: delivered(exact(a, b) if np.ndim(w) == 0 else exact(a, b) & (w > 0), dtype),
    )
