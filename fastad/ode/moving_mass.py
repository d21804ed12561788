"""Mass matrices that depend on t and y: M(t, y) y' = f(t, y).

With z = y' the system is y' = z, 0 = f(t, y) − M(t, y) z: one with a constant mass matrix, of index 1 where M is
regular (Hairer & Wanner, Solving Ordinary Differential Equations II, VI.1 and IV.7). z at the start is found as other
consistent values are. Only errors of y count.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastad.control.parts import concrete
from fastad.errors import ShapeError, SingularMatrixError
from fastad.ode.events import Event
from fastad.ode.mass import mass_of
from fastad.recording.source import at_line

if TYPE_CHECKING:
    from fastad.ode.problem import Options, Problem

_ANY = 1e300  # the tolerance of z
_SINGULAR = 1e-13  # reciprocal condition of M


def with_slopes(problem: "Problem", options: "Options") -> "tuple[Problem, Options]":
    """The problem of [y | z], if M depends on y; else the same."""
    mass = options.moving_mass
    if mass is None:
        return problem, options
    n, fun, args = np.shape(problem.y0)[0], problem.fun, problem.args
    _check(mass, problem, n)

    def system(t: Any, both: Any, *args: Any) -> Any:
        y, z = both[:n], both[n:]
        slope = fun(t, y[:, None] if options.vectorized else y, *args)
        matrix = mass(t, y, *args)
        moved = matrix * z if np.ndim(matrix) == 1 else matrix @ z
        return np.concatenate([z, np.reshape(_stacked(slope), (n,)) - moved])

    fixed, numbers = mass_of(np.repeat([1.0, 0.0], n), 2 * n)
    share = np.sqrt(0.5)  # the mean of squares is over z too, which has no errors
    own = replace(
        problem, fun=system, y0=np.concatenate([problem.y0, 0.0 * problem.y0]), args=args, mass=numbers,
        rtol=np.concatenate([share * problem.rtol, np.zeros(n)]),
        atol=np.concatenate([share * problem.atol, np.full(n, _ANY)]),
    )  # fmt: skip
    events = tuple(_event(event, n) for event in options.events)
    return own, replace(options, mass=fixed, moving_mass=None, vectorized=False, events=events)


def _check(mass: Callable[..., Any], problem: "Problem", n: int) -> None:
    """ShapeError for a matrix of another shape at the start, SingularMatrixError for a singular one."""
    t, y, args = concrete((problem.t0, problem.y0, problem.args))
    found = np.asarray(_array(mass(t, y, *args)), float)
    if found.shape not in ((n,), (n, n)):
        text = f"mass(t, y) returned an array of shape {found.shape}{at_line()}"
        raise ShapeError(f"{text}; it must be ({n}, {n}) or ({n},)")
    sizes = np.abs(found) if found.ndim == 1 else np.linalg.svd(found, compute_uv=False)
    if not sizes.min(initial=np.inf) > _SINGULAR * sizes.max(initial=0.0):
        raise SingularMatrixError(
            f"mass(t, y) is singular at the start{at_line()}: only a constant mass matrix may be. Give mass= the "
            "constant part, and multiply the equations by what depends on t and y"
        )


def _array(x: Any) -> Any:
    return x.toarray() if hasattr(x, "toarray") else x


def _event(event: Event, n: int) -> Event:
    """The same event of [y | z]."""
    condition, jump = event.condition, event.jump
    moved = None
    if jump is not None:
        moved = lambda t, both, *args: np.concatenate([np.reshape(_stacked(jump(t, both[:n], *args)), (n,)), both[n:]])
    own = lambda t, both, *args: condition(t, both[:n], *args)
    return Event(own, moved, event.terminal, event.direction)


def _stacked(x: Any) -> Any:
    return np.stack(x) if isinstance(x, list | tuple) else x
