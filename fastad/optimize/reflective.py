"""The trust-region reflective method for least squares with bounds.

Branch, Coleman & Li (1999), A subspace, interior, and conjugate gradient method for large-scale bound-constrained
minimization problems, SIAM J. Sci. Comput. 21: variables are scaled by their distance to the bound that the gradient
points to, and a step that meets a bound is reflected there. Instead of the radius of the trust region its damping is
controlled; the region is as large as the damped step.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from fastad.optimize.definite import regularised, solved_by
from fastad.optimize.fitting import FitMethod, Step
from fastad.optimize.objective import Array
from fastad.optimize.residuals import Model

_FAR = 1e300
_EPSILON = 4e-16


class _Quadratic(NamedTuple):
    """½ pᵀB p + gᵀp in scaled variables, B = matrixᵀ matrix + diag(extra)."""

    matrix: Array
    extra: Array
    gradient: Array

    def along(self, start: Array, p: Array) -> tuple[Array, Array, Array]:
        """(a, b, c): the value at start + t p is a t² + b t + c."""
        by_p, by_start = self.matrix @ p, self.matrix @ start
        a = 0.5 * (by_p @ by_p + p @ (self.extra * p))
        b = self.gradient @ p + by_p @ by_start + p @ (self.extra * start)
        c = 0.5 * (by_start @ by_start + start @ (self.extra * start)) + self.gradient @ start
        return a, b, c

    def least(self, start: Array, p: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """(t, value) of the smallest value for t from low to high."""
        a, b, c = self.along(start, p)
        inner = np.clip(np.where(a > 0.0, -0.5 * b / np.where(a > 0.0, a, 1.0), low), low, high)
        best, value = low, (a * low + b) * low + c
        for t in (high, inner):
            new = (a * t + b) * t + c
            best, value = np.where(new < value, t, best), np.where(new < value, new, value)
        return best, value


@dataclass(frozen=True)
class TrustRegionReflective(FitMethod):
    """Steps between bounds: `lower` and `upper` are vectors, infinite where there is none."""

    lower: Array
    upper: Array

    name: ClassVar[str] = "trf"

    def scaling(self, m: Model, old: Array) -> Array:
        size = np.sqrt(np.sum(m.j**2, axis=0))
        return np.maximum(old, np.where((size == 0.0) & (old == 0.0), 1.0, size))

    def _distance(self, gradient: Array, x: Array) -> tuple[Array, Array]:
        """(v, dv/dx) of equation 2.5: how far the bound is that a step down meets; 1 where there is none."""
        to_upper = (gradient < 0.0) & np.isfinite(self.upper)
        to_lower = (gradient > 0.0) & np.isfinite(self.lower)
        upper, lower = np.where(to_upper, self.upper, 0.0), np.where(to_lower, self.lower, 0.0)
        v = np.where(to_upper, upper - x, np.where(to_lower, x - lower, 1.0))
        return v, np.where(to_upper, -1.0, np.where(to_lower, 1.0, 0.0))

    def optimality(self, m: Model, x: Array) -> Array:
        v, _ = self._distance(m.gradient, x)
        return m.gradient * np.minimum(v, 1.0)

    def step(self, m: Model, x: Array, scaling: Array, damping: Array) -> Step:
        v, dv = self._distance(m.gradient, x)
        is_free = dv == 0.0
        # Where no bound is met, columns are scaled as in "lm".
        d = np.where(is_free, 1.0 / scaling, np.sqrt(np.maximum(v, 0.0)))
        extra = np.where(is_free, 0.0, m.gradient * dv)
        q = _Quadratic(m.j * d, extra, m.gradient * d)
        matrix = q.matrix.T @ q.matrix + np.diag(extra + damping * np.where(is_free, 1.0, scaling**2 * d * d))
        _, lower, _ = regularised(matrix)
        full = -solved_by(lower, q.gradient)
        chosen, value = self._chosen(q, x, d, full, m.gradient * v)
        p = self.strictly_inside(x + d * chosen) - x
        return Step(p, -value, 0.5 * (chosen @ (extra * chosen)))

    def _to_bound(self, x: Array, p: Array) -> tuple[Array, Array]:
        """(the largest t with x + t p inside, which bounds are met there)."""
        gap = np.where(p > 0.0, self.upper - x, self.lower - x)
        t = np.where(p == 0.0, _FAR, np.maximum(gap / np.where(p == 0.0, 1.0, p), 0.0))
        t = np.minimum(t, _FAR)
        least = np.min(t, initial=_FAR)
        return least, (t == least) & (p != 0.0)

    def _chosen(self, q: _Quadratic, x: Array, d: Array, full: Array, scaled: Array) -> tuple[Array, Array]:
        """The best of the step up to the bound, the step reflected there, and one along the gradient (section 3)."""
        theta = np.maximum(0.995, 1.0 - np.max(np.abs(scaled), initial=0.0))
        radius = np.sqrt(full @ full)
        stride, hits = self._to_bound(x, d * full)
        zero = np.zeros(full.shape)
        inside = stride >= 1.0
        a, b, c = q.along(zero, full)
        whole = a + b + c
        on_bound = np.minimum(stride, 1.0) * full
        reflected, of_reflected = self._reflected(q, x, d, (full, on_bound, hits, stride), theta, radius)
        short = theta * on_bound
        a, b, c = q.along(zero, short)
        of_short = a + b + c
        down = -q.gradient
        size = np.sqrt(down @ down)
        to_region, (to_bound, _) = radius / np.maximum(size, 1e-300), self._to_bound(x, d * down)
        t, of_down = q.least(zero, down, 0.0, np.where(to_bound < to_region, theta * to_bound, to_region))
        best, value = short, of_short
        for p, own in ((reflected, of_reflected), (t * down, of_down)):
            best, value = np.where(own < value, p, best), np.where(own < value, own, value)
        return np.where(inside, full, best), np.where(inside, whole, value)

    def _reflected(
        self, q: _Quadratic, x: Array, d: Array, at: tuple[Array, Array, Array, Array], theta: Array, radius: Array
    ) -> tuple[Array, Array]:
        """The step that goes on from the bound with the components turned round that meet it, and its value."""
        full, on_bound, hits, stride = at
        r = np.where(hits, -full, full)
        a, b, c = r @ r, on_bound @ r, on_bound @ on_bound - radius * radius
        to_region = (-b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / np.maximum(a, 1e-300)
        to_bound, _ = self._to_bound(x + d * on_bound, d * r)
        far = np.minimum(to_bound, to_region)
        low = np.where(far > 0.0, (1.0 - theta) * stride / np.where(far > 0.0, far, 1.0), 0.0)
        high = np.where(far > 0.0, np.where(to_bound <= to_region, theta * to_bound, to_region), -1.0)
        possible = low <= high
        t, value = q.least(on_bound, r, low, np.maximum(high, low))
        return on_bound + t * r, np.where(possible, value, np.inf)

    def strictly_inside(self, x: Array) -> Array:
        """x moved off its bounds, by rounding errors."""
        lower, upper = (
            np.where(np.isfinite(self.lower), self.lower, 0.0),
            np.where(np.isfinite(self.upper), self.upper, 0.0),
        )
        low = np.where(np.isfinite(self.lower), lower + _EPSILON * np.maximum(1.0, np.abs(lower)), -np.inf)
        high = np.where(np.isfinite(self.upper), upper - _EPSILON * np.maximum(1.0, np.abs(upper)), np.inf)
        return np.where(low < high, np.minimum(np.maximum(x, low), high), 0.5 * (lower + upper))


__all__ = ["TrustRegionReflective"]
