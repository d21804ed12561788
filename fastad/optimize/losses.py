"""The losses ρ(z) of squared residuals z, as SciPy's `least_squares` has them.

Triggs et al. (2000), Bundle adjustment: a modern synthesis, appendix.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.optimize.objective import Array
from fastad.recording.source import at_line


def linear(z: Array) -> Array:
    """z."""
    return z


def soft_l1(z: Array) -> Array:
    """2 (√(1 + z) − 1)."""
    return 2.0 * (np.sqrt(1.0 + z) - 1.0)


def huber(z: Array) -> Array:
    """z up to 1, then 2 √z − 1."""
    return np.where(z <= 1.0, z, 2.0 * np.sqrt(np.maximum(z, 1.0)) - 1.0)


def cauchy(z: Array) -> Array:
    """ln(1 + z)."""
    return np.log1p(z)


def arctan(z: Array) -> Array:
    """arctan z."""
    return np.arctan(z)


LOSSES: dict[str, Callable[[Array], Array]] = {
    rho.__name__: rho for rho in (linear, soft_l1, huber, cauchy, arctan)
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
