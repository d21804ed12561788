"""Residuals with a loss: the objective ½ Σ C² ρ((fᵢ / C)²), and its Gauss-Newton model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastad.optimize.losses import loss_of
from fastad.optimize.objective import Array
from fastad.recording.operands import as_recorded, is_recorded
from fastad.transforms.public import jacobian, jvp


class Model(NamedTuple):
    """Cost, residuals f and Jacobian J at a point, f and J scaled so that cost ≈ ½ ‖J p + f‖² up to a constant."""

    cost: Array
    f: Array
    j: Array

    @property
    def gradient(self) -> Array:
        """Of the cost: exact, whatever the loss."""
        return self.f @ self.j


@dataclass(frozen=True)
class Residuals:
    """The function x -> fun(x, *args), a vector, with a loss (a name, or a function)."""

    fun: Callable[..., Any]
    loss: Any

    def vector(self, x: Array, args: Any) -> Array:
        """The residuals."""
        found = self.fun(x, *args)
        found = as_recorded(found) if is_recorded(found) else np.asarray(found)
        return np.reshape(found, (-1,)) * 1.0

    def jacobian(self, x: Array, args: Any) -> Array:
        """Their Jacobian."""
        mode = "fwd" if x.shape[0] <= 2 * np.size(self.vector(x, args)) else "rev"
        return jacobian(lambda x: self.vector(x, args), mode=mode)(x)

    def cost(self, x: Array, args: Any, scale: Array) -> Array:
        """The objective; `scale` is C."""
        return self._cost_of(self.vector(x, args), scale)

    def _cost_of(self, f: Array, scale: Array) -> Array:
        if self.loss == "linear":
            return 0.5 * (f @ f)
        return 0.5 * scale**2 * np.sum(loss_of(self.loss)((f / scale) ** 2))

    def model(self, x: Array, args: Any, scale: Array) -> Model:
        """The model at x."""
        f = self.vector(x, args)
        j = self.jacobian(x, args)
        cost = self._cost_of(f, scale)
        if self.loss == "linear":
            return Model(cost, f, j)
        weight, slope = _weights(loss_of(self.loss), (f / scale) ** 2)
        return Model(cost, f * slope / weight, j * weight[:, None])


def _weights(rho: Callable[[Array], Array], z: Array) -> tuple[Array, Array]:
    """(the factor of J, ρ'): the square root of ρ' + 2 z ρ'' (Triggs' correction), which may not be much smaller than
    ρ': where all residuals are outliers, a model without curvature would need many steps to find a length."""
    ones = np.ones(z.shape)

    def slope(z: Array) -> Array:
        return jvp(rho, (z,), (ones,))[1]

    first, second = jvp(slope, (z,), (ones,))
    return np.sqrt(np.maximum(first + 2.0 * z * second, _LEAST * first)), first


_LEAST = 1e-2

__all__ = ["Model", "Residuals"]
