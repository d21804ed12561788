"""Fixed points x = g(x) by Anderson's acceleration.

Walker & Ni (2011), Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49: the next iterate is the
combination of the last ones whose residual g(x) − x would be smallest if g were affine, found by least squares in the
differences of residuals. Without memory it is plain iteration.
"""

from typing import Any, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.equations.core import Iterate, System
from fastad.equations.newton import newton, scale, size
from fastad.primitives.equations import NOT_FINITE, SOLVED, TOO_MANY_STEPS

_LAST = 3.0  # steps of Newton's method at the end, whose factors the derivatives need
_RIDGE = 1e-14  # of the least squares, relative to the mean square of the differences


class _State(NamedTuple):
    """`dx` and `df` are the last differences of iterates and of residuals, one a row."""

    x: Any
    residual: Any
    dx: Any
    df: Any
    steps: Any


def anderson(system: System, x: Any, tol: Any, max_steps: Any, *, memory: int) -> Iterate:
    """Solve F(x) = g(x) − x = 0 from x on; the last correction is Newton's."""
    m = min(memory, system.n)
    zero, none = np.asarray(0.0, like=x), np.zeros((m, system.n))
    first = _State(x, system.residual(x), none, none, zero)

    def unfinished(s: _State) -> Any:
        return (size(s.residual) > tol * scale(s.x)) & (s.steps < max_steps)

    def body(s: _State) -> _State:
        step = s.residual
        if m:
            step = step - _combined(s)
        new = s.x + step
        residual = system.residual(new)
        oldest = np.where(np.arange(m) == s.steps % max(m, 1), 1.0, 0.0)[:, None]
        dx = np.where(oldest > 0.0, step, s.dx)
        df = np.where(oldest > 0.0, residual - s.residual, s.df)
        return _State(new, residual, dx, df, s.steps + 1.0)

    s = iterate(unfinished, body, first)
    is_near = size(s.residual) <= tol * scale(s.x)
    failure = np.where(np.isfinite(size(s.residual)), TOO_MANY_STEPS, NOT_FINITE)
    facts = {"nit": s.steps, "nfev": s.steps + 1.0, "njev": zero}
    if system.unrolled:
        return Iterate(s.x, s.residual, np.where(is_near, SOLVED, failure), facts, none.ravel()[:0])
    last = newton(system, s.x, tol, _LAST)
    again = last.facts["nit"] + 1.0
    facts |= {name: facts[name] + last.facts.get(name, again) for name in ("nfev", "njev")}
    x, correction = (np.where(is_near, a, b) for a, b in ((last.x, s.x), (last.correction, 0.0)))
    return Iterate(x, correction, np.where(is_near, last.status, failure), facts, last.factor)


def _combined(s: _State) -> Any:
    """(ΔX + ΔF) γ, with γ the least squares solution of ΔF γ = F, by normal equations with a small ridge."""
    gram = s.df @ s.df.T
    m = len(s.df)
    ridge = _RIDGE * np.trace(gram) + np.where(np.trace(gram) > 0.0, 0.0, 1.0)
    unused = np.where(np.sum(s.df * s.df, axis=1) > 0.0, 0.0, 1.0)
    gamma = np.linalg.solve(gram + (ridge + unused) * np.eye(m), s.df @ s.residual)
    return gamma @ (s.dx + s.df)
