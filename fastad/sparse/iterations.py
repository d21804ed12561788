"""The methods that solve A x = b by products with A, in plain NumPy: loops over a state, recorded once.

Each gets the product v → A v, the preconditioner v → M v, where M is near A⁻¹, the right side, the first x, the norm of
the residual at which to stop, and the largest number of steps. It returns x, its residual and the number of steps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.loops import iterate

Product = Callable[[Any], Any]
_EPSILON = float(np.finfo(float).eps)


def norm(x: Any) -> Any:
    """The Euclidean norm."""
    return np.sqrt(x @ x)


def _ratio(a: Any, b: Any) -> Any:
    """a / b, or 0 where b is."""
    return np.where(b == 0.0, 0.0, a / np.where(b == 0.0, 1.0, b))


def cg(product: Product, nearly: Product, b: Any, x: Any, tol: Any, limit: Any, restart: int) -> tuple[Any, ...]:
    """Conjugate gradients (Barrett et al., 1994, Templates for the Solution of Linear Systems, figure 2.5)."""

    def step(state: Any) -> Any:
        x, r, p, rho, k = state
        z = nearly(r)
        new = r @ z
        p = z + _ratio(new, rho) * p
        q = product(p)
        alpha = _ratio(new, p @ q)
        return x + alpha * p, r - alpha * q, p, new, k + 1.0

    r = b - product(x)
    zero = np.asarray(0.0, like=b)
    start = (x, r, 0.0 * r, zero, zero)
    x, r, *_, k = iterate(lambda s: (norm(s[1]) > tol) & (s[-1] < limit), step, start)
    return x, r, k


def bicgstab(product: Product, nearly: Product, b: Any, x: Any, tol: Any, limit: Any, restart: int) -> tuple[Any, ...]:
    """Stabilised biconjugate gradients (van der Vorst, 1992). Where the method breaks down it starts again from the
    residual that it has reached."""

    def step(state: Any) -> Any:
        x, r, shadow, p, v, numbers, k = state
        rho, alpha, omega = numbers[0], numbers[1], numbers[2]
        new = shadow @ r
        broken = (np.abs(new) <= _EPSILON * norm(shadow) * norm(r)) | (omega == 0.0) | (rho == 0.0)
        shadow = np.where(broken, r, shadow)
        new = np.where(broken, r @ r, new)
        beta = np.where(broken, 0.0, _ratio(new, rho) * _ratio(alpha, omega))
        p = r + beta * (p - omega * v)
        there = nearly(p)
        v = product(there)
        alpha = _ratio(new, shadow @ v)
        s = r - alpha * v
        back = nearly(s)
        t = product(back)
        omega = _ratio(t @ s, t @ t)
        return x + alpha * there + omega * back, s - omega * t, shadow, p, v, np.stack([new, alpha, omega]), k + 1.0

    r = b - product(x)
    start = (x, r, r, 0.0 * r, 0.0 * r, np.zeros(3), np.asarray(0.0, like=b))
    x, r, *_, k = iterate(lambda s: (norm(s[1]) > tol) & (s[-1] < limit), step, start)
    return x, r, k


def gmres(product: Product, nearly: Product, b: Any, x: Any, tol: Any, limit: Any, restart: int) -> tuple[Any, ...]:
    """The iterates of GMRES, preconditioned from the right, by generalised conjugate residuals (Eisenstat, Elman &
    Schultz, 1983), which need no Hessenberg matrix. Where the residual stagnates the last image is the next direction,
    as in Arnoldi's process, so that the method does not break down before GMRES would."""
    n = b.size
    m = max(min(restart, n), 1)

    def step(state: Any) -> Any:
        x, r, directions, images, last, stuck, k = state
        place = k % m
        known = np.where(np.arange(m) < place, 1.0, 0.0)  # what stands in the other rows belongs to the cycle before
        p = nearly(np.where((stuck > 0.0) & (place > 0.0), last, r))
        q = product(p)
        before, removed = norm(q), 0.0
        for _ in range(2):  # twice is enough (Kahan and Parlett)
            shares = known * (images @ q)
            q, removed = q - shares @ images, removed + shares
        p = p - removed @ directions
        length = norm(q)
        new = length > 1e-14 * before
        factor = np.where(new, 1.0 / np.where(new, length, 1.0), 0.0)
        p, q = factor * p, factor * q
        alpha = q @ r
        here = (np.arange(m) == place)[:, None]
        smaller = np.abs(alpha) > 1e-12 * norm(r)
        after = np.where(smaller, 0.0, stuck + np.where(new, 0.5 / m, 1.0))
        directions, images = np.where(here, p, directions), np.where(here, q, images)
        return x + alpha * p, r - alpha * q, directions, images, q, after, k + 1.0

    r = b - product(x)
    zero = np.asarray(0.0, like=b)
    start = (x, r, np.zeros((m, n)), np.zeros((m, n)), 0.0 * r, zero, zero)
    x, r, *_, k = iterate(lambda s: (norm(s[1]) > tol) & (s[-2] < 2.0) & (s[-1] < limit), step, start)
    return x, r, k


METHODS: dict[str, Callable[..., tuple[Any, ...]]] = {"cg": cg, "bicgstab": bicgstab, "gmres": gmres}
