"""What `solve_ivp` returns: SciPy's fields, and what one looks at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastad.kernels import records as r
from fastad.ode.emitting import Raw
from fastad.ode.problem import Options, Problem
from fastad.ode.steps import DenseOutput
from fastad.once import lazy
from fastad.recording.recorded import Recorded
from fastad.tables.composites.solve_reference import REASONS

_SUCCESS = "the solver reached the end of the span"


class Solution:
    """The solution of an ODE.

    t, y : times, and the states at them, of shape (n, len(t)).
    sol : the dense output, a function of t, if it was asked for.
    t_events, y_events : of every event, the times and states at which it happened.
    success, status, message : whether the end of the span was reached; 0: it was, 1: a terminal event ended the solve,
        −1: a step failed; the same in words, with the time and the component.
    nfev, njev, nlu : evaluations of the right-hand side, of its Jacobian, LU decompositions.
    stats : accepted and rejected steps, and evaluations.
    """

    _fields = ("t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "status", "message", "success", "stats")

    def __init__(self, **fields: Any) -> None:
        self._given = fields

    def __getattr__(self, name: str) -> Any:
        """A field; one given as a function of nothing is computed when it is asked for first."""
        given = self.__dict__.get("_given", {})
        if name not in given:
            raise AttributeError(f"a solution has no {name!r}; its fields are {', '.join(self._fields)}")
        value = given[name]
        if isinstance(value, _Later):
            value = given[name] = value.compute()
        return value

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as error:
            raise KeyError(name) from error

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._fields]

    def keys(self) -> Sequence[str]:
        """The names of the fields."""
        return self._fields

    def __repr__(self) -> str:
        rows = [f"{name:>9}: {_shown(getattr(self, name))}" for name in self._fields]
        return "\n".join(rows)


class _Later:
    """A field that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items())
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=6, threshold=12, edgeitems=2, prefix=" " * 11)
    return str(value)


# ── on numbers ────────────────────────────────────────────────────────────────────────────────────────────────
def plain_solution(problem: Problem, options: Options, pieces: Sequence[Raw]) -> Solution:
    """The solution from what the solve, in one or several pieces, has returned."""
    runs = np.array([piece.run for piece in pieces])
    counts = runs[:, r.ACCEPTED].astype(int)
    status = int(runs[-1, r.STATUS])
    steps = _Steps.of(problem, pieces, counts)
    t, y = steps.t, steps.y
    if problem.points is not None:
        reached = runs[:, r.REACHED].astype(int)
        y = np.concatenate([p.at_points[a:b] for p, a, b in zip(pieces, [0, *reached[:-1]], reached, strict=True)])
        t = np.array(problem.points[: reached[-1]])
    totals = runs.sum(axis=0).astype(int)
    dtype = problem.y0.dtype
    return Solution(
        t=t, y=y.T.astype(dtype), sol=steps.interpolated(DenseOutput.of(options.method)) if options.dense else None,
        t_events=None, y_events=None, nfev=int(totals[r.EVALUATIONS]), njev=0, nlu=0,
        status=0 if status == r.DONE else -1, message=_message(problem, pieces[-1].run), success=status == r.DONE,
        stats={
            "accepted": int(totals[r.ACCEPTED]), "rejected": int(totals[r.REJECTED]),
            "evaluations": int(totals[r.EVALUATIONS]),
        },
    )  # fmt: skip


def _message(problem: Problem, run: Any) -> str:
    """How the solve ended, in words."""
    status = int(run[r.STATUS])
    if status == r.DONE:
        return _SUCCESS
    t = _time(run[r.POSITION], problem.t0, problem.t1)
    worst = f"; component {int(run[r.WORST])} has the largest error" if status != r.NOT_FINITE else ""
    return f"{REASONS[status]}, at t = {t:.8g}{worst}"


def _time(position: Any, t0: Any, t1: Any) -> Any:
    return (1.0 - position) * t0 + position * t1


class _Steps:
    """The accepted steps of a solve: times and states of their ends, both ends of the span included."""

    def __init__(self, t: Any, y: Any, dense: Any) -> None:
        self.t, self.y, self.dense = t, y, dense

    @staticmethod
    def of(problem: Problem, pieces: Sequence[Raw], counts: Any) -> "_Steps":
        cut = list(zip(pieces, counts, strict=True))
        places = np.concatenate([[0.0], *(piece.places[:count] for piece, count in cut)])
        y = np.concatenate([[problem.y0], *(piece.kept[:count] for piece, count in cut)])
        dense = np.concatenate([piece.dense[:count] for piece, count in cut])
        return _Steps(_time(places, problem.t0, problem.t1), y, dense)

    def interpolated(self, output: DenseOutput) -> "Interpolant":
        n = self.y.shape[1]
        return Interpolant(self.t, self.y, np.reshape(self.dense, (len(self.dense), len(output.vectors), n)), output)


class Interpolant:
    """The solution between the steps: a function of a time, or of an array of times; y of shape (n,) or (n, len(t)).

    Outside of the span it continues the first or last step.
    """

    def __init__(self, ts: Any, ys: Any, dense: Any, output: DenseOutput) -> None:
        self.ts, self._ys, self._dense, self._output = ts, ys, dense, output

    @property
    def t_min(self) -> Any:
        """The smaller end of the span."""
        return np.minimum(self.ts[0], self.ts[-1])

    @property
    def t_max(self) -> Any:
        """The larger end of the span."""
        return np.maximum(self.ts[0], self.ts[-1])

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
        start, size = self.ts[k], self.ts[k + 1] - self.ts[k]
        theta = (t - start) / np.where(size == 0.0, 1.0, size)
        vectors = np.moveaxis(self._dense[k], -2, 0)
        return (self._ys[k] + size[..., None] * self._output.evaluate(theta, vectors)).T


# ── while something is recorded ───────────────────────────────────────────────────────────────────────────────
def recorded_solution(problem: Problem, options: Options, raw: Raw, with_steps: Callable[[], Raw]) -> Solution:
    """The solution of recorded values. What depends on the number of steps, or on success, is computed (and guarded)
    only if it is asked for."""
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
    if t is None:
        t = Times(np.reshape(problem.t1, (1,)), lambda: steps().t)
        y = Trajectory(raw.y.astype(dtype), lambda: steps().y.T.astype(dtype))
    run = {name: _count(raw.run[place]) for name, place in _COUNTS.items()}
    return Solution(
        t=t, y=y, sol=_Later(lambda: steps().interpolated(DenseOutput.of(options.method))) if options.dense else None,
        t_events=None, y_events=None, nfev=run["evaluations"], njev=0, nlu=0,
        status=_Later(lambda: 0 if int(raw.run[r.STATUS]) == r.DONE else -1),
        message=_Later(lambda: _SUCCESS if int(raw.run[r.STATUS]) == r.DONE else REASONS[int(raw.run[r.STATUS])]),
        success=_Later(lambda: int(raw.run[r.STATUS]) == r.DONE), stats=run,
    )  # fmt: skip


_COUNTS = {"accepted": r.ACCEPTED, "rejected": r.REJECTED, "evaluations": r.EVALUATIONS}


def _count(x: Any) -> Any:
    return x.astype(int)


class Trajectory(NDArrayOperatorsMixin):
    """An array with one column for each step of a solve whose number of steps is known only after it was made. The last
    column is known without that; anything else is recorded for the number of steps that there are here."""

    def __init__(self, last: Any, whole: Callable[[], Any]) -> None:
        self._last, self._whole = last, whole

    @lazy
    def array(self) -> Any:
        """The whole array."""
        return self._whole()

    def __getitem__(self, index: Any) -> Any:
        own = index if isinstance(index, tuple) else (index,)
        lead, last = own[:-1], own[-1]
        if isinstance(last, int) and last == -1:
            if self._is_vector:
                return self._last[0] if own == (-1,) else self.array[index]
            if lead in ((slice(None),), (...,)):
                return self._last
            if len(lead) == 1 and lead[0] is not None and np.ndim(lead[0]) <= 1:
                return self._last[lead[0]]
        return self.array[index]

    @property
    def _is_vector(self) -> bool:
        return np.ndim(self._last) == 1 and np.shape(self._last) == (1,) and self.is_times

    is_times = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.array, name)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Any:
        return iter(self.array)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*_plain(inputs), **_plain(kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*_plain(args), **_plain(kwargs))


class Times(Trajectory):
    """The times of the steps."""

    is_times = True


def _plain(tree: Any) -> Any:
    """The same with the arrays that trajectories stand for."""
    if isinstance(tree, Trajectory):
        return tree.array
    if isinstance(tree, list | tuple):
        return type(tree)(map(_plain, tree))
    return {key: _plain(value) for key, value in tree.items()} if isinstance(tree, dict) else tree
