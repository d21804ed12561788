"""The row between the solution of an equation and what is computed from it: an error where there is no solution."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.errors import ConvergenceError, SingularMatrixError
from fastad.primitives.arrays import array
from fastad.primitives.rules import lead

Ref = int
Statics = tuple[int, ...]

SOLVED, TOO_MANY_STEPS, SINGULAR, NO_PROGRESS, NOT_FINITE, INACCURATE, NO_BRACKET, NOT_SOLVED, LOOSE = range(9)
NO_ROOT, INEXACT = 9, 10
MINIMUM = 100  # from here on statuses are those of minimisations, see `fastad.optimize.status`
REASONS = {
    SOLVED: "The equation was solved.",
    TOO_MANY_STEPS: "The number of steps has reached its limit: give a better x0, or more steps.",
    SINGULAR: "The Jacobian is singular: give another x0, or an equation whose solution is isolated.",
    NO_PROGRESS: "No step reduces the residual: there may be no solution near; give a better x0, or a larger tol.",
    NOT_FINITE: "The residual is not finite: give an x0 at which it is.",
    INACCURATE: "The linear system of the derivative was not solved accurately.",
    NOT_SOLVED: "The solver has returned an x that does not solve the equation: check it, or give a larger tol.",
    LOOSE: "The bound of the error of its derivatives is above gradient_limit: give a smaller tol.",
    NO_ROOT: "The function changes its sign there without a root, as at a pole or a jump: give another bracket.",
    INEXACT: "Derivatives need the exact solution of a step, and there may be none near: lower rtol, or the step.",
    NO_BRACKET: "The function has the same sign at both ends of the bracket, or one of them is infinite.",
}


def reason(status: float) -> str:
    """A status in words."""
    return REASONS[int(status)] if status in REASONS else REASONS[NOT_FINITE]


def solved(s: Statics, shape: tuple[int, ...], x: Any, y: Any, z: Any) -> np.ndarray:
    batch, _, n, strict = s
    for p, status in enumerate(np.reshape(z, batch).tolist()):
        if status == SINGULAR or (strict and status != SOLVED):
            raise _failure(np.reshape(y, (batch, n))[p], status, f" {p} of {batch}" if batch > 1 else "")
    return np.reshape(x, shape)


def _failure(residual: np.ndarray, status: float, which: str) -> Exception:
    kind = SingularMatrixError if status == SINGULAR else ConvergenceError
    size = np.abs(residual)
    worst = int(np.argmax(np.where(np.isnan(size), np.inf, size))) if size.size else 0
    shown = f"{residual[worst]:.3g} in component {worst}" if size.size else "empty"
    what = f"the equation{which} was not solved: the largest residual is {shown}"
    if status >= MINIMUM:
        what = f"the minimum{which} was not found: the largest residual of the conditions of optimality is {shown}"
    return kind(f"{what}. {reason(status)}")


def _check(s: Statics, size: int, sizes: Sequence[int]) -> str | None:
    if len(s) != 4 or min(s) < 0 or s[3] > 1:
        return "static integers that are not batch, m, n, strict"
    batch, m, n, _ = s
    fits = (size, *sizes) == (batch * m, batch * m, batch * n, batch) and batch <= max(size, 2**31)
    return None if fits else "vectors of other sizes than the equations"


def _tangent(b: Any, row: Any, operands: Any, result: Ref, tangents: Any) -> Ref | None:
    return None if tangents[0] is None else b.emit(row.name, (tangents[0], *operands[1:]), row.statics, row.shape)


def _adjoint(b: Any, row: Any, operands: Any, result: Ref, u: Ref) -> list[Any]:
    bar = b.emit(row.name, (u, *operands[1:]), row.statics, row.shape)
    return [b.reshape(bar, b.shape(operands[0])), None, None]


def _batch(b: Any, row: Any, operands: Any, flags: Any, size: int) -> Ref:
    batch, m, n, strict = row.statics
    full = [lead(b, x, flag, size) for x, flag in zip(operands, flags, strict=True)]
    return b.emit(row.name, full, (size * batch, m, n, strict), (size, *row.shape))


# fmt: off
array("solved", solved, 3, "batch m n strict", check=_check, linear=(0,), differentiable=(0,), tangent=_tangent,
      adjoint=_adjoint, batch=_batch, error=ConvergenceError, complaint="an equation that was not solved")
# fmt: on
