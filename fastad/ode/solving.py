"""`solve_ivp`: SciPy's call, with exact derivatives."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from fastad.control.outside import recorded_loop
from fastad.errors import ShapeError
from fastad.execution.composites.callbacks import one_bar
from fastad.kernels import records as r
from fastad.ode.complex_states import is_complex_state, solved_by_parts
from fastad.ode.emitting import Extent, Functions, Raw, solved
from fastad.ode.event_results import counts_of, limits_of
from fastad.ode.grids import fixed_grid, steps_in
from fastad.ode.mass import mass_of
from fastad.ode.problem import INFINITE, Options, Problem, method_of, options_of, problem_of
from fastad.ode.solution import Solution, plain_solution, recorded_solution
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line
from fastad.tables.composites.driver import ProgressBar
from fastad.tables.validate import LARGEST

_CHUNK = 1024  # steps that a solve without t_eval returns at a time
_EVENTS = 64  # events that a solve returns at a time

# What others call what solve_ivp has under another name.
_INSTEAD = {
    "min_step": "leave it out: steps get as small as time can resolve",
    **dict.fromkeys(("dt", "h", "stepsize", "step_size"), "write step=… for fixed steps"),
    **dict.fromkeys(("dt0", "h0"), "write first_step=…"),
    **dict.fromkeys(("solver", "integrator"), "write method=…"),
    **dict.fromkeys(("tol", "reltol", "abstol"), "write rtol=… and atol=…"),
    **dict.fromkeys(("mxstep", "max_num_steps"), "write max_steps=…"),
    **dict.fromkeys(("p", "params", "parameters"), "write args=(…,)"),
    **dict.fromkeys(("saveat", "t", "ts"), "write t_eval=…"),
}


def solve_ivp(
    fun: Callable[..., Any], t_span: Any, y0: Any, method: Any = "Tsit5", t_eval: Any = None,
    dense_output: bool = False, events: Any = None, vectorized: bool = False, args: Any = (), *, rtol: Any = 1e-6,
    atol: Any = 1e-9, first_step: Any = None, max_step: Any = np.inf, step: Any = None, max_steps: int = 1_000_000,
    adjoint: str = "discrete", checkpoint: Any = None, jac: Any = None, jac_sparsity: Any = None, mass: Any = None,
    lband: int | None = None, uband: int | None = None, progress: bool = False, **unknown: Any,
) -> Solution:  # fmt: skip
    """Solve dy/dt = fun(t, y, *args) for t from t_span[0] to t_span[1], with y(t_span[0]) = y0.

    SciPy's `solve_ivp`, differentiable in y0, args, t_eval and both ends of t_span, and in everything that `fun` refers
    to. By default derivatives are exact for the steps that were made, at any order (`adjoint` says what else there is).
    Step size control is not differentiated.

    Parameters
    ----------
    fun : the right-hand side, plain NumPy; returns an array, list or tuple of n numbers. Recorded once, and once more
        for each path that its Python branches take; derivatives are those of the path taken. Where it jumps, an event
        gives the derivative of the time of the jump too.
    t_span : (t0, t1); t1 may be less than t0. An infinite t1, for a solve that an event ends, counts as 1e100.
    y0 : initial state of n components, of shape (n,). Of a complex one y is complex, and its real and imaginary parts
        are what is solved for: tolerances hold for each part.
    method : a name or method: "Tsit5", "Dopri5", "Dopri8", "BS3" choose their steps; "Euler", "Heun", "Midpoint", "RK4"
        or `fad.ode.ExplicitRK(…)` with `step=` too. "ReversibleHeun" and, with `step=`, "Leapfrog" (symplectic; for
        y = [q, p] with q' = v(t, p), p' = a(t, q)) can undo their steps, see `adjoint`. "Rodas5P" and
        `fad.ode.Rosenbrock(…)` are for stiff systems and for M y' = fun. SciPy's "RK45", "RK23" and
        "DOP853" stand for "Dopri5", "BS3" and "Dopri8".
    t_eval : times at which to return the solution, sorted. None: at the steps. Inside differentiated functions prefer
        t_eval: without it a new number of steps is a new recording (but `sol.y[:, -1]` is always cheap).
    dense_output : whether `sol.sol(t)` interpolates, to the method's order.
    vectorized : whether fun takes y of shape (n, k).
    args : further arguments of fun, pytrees of arrays and numbers.
    rtol, atol : tolerances of a step's error, relative and absolute; numbers, or one for each component.
    first_step, max_step : the first step (None: chosen) and the largest one, in the units of t.
    step : fixed steps of at most this size instead, which land exactly on t1 and on t_eval.
    events : functions g(t, y, *args), which happen where they are 0, with SciPy's attributes `terminal` and
        `direction`; or `fad.ode.Event`, whose `jump` gives a new state. Where one happens is found on the dense output
        to machine precision. Their times and states, and all that comes after them, have exact derivatives.
    max_steps : the most steps that an adaptive solve makes.
    adjoint : how reverse mode finds derivatives. All of them have second derivatives.

        "discrete" : the adjoint of the steps, exact for what was computed; states as `checkpoint` says.
        "reversible" : the same; each state is computed from the one after it, so none is stored (of adaptive steps,
            their sizes). For "Leapfrog" and "ReversibleHeun"; rounding errors grow with the number of steps.
        "forward" : exact as well, from sensitivities that are integrated with y. Nothing is stored; the work is
            proportional to the number of components and parameters. For few of them.
        "interpolating" : the adjoint equation λ' = −(∂f/∂y)ᵀ λ is integrated back over each step, with y from the
            step's dense output; states as `checkpoint` says. Right to the tolerances.
        "continuous" : y and λ are integrated back together, with the method and tolerances of the solve (y starts anew
            at each t_eval). Nothing is stored, but it is wrong, without notice, where y is unstable backward in time,
            as y' = −λy for large λ is. Of "ReversibleHeun" and "Leapfrog" this takes "Heun" and "Midpoint".
    checkpoint : which states reverse mode stores: any schedule, such as `fad.checkpoint.Online(100)`; None: all states
        up to 10⁷ numbers, then 10,000 states. Derivatives do not depend on it, bit for bit.
    jac, jac_sparsity : of implicit methods, as SciPy takes them: a matrix or a function of (t, y, *args), and where it
        is not 0. fastad derives both, and compares them at the start. Or `fad.ode.Krylov(…)`: systems without matrices.
    lband, uband : of implicit methods, how many diagonals ∂f/∂y has below and above the main one, as SciPy's LSODA
        takes them: then jac is packed, jac[uband + i - j, j] = ∂fᵢ/∂yⱼ. Found without, and compared with ∂f/∂y.
    mass : of implicit methods, M of M y' = fun(t, y): its diagonal (n,), a matrix (n, n), or a sparse one. Where it is
        singular the index must be 1, and y0 is made consistent. Or a function of (t, y, *args) to a regular matrix.
    progress : show a progress bar (needs tqdm).

    Returns a `Solution` with SciPy's fields t, y (n, len(t)), sol, t_events, y_events, nfev, njev, nlu, status,
    message, success; and stats. A solve that fails has success False and ends where it failed. Its derivative raises
    `StepSizeError`; and `ConvergenceError` where an implicit step was accepted that has no exact solution near.

    Hairer, Nørsett & Wanner, Solving Ordinary Differential Equations I. Adjoints: Griewank & Walther, Evaluating
    Derivatives (2008); Sandu (2006), On the properties of Runge–Kutta discrete adjoints; Chen, Rubanova, Bettencourt &
    Duvenaud (2018), Neural ordinary differential equations.

    >>> import numpy as np, fastad as fad
    >>> sol = fad.solve_ivp(lambda t, y, k: -k * y, (0, 1), [1.0], args=(2.0,), t_eval=[0.5, 1.0])
    >>> bool(np.allclose(sol.y[0], np.exp([-1.0, -2.0]), rtol=1e-5))
    True
    >>> end = lambda k: fad.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0], rtol=1e-9).y[0, -1]
    >>> bool(abs(fad.grad(end)(2.0) + np.exp(-2.0)) < 1e-7)
    True
    """
    if is_complex_state(y0):
        options = {
            "method": method, "t_eval": t_eval, "dense_output": dense_output, "events": events, "args": args,
            "vectorized": vectorized, "rtol": rtol, "atol": atol, "first_step": first_step, "max_step": max_step,
            "step": step, "max_steps": max_steps, "adjoint": adjoint, "checkpoint": checkpoint, "jac": jac,
            "jac_sparsity": jac_sparsity, "mass": mass, "lband": lband, "uband": uband, "progress": progress,
        }  # fmt: skip
        return solved_by_parts(solve_ivp, fun, t_span, y0, options | unknown)
    if unknown:
        name = next(iter(unknown))
        raise TypeError(f"solve_ivp does not take {name}={at_line()}; {_INSTEAD.get(name, 'leave it out')}")
    numbers = {"rtol": rtol, "atol": atol, "first_step": first_step, "max_step": max_step, "step": step}
    problem = problem_of(fun, t_span, y0, args, t_eval, numbers)
    given = {
        "vectorized": vectorized, "dense_output": dense_output, "adjoint": adjoint, "checkpoint": checkpoint,
        "max_steps": max_steps, "progress": progress, "jac": jac, "jac_sparsity": jac_sparsity, "mass": mass,
        "events": events, "lband": lband, "uband": uband,
    }  # fmt: skip
    at_start = lambda function: function(problem.t0, problem.y0, *problem.args)
    chosen = method_of(method) if mass is None else method_of(method).with_mass
    shape, numbers_of_mass = mass_of(mass, np.shape(problem.y0)[0], at_start if chosen.has_stages else None)
    problem = replace(problem, mass=numbers_of_mass)
    fixed = options_of(chosen, problem, given, shape)
    if fixed.events and problem.step is not None:
        problem = _with_even_steps(problem)
    if current_recorder() is None:
        return _solved_now(problem, fixed)
    return _recorded(problem, fixed)


# ── on numbers ────────────────────────────────────────────────────────────────────────────────────────────────
def _solved_now(problem: Problem, options: Options) -> Solution:
    """The solution for plain arguments: a recorded function of them, replayed for others of the same shapes."""
    grid, fun = _grid(problem), problem.fun
    options = replace(options, adjoint="discrete")  # nothing is differentiated
    keeps = problem.points is None or options.dense
    count = 0 if grid is None else grid[1]
    kept = (count or min(_CHUNK, options.max_steps)) if keeps else 0
    room = _room(options)

    def solver(kept: int) -> Solver:
        def run(inputs: dict[str, Any], pieces: Any, resumed: Any, limits: Any) -> Any:
            own = Problem(fun, **inputs)
            pieces = None if pieces is None else (pieces, count)
            extent = Extent(own.points, kept, options.dense, False, pieces, resumed, room, limits)
            return vars(solved(own, options, extent))

        return recorded_loop(fun, run)

    bar = ProgressBar(options.method.name, None, (0.0, 1.0)) if options.progress and not count else None
    vectors = options.method.copies + len(options.method.output.polynomials) * options.dense
    returned = count * (np.size(problem.y0) * vectors + 1) if kept else 0
    try:
        if returned > LARGEST:
            raise MemoryError
        with one_bar(bar) if bar else nullcontext():
            found = _pieces(solver, kept, problem, options, grid)
    except MemoryError as error:
        raise _without_room(problem, count, returned) if returned else error from None

    def again() -> Solution:
        own = replace(problem, points=np.zeros(0)) if options.adaptive else problem
        return _solved_now(own, replace(options, checks_adjoints=True, dense=False, progress=False))

    return plain_solution(problem, options, found, again)


def _without_room(problem: Problem, steps: int, numbers: int) -> MemoryError:
    """The error of fixed steps, of so many numbers, that are too many to be returned."""
    return MemoryError(
        f"{steps:,} steps of step={problem.step:g} are {8 * numbers:,} bytes, which cannot be returned{at_line()}; "
        "take a larger step, or t_eval without dense_output. (What a gradient stores is bounded by checkpoint=.)"
    )


Solver = Callable[[dict[str, Any], Any, Any, Any], Any]


def _pieces(solver: Callable[[int], Solver], kept: int, problem: Problem, options: Options, grid: Any) -> list[Raw]:
    """All parts of a solve, each of as many steps or events as are returned at a time, up to max_steps in all."""
    limits, left, solve = limits_of(options.events), options.max_steps, solver(kept)
    jumps = np.array([event.jump is not None for event in options.events], bool)  # each is a step of its own
    found = [Raw(**solve(problem.inputs, None if grid is None else grid[0], None, limits))]
    while int(found[-1].run[r.STATUS]) == r.FULL:
        last = found[-1]
        counts = counts_of(options.events, last)
        limits, left = limits - counts, left - int(last.run[r.ACCEPTED]) - int(np.sum(counts[jumps]))
        if left <= 0:
            last.run[r.STATUS] = r.TOO_MANY
            break
        if left < kept:
            kept = left
            solve = solver(kept)
        resumed = [last.state], last.control, last.cache, last.memory
        found.append(Raw(**solve(problem.inputs, None, resumed, limits)))
    return found


def _room(options: Options) -> int:
    """How many events are logged at a time."""
    return max(_EVENTS, 2 * len(options.events)) if options.events else 0


def _with_even_steps(problem: Problem) -> Problem:
    """Fixed steps that events may end: all of one size, but for the last one and those up to an event."""
    even = abs(problem.t1 - problem.t0) / _evenly(problem, most=1e300)  # an event may end an infinite span
    return replace(problem, step=None, first_step=even, max_step=even * (1.0 + 1e-12))


def _grid(problem: Problem) -> tuple[Any, int] | None:
    """The grid of fixed steps. If their number depends on recorded values, a guard holds it."""
    if problem.step is None:
        return None
    if not isinstance(problem.t1, Recorded) and abs(problem.t1) >= INFINITE:
        raise ShapeError(f"fixed steps need a finite t_span{at_line()}, or a terminal event that ends the solve")
    if not _is_moving(problem):
        return fixed_grid(problem.t0, problem.t1, problem.step, problem.points)
    count = _evenly(problem)
    return np.array([0.0, 1.0 / count, 0.0]), count


def _evenly(problem: Problem, most: float = LARGEST) -> int:
    """The number of fixed steps that divide the whole span."""
    return steps_in(np.abs(problem.t1 - problem.t0), problem.step, most)


def _is_moving(problem: Problem) -> bool:
    """Whether times, or the size of fixed steps, are recorded values, which may have derivatives."""
    return any(isinstance(x, Recorded) for x in (problem.t0, problem.t1, problem.points, problem.step))


# ── while something is recorded ───────────────────────────────────────────────────────────────────────────────
def _recorded(problem: Problem, options: Options) -> Solution:
    grid = _grid(problem)
    extent = Extent(
        problem.points, moving=_is_moving(problem), grid=grid, room=_room(options), limits=limits_of(options.events)
    )
    functions = Functions.of(problem, options)
    raw = functions.solved(extent)
    while options.events and bool(raw.run[r.STATUS] == r.FULL):  # another recording, where more events happen
        extent = replace(extent, room=4 * extent.room)
        raw = functions.solved(extent)

    def with_steps() -> Raw:
        """The solve that returns its steps too: as many as it makes here, or another recording."""
        steps = round(float(_plain(raw.run[r.ACCEPTED])))
        room = 1 << steps.bit_length() if grid is None else grid[1]  # more than there are, which a guard sees
        return functions.solved(replace(extent, kept=room, dense=options.dense))

    again = lambda: functions.checking_adjoints().solved(extent)
    return recorded_solution(problem, options, raw, with_steps, again)


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Recorded) else x
