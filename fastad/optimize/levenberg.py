"""Levenberg and Marquardt's method, with Moré's scaling."""

from typing import ClassVar

import numpy as np

from fastad.optimize.definite import regularised, solved_by
from fastad.optimize.fitting import FitMethod, Step
from fastad.optimize.objective import Array
from fastad.optimize.residuals import Model


class LevenbergMarquardt(FitMethod):
    """Steps (JᵀJ + λ D²) p = −Jᵀf with D the largest norms of the columns of J so far: Moré (1978), The
    Levenberg-Marquardt algorithm: implementation and theory, section 6."""

    name: ClassVar[str] = "lm"

    def scaling(self, m: Model, old: Array) -> Array:
        size = np.sqrt(np.sum(m.j**2, axis=0))
        return np.maximum(old, np.where((size == 0.0) & (old == 0.0), 1.0, size))

    def step(self, m: Model, x: Array, scaling: Array, damping: Array) -> Step:
        matrix = m.j / scaling
        gradient = m.f @ matrix
        _, lower, _ = regularised(matrix.T @ matrix + damping * np.eye(x.shape[0]))
        p = -solved_by(lower, gradient)
        return Step(p / scaling, 0.5 * (p @ (damping * p - gradient)), np.zeros(()))

    def optimality(self, m: Model, x: Array) -> Array:
        return m.gradient


__all__ = ["LevenbergMarquardt"]
