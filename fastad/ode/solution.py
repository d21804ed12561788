"""What `solve_ivp` returns: SciPy's fields, and what one looks at."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastad.equations.result import Stats
from fastad.kernels import records as r
from fastad.ode.emitting import Raw
from fastad.ode.event_results import plain_events, recorded_events
from fastad.ode.problem import Options, Problem
from fastad.ode.steps import DenseOutput
from fastad.ode.trajectory import Times, Trajectory
from fastad.recording.recorded import Recorded
from fastad.tables.composites.solve_endings import REASONS, ending
from fastad.transforms.fields import Fields, Later

_ENDS = {
    r.DONE: "The solver successfully reached the end of the integration interval.",
    r.ENDED: "A termination event occurred.",
} | {status: reason for status, (reason, *_) in REASONS.items()}


class Solution(Fields):
    """The solution of an ODE. A mapping of its fields too, as SciPy's result is.

    t, y : times, and the states at them, of shape (n, len(t)).
    sol : the dense output, a function of t, if it was asked for.
    t_events, y_events : of every event, the times and states at which it happened.
    success, status, message : whether the end of the span was reached; 0: it was, 1: a terminal event ended the solve,
        −1: a step failed; the same in words, with the time and the component.
    nfev, njev, nlu : evaluations of the right-hand side, of its Jacobian, LU decompositions.
    stats : accepted and rejected steps, evaluations; and of a gradient of the solve, where that can be told: bytes of
        stored states, and steps that are made again. Of methods with implicit stages also `newton_error`: what Newton's
        iterations have left in the state, summed over all trial steps, as a multiple of atol + rtol |y|. Derivatives
        are those of exactly solved steps, so the values are at most about that far from those that they belong to. Of
        all implicit methods `adjoint_residual`: relative residuals of the transposed systems that reverse mode solves,
        for a right side of its own, summed over all trial steps. Another solve finds it when it is asked for first.
    """

    _fields = ("message", "success", "status", "t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "stats")

    _solution = "y"

    def __init__(self, **fields: Any) -> None:
        self._given = fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def plot(self, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the components over time, smoothly if there is dense output, with the steps, and the events as lines.

        axes : of matplotlib, to draw into; None: those of a new figure.
        labels : names of the components; by default y0, y1, …

        Returns the axes; `.figure.savefig(path)` saves the picture. Raises ImportError, which names the package to
        install, where matplotlib is missing.
        """
        from fastad.plots.solutions import plot_solution

        return plot_solution(self, axes, labels)

    def _shown(self, name: str, indent: int) -> str:
        return _shown(self[name], indent)


def _shown(value: Any, indent: int) -> str:
    if isinstance(value, dict):
        return ", ".join(_STATS[name].format(count) for name, count in value.items())
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=6, threshold=12, edgeitems=2, prefix=" " * indent)
    if isinstance(value, list):
        return f"[{', '.join(_shown(x, indent + 1) for x in value)}]"
    return str(value)


_STATS = {
    "accepted": "{:,} accepted", "rejected": "{:,} rejected", "evaluations": "{:,} evaluations",
    "jacobians": "{:,} Jacobians", "factorisations": "{:,} factorisations", "iterations": "{:,} iterations",
    "unsolved": "{:,} unsolved", "newton_error": "{:.2g} tolerances left by Newton's iterations",
    "adjoint_residual": "{:.2g} relative residuals of adjoint systems",
    "checkpoint_bytes": "{:,} bytes of checkpoints", "recomputed": "{:,} recomputed in a gradient",
}  # fmt: skip


# ── on numbers ────────────────────────────────────────────────────────────────────────────────────────────────
def plain_solution(
    problem: Problem, options: Options, pieces: Sequence[Raw], again: Callable[[], Solution]
) -> Solution:
    """The solution from what the solve, in one or several pieces, has returned. `again` makes the same steps, which
    look at the residuals of their adjoint systems."""
    runs = np.array([piece.run for piece in pieces])
    counts = runs[:, r.ACCEPTED].astype(int)
    status = int(runs[-1, r.STATUS])
    steps = _Steps.of(problem, pieces, counts)
    t, y = steps.t, steps.y
    if problem.points is not None:
        reached = runs[:, r.REACHED].astype(int)
        y = np.concatenate([p.at_points[a:b] for p, a, b in zip(pieces, [0, *reached[:-1]], reached, strict=True)])
        t = np.array(problem.points[: reached[-1]])
    message = _message(problem, options, pieces[-1], (t, y))
    totals = runs.sum(axis=0).astype(int)
    dtype = problem.y0.dtype
    t_events, y_events = plain_events(options.events, pieces)
    return Solution(
        # as SciPy's, whose lists of points stay empty
        t=t if len(t) else [], y=y.T.astype(dtype) if len(t) else [],
        sol=steps.interpolated(DenseOutput.of(options.method)) if options.dense else None, t_events=t_events,
        y_events=y_events, **_counted(totals, int), status=_status(status), message=message,
        success=_status(status) >= 0, stats=Later(lambda: _stats(totals, runs, pieces[0].storage, options, again)),
    )  # fmt: skip


def _counted(run: Any, count: Callable[[Any], Any]) -> dict[str, Any]:
    """What SciPy counts."""
    evaluations = run[r.EVALUATIONS] + run[r.COUNTED + r.CALLS]
    jacobians, factorisations = run[r.COUNTED + r.JACOBIANS], run[r.COUNTED + r.FACTORISATIONS]
    return {"nfev": count(evaluations), "njev": count(jacobians), "nlu": count(factorisations)}


def _stats(totals: Any, runs: Any, storage: Any, options: Options, again: Callable[[], Solution]) -> Stats:
    """Numbers about a run, and what a gradient of it takes."""
    found: dict[str, Any] = {name: int(totals[place]) for name, place in _counts(options.method).items()}
    found["evaluations"] = _counted(totals, int)["nfev"]
    if options.method.has_stages:
        found["newton_error"] = float(runs[:, r.COUNTED + r.LEFT].sum())
    if options.checks_adjoints:
        found["adjoint_residual"] = float(runs[:, r.COUNTED + r.RESIDUAL].sum())
    (schedule, size), n = storage, found["accepted"]
    found["checkpoint_bytes"] = schedule.predicted_bytes(n, 8 * int(size))
    found["recomputed"] = max(schedule.predicted_steps(n) - (n - 1), 0) if n else 0
    return Stats(found, _on_demand(options, lambda: again().stats["adjoint_residual"]))


def _on_demand(options: Options, residual: Callable[[], Any]) -> dict[str, Callable[[], Any]]:
    """Numbers that are computed when they are asked for."""
    return {"adjoint_residual": residual} if options.method.has_jacobian and not options.checks_adjoints else {}


def _status(status: int) -> int:
    """The status in SciPy's numbers."""
    return {r.DONE: 0, r.ENDED: 1}.get(status, -1)


def _message(problem: Problem, options: Options, last: Raw, shown: tuple[Any, Any]) -> str:
    """How the solve ended, in words; `shown` are its times and states."""
    status = int(last.run[r.STATUS])
    if _status(status) >= 0:
        return _ENDS[status]
    t = _time(last.run[r.POSITION], problem.t0 if last.clock is None else last.clock[0], problem.t1)
    if status == r.OVERFLOWN:
        times, states = shown
        t = next((time for time, y in zip(times, states, strict=True) if not np.isfinite(y).all()), t)
    return ending(last.run, t, not options.method.has_jacobian)


def _time(position: Any, t0: Any, t1: Any) -> Any:
    return (1.0 - position) * t0 + position * t1


class _Steps:
    """The accepted steps of a solve: times and states of their ends, both ends of the span included. `sizes` are those
    of which they are a part, where events have ended them; None: all of them are whole."""

    def __init__(self, t: Any, y: Any, dense: Any, sizes: Any = None) -> None:
        self.t, self.y, self.dense, self.sizes = t, y, dense, sizes

    @staticmethod
    def of(problem: Problem, pieces: Sequence[Raw], counts: Any) -> "_Steps":
        cut = list(zip(pieces, counts, strict=True))
        places = np.concatenate([[0.0], *(piece.places[:count] for piece, count in cut)])
        y = np.concatenate([[pieces[0].first], *(piece.kept[:count] for piece, count in cut)])
        dense = np.concatenate([piece.dense[:count] for piece, count in cut])
        if pieces[0].clock is None:
            return _Steps(_time(places, problem.t0, problem.t1), y, dense)
        clocks = np.concatenate([[problem.t0], *(piece.clocks[:count] for piece, count in cut)])
        t = _time(np.maximum(places, 0.0), clocks, problem.t1)
        sizes = np.where(places[1:] > 0.0, t[1:] - t[:-1], -places[1:] * (problem.t1 - clocks[:-1]))
        return _Steps(t, y, dense, sizes)

    def interpolated(self, output: DenseOutput) -> "Interpolant":
        n = self.y.shape[1]
        dense = np.reshape(self.dense, (len(self.dense), len(output.polynomials), n))
        return Interpolant(self.t, self.y, dense, output, self.sizes)


class Interpolant:
    """The solution between the steps: a function of a time, or of an array of times; y of shape (n,) or (n, len(t)).

    Outside of the span it continues the first or last step.
    """

    def __init__(self, ts: Any, ys: Any, dense: Any, output: DenseOutput, sizes: Any = None) -> None:
        self.ts, self._ys, self._dense, self._output = ts, ys, dense, output
        self._sizes = ts[1:] - ts[:-1] if sizes is None else sizes

    @property
    def t_min(self) -> Any:
        """The smaller end of the span."""
        return np.minimum(self.ts[0], self.ts[-1])

    @property
    def t_max(self) -> Any:
        """The larger end of the span."""
        return np.maximum(self.ts[0], self.ts[-1])

    @property
    def interpolants(self) -> "list[Interpolant]":
        """The steps, each a function of its own; `t_old` and `t` are its ends."""
        return [
            Interpolant(self.ts[k : k + 2], self._ys[k : k + 2], self._dense[k : k + 1], self._output)
            for k in range(self.n_segments)
        ]

    @property
    def t_old(self) -> Any:
        """The start."""
        return self.ts[0]

    @property
    def t(self) -> Any:
        """The end."""
        return self.ts[-1]

    @property
    def n_segments(self) -> int:
        """The number of steps."""
        return len(self.ts) - 1

    def __call__(self, t: Any) -> Any:
        t = t if isinstance(t, Recorded) else np.asarray(t, float)
        if t.ndim > 1:
            raise ValueError("`t` must be a float or a 1-D array.")
        rising = self.ts if bool(self.ts[-1] >= self.ts[0]) else -self.ts
        own = t if rising is self.ts else -t
        k = np.clip(np.searchsorted(rising, own, side="left") - 1, 0, self.n_segments - 1)
        start, size = self.ts[k], self._sizes[k]
        theta = (t - start) / np.where(size == 0.0, 1.0, size)
        vectors = np.moveaxis(self._dense[k], -2, 0)
        y = self._ys[k] + size[..., None] * self._output.evaluate(theta, vectors)
        if not isinstance(y, Recorded):  # the polynomials of high order lose digits, which their derivatives do not
            y = np.where((theta == 1.0)[..., None], self._ys[k + 1], y)
        return y.T


# ── while something is recorded ───────────────────────────────────────────────────────────────────────────────
def recorded_solution(
    problem: Problem, options: Options, raw: Raw, with_steps: Callable[[], Raw], again: Callable[[], Raw]
) -> Solution:
    """The solution of recorded values. What depends on the number of steps, or on success, is computed (and guarded)
    only if it is asked for; `again` makes the same steps, which look at the residuals of their adjoint systems."""
    dtype = problem.y0.dtype

    def steps() -> _Steps:
        full = found.get("steps")
        if full is None:
            own = with_steps()
            count = int(own.run[r.ACCEPTED]) if options.adaptive else np.shape(own.kept)[0]
            full = found["steps"] = _Steps.of(problem, [own], [count])
        return full

    found: dict[str, _Steps] = {}
    t: Any = problem.points
    y: Any = None if t is None else raw.at_points.T.astype(dtype)
    if t is not None and any(event.terminal for event in options.events):
        t, y = _reached(raw, t, y)
    elif t is None:
        end = problem.t1 if raw.clock is None else _time(raw.control[r.AT], raw.clock, problem.t1)
        t = Times(np.reshape(end, (1,)), lambda: steps().t)
        y = Trajectory(raw.y.astype(dtype), lambda: steps().y.T.astype(dtype))
    t_events, y_events = recorded_events(options.events, raw)
    run = {name: _count(raw.run[place]) for name, place in _counts(options.method).items()}
    run["evaluations"] = _counted(raw.run, _count)["nfev"]
    if options.method.has_stages:
        run["newton_error"] = raw.run[r.COUNTED + r.LEFT]
    later = _on_demand(options, lambda: again().run[r.COUNTED + r.RESIDUAL])
    return Solution(
        t=t, y=y, sol=Later(lambda: steps().interpolated(DenseOutput.of(options.method))) if options.dense else None,
        t_events=t_events, y_events=y_events, **_counted(raw.run, _count),
        status=Later(lambda: _status(int(raw.run[r.STATUS]))),
        message=Later(lambda: _message_of(problem, options, raw)),
        success=Later(lambda: _status(int(raw.run[r.STATUS])) >= 0), stats=Stats(run, later),
    )  # fmt: skip


def _message_of(problem: Problem, options: Options, raw: Raw) -> str:
    """How the solve ended, in words, as far as it is known while it is recorded."""
    status = int(raw.run[r.STATUS])
    if _status(status) >= 0:
        return _ENDS[status]
    start = problem.t0 if raw.clock is None else raw.clock[0]
    run, t0, t1 = (np.asarray(x.value if isinstance(x, Recorded) else x) for x in (raw.run, start, problem.t1))
    return ending(run, float(_time(run[r.POSITION], t0, t1)), not options.method.has_jacobian)


def _reached(raw: Raw, t: Any, y: Any) -> tuple[Trajectory, Trajectory]:
    """Of results at points, those up to the end of the solve. The last one is known without their number."""
    is_last = np.arange(len(t)) == raw.run[r.REACHED] - 1.0

    def last(x: Any) -> Any:
        return np.where(np.any(is_last), np.sum(np.where(is_last, x, 0.0), axis=-1), np.nan)

    def whole(x: Any) -> Any:
        return x[..., : int(raw.run[r.REACHED])]

    return Times(np.reshape(last(t), (1,)), lambda: whole(t)), Trajectory(last(y), lambda: whole(y))


def _counts(method: Any) -> dict[str, int]:
    """What is counted of a run, and its place."""
    found = {"accepted": r.ACCEPTED, "rejected": r.REJECTED, "evaluations": r.EVALUATIONS}
    more = {"jacobians": r.JACOBIANS, "factorisations": r.FACTORISATIONS, "iterations": r.ITERATIONS}
    more |= {"unsolved": r.FAILURES}
    return found | {name: r.COUNTED + place for name, place in more.items()} if method.counts else found


def _count(x: Any) -> Any:
    return x.astype(int)
