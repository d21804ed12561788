"""The arguments of `solve_ivp`, checked, and what of them a recording depends on."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ScheduleError, ShapeError
from fastad.ode.adjoints import check_adjoint
from fastad.ode.events import Event, events_of
from fastad.ode.mass import Mass, is_moving
from fastad.ode.method import Method
from fastad.ode.methods import METHODS, SCIPY_NAMES
from fastad.recording.complex_operands import is_complex_leaf
from fastad.recording.operands import as_recorded
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import is_tentative
from fastad.recording.source import at_line, user_line
from fastad.schedules.base import Schedule
from fastad.transforms.call import flatten, flatten_whole

EPSILON = float(np.finfo(float).eps)
OF_JACOBIANS = ("jac", "jac_sparsity", "lband", "uband")
INFINITE = 1e100  # stands for an infinite time: steps are parts of the span


@dataclass(frozen=True)
class Options:
    """What is fixed for a recording: not arrays, and not numbers that may change from call to call."""

    method: Method
    vectorized: bool
    dense: bool
    adaptive: bool
    max_steps: int
    adjoint: str
    schedule: Any
    progress: bool
    events: tuple[Event, ...] = ()
    mass: Mass | None = None  # what is fixed of the mass matrix
    moving_mass: Any = None  # a mass matrix as a function of (t, y, *args)
    jac: Any = None
    jac_sparsity: Any = None
    bands: tuple[int, int] | None = None  # diagonals of the Jacobian below and above the main one
    checks_adjoints: bool = False  # whether steps count the residuals of their adjoint systems

    @property
    def chooses_steps(self) -> bool:
        """Whether the steps are found while they are made: their sizes follow from errors, or events may end them."""
        return self.adaptive or bool(self.events)


@dataclass(frozen=True)
class Problem:
    """A problem with its arguments, which may be recorded values. `args` are passed on to `fun`; `points` are those of
    `t_eval`, or None. Tolerances and step sizes are numbers, `atol` may be a vector."""

    fun: Callable[..., Any]
    t0: Any
    t1: Any
    y0: Any
    args: tuple[Any, ...]
    points: Any
    rtol: Any
    atol: Any
    first_step: Any
    max_step: Any
    step: Any
    mass: Any = None  # the numbers of the mass matrix

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments that may change from call to call."""
        return {name: value for name, value in vars(self).items() if name != "fun"}


def method_of(method: Any) -> Method:
    """The method of a name, or the method itself. ShapeError for anything else."""
    if isinstance(method, Method):
        return method
    name = getattr(method, "__name__", method)  # SciPy's classes have the names of its methods
    found = METHODS.get(SCIPY_NAMES.get(name, name)) if isinstance(name, str) else None
    if found is not None:
        return found
    known = ", ".join(repr(name) for name in (*METHODS, *SCIPY_NAMES))
    raise ShapeError(f"method must be one of {known}, or a method of fad.ode{at_line()}, not {method!r}")


def options_of(method: Any, problem: Problem, given: dict[str, Any], mass: Mass | None) -> Options:
    """The options, checked."""
    found = method_of(method)
    events = events_of(given["events"])
    check_adjoint(given["adjoint"], found, bool(events))
    if not isinstance(given["checkpoint"], Schedule | None):
        text = "checkpoint must be a schedule, such as fad.checkpoint.Online(100)"
        raise ScheduleError(f"{text}{at_line()}, not {given['checkpoint']!r}")
    if not found.has_jacobian:
        _warn_of_unused(given)
    moving = given["mass"] if is_moving(given["mass"]) else None
    if given["mass"] is not None and given["adjoint"] in ("continuous", "interpolating"):
        raise ShapeError(f"adjoint={given['adjoint']!r} takes no mass matrix{at_line()}; take 'discrete', or 'forward'")
    if moving is not None and any(given[name] is not None for name in OF_JACOBIANS):
        names = ", ".join(OF_JACOBIANS)
        raise ShapeError(f"with mass(t, y) leave {names} out{at_line()}: fastad derives what it needs")
    max_steps = given["max_steps"]
    if not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise ShapeError(f"max_steps must be a positive integer{at_line()}, not {max_steps!r}")
    if problem.step is not None and not found.takes_fixed_steps:
        raise ShapeError(f"{found.name} chooses its steps{at_line()}; leave step= out, or use 'Radau' or 'Rodas5P'")
    if problem.step is None and not found.is_adaptive:
        raise ShapeError(
            f"{found.name} has no error estimate, so it cannot choose its steps{at_line()}; give step=, or use 'Tsit5'"
        )
    return Options(
        found, bool(given["vectorized"]), bool(given["dense_output"]), problem.step is None, int(max_steps),
        given["adjoint"], given["checkpoint"], bool(given["progress"]), events, mass, moving if mass is None else None,
        given["jac"], given["jac_sparsity"], _bands(given["lband"], given["uband"]),
    )  # fmt: skip


def _bands(lband: Any, uband: Any) -> tuple[int, int] | None:
    """How many diagonals the Jacobian has below and above the main one; of one that is not given there are none."""
    if lband is None and uband is None:
        return None
    found = tuple(0 if x is None else x for x in (lband, uband))
    if not all(isinstance(x, int | np.integer) and x >= 0 for x in found):
        raise ShapeError(f"lband and uband must be integers, 0 or more{at_line()}, not {lband!r} and {uband!r}")
    return int(found[0]), int(found[1])


def _warn_of_unused(given: dict[str, Any]) -> None:
    """Explicit methods need no Jacobian, as SciPy warns too; a mass matrix they cannot take."""
    if given["mass"] is not None:
        raise ShapeError(f"a mass matrix needs a method for stiff systems{at_line()}, such as 'Rodas5P'")
    unused = [f"`{name}`" for name in OF_JACOBIANS if given[name] is not None]
    if unused:
        line = user_line()
        text = f"The following arguments have no effect for a chosen solver: {', '.join(unused)}."
        warnings.warn_explicit(text, UserWarning, line.file, line.number)


def problem_of(fun: Any, t_span: Any, y0: Any, args: Any, t_eval: Any, numbers: dict[str, Any]) -> Problem:
    """The problem, its arguments checked as far as they are not recorded values."""
    if not callable(fun):
        raise TypeError(f"fun must be a function of (t, y){at_line()}, not {type(fun).__name__}")
    t0, t1 = _ends(t_span)
    y0 = checked_state(y0)
    points = None if t_eval is None else _points(t_eval, t0, t1)
    if args is None:
        args = ()
    if not isinstance(args, tuple):
        try:
            args = tuple(args)
        except TypeError:
            raise TypeError(
                f"Supplied 'args' cannot be unpacked{at_line()}. Please supply `args` as a tuple (e.g. "
                f"`args=({args!r},)`)."
            ) from None
    rtol, atol = _tolerances(numbers["rtol"], numbers["atol"], np.shape(y0)[0])
    max_step = _positive(numbers["max_step"], "max_step")
    first, step = numbers["first_step"], numbers["step"]
    first_step = 0.0 if first is None else _positive(first, "first_step")
    if first is not None and not any(isinstance(x, Recorded) for x in (first, t0, t1)) and first_step > abs(t1 - t0):
        raise ShapeError(f"`first_step` exceeds bounds: the span is {abs(t1 - t0):g} long{at_line()}")
    step = None if step is None else _positive(step, "step")
    return Problem(fun, t0, t1, y0, args, points, rtol, atol, first_step, max_step, step)


def _number(x: Any, what: str) -> Any:
    """A recorded number, or a float."""
    if isinstance(x, Recorded):
        if x.size != 1:
            raise ShapeError(f"{what} must be one number{at_line()}, not an array of shape {x.shape}")
        return np.reshape(x, ()) * 1.0
    try:
        return float(np.asarray(x).reshape(()))
    except (TypeError, ValueError):
        raise ShapeError(f"{what} must be a real number{at_line()}, not {x!r}") from None


def _ends(t_span: Any) -> tuple[Any, Any]:
    try:
        first, last = t_span
    except (TypeError, ValueError):
        raise ShapeError(f"t_span must be a pair (t0, t1){at_line()}, not {t_span!r}") from None
    ends = _number(first, "t0 of t_span"), _number(last, "t1 of t_span")
    t0, t1 = (0.0 if isinstance(x, Recorded) else x for x in ends)
    if not np.isfinite(t0) or np.isnan(t1):
        raise ShapeError(f"t_span must start at a finite time{at_line()}, and end at a time or at ±∞, not be {ends}")
    return ends[0], float(np.copysign(INFINITE, t1)) if np.isinf(t1) else ends[1]


def checked_state(y0: Any) -> Any:
    """The initial state as a vector of floats or complex numbers."""
    if isinstance(y0, list | tuple) and any(isinstance(x, Recorded) for x in flatten(y0)[0]):
        y0 = np.stack(y0) if any(map(is_complex_leaf, flatten_whole(y0)[0])) else as_recorded(y0)
    if not isinstance(y0, Recorded):
        y0 = np.asarray(y0)
        if y0.dtype.kind not in "fiubc":
            raise ShapeError(f"y0 must be numbers{at_line()}, not of dtype {y0.dtype}")
    if y0.ndim != 1:
        raise ShapeError(f"`y0` must be 1-dimensional{at_line()}, but has shape {y0.shape}; use np.ravel(y0)")
    if not isinstance(y0, Recorded) and not np.isfinite(y0).all():
        bad = int(np.argmin(np.isfinite(y0)))
        raise ShapeError(
            f"All components of the initial state `y0` must be finite. Component {bad} is {y0[bad]}{at_line()}"
        )
    return y0 if y0.dtype.kind in "fc" else y0.astype(float)


def _points(t_eval: Any, t0: Any, t1: Any) -> Any:
    points = t_eval if isinstance(t_eval, Recorded) else np.asarray(t_eval)
    if points.ndim != 1:
        raise ShapeError(f"`t_eval` must be 1-dimensional{at_line()}, but has shape {points.shape}")
    given = (points, t0, t1)
    if not any(isinstance(x, Recorded) for x in given):
        _check_points(points.astype(float), t0, t1, slack=0.0)
    elif not is_tentative():
        values, a, b = (np.asarray(x.value if isinstance(x, Recorded) else x, float) for x in given)
        _check_points(values, float(a), float(b), slack=4.0 * EPSILON)
    return points * 1.0 if isinstance(points, Recorded) else points.astype(float)


def _check_points(points: Any, t0: float, t1: float, slack: float) -> None:
    """ShapeError unless points are in the span, in its order, where that is told. Points that have derivatives may be
    equal, and off by rounding errors."""
    room = slack * max(abs(t0), abs(t1))
    if not np.all((points >= min(t0, t1) - room) & (points <= max(t0, t1) + room)):
        raise ShapeError(f"Values in `t_eval` are not within `t_span`, which is ({t0:g}, {t1:g}){at_line()}.")
    steps = np.diff(points) if t1 >= t0 else -np.diff(points)
    if np.any(steps < -room if slack else steps <= 0.0):
        raise ShapeError(
            f"Values in `t_eval` are not properly sorted{at_line()}: they must go from t0 to t1, each once; use "
            f"np.unique(t_eval){'' if t1 >= t0 else '[::-1]'}"
        )


def _tolerances(rtol: Any, atol: Any, n: int) -> tuple[Any, Any]:
    """Both tolerances, atol as a vector; a very small rtol is raised, with a warning, as in SciPy."""
    least = 100 * EPSILON
    rtol = rtol if isinstance(rtol, Recorded) else np.asarray(rtol, float)
    if np.ndim(rtol) and np.shape(rtol) != (n,):
        raise ShapeError(
            f"rtol has shape {np.shape(rtol)}{at_line()}; give one number, or one for each of {n} components"
        )
    atol = atol if isinstance(atol, Recorded) else np.asarray(atol, float)
    if np.ndim(atol) and np.shape(atol) != (n,):
        raise ShapeError(
            f"atol has shape {np.shape(atol)}{at_line()}; give one number, or one for each of {n} components"
        )
    if not isinstance(atol, Recorded) and not np.all((atol >= 0) & np.isfinite(atol)):
        raise ShapeError(f"`atol` must be positive or 0, and finite{at_line()}, not {atol}")
    if not isinstance(rtol, Recorded):
        if not np.all((rtol >= 0) & np.isfinite(rtol)):
            raise ShapeError(f"`rtol` must be positive or 0, and finite{at_line()}, not {rtol}")
        if np.any(rtol < least):
            line = user_line()
            text = f"At least one element of `rtol` is too small. Setting `rtol = np.maximum(rtol, {least})`."
            warnings.warn_explicit(text, UserWarning, line.file, line.number)
            rtol = np.maximum(rtol, least)
    return np.broadcast_to(rtol, (n,)), np.broadcast_to(atol, (n,))


def _positive(x: Any, what: str) -> Any:
    value = _number(x, what)
    if not isinstance(value, Recorded) and not value > 0:
        raise ShapeError(f"`{what}` must be positive{at_line()}, not {value:g}")
    return value
