"""Relaxed logic on truth values in [0, 1], as probabilities of independent events.

Blondel & Roulet (2024), The Elements of Differentiable Programming, on relaxed logical operators.
"""

from typing import Any

import numpy as np

from fastad.soft.hardness import switched
from fastad.soft.numbers import delivered, quiet, real, result_dtype


def truth(p: Any) -> Any:
    """Whether "hard" mode takes a relaxed truth value as true: if it is at least 1/2."""
    return p >= 0.5


def logical_and(p: Any, q: Any) -> Any:
    """p and q: the product p q.

    p and q are truth values in [0, 1] (numbers, arrays or bools, recorded or plain) and are broadcast. The result is
    float32 if both are, else float64.

    >>> import fastad as fad
    >>> float(fad.soft.logical_and(0.5, 0.5))
    0.25
    """
    a, b, dtype = real(p), real(q), result_dtype(p, q)
    return switched(lambda: delivered(a * b, dtype), lambda: delivered(truth(a) & truth(b), dtype))


def logical_or(p: Any, q: Any) -> Any:
    """p or q: p + q − p q. Arguments and result as for `logical_and`.

    >>> import fastad as fad
    >>> float(fad.soft.logical_or(0.5, 0.5))
    0.75
    """
    a, b, dtype = real(p), real(q), result_dtype(p, q)
    # In this form, rounding cannot lead above 1.
    return switched(lambda: delivered(a + b * (1.0 - a), dtype), lambda: delivered(truth(a) | truth(b), dtype))


def logical_not(p: Any) -> Any:
    """not p: 1 − p. Argument and result as for `logical_and`.

    >>> import fastad as fad
    >>> float(fad.soft.logical_not(0.25))
    0.75
    """
    a, dtype = real(p), result_dtype(p)
    return switched(lambda: delivered(1.0 - a, dtype), lambda: delivered(np.logical_not(truth(a)), dtype))


@quiet
def all(p: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether all of the truth values p hold: their product along `axis`.

    Parameters
    ----------
    p
        Truth values in [0, 1]. Without any, the result is 1.
    axis
        None (all axes), an integer or a tuple, as in np.all. With `keepdims` these axes stay, with length 1.

    Returns
    -------
    Truth values of p's shape without these axes. Derivatives are also right where entries are 0.

    >>> import numpy as np, fastad as fad
    >>> float(fad.soft.all(np.array([1.0, 0.5, 0.5])))
    0.25
    >>> fad.grad(fad.soft.all)(np.array([0.0, 0.5, 0.5])).tolist()
    [0.25, 0.0, 0.0]
    """
    a, dtype = real(p), result_dtype(p)
    return switched(
        lambda: delivered(np.prod(a, axis=axis, keepdims=keepdims), dtype),
        lambda: delivered(np.all(truth(a), axis=axis, keepdims=keepdims), dtype),
    )


@quiet
def any(p: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Whether any of the truth values p holds: 1 − ∏(1 − p) along `axis`. Arguments and result as for `all`;
    without any truth values the result is 0.

    >>> import numpy as np, fastad as fad
    >>> float(fad.soft.any(np.array([0.0, 0.5, 0.5])))
    0.75
    """
    a, dtype = real(p), result_dtype(p)
    return switched(
        lambda: delivered(1.0 - np.prod(1.0 - a, axis=axis, keepdims=keepdims), dtype),
        lambda: delivered(np.any(truth(a), axis=axis, keepdims=keepdims), dtype),
    )
