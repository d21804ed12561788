"""Relaxed branches: both are computed and mixed, so the result has a derivative with respect to the condition.

Blondel & Roulet (2024), The Elements of Differentiable Programming, on control flows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.operands import is_recorded
from fastad.recording.source import at_line
from fastad.soft.hardness import switched
from fastad.soft.logic import truth
from fastad.soft.numbers import delivered, quiet, real, result_dtype
from fastad.transforms.call import described, flatten, unflatten


def where(p: Any, a: Any, b: Any) -> Any:
    """a where p holds, else b, relaxed: the mixture p a + (1 − p) b of two pytrees.

    Parameters
    ----------
    p
        Truth values in [0, 1] (or bools). They are broadcast to every array of a and b.
    a, b
        Pytrees of the same structure. Their arrays and numbers are mixed; other leaves (None, text) must be equal.

    Returns
    -------
    A pytree of the same structure. Leaves are float32 where both are, else float64.

    An element with weight exactly 0 that is not finite is left out: where(0, inf, 1) is 1, with derivative 0 with
    respect to p. As with np.where, adjoints of 0 still reach the operand that is left out: where it has an infinite
    derivative (sqrt at 0), keep its argument away from that point too.

    Raises
    ------
    ShapeError
        If a and b differ in structure, or in leaves that cannot be mixed.

    >>> import numpy as np, fastad as fad
    >>> mixed = fad.soft.where(0.25, {"x": np.array([4.0, 8.0])}, {"x": 0.0})
    >>> mixed["x"].tolist()
    [1.0, 2.0]
    >>> float(fad.grad(fad.soft.where)(0.25, 4.0, 1.0))
    3.0
    """
    return blended(p, a, b, "where: a and b")


def cond(p: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """if/else, relaxed: p true_fun(*operands) + (1 − p) false_fun(*operands), for results that are pytrees.

    Both functions always run, in "hard" mode too. Their results are mixed as by `where`, which describes p and the
    results. With a p from the operators of `fad.soft`, the derivative with respect to the condition is not 0.

    Raises ShapeError if the results differ in structure.

    >>> import numpy as np, fastad as fad
    >>> def heat(temperature, threshold):
    ...     on = fad.soft.less(temperature, threshold, sigma=0.5)
    ...     return fad.soft.cond(on, lambda t: t + 2.0, lambda t: t - 1.0, temperature)
    >>> float(fad.grad(heat, argnums=1)(20.0, 20.0))
    1.5
    """
    for function in (true_fun, false_fun):
        if not callable(function):
            found = f"{type(function).__name__}{at_line()}"
            raise TypeError(f"cond: expected a function, got {found}; use fad.soft.where for values")
    return blended(p, true_fun(*operands), false_fun(*operands), "cond: the results of true_fun and false_fun")


def blended(p: Any, a: Any, b: Any, what: str) -> Any:
    """The mixture of two pytrees. `what` names them in errors."""
    (left, tree), (right, other) = flatten(a), flatten(b)
    if tree != other:
        raise ShapeError(f"{what} must have the same structure; they have {described(a)} and {described(b)}")
    weight = real(p)
    leaves = [_blended_leaf(weight, x, y, what) for x, y in zip(left, right, strict=True)]
    return unflatten(tree, leaves)


def _blended_leaf(p: Any, a: Any, b: Any, what: str) -> Any:
    if not (is_number(a) and is_number(b)):
        if type(a) is type(b) and not is_number(a) and a == b:
            return a
        raise ShapeError(f"{what} hold {a!r} and {b!r}, which cannot be mixed: they must be numbers, arrays, or equal")
    x, y, dtype = real(a), real(b), result_dtype(a, b)
    try:
        np.broadcast_shapes(np.shape(p), np.shape(x), np.shape(y))
    except ValueError:
        shapes = f"{np.shape(x)} and {np.shape(y)}, p has {np.shape(p)}"
        raise ShapeError(f"{what} have leaves of shapes {shapes}; they must broadcast together") from None
    return switched(
        lambda: delivered(_mixture(p, x, y), dtype),
        lambda: delivered(np.where(truth(p), x, y), dtype),
    )


@quiet
def _mixture(p: Any, a: Any, b: Any) -> Any:
    a, b = _finite(a, p != 0, b), _finite(b, p != 1, a)
    return p * a + (1.0 - p) * b


def _finite(x: Any, counts: Any, other: Any) -> Any:
    """x, replaced by the other operand where x is not finite and has weight 0, because 0 * inf is NaN."""
    if not is_recorded(x) and np.isfinite(x).all():
        return x
    return np.where(counts | np.isfinite(x), x, other)


def is_number(x: Any) -> bool:
    """Whether a leaf can be mixed."""
    return isinstance(x, int | float | np.number | np.bool_ | np.ndarray) or is_recorded(x)
