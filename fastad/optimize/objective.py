"""An objective with the derivatives that methods ask of the engine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.transforms.public import grad, hessian, hvp, value_and_grad

Array = Any  # of numbers, plain or recorded


@dataclass(frozen=True)
class Objective:
    """The function x -> fun(x, *args) of a vector, and its derivatives at a point."""

    fun: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def __call__(self, x: Array) -> Array:
        found = self.fun(x, *self.args)
        if not isinstance(found, Recorded) and np.asarray(found).dtype.kind not in "fiub":
            raise TypeError(f"fun returned {found!r}{at_line()}; an objective is one number")
        if np.size(found) != 1:
            raise ShapeError(
                f"fun returned an array of shape {np.shape(found)}{at_line()}; an objective is one number: use np.sum, "
                "or fad.least_squares for a vector of residuals"
            )
        return np.reshape(found, ()) * 1.0

    def with_gradient(self, x: Array) -> tuple[Array, Array]:
        """Value and gradient, of one sweep."""
        found: tuple[Array, Array] = value_and_grad(self.__call__)(x)
        return found

    def gradient(self, x: Array) -> Array:
        """∇f(x)."""
        return grad(self.__call__)(x)

    def hessian(self, x: Array) -> Array:
        """∇²f(x), dense."""
        return hessian(self.__call__)(x)

    def product(self, x: Array, v: Array) -> Array:
        """∇²f(x) v, without the matrix."""
        return hvp(self.__call__, x, v)


__all__ = ["Array", "Objective"]
