"""The losses ρ(z) of squared residuals z, as SciPy's `least_squares` has them.

Triggs et al. (2000), Bundle adjustment: a modern synthesis, appendix.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.optimize.objective import Array
from fastad.recording.source import at_line


def _linear(z: Array) -> Array:
    return z


def _soft_l1(z: Array) -> Array:
    return 2.0 * (np.sqrt(1.0 + z) - 1.0)


def _huber(z: Array) -> Array:
    return np.where(z <= 1.0, z, 2.0 * np.sqrt(np.maximum(z, 1.0)) - 1.0)


def _cauchy(z: Array) -> Array:
    return np.log1p(z)


def _arctan(z: Array) -> Array:
    return np.arctan(z)


LOSSES: dict[str, Callable[[Array], Array]] = {
    "linear": _linear, "soft_l1": _soft_l1, "huber": _huber, "cauchy": _cauchy, "arctan": _arctan,
}  # fmt: skip


def loss_of(loss: Any) -> Callable[[Array], Array]:
    """The loss of a name, or a function z -> ρ(z); of SciPy's three rows (ρ, ρ', ρ'') the first."""
    if callable(loss):
        return lambda z: _first(loss(z), np.shape(z))
    found = LOSSES.get(loss) if isinstance(loss, str) else None
    if found is None:
        raise ShapeError(f"loss must be one of {', '.join(map(repr, LOSSES))} or a function{at_line()}, not {loss!r}")
    return found


def _first(rho: Any, shape: tuple[int, ...]) -> Any:
    return rho[0] if np.shape(rho) == (3, *shape) else rho


__all__ = ["LOSSES", "loss_of"]
