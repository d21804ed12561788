"""Relaxed selection: which element is the largest, and its value.

Blondel & Roulet (2024), The Elements of Differentiable Programming, on relaxed argmax operators.
"""

from typing import Any

import numpy as np

from fastad.recording.elementwise import detached
from fastad.soft.hardness import switched
from fastad.soft.numbers import bounded, delivered, quiet, real, result_dtype, width


def argmax(x: Any, axis: int | None = None, sigma: Any = 1.0) -> Any:
    """argmax relaxed to weights: softmax(x / sigma), which sums to 1 along `axis`.

    w_i = exp(x_i / sigma) / Σ_j exp(x_j / sigma). As sigma → 0 the weights tend to 1 at the largest element (1/k each
    if k elements are largest) and 0 elsewhere. np.sum(w * np.arange(n)) is the relaxed index.

    Parameters
    ----------
    x
        An array, recorded or plain. −inf has weight 0.
    axis
        An integer, or None for all elements.
    sigma
        A positive number, or an array that is broadcast to x. It is differentiated and bounded below as for
        `greater_equal`.

    Returns
    -------
    Weights of x's shape; in "hard" mode 1 at the first largest element and 0 elsewhere.

    Raises
    ------
    ValueError
        If sigma is not recorded and not positive.

    >>> import numpy as np, fastad as fad
    >>> [float(w) for w in fad.soft.argmax(np.array([1.0, 3.0, 2.0]), sigma=1e-3)]
    [0.0, 1.0, 0.0]
    """
    return _argmax(real(x), axis, sigma, result_dtype(x))


def argmin(x: Any, axis: int | None = None, sigma: Any = 1.0) -> Any:
    """argmin relaxed to weights: argmax(−x, axis, sigma).

    >>> import numpy as np, fastad as fad
    >>> [float(w) for w in fad.soft.argmin(np.array([1.0, 3.0, 2.0]), sigma=1e-3)]
    [1.0, 0.0, 0.0]
    """
    return _argmax(-real(x), axis, sigma, result_dtype(x))


def max(x: Any, axis: int | None = None, sigma: Any = 1.0, keepdims: bool = False) -> Any:
    """The largest element relaxed: Σ w_i x_i with the weights w = argmax(x, axis, sigma).

    It lies between the mean (sigma → ∞) and the maximum (sigma → 0), and its error decreases exponentially in
    1 / sigma. For two elements it is where(greater(x₀, x₁, sigma), x₀, x₁). The other common choice,
    sigma * fad.special.logsumexp(x / sigma), is convex and increasing, but up to sigma log n above the maximum.
    Arguments and errors as for `argmax`; the result has the shape of np.max's.

    >>> import numpy as np, fastad as fad
    >>> float(fad.soft.max(np.array([1.0, 3.0, 2.0]), sigma=1e-3))
    3.0
    """
    return delivered(_max(real(x), axis, sigma, keepdims), result_dtype(x))


def min(x: Any, axis: int | None = None, sigma: Any = 1.0, keepdims: bool = False) -> Any:
    """The smallest element relaxed: −max(−x, axis, sigma).

    >>> import numpy as np, fastad as fad
    >>> float(fad.soft.min(np.array([1.0, 3.0, 2.0]), sigma=1e-3))
    1.0
    """
    return delivered(-_max(-real(x), axis, sigma, keepdims), result_dtype(x))


def _argmax(x: Any, axis: int | None, sigma: Any, dtype: np.dtype) -> Any:
    axis, w = _axis(axis), width(sigma)
    return switched(
        lambda: delivered(_weights(_below(x, axis, w)[0], axis, w), dtype),
        lambda: delivered(_one_hot(x, axis), dtype),
    )


def _max(x: Any, axis: int | None, sigma: Any, keepdims: bool) -> Any:
    axis, w = _axis(axis), width(sigma)
    return switched(
        lambda: _mean(x, axis, w, keepdims),
        lambda: np.max(x, axis=axis, keepdims=keepdims),
    )


def _axis(axis: Any) -> int | None:
    if axis is None or isinstance(axis, int | np.integer):
        return None if axis is None else int(axis)
    raise TypeError(f"axis must be an integer or None, not {axis!r}; give the width by name: sigma={axis!r}")


@quiet
def _below(x: Any, axis: int | None, width: Any) -> tuple[Any, Any]:
    """(x minus its maximum, bounded where the weight is 0; the maximum). The maximum has derivative 0 here, because
    neither the weights nor the mean depend on what is subtracted."""
    top = detached(np.max(x, axis=axis, keepdims=True))
    return bounded(x - top, width), top


def _weights(t: Any, axis: int | None, width: Any) -> Any:
    grown = np.exp(t / width)
    return grown / np.sum(grown, axis=axis, keepdims=True)


def _mean(x: Any, axis: int | None, width: Any, keepdims: bool) -> Any:
    t, top = _below(x, axis, width)
    found = top + np.sum(_weights(t, axis, width) * t, axis=axis, keepdims=True)
    return found if keepdims else np.squeeze(found, axis)


def _one_hot(x: Any, axis: int | None) -> Any:
    if axis is None:
        return np.reshape(_one_hot(np.reshape(x, -1), 0), np.shape(x))
    positions = np.arange(np.shape(x)[axis]).reshape(-1, *[1] * ((-1 - axis) % np.ndim(x)))
    return np.expand_dims(np.argmax(x, axis=axis), axis) == positions
