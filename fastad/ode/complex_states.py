"""Complex states: `solve_ivp` solves for the real system of their real and imaginary parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastad.control.parts import concrete
from fastad.errors import ShapeError
from fastad.ode.event_results import Occurrences
from fastad.ode.events import events_of
from fastad.ode.krylov import Krylov
from fastad.ode.problem import checked_state
from fastad.ode.solution import Interpolant, Solution
from fastad.ode.trajectory import Trajectory
from fastad.recording.complex_operands import complex_package, is_complex_leaf, joined
from fastad.recording.recorded import Recorded
from fastad.recording.source import at_line
from fastad.transforms.call import flatten_whole
from fastad.transforms.fields import Later


def is_complex_state(y0: Any) -> bool:
    """Whether an initial state, or a component of it, is complex."""
    return any(map(is_complex_leaf, flatten_whole(y0)[0]))


def solved_by_parts(
    solve: Callable[..., Solution], fun: Any, t_span: Any, y0: Any, options: dict[str, Any]
) -> Solution:
    """The solution of a complex system, found by a solver of real ones."""
    if not callable(fun):
        raise TypeError(f"fun must be a function of (t, y){at_line()}, not {type(fun).__name__}")
    refused = next((name for name in ("mass", "lband", "uband") if options[name] is not None), None)
    if refused is not None:
        fix = "write y' = f itself" if refused == "mass" else "give jac_sparsity"
        raise ShapeError(f"a complex y0 takes no {refused}={at_line()}; {fix}")
    y0 = checked_state(y0)
    n = len(y0)
    own = {name: _twice(options[name], n) for name in ("rtol", "atol")}
    events = [
        replace(event, condition=_of_complex(event.condition, n), jump=event.jump and _by_parts(event.jump, n))
        for event in events_of(options["events"])
    ]
    own |= {"events": events or None, "jac": _real_jacobian(options["jac"], n)}
    pattern = options["jac_sparsity"]
    if pattern is not None:
        pattern = np.asarray(pattern.toarray() if hasattr(pattern, "toarray") else pattern)
        own["jac_sparsity"] = np.tile(pattern, (2, 2))
    return _complex_solution(solve(_by_parts(fun, n), t_span, _parts(y0), **options | own), n)


# ── what the user gives ───────────────────────────────────────────────────────────────────────────────────────
def _parts(x: Any) -> Any:
    """The vector of all real parts, and of all imaginary parts behind them."""
    recorded = any(isinstance(part, Recorded) for part in flatten_whole(x)[0])
    z = complex_package().to_complex(x) if recorded else np.asarray(x)
    return np.concatenate([np.ravel(z.real), np.ravel(z.imag)])


def _state(y: Any, n: int) -> Any:
    """The complex state of such a vector, or of columns of them."""
    return joined(y[:n], y[n:])


def _of_complex(function: Callable[..., Any], n: int) -> Callable[..., Any]:
    """A function of (t, y), for the parts of y."""

    def call(t: Any, y: Any, *args: Any) -> Any:
        return function(t, _state(y, n), *args)

    call.__name__ = getattr(function, "__name__", "fun")
    return call


def _by_parts(function: Callable[..., Any], n: int) -> Callable[..., Any]:
    """A function of (t, y) to a state, for the parts of both."""
    inner = _of_complex(function, n)

    def call(t: Any, y: Any, *args: Any) -> Any:
        found = _parts(inner(t, y, *args))
        if np.size(found) != 2 * n:
            count = "1 component" if n == 1 else f"{n} components"
            raise ShapeError(
                f"{inner.__name__} returned an array of {np.size(found) // 2} components{at_line()}, but y has {count}"
            )
        return found

    call.__name__ = inner.__name__
    return call


def _twice(tolerance: Any, n: int) -> Any:
    """Tolerances of the components, for both of their parts."""
    return np.concatenate([tolerance, tolerance]) if np.shape(tolerance) == (n,) else tolerance


def _real_jacobian(jac: Any, n: int) -> Any:
    """A Jacobian, which an analytic right-hand side has, of the parts by the parts."""
    if jac is None or isinstance(jac, Krylov):
        return jac
    if callable(jac):
        inner = _of_complex(jac, n)
        return lambda t, y, *args: _real_matrix(inner(t, y, *args))
    return _real_matrix(jac)


def _real_matrix(jac: Any) -> Any:
    a = concrete(jac)
    a = np.asarray(a.toarray() if hasattr(a, "toarray") else a)
    return np.block([[a.real, -a.imag], [a.imag, a.real]])


# ── what the user gets ────────────────────────────────────────────────────────────────────────────────────────
def _complex_solution(found: Solution, n: int) -> Solution:
    given = dict(found._given)
    y, sol, y_events = given["y"], given["sol"], given["y_events"]
    given["y"] = y.mapped(lambda y: _state(y, n)) if isinstance(y, Trajectory) else _state(y, n) if len(y) else y
    if sol is not None:
        given["sol"] = Later(lambda: _complex_interpolant(found.sol, n))
    if y_events is not None:
        given["y_events"] = [_complex_events(y, n) for y in y_events]
    return Solution(**given)


def _complex_interpolant(sol: Interpolant, n: int) -> Interpolant:
    """Interpolation is linear in the vectors of a step."""
    ys, dense = (_along_last(x, n) for x in (sol._ys, sol._dense))
    return Interpolant(sol.ts, ys, dense, sol._output, sol._sizes)


def _complex_events(y: Any, n: int) -> Any:
    if isinstance(y, Occurrences):
        return y.with_values(_along_last(y._values, n))
    return _along_last(y, n) if np.ndim(y) == 2 else y.astype(complex)


def _along_last(x: Any, n: int) -> Any:
    return joined(x[..., :n], x[..., n:])
