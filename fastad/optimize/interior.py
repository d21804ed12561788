"""A primal-dual interior-point method for min f(x), h(x) = 0, g(x) ≥ 0.

Slacks s = g(x) > 0 stay positive; the conditions s∘z = μ are solved by Newton's method for a falling sequence of μ. The
step is accepted by an ℓ₁ merit function of the barrier problem.

Nocedal & Wright, Numerical Optimization (2006), Algorithm 19.2, with the condensed system of section 19.3; Wächter &
Biegler (2006), On the implementation of an interior-point filter line-search algorithm, Math. Program. 106, for the
errors (equation 5), the sequence of μ (equations 7 and 8) and the limits of z (equation 16).
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.canonical import PUSH, Canonical
from fastad.optimize.objective import Array
from fastad.optimize.saddle import saddle
from fastad.optimize.sparse_saddle import SparseSaddle
from fastad.optimize.status import (
    CONVERGED,
    INFEASIBLE,
    LOWEST,
    MOST_STEPS,
    NOT_FINITE,
    ROUNDED,
    RUNNING,
    STUCK,
    UNBOUNDED,
)

_FIRST_MU = 0.1
_LARGEST_MULTIPLIER = 100.0  # above it errors count relative to the multipliers
_DECREASE = 1e-4
_HALVINGS = 40
_ROUNDED_TO = 1e-6
_HOPELESS = 1e9  # multipliers of constraints that cannot be met together


class Values(NamedTuple):
    """f, h and g at a point, and their derivatives; `jg` leaves out the bounds on x."""

    f: Array
    h: Array
    g: Array
    gradient: Array
    jh: Array
    jg: Array


class Interior(NamedTuple):
    """A state of the iteration: x, slacks, multipliers of h and g, the barrier's and the merit function's weights."""

    x: Array
    s: Array
    y: Array
    z: Array
    mu: Array
    penalty: Array
    at: Values
    nit: Array
    nfev: Array
    status: Array


class _Step(NamedTuple):
    x: Array
    s: Array
    y: Array
    z: Array
    quadratic: Array  # dxᵀ H dx


def minimise_inside(p: Canonical, x: Array, jacobians: tuple[Array, Array], tol: Array, max_steps: int) -> Interior:
    """The iteration from x, which is inside its bounds, until all errors are at most `tol`; `jacobians` are those
    at x."""
    at = _evaluated(p, x, jacobians)
    s = np.maximum(at.g, PUSH * np.maximum(1.0, np.abs(at.g)))
    s = np.concatenate([s[: at.jg.shape[0]], at.g[at.jg.shape[0] :]])  # bounds hold, and go on holding
    scale = np.maximum(1.0, _largest(at.gradient) / 100.0)
    start = Interior(
        x, s, np.zeros(at.h.shape), _FIRST_MU / s, np.asarray(_FIRST_MU), np.ones(()), at, 0, 1, np.asarray(RUNNING)
    )

    def step(i: Interior) -> Interior:
        after = _stepped(p, _with_mu(p, i, tol, scale))
        return after._replace(status=_status(p, i, after, (tol, scale, max_steps)))

    found: Interior = iterate(lambda i: i.status == RUNNING, step, start)
    return found


def _largest(x: Array) -> Array:
    return np.max(np.abs(x), initial=0.0)


def _evaluated(p: Canonical, x: Array, jacobians: tuple[Array, Array]) -> Values:
    f, gradient = p.f.with_gradient(x)
    return Values(f, *p.values(x), gradient, *jacobians)


# ── errors ────────────────────────────────────────────────────────────────────────────────────────────────────
def _errors(p: Canonical, i: Interior, mu: Array, scale: Array) -> tuple[Array, Array]:
    """(the largest error of the conditions for μ, that of the constraints alone)."""
    at = i.at
    dual = at.gradient + at.jh.T @ i.y - p.back(at.jg, i.z)
    count = max(i.y.size + i.z.size, 1)
    mean = (np.sum(np.abs(i.y)) + np.sum(np.abs(i.z))) / count
    weight = scale * np.maximum(1.0, mean / _LARGEST_MULTIPLIER)
    violation = np.maximum(_largest(at.h), _largest(at.g - i.s))
    dual_error, complementary = _largest(dual) / weight, _largest(i.s * i.z - mu) / weight
    return np.maximum(np.maximum(dual_error, complementary), violation), violation


def _with_mu(p: Canonical, i: Interior, tol: Array, scale: Array) -> Interior:
    """The next μ, where the conditions for this one hold well enough."""
    error, _ = _errors(p, i, i.mu, scale)
    smaller = np.maximum(tol / 10.0, np.minimum(0.2 * i.mu, i.mu**1.5))
    done = error <= 10.0 * i.mu
    return i._replace(mu=np.where(done, smaller, i.mu), penalty=np.where(done, 1.0, i.penalty))


def _status(p: Canonical, before: Interior, i: Interior, limits: tuple[Array, Array, int]) -> Array:
    tol, scale, most = limits
    error, violation = _errors(p, i, 0.0, scale)
    stuck = i.status != RUNNING
    unable = np.where(violation > np.maximum(1e-6, tol), INFEASIBLE, STUCK)
    status = np.where(
        stuck, unable, np.where(i.nit >= most, np.where(violation > 1e-6, INFEASIBLE, MOST_STEPS), RUNNING)
    )
    lost = np.maximum(_largest(i.y), _largest(i.z)) > _HOPELESS * scale
    status = np.where(lost & (violation > 1e-6), INFEASIBLE, status)
    status = np.where(i.at.f < LOWEST, UNBOUNDED, status)
    status = np.where(stuck & (error <= _ROUNDED_TO), ROUNDED, status)
    status = np.where(error <= tol, CONVERGED, status)
    return np.where(np.isfinite(error) & np.isfinite(i.at.f), status, NOT_FINITE)


# ── a step ────────────────────────────────────────────────────────────────────────────────────────────────────
def _stepped(p: Canonical, i: Interior) -> Interior:
    d = _direction(p, i)
    tau = np.maximum(0.99, 1.0 - i.mu)
    primal, dual = _fraction(i.s, d.s, tau), _fraction(i.z, d.z, tau)
    theta = np.sum(np.abs(i.at.h)) + np.sum(np.abs(i.at.g - i.s))
    slope = i.at.gradient @ d.x - i.mu * np.sum(d.s / i.s)
    needed = (slope + 0.5 * np.maximum(d.quadratic, 0.0)) / np.where(theta > 0.0, 0.9 * theta, 1.0)
    penalty = np.where((theta > 0.0) & (needed > i.penalty), 1.1 * needed, i.penalty)
    alpha, trials = _search(p, i, d, (primal, penalty, slope - penalty * theta))
    x, ok = i.x + alpha * d.x, alpha > 0.0
    at = _evaluated(p, x, p.jacobians(x))
    s = _slacks(i.s + alpha * d.s, at.g, i.mu, penalty)
    z = i.z + np.where(ok, dual, 0.0) * d.z
    z = np.clip(z, i.mu / (1e10 * s), 1e10 * i.mu / s)
    y = i.y + alpha * d.y
    return Interior(x, s, y, z, i.mu, penalty, at, i.nit + 1, i.nfev + trials + 1, np.where(ok, RUNNING, STUCK))


def _direction(p: Canonical, i: Interior) -> _Step:
    """Newton's step for the conditions of μ; slacks and their multipliers are eliminated. A multiple of the identity
    is added where the matrix is not positive definite where the constraints h leave it free."""
    at, sigma = i.at, i.z / i.s
    w = p.curvature(i.x, i.y, i.z)
    dual = at.gradient + at.jh.T @ i.y - p.back(at.jg, i.z)
    gap, centre = at.g - i.s, i.s * i.z - i.mu
    right = -dual - p.back(at.jg, (centre + i.z * gap) / i.s)
    if p.is_sparse:
        count = at.jg.shape[0]
        system = SparseSaddle(w, at.jh, at.jg, sigma[:count], p.of_bounds(sigma[count:]))
        dx, dy, quadratic = system.solve(right, -at.h)
    else:
        h = w + p.weighted(at.jg, sigma)
        dense = saddle(h, at.jh, _largest(w))
        dx, dy = dense.solve(right, -at.h)
        quadratic = dx @ (h @ dx) + dense.delta * (dx @ dx)
    ds = p.along(at.jg, dx) + gap
    dz = -(centre + i.z * ds) / i.s
    return _Step(dx, ds, dy, dz, quadratic)


def _fraction(v: Array, dv: Array, tau: Array) -> Array:
    """The longest step up to 1 that leaves v + α dv ≥ (1 − τ) v."""
    falls = dv < 0.0
    return np.min(np.where(falls, -tau * v / np.where(falls, dv, -1.0), 1.0), initial=1.0)


def _slacks(s: Array, g: Array, mu: Array, penalty: Array) -> Array:
    """Slacks that make the merit function smaller still: as near to their constraint as it is worth."""
    return np.maximum(np.maximum(g, 0.1 * s), np.minimum(s, mu / penalty))


def _search(p: Canonical, i: Interior, d: _Step, line: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """(step length, trials): the first half of the longest step that decreases the merit function; 0 if none does."""
    longest, penalty, slope = line

    def merit(f: Array, h: Array, g: Array, s: Array) -> Array:
        return f - i.mu * np.sum(np.log(s)) + penalty * (np.sum(np.abs(h)) + np.sum(np.abs(g - s)))

    start = merit(i.at.f, i.at.h, i.at.g, i.s)

    def trial(state: Any) -> Any:
        alpha, _, k = state
        x = i.x + alpha * d.x
        h, g = p.values(x)
        value = merit(p.f(x), h, g, _slacks(i.s + alpha * d.s, g, i.mu, penalty))
        noise = 1e-13 * (np.abs(start) + np.abs(i.at.f)) + 1e-300
        ok = value <= start + _DECREASE * alpha * slope + noise
        return np.where(ok, alpha, 0.5 * alpha), ok, k + 1

    alpha, ok, trials = iterate(lambda t: ~t[1] & (t[2] < _HALVINGS), trial, (longest, False, 0))
    return np.where(ok, alpha, 0.0), trials


__all__ = ["Interior", "minimise_inside"]
