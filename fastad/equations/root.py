"""`root` and `fixed_point`: solutions of equations, with derivatives by the implicit function theorem."""

import operator
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
import optree

from fastad.control.outside import recorded_loop
from fastad.control.parts import flatten_state
from fastad.equations import trust
from fastad.equations.anderson import anderson
from fastad.equations.bracketed import bracketed
from fastad.equations.broyden import broyden
from fastad.equations.core import Found, Solver, solve_equation
from fastad.equations.krylov import Krylov
from fastad.equations.linear import ILL, LinearSolver, default_solver
from fastad.equations.newton import newton
from fastad.equations.result import Result, Stats
from fastad.equations.sparse import AlwaysSparse, Automatic
from fastad.errors import ShapeError
from fastad.primitives.equations import LOOSE, SOLVED
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import current_recorder
from fastad.recording.source import at_line, user_line
from fastad.transforms.call import NAMESPACE

_METHODS: dict[str, Solver] = {"newton": newton, "newton-krylov": newton, "broyden": broyden}
_WAYS = ("implicit", "unroll")


def root(
    fun: Callable[..., Any], x0: Any = None, args: Any = (), method: str = "newton", *, tol: Any = 1e-10,
    differentiate: str = "implicit", bracket: Any = None, max_steps: int = 100, linear: str = "auto",
    gradient_limit: Any = None,
) -> Result:  # fmt: skip
    """Solve fun(x, *args) = 0 for x. The solution can be differentiated by args, and by whatever else fun refers to.

    Derivatives come from the equation, not from the steps (the implicit function theorem: F_x dx = −F_θ dθ), with the
    factors of F_x that made the last step: one factorisation serves it, tangents, adjoints and second derivatives.

    Parameters
    ----------
    fun : function of (x, *args) in plain NumPy, which returns as many numbers as x holds. A Python branch in it is
        recorded for each path that the iteration takes.
    x0 : the first guess, a pytree of arrays and numbers; may be left out with `bracket`.
    args : tuple of further arguments, pytrees.
    method : "newton", with the Jacobian from the engine, its factors and a line search; "newton-krylov", which needs
        products with the Jacobian only (GMRES), for many unknowns; "broyden", which needs the Jacobian at x0 and at the
        solution only.
    tol : the estimated error of x, ‖F_x⁻¹ F‖ relative to max(1, ‖x‖) (maximum norms), at which the iteration ends. One
        more Newton step is made then; derivatives are those at the point before it.
    differentiate : "implicit", or "unroll": derivatives of the steps that were made, which give the same and cost more.
    bracket : (a, b), numbers between which a scalar fun changes its sign. Interpolation and halving then find a root
        without fail (Chandrupatla's method), whatever `method` says.
    max_steps : the largest number of steps.
    linear : how the systems with F_x are solved: "dense"; "sparse", by factors on its pattern, which is found once, as
        is the order of elimination; "gmres", by products; "auto": by those of a band where they take least time (of 12
        unknowns or more), by sparse ones where a tenth of the elements, or fewer, can be other than 0 (of more than
        100), else dense.
    gradient_limit : a bound of the derivatives' error (`gradient_error` below) above which x raises a ConvergenceError.
        None: the error is not looked at.

    Returns
    -------
    A mapping and pytree with SciPy's fields x, fun, success, status, message, nit, nfev, njev, and `stats`:
    error (a bound of ‖x − x*‖ before the last step), factorisations, condition (of F_x, estimated in the 1-norm),
    fold (how many times relative errors of the parameters, or of x, are larger in the derivatives near a fold),
    adjoint_residual (of an adjoint solve, relative), gradient_error (computed when it is asked for: a bound, to first
    order, of what the error of x adds to dx/dθ, in the Frobenius norm; a gradient uᵀ dx/dθ is wrong by at most ‖u‖
    times that).

    Raises
    ------
    ConvergenceError : derivatives of an equation that was not solved; it names the residual and the worst component.
        Without derivatives, `success` is False, and `message` says why.
    SingularMatrixError : F_x is singular at a point of the iteration.
    A RuntimeWarning says that F_x is nearly singular, as it is near a fold.

    >>> import numpy as np, fastad as fad
    >>> solution = fad.root(lambda x, a: x**3 + x - a, 1.0, (10.0,))
    >>> round(float(solution.x), 12), solution.success
    (2.0, True)
    >>> slope = fad.grad(lambda a: fad.root(lambda x, a: x**3 + x - a, 1.0, (a,)).x)(10.0)  # 1 / (3 x² + 1)
    >>> round(float(slope * 13), 9)
    1.0

    Source: Blondel & Roulet (2024), The Elements of Differentiable Programming, section 17.4; Deuflhard (2011), Newton
    Methods for Nonlinear Problems, section 3.3.
    """
    _check("root", fun, differentiate, tol, max_steps)
    if method not in _METHODS:
        raise ValueError(f"root: there is no method {method!r}{at_line()}; methods are {', '.join(_METHODS)}")
    if x0 is None and bracket is None:
        raise TypeError(f"root needs x0, a first guess, or bracket{at_line()}")
    steps = float(operator.index(max_steps))
    solver = _METHODS[method] if bracket is None else bracketed
    ends: tuple[Any, ...] = ()
    if bracket is not None:
        ends = low, high = _ends(bracket)
        x0 = 0.5 * (low + high) if x0 is None else x0
        if np.size(x0) != 1:
            raise ShapeError(f"root: bracket is for one unknown{at_line()}, but x0 has shape {np.shape(x0)}")

    def run(x0: Any, args: Any, tol: Any, ends: Any) -> Result:
        def chosen(n: int) -> LinearSolver:
            return chosen_linear("gmres" if method == "newton-krylov" else linear, n, tol)

        own, unrolled = (tol, steps, *ends), differentiate == "unroll"
        found = solve_equation("root", fun, solver, x0, args, own, chosen, unrolled=unrolled)
        return result_of(found if gradient_limit is None else limited(found, gradient_limit))

    return _called(fun, run, x0, _tuple(args), tol, ends)


def fixed_point(
    fun: Callable[..., Any], x0: Any, args: Any = (), *, tol: Any = 1e-10, memory: int = 5,
    differentiate: str = "implicit", max_steps: int = 500, linear: str = "auto",
) -> Result:  # fmt: skip
    """Find x = fun(x, *args) by iteration, accelerated by Anderson's method; differentiated as `root` is.

    Parameters
    ----------
    fun : function of (x, *args) in plain NumPy, which returns an x.
    x0, args, differentiate : as of `root`.
    tol : the size of fun(x) − x, relative to max(1, ‖x‖), at which the iteration ends. Newton's method makes the last
        step, with the factors that serve the derivatives.
    memory : number of earlier iterates that are combined; 0: plain iteration.
    max_steps : the largest number of evaluations.
    linear : how the systems with F_x = dfun/dx − 1 are solved, as of `root`.

    Returns and raises what `root` does; `fun` of the result is fun(x) − x.

    >>> import numpy as np, fastad as fad
    >>> solution = fad.fixed_point(np.cos, 1.0)
    >>> round(float(solution.x), 9)
    0.739085133
    >>> slope = fad.grad(lambda a: fad.fixed_point(lambda x, a: np.cos(a * x), 1.0, (a,)).x)(1.0)
    >>> x, s = solution.x, np.sin(solution.x)
    >>> bool(np.isclose(slope, -x * s / (1 + s)))
    True

    Source: Walker & Ni (2011), Anderson acceleration for fixed-point iterations.
    """
    _check("fixed_point", fun, differentiate, tol, max_steps)
    solver = partial(anderson, memory=operator.index(memory))
    steps = float(operator.index(max_steps))

    def run(x0: Any, args: Any, tol: Any, ends: Any) -> Result:
        def chosen(n: int) -> LinearSolver:
            return chosen_linear(linear, n, tol)

        own, unrolled = (tol, steps), differentiate == "unroll"
        return result_of(solve_equation("fixed_point", _minus_x(fun), solver, x0, args, own, chosen, unrolled=unrolled))

    return _called(fun, run, x0, _tuple(args), tol, ())


# ── what both share ───────────────────────────────────────────────────────────────────────────────────────────
def _check(name: str, fun: Any, differentiate: str, tol: Any, max_steps: int) -> None:
    if not callable(fun):
        raise TypeError(f"fun of {name} must be a function{at_line()}, not {type(fun).__name__}")
    if differentiate not in _WAYS:
        raise ValueError(f"{name}: differentiate is 'implicit' or 'unroll'{at_line()}, not {differentiate!r}")
    if not isinstance(tol, Recorded) and not tol >= 0.0:
        raise ValueError(f"{name}: tol must be a number that is not negative{at_line()}, not {tol!r}")
    if operator.index(max_steps) < 0:
        raise ValueError(f"{name}: max_steps must not be negative{at_line()}, not {max_steps!r}")


def _tuple(args: Any) -> tuple[Any, ...]:
    return tuple(args) if isinstance(args, tuple | list) else (args,)


def _ends(bracket: Any) -> tuple[Any, Any]:
    """The two ends as floats, whatever numbers they are."""
    try:
        ends = [np.ravel(end).astype(np.float64) for end in bracket]
        (low,), (high,) = ends
    except (TypeError, ValueError):
        raise ShapeError(f"root: bracket must be two numbers{at_line()}, not {bracket!r}") from None
    return low, high


def chosen_linear(name: str, n: int, tol: Any) -> LinearSolver:
    """The solver of linear systems of this name, for n unknowns. GMRES solves to `tol`, as it is while recording."""
    if name not in ("auto", "dense", "sparse", "gmres"):
        raise ValueError(f"linear is 'auto', 'dense', 'sparse' or 'gmres'{at_line()}, not {name!r}")
    if name != "gmres":
        return {"auto": Automatic(), "sparse": AlwaysSparse(), "dense": default_solver(n)}[name]
    number = tol.value if isinstance(tol, Recorded) else tol
    return Krylov(float(min(max(number, 1e-14), 1e-6)))


def _minus_x(fun: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fun)
    def residual(x: Any, *args: Any) -> Any:
        (old, tree), (new, own) = flatten_state(x), flatten_state(fun(x, *args))
        if tree != own or [np.shape(v) for v in old] != [np.shape(v) for v in new]:
            raise ShapeError(f"fun of fixed_point must return an x like the one it gets{at_line()}")
        return [b - a for a, b in zip(old, new, strict=True)]

    return residual


_ALWAYS, _ON_DEMAND = ("condition", "fold", "adjoint_residual"), "gradient_error"


def _called(fun: Any, run: Callable[..., Result], *operands: Any) -> Result:
    """The result, recorded where something is. Of a plain call, the numbers that need second derivatives are computed
    by solving again, if somebody asks for them."""
    if current_recorder() is not None:
        return run(*operands)
    found = recorded_loop(fun, _telling(run, *_ALWAYS))(*operands)
    if "adjoint_residual" in found.stats:
        tree: Any = operands
        kept: Any = optree.tree_map(np.array, tree, namespace=NAMESPACE)
        again = recorded_loop(fun, _telling(run, _ON_DEMAND))
        found.stats.later[_ON_DEMAND] = lambda: again(*kept).stats[_ON_DEMAND]
    return _warned(found)


def _telling(run: Callable[..., Result], *names: str) -> Callable[..., Result]:
    """The result with these numbers about it, where there are such."""

    def telling(*operands: Any) -> Result:
        found = run(*operands)
        for name in names:
            if name in found.stats.later:
                found.stats[name]
        return found

    return telling


def result_of(found: Found) -> Result:
    """What the user gets of a solution."""
    system, x, factor = found.system, found.point, found.factor

    def known(bound: Any) -> Any:
        return np.where(found.status == SOLVED, bound, np.inf)  # of what is no solution there is none

    later: dict[str, Callable[[], Any]] = {}
    if not system.unrolled:
        if system.linear.has_matrix:
            later["condition"] = lambda: trust.condition(system, x, factor)
        if system.linear.has_matrix and system.n:
            later["fold"] = lambda: trust.fold(system, x, factor)
        later["adjoint_residual"] = lambda: trust.adjoint_residual(system, x, factor)
        later["gradient_error"] = lambda: known(trust.gradient_error(system, x, factor, found.correction))
    steps = found.facts["nit"]  # each evaluates both, if the solver says nothing else
    counts = {name: found.facts.get(name, steps + 1.0).astype(np.int64) for name in ("nfev", "njev")}
    counts["nit"] = steps.astype(np.int64)
    error = known(2.0 * np.max(np.abs(found.correction), initial=0.0))
    stats = Stats({"error": error, "factorisations": counts["njev"]}, later)
    return Result(found.x, found.residual, found.status.astype(np.int64), **counts, stats=stats)


def limited(found: Found, limit: Any) -> Found:
    """The solution, whose x is an error where the derivatives are less accurate than this."""
    system = found.system
    error = trust.gradient_error(system, found.point, found.factor, found.correction)
    status = np.where(error <= limit, 0.0, float(LOOSE))
    return replace(found, x=found.unknowns.tree_of(system.checked(found.solution, found.residual, status)))


def _warned(result: Result) -> Result:
    condition, fold = (np.where(result.success, result.stats.get(name, 0.0), 0.0) for name in ("condition", "fold"))
    text = ""
    if np.any(condition > ILL):
        text = (
            f"the Jacobian at the solution has a condition number of about {np.max(condition):.1e}, as near a fold: "
            "x and its derivatives lose as many digits"
        )
    elif np.any(fold > ILL):
        text = (
            "the solution is near a fold, where the Jacobian is singular: relative errors of the parameters or of x "
            f"are {np.max(fold):.1e} times larger in the derivatives"
        )
    if text:
        line = user_line()
        warnings.warn_explicit(text, RuntimeWarning, line.file, line.number)
    return result
