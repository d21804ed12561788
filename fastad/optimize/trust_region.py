"""Newton's method in a trust region, by conjugate gradients with exact Hessian-vector products."""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.curvature import lowest_curvature
from fastad.optimize.descent import FLAT, Iterate, Method
from fastad.optimize.objective import Array, Objective

_LARGEST = 1e6  # radius
_ACCEPTED = 0.1  # share of the predicted decrease that a step must give
_SMALLEST = 1e-14  # radius, relative to x: no step is found


class TrustNCG(Method):
    """Nocedal & Wright, Numerical Optimization (2006), Algorithm 4.1 with Steihaug's Algorithm 7.2."""

    name: ClassVar[str] = "trust-ncg"

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        return np.ones(())  # the radius

    def is_minimum(self, f: Objective, x: Array) -> Array:
        lowest, scale = lowest_curvature(lambda v: f.product(x, v), x.size)
        return lowest >= -FLAT * np.maximum(scale, FLAT)

    def step(self, f: Objective, s: Iterate) -> Iterate:
        radius = s.memory
        p, predicted, products = _steihaug(f, s, radius)
        x = s.x + p
        value, gradient = f.with_gradient(x)
        # Where differences are rounding errors, the decrease follows from the slopes at both ends.
        by_slopes = -0.5 * (s.jac + gradient) @ p
        lost = np.abs(value - s.fun) <= 1e-10 * np.abs(s.fun)
        ratio = np.where(lost, by_slopes, s.fun - value) / np.where(predicted > 0.0, predicted, 1.0)
        ratio = np.where(np.isfinite(value) & np.all(np.isfinite(gradient)) & (predicted > 0.0), ratio, -1.0)
        length = np.sqrt(p @ p)
        wider = (ratio > 0.75) & (length >= 0.99 * radius)
        radius = np.where(ratio < 0.25, 0.25 * length, np.where(wider, np.minimum(2.0 * radius, _LARGEST), radius))
        ok = ratio > _ACCEPTED
        stopped = (radius <= _SMALLEST * (1.0 + np.max(np.abs(s.x), initial=0.0))) | ~(predicted > 0.0)
        return Iterate(
            np.where(ok, x, s.x), np.where(ok, value, s.fun), np.where(ok, gradient, s.jac), radius, s.nfev + 1,
            s.nhev + products, stopped & ~ok,
        )  # fmt: skip


class _CG(NamedTuple):
    z: Array
    r: Array
    d: Array
    hz: Array  # ∇²f z
    k: Array
    done: Array


def _steihaug(f: Objective, s: Iterate, radius: Array) -> tuple[Array, Array, Array]:
    """(step, decrease of the quadratic model, products)."""
    g, n = s.jac, s.x.size
    size = np.sqrt(g @ g)
    close = np.minimum(0.5, np.sqrt(size)) * size  # superlinear convergence

    def turn(c: _CG) -> _CG:
        hd = f.product(s.x, c.d)
        curvature, rr = c.d @ hd, c.r @ c.r
        convex = curvature > 0.0
        alpha = np.where(convex, rr / np.where(convex, curvature, 1.0), 0.0)
        z = c.z + alpha * c.d
        inside = convex & (z @ z < radius * radius)
        tau = np.where(inside, alpha, _to_boundary(c.z, c.d, radius))
        z = c.z + tau * c.d
        r = c.r + alpha * hd
        d = -r + r @ r / np.where(rr > 0.0, rr, 1.0) * c.d
        return _CG(z, r, d, c.hz + tau * hd, c.k + 1, ~inside | (np.sqrt(r @ r) <= close))

    zero = np.zeros(n)
    c = iterate(lambda c: ~c.done & (c.k < 2 * n + 10), turn, _CG(zero, g, -g, zero, 0, size == 0.0))
    return c.z, -(g @ c.z + 0.5 * (c.z @ c.hz)), c.k


def _to_boundary(z: Array, d: Array, radius: Array) -> Array:
    """The positive τ with ‖z + τd‖ = radius, without cancellation."""
    a, b, c = d @ d, z @ d, z @ z - radius * radius
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    forward = -c / np.where(b + root == 0.0, 1.0, b + root)
    return np.where(b > 0.0, forward, (root - b) / np.where(a == 0.0, 1.0, a))


__all__ = ["TrustNCG"]
