"""`check_grads` compares derivatives with finite differences, to any order; `check_adjoint` compares forward and
reverse mode."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.checks.differences import ESTIMATES, Estimate, complex_step, scales, unit
from fastad.checks.problem import Problem, make_problem
from fastad.checks.report import CheckReport, Comparison
from fastad.errors import CheckError
from fastad.transforms.public import jvp, vjp

_SLACK = 20.0  # estimated errors may be too small by this factor
_SMOOTH = 0.01  # difference quotients of a smooth function agree to this fraction
_MOST_DIRECTIONS = 8
_ROUNDING = 1e4  # of derivatives of third order, in units of those of f
_DECADES = 3  # elements of one argument that differ by more are moved apart
_MODES = ("fwd", "rev")


@dataclass(frozen=True)
class _Options:
    modes: tuple[str, ...]
    method: str
    step: float | None
    rtol: float
    atol: float
    rounding: float  # rounding errors of derivatives: directions are relative, so they are about those of f


def check_grads(
    f: Callable[..., Any], args: Any, order: int = 2, modes: Sequence[str] = _MODES, eps: float | None = None,
    *, rtol: float | None = None, atol: float = 0.0, method: str = "central", seed: int = 0,
) -> CheckReport:  # fmt: skip
    """Compare the derivatives of f up to `order` with finite differences.

    1. Along random directions v (one that moves all arguments, one for each argument, and one for the elements of each
       size, where they differ by decades), J v is compared with the difference quotient of f in every element, and
       ⟨Jᵀu, v⟩ with that of ⟨u, f⟩ for a random u. The differences are taken of plain NumPy calls.
    2. Where f runs on complex arrays, J v and ⟨Jᵀu, v⟩ are also compared with the complex step; otherwise the report
       says why not.
    3. v ↦ J v and u ↦ Jᵀu are differentiated and checked in the same way, as autograd's checker does. "fwd over rev" is
       the forward derivative of the reverse derivative.

    Directions move each element by about its own size, so steps are relative to each. Central differences use, for
    every element of the result, the best steps on a ladder around ε^(1/3), and extrapolate from two of them; their
    error is at most about ε^(2/3) ≈ 4e-11 of the derivative. `method="forward"` uses the step 0.001, with an error of
    about that. The error of the complex step is about ε.

    Parameters
    ----------
    args
        The tuple of arguments (pytrees). Leaves that are not floats are fixed. A single array needs no tuple.
    order
        The highest order of derivatives.
    modes
        "fwd" (JVPs), "rev" (VJPs), or both.
    eps
        A single step instead of the ladder, in units of directions that move the arguments by their own size.
    rtol, atol
        Accepted error, relative to the derivative and absolute, in addition to 20 times the estimated error of the
        difference. The default of rtol is 1e-7, or more for float32.
    seed
        Seed of the random directions.

    Returns
    -------
    CheckReport
        One `Comparison` for each mode, order, direction and method, with step, error and expected error. It prints as a
        table.

    Raises
    ------
    CheckError
        If a derivative is wrong, with the table (`error.report` is the report), or if f is not finite at the arguments.
        At a kink, where f has no derivative, the message says so.

    >>> import numpy as np, fastad as fad
    >>> report = fad.check_grads(lambda x: np.sum(np.sin(x) ** 2), (np.array([0.5, 1.0]),), order=1)
    >>> report.ok, sorted({c.method for c in report.comparisons})
    (True, ['central', 'complex'])
    """
    if order < 1 or not set(modes) <= set(_MODES) or not modes:
        raise ValueError(f"order must be at least 1 and modes a subset of {_MODES}, got {order} and {tuple(modes)}")
    if method not in ("central", "forward"):
        raise ValueError(f"method must be 'central' or 'forward' (complex steps are tried anyway), not {method!r}")
    problem = make_problem(f, args if isinstance(args, tuple | list) else (args,))
    rtol = max(1e-7, 100 * _precision(problem)) if rtol is None else rtol
    size = max((float(np.abs(x).max(initial=0.0)) for x in problem.values), default=0.0)
    rounding = _ROUNDING * _precision(problem) * size
    options = _Options(tuple(modes), method, eps, rtol, atol, rounding)
    report = CheckReport(problem.name)
    _check(problem, order, (), options, np.random.default_rng(seed), report)
    return report.require()


def _check(
    p: Problem, order: int, path: tuple[str, ...], options: _Options, rng: np.random.Generator, report: CheckReport
) -> None:
    """Compare the first derivatives of a problem, then those of its derivatives."""
    if not all(np.isfinite(x).all() for x in p.values):
        raise CheckError(_not_finite(p, path))
    u = [rng.standard_normal(x.shape) for x in p.values]
    directions = list(_directions(p, rng))
    for along, v in directions:
        truths = _estimates(p, v, options, path, report)
        for mode in options.modes:
            found = (_forward_pair if mode == "fwd" else _reverse_pair)(p, v, u)
            for method, truth in truths:
                wanted = truth if mode == "fwd" else _projected(truth, u)
                report.comparisons.append(_compare((mode, *path), along, method, found, wanted, options))
    if order > 1:
        for mode in options.modes:
            derived = _derivative(p, mode, directions[0][1], u)
            _check(make_problem(derived, p.point), order - 1, (mode, *path), options, rng, report)


def _derivative(p: Problem, mode: str, v: list[np.ndarray], u: list[np.ndarray]) -> Callable[..., Any]:
    """J v or Jᵀu as a function of the point."""

    def forward(*x: Any) -> Any:
        return jvp(p.function, x, tuple(v))[1]

    def reverse(*x: Any) -> Any:
        return vjp(p.function, *x)[1](tuple(u))

    chosen = forward if mode == "fwd" else reverse
    chosen.__name__ = p.name
    return chosen


def _directions(p: Problem, rng: np.random.Generator) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Random directions that move elements by about their own size: all arguments, each one alone, and in each of those
    the elements of about one size alone.

    In a direction that moves all of them, the contribution of a small element may be lost beside that of a large one.
    """
    full = [_random(x, rng) for x in p.point]
    yield "all", full
    parts = [(k, label, part) for k, x in enumerate(p.point) for label, part in _sizes_apart(x)]
    if 1 < len(parts) <= _MOST_DIRECTIONS:
        for k, label, part in parts:
            yield f"x{k}{label}", [v * part if i == k else np.zeros_like(v) for i, v in enumerate(full)]


def _sizes_apart(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Masks of the elements of an argument that are about of one size, with a label where they are not all."""
    own = scales(x)
    order = np.floor(np.log10(np.max(own, initial=0.0) / own) / _DECADES)
    groups = np.unique(order)
    for group in groups if groups.size <= _MOST_DIRECTIONS else groups[:0]:
        mask = order == group
        yield ("" if groups.size == 1 else f"~{own[mask].max():.0e}"), mask


def _random(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random direction for an argument that moves every element by about its size, none by close to zero."""
    return rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape) * scales(x)


def _estimates(
    p: Problem, v: list[np.ndarray], options: _Options, path: tuple[str, ...], report: CheckReport
) -> list[tuple[str, Estimate]]:
    """The derivative along v by differences, and by the complex step where that is possible."""
    line, size = p.along(v), unit(p.point, v)
    truth = ESTIMATES[options.method](line, p.sizes, size, options.step)
    found = [(options.method, truth)]
    if path:  # derivatives are functions of real arguments only
        return found
    try:
        exact = complex_step(line, p.sizes, size)
    except CheckError as error:
        report.note(str(error))
        return found
    with np.errstate(all="ignore"):
        apart = np.abs(exact.value - truth.value) > _tolerance(truth, np.abs(truth.value), options)
    if apart.any():
        report.note("no complex step: f is not analytic as it is written (abs, a comparison, conj)")
        return found
    return [*found, ("complex", exact)]


# ── fastad's derivatives, as vectors of result elements (forward) or as one number (reverse) ─────────────────
def _forward_pair(p: Problem, v: list[np.ndarray], u: list[np.ndarray]) -> np.ndarray:
    tangents = tuple(t.astype(x.dtype)[()] for t, x in zip(v, p.point, strict=True))
    _, out = jvp(p.function, tuple(x[()] for x in p.point), tangents)
    return np.concatenate([np.zeros(0), *(np.asarray(t, np.float64).reshape(-1) for t in out)])


def _reverse_pair(p: Problem, v: list[np.ndarray], u: list[np.ndarray]) -> np.ndarray:
    _, pullback = vjp(p.function, *(x[()] for x in p.point))
    bars = pullback(tuple(x.astype(y.dtype)[()] for x, y in zip(u, p.values, strict=True)))
    return np.array([_inner(bars, v)])


def _inner(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """⟨x, y⟩ of tuples of arrays; of matrices that is Tr(xᵀy)."""
    pairs = zip(xs, ys, strict=True)
    return float(sum(np.vdot(np.asarray(x, np.float64), np.asarray(y, np.float64)) for x, y in pairs))


def _projected(e: Estimate, u: list[np.ndarray]) -> Estimate:
    """The estimate for ⟨u, f⟩ from those of the elements of f."""
    w = np.concatenate([np.zeros(0), *(x.reshape(-1) for x in u)])
    error, noise, coarse = (np.array([np.abs(w) @ x]) for x in (e.error, e.noise, e.coarse))
    step = np.array([np.max(e.step, initial=0.0)])
    jump = None
    if e.jump is not None:
        jump = np.array([e.jump[0].any()]), np.array([w @ e.jump[1]]), np.array([w @ e.jump[2]])
    return Estimate(np.array([w @ e.value]), step, error, noise, coarse, jump)


# ── the comparison ────────────────────────────────────────────────────────────────────────────────────────────
def _tolerance(truth: Estimate, size: np.ndarray, options: _Options) -> np.ndarray:
    """The accepted error. Estimated errors are accepted only where the quotients converge, as for smooth functions, or
    are of rounding errors."""
    settled = truth.error <= _SMOOTH * truth.coarse + _SLACK * truth.noise
    settled |= truth.error * truth.step <= options.rounding
    rough = options.method == "forward" or options.step is not None
    allowed = _SLACK * np.where(settled | rough, truth.error, truth.noise)
    return options.atol + options.rtol * size + allowed


def _compare(
    modes: tuple[str, ...], along: str, method: str, found: np.ndarray, truth: Estimate, options: _Options
) -> Comparison:
    label, order = " over ".join(modes), len(modes)
    if not found.size:
        return Comparison(label, order, along, method, None, 0.0, 0.0, 0.0, True, "nothing to compare")
    with np.errstate(all="ignore"):
        error = np.abs(found - truth.value)
        tolerance = _tolerance(truth, np.maximum(np.abs(found), np.abs(truth.value)), options)
        excess = np.where(np.isfinite(error), error / np.maximum(tolerance, 1e-300), np.inf)
    k = int(np.argmax(excess))
    ok = bool(excess[k] <= 1.0)
    note = _remark(found, truth, k, ok)
    numbers = float(truth.step[k]), float(found[k]), float(error[k]), float(truth.error[k])
    return Comparison(label, order, along, method, *numbers, ok, note)


def _remark(found: np.ndarray, truth: Estimate, k: int, ok: bool) -> str:
    """A remark on one comparison: at a kink, or what a failure probably means."""
    if truth.jump is not None and truth.jump[0][k]:
        left, right = truth.jump[1][k], truth.jump[2][k]
        if ok:
            return "at a kink; agrees with the mean of both sides"
        return f"kink or jump: the quotients from the left and right are {left:.3g} and {right:.3g}; change the point"
    if ok:
        return ""
    if not np.isfinite(truth.value[k]):
        return "f is not finite near the point, which is at the edge of the domain; change the point"
    if not np.isfinite(found[k]):
        return "fastad's derivative is not finite; run it within fad.debug.nans() to see where"
    if truth.error[k] > _SMOOTH * truth.coarse[k] + _SLACK * truth.noise[k]:
        return "the quotients do not converge, so a kink or jump is near; change the point, or check a lower order"
    return f"differences give {truth.value[k]:.6g}"


def _not_finite(p: Problem, path: tuple[str, ...]) -> str:
    k = next(i for i, x in enumerate(p.values) if not np.isfinite(x).all())
    what = " over ".join(path) + " derivative" if path else "value"
    hint = "run it within fad.debug.nans() to see where it arises, or change the point"
    return f"the {what} of {p.name} is not finite at the arguments (result {k}), so there is nothing to check; {hint}"


def _precision(p: Problem) -> float:
    """The largest rounding unit of the arguments and results."""
    return max(float(np.finfo(x.dtype).eps) for x in (*p.point, *p.values))


# ── forward against reverse mode ──────────────────────────────────────────────────────────────────────────────
def check_adjoint(
    f: Callable[..., Any], args: Any, *, trials: int = 3, rtol: float | None = None, seed: int = 0
) -> CheckReport:
    """Check ⟨u, J v⟩ = ⟨Jᵀu, v⟩ for random u and v: forward and reverse mode must be transposes of each other.

    No differences are taken, so the two numbers agree up to rounding. The inner products are sums over all arguments
    and results; for matrices ⟨A, B⟩ = Tr(AᵀB).

    Parameters
    ----------
    args
        The tuple of arguments (pytrees). A single array needs no tuple.
    trials
        The number of pairs (u, v).
    rtol
        Accepted error relative to the sum of absolute products. The default is 1e-10, or more for float32.

    Returns
    -------
    CheckReport
        One `Comparison` for each trial. The column "derivative" is ⟨u, J v⟩.

    Raises
    ------
    CheckError
        If the two differ, with the report's table.

    >>> import numpy as np, fastad as fad
    >>> fad.check_adjoint(lambda A, x: np.tanh(A @ x), (np.eye(3), np.arange(3.0))).ok
    True
    """
    p = make_problem(f, args if isinstance(args, tuple | list) else (args,))
    if not all(np.isfinite(x).all() for x in p.values):
        raise CheckError(_not_finite(p, ()))
    rng, precision = np.random.default_rng(seed), _precision(p)
    rtol = max(1e-10, 100 * precision if precision > 1e-10 else 0.0) if rtol is None else rtol
    report = CheckReport(p.name)
    for k in range(trials):
        report.comparisons.append(_trial(p, f"trial {k + 1}", rng, rtol, precision))
    return report.require()


def _trial(p: Problem, label: str, rng: np.random.Generator, rtol: float, precision: float) -> Comparison:
    v = [_random(x, rng) for x in p.point]
    u = [rng.standard_normal(x.shape) for x in p.values]
    out = _forward_pair(p, v, u)
    w = np.concatenate([np.zeros(0), *(x.reshape(-1) for x in u)])
    _, pullback = vjp(p.function, *(x[()] for x in p.point))
    bars = pullback(tuple(x.astype(y.dtype)[()] for x, y in zip(u, p.values, strict=True)))
    left, right = float(w @ out), _inner(bars, v)
    size = float(np.abs(w) @ np.abs(out)) + _inner([np.abs(b) for b in bars], [np.abs(x) for x in v])
    error, expected = abs(left - right), precision * size
    ok = bool(error <= rtol * size)
    note = "" if ok else f"⟨Jᵀu, v⟩ is {right:.6g}"
    if not np.isfinite(left + right):
        note = "not finite; run both modes within fad.debug.nans() to see where"
    return Comparison("⟨u,Jv⟩=⟨Jᵀu,v⟩", 1, label, "transpose", None, left, error, expected, ok, note)
