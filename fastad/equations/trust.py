"""How far a solution and its derivatives can be trusted: condition, adjoint residual, error of gradients."""

from typing import Any

import numpy as np

from fastad.equations.core import System
from fastad.equations.newton import scale, size
from fastad.transforms.public import jvp, vmap


def condition(system: System, x: Any, factor: Any) -> Any:
    """An estimate, from below, of the condition number of F_x in the 1-norm.

    Higham (1988), FORTRAN codes for estimating the one-norm of a real or complex matrix (ACM TOMS 14), Algorithm 4.1,
    two steps of it: four solves with the factors that are there.
    """
    n = system.n
    if not n:
        return np.asarray(1.0, like=x)
    y = system.solve(x, factor, np.full(n, 1.0 / max(n, 1)))
    found = np.sum(np.abs(y))
    for _ in range(2):
        z = system.solve(x, factor, np.where(y >= 0.0, 1.0, -1.0), transposed=True)
        y = system.solve(x, factor, np.where(np.arange(n) == np.argmax(np.abs(z)), 1.0, 0.0))
        found = np.maximum(found, np.sum(np.abs(y)))
    return system.norm(x) * found


def fold(system: System, x: Any, factor: Any) -> Any:
    """How many times a relative error of the parameters, or of x, is larger in the derivatives, near a fold.

    Parameters that move by e, relative 1 each, in the directions that add up in the sum of the unknowns, move x by
    t = −F_x⁻¹ F_θ e. On a move w of x the tangent t changes by −F_x⁻¹ F_xx[w, t]; with w = t, or as far as x is large,
    max(1, ‖x‖), in this direction, that is ‖F_x⁻¹ F_xx[u, u]‖ max(‖t‖, 1, ‖x‖) of itself, where u = t / ‖t‖. (The
    condition number of the problem is the inverse of its distance to the nearest singular one: Demmel, 1987, On
    condition numbers and the distance to the nearest ill-posed problem. That of one number is 1, and says nothing.)
    """
    r = system.solve(x, factor, np.ones(system.n), transposed=True)
    weights = np.where(system.pulled(x, r, wrt=1) >= 0.0, 1.0, -1.0) * np.abs(system.theta)
    t = system.solve(x, factor, system.along(x, weights, wrt=1))
    u = np.where(size(t) > 0.0, t, system.solve(x, factor, np.ones(system.n)))
    u = u / np.where(size(u) > 0.0, size(u), 1.0)
    _, bent = jvp(lambda x: system.along(x, u), (x,), (u,))
    return size(system.solve(x, factor, bent)) * np.maximum(size(t), scale(x))


def adjoint_residual(system: System, x: Any, factor: Any) -> Any:
    """The residual of an adjoint solve, F_xᵀ r = u for u of ones, relative to ‖F_x‖ ‖r‖ + ‖u‖ (maximum norms; to
    ‖u‖ where there is no matrix)."""
    u = np.ones(system.n)
    r = system.solve(x, factor, u, transposed=True)
    norm = system.norm(x) if system.linear.has_matrix and system.n else 0.0
    return np.max(np.abs(system.pulled(x, r) - u), initial=0.0) / (norm * np.max(np.abs(r), initial=0.0) + 1.0)


def gradient_error(system: System, x: Any, factor: Any, correction: Any) -> Any:
    """A bound, to first order, of ‖dx/dθ − dx/dθ at the exact solution‖ in the Frobenius norm.

    The derivatives are those at a point whose distance from the solution is at most twice the correction
    δ = F_x⁻¹ F there (Newton–Kantorovich; Deuflhard 2011, theorem 2.1). From F_x t + F_θ e = 0, the tangent t in the
    direction e changes by F_x⁻¹ d(F_x t + F_θ e)[δ]. So the gradient of a function with derivative u by x is wrong by
    at most the bound times ‖u‖.
    """

    def change(e: Any) -> Any:
        t = -system.solve(x, factor, system.along(x, e, wrt=1))
        _, bent = jvp(lambda x: system.along(x, t) + system.along(x, e, wrt=1), (x,), (correction,))
        return system.solve(x, factor, bent)

    def pulled_change(u: Any) -> Any:
        r = -system.solve(x, factor, u, transposed=True)
        _, (by_x, by_theta) = jvp(lambda x: (system.pulled(x, r), system.pulled(x, r, wrt=1)), (x,), (correction,))
        more = system.solve(x, factor, by_x, transposed=True)
        return by_theta - system.pulled(x, more, wrt=1)

    p = system.equation.p
    if not p or not system.n:
        return np.asarray(0.0, like=x)
    few = vmap(change)(np.eye(p)) if p <= system.n else vmap(pulled_change)(np.eye(system.n))
    return 2.0 * np.sqrt(np.sum(few**2))
