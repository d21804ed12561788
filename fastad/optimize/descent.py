"""The loop that the methods without constraints share. A method says how it begins and makes a step."""

from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastad.control.loops import iterate
from fastad.optimize.objective import Array, Objective
from fastad.optimize.status import CONVERGED, LOWEST, MOST_STEPS, NOT_FINITE, ROUNDED, RUNNING, SADDLE, STUCK, UNBOUNDED

FLAT = 1e-7  # negative curvature, relative to the largest element, that counts as none
_ROUNDED_TO = 1e-7  # gradient, relative to its scale, that counts as 0 where no step decreases fun any more


class Iterate(NamedTuple):
    """Where an iteration is. `memory` is the method's own; `stopped`: no step was found that decreases fun."""

    x: Array
    fun: Array
    jac: Array
    memory: Any
    nfev: Array
    nhev: Array
    stopped: Array


class Run(NamedTuple):
    """An iterate, the steps up to it, and the reason for the end, RUNNING before it."""

    at: Iterate
    nit: Array
    status: Array


class Method:
    """A method of descent: a start, and a step that ends at a lower value, or `stopped`."""

    name: ClassVar[str]

    def memory(self, f: Objective, x: Array, gradient: Array) -> Any:
        """What the method remembers at the start: a pytree of arrays and numbers."""
        raise NotImplementedError

    def is_minimum(self, f: Objective, x: Array) -> Array:
        """Whether a point without gradient may be a minimum, as far as the method can tell."""
        return True

    def step(self, f: Objective, s: Iterate) -> Iterate:
        """The next iterate."""
        raise NotImplementedError


def descend(method: Method, f: Objective, x0: Array, tol: Array, max_steps: int) -> Run:
    """Steps of a method from x0 until the largest component of the gradient is at most `tol`."""
    value, gradient = f.with_gradient(x0)
    scale = np.maximum(1.0, np.max(np.abs(gradient), initial=0.0))
    first = Iterate(x0, value, gradient, method.memory(f, x0, gradient), 1, 0, False)

    def status_of(s: Iterate, nit: Array) -> Array:
        return _status(s, nit, (tol, scale, max_steps))

    def step(run: Run) -> Run:
        after = method.step(f, run.at)
        after = after._replace(stopped=after.stopped | _is_in_vain(run.at, after))
        return Run(after, run.nit + 1, status_of(after, run.nit + 1))

    start = Run(first, 0, status_of(first, np.zeros((), int)))
    run: Run = iterate(lambda run: run.status == RUNNING, step, start)
    found = (run.status == CONVERGED) | (run.status == ROUNDED)
    return run._replace(status=np.where(found & np.logical_not(method.is_minimum(f, run.at.x)), SADDLE, run.status))


def _is_in_vain(before: Iterate, after: Iterate) -> Array:
    """Whether a step has made neither fun nor the gradient smaller: it follows rounding errors."""
    size, new = (np.max(np.abs(s.jac), initial=0.0) for s in (before, after))
    return np.any(after.x != before.x) & (after.fun >= before.fun) & (new >= size)


def _status(s: Iterate, nit: Array, limits: tuple[Array, Array, int]) -> Array:
    tol, scale, most = limits
    largest = np.max(np.abs(s.jac), initial=0.0)
    rounded = s.stopped & (largest <= _ROUNDED_TO * np.maximum(scale, np.abs(s.fun)))
    status = np.where(s.stopped, STUCK, np.where(nit >= most, MOST_STEPS, RUNNING))
    status = np.where(s.fun < LOWEST, UNBOUNDED, status)
    status = np.where(rounded, ROUNDED, status)
    status = np.where(largest <= tol, CONVERGED, status)
    return np.where(np.isfinite(s.fun) & np.isfinite(largest), status, NOT_FINITE)


__all__ = ["FLAT", "Iterate", "Method", "Run", "descend"]
