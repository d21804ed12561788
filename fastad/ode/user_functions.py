"""The functions that the user gives a solve, as functions of a time and a state alone, which are recorded."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.parts import any_recorded
from fastad.control.paths import Recordings
from fastad.errors import ShapeError
from fastad.ode.consistent import consistent
from fastad.ode.events import Event
from fastad.ode.mass import Mass
from fastad.ode.problem import Options, Problem
from fastad.recording.complex_operands import is_complex_leaf
from fastad.recording.geometry import copied
from fastad.recording.operands import as_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.tables.columns import Line
from fastad.transforms.call import flatten, flatten_whole

EventParts = tuple[Recordings, Recordings | None]  # the condition, and the jump


def right_hand_side(problem: Problem, options: Options, n: int, recorders: list[Any]) -> Callable[..., Any]:
    """`fun` of a time and a state of its own, with the further arguments; its result is a vector. References to the
    recorders of its evaluations are added to a list."""

    def evaluate(t: Any, y: Any) -> Any:
        y, recorder = copied(y), current_recorder()
        found = problem.fun(t, y[:, None] if options.vectorized else y, *problem.args)
        if recorder is not None:
            recorders.append(recorder.reference)
            if recorder.shown is not None:
                _warn_of_text(problem.fun, recorder.shown)
        return as_vector(found, n)

    evaluate.__name__ = getattr(problem.fun, "__name__", "fun")
    return evaluate


def with_mass(rhs: Callable[..., Any], problem: Problem, mass: Mass | None) -> Callable[..., Any]:
    """The right-hand side, with the numbers of a mass matrix that depends on t and y behind it."""
    if mass is None or mass.function is None:
        return rhs

    def both(t: Any, y: Any) -> Any:
        return np.concatenate([rhs(t, y), mass.values(mass.function(t, copied(y), *problem.args))])

    return both


def _warn_of_text(fun: Callable[..., Any], line: Line) -> None:
    """A right-hand side that prints does so only while it is recorded."""
    name = getattr(fun, "__name__", "fun")
    text = (
        f"{name} makes text of t or y, such as to print it, at {line}. It is recorded once for all steps, so it does "
        "that once; look at the steps by sol.t and sol.y."
    )
    warnings.warn_explicit(text, UserWarning, line.file, line.number)


def warn_of_kept_values(fun: Callable[..., Any]) -> None:
    """What a right-hand side writes elsewhere is written only while it is recorded."""
    code = getattr(fun, "__code__", None)
    name = getattr(fun, "__name__", "fun")
    file, number = ("", 1) if code is None else (code.co_filename, code.co_firstlineno)
    text = (
        f"{name} ({file}:{number}) keeps values of t or y outside of it, in a global, a list or an attribute. It is "
        "recorded once for all steps, so it does that once, with values that are dead afterwards; use sol.t and sol.y."
    )
    warnings.warn_explicit(text, UserWarning, file, number)


def event_parts(
    event: Event, problem: Problem, start: Any, number: int, mass: Mass | None, rhs: Callable[[Any, Any], Any]
) -> EventParts:
    """The condition of an event, and its jump, recorded. States after a jump are made consistent."""
    n = np.shape(problem.y0)[0]

    def condition(t: Any, y: Any) -> Any:
        found = event.condition(t, copied(y), *problem.args)
        if isinstance(found, bool) or getattr(found, "dtype", np.dtype(float)).kind == "b":
            raise TypeError(
                f"the condition of an event returned a truth value{at_line()}; an event happens where a number becomes "
                "0: return y[0] - 0.5, not y[0] < 0.5"
            )
        return np.reshape(as_vector(found, 1, "the condition of an event"), ())

    def jump(t: Any, y: Any) -> Any:
        assert event.jump is not None
        after = as_vector(event.jump(t, copied(y), *problem.args), n, "the jump of an event")
        return consistent(mass, rhs, t, after)

    name = f"condition of event {number}"
    jumps = None if event.jump is None else Recordings(jump, start, f"jump of event {number}", event.jump)
    return Recordings(condition, start, name, event.condition), jumps


def as_vector(found: Any, n: int, what: str = "fun") -> Any:
    """The result of a user's function as a vector of n floats."""
    if isinstance(found, np.ndarray) and found.dtype == object:  # np.array([…]) of recorded values in a library
        found = found.tolist()
    if any(map(is_complex_leaf, flatten_whole(found)[0])):
        fix = "; give a complex y0, such as np.asarray(y0, complex)" if what == "fun" else ""
        raise ShapeError(f"{what} returned complex numbers{at_line()}, where real ones are expected{fix}")
    leaves, _ = flatten(found)
    numbers = all(isinstance(x, Recorded) or np.asarray(x).dtype.kind in "fiub" for x in leaves)
    if not numbers or (not leaves and n):
        wanted = f"dy/dt, an array of {n} components" if what == "fun" else f"{n} number{'s' * (n != 1)}"
        raise ShapeError(f"{what} returned {found!r}{at_line()}; it must return {wanted}")
    if isinstance(found, list | tuple):
        found = as_recorded(found) if any_recorded(leaves) else np.asarray(found)
    elif not isinstance(found, Recorded):
        found = leaves[0] if isinstance(leaves[0], Recorded) else np.asarray(found)
    if found.size != n:
        count = "1 component" if n == 1 else f"{n} components"
        right = f"but y has {count}" if n != 1 or what == "fun" else "instead of one number"
        raise ShapeError(f"{what} returned an array of shape {found.shape}{at_line()}, {right}")
    return np.reshape(found, (n,)) * 1.0
