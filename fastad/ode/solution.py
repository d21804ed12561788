"""What `solve_ivp` returns: SciPy's fields, and what one looks at."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastad.kernels import records as r
from fastad.ode.emitting import Raw
from fastad.ode.problem import Options, Problem
from fastad.ode.steps import DenseOutput
from fastad.once import lazy
from fastad.recording.recorded import Recorded
from fastad.tables.composites.solve_reference import ending

_SUCCESS = "The solver successfully reached the end of the integration interval."


class Solution(Mapping[str, Any]):
    """The solution of an ODE. A mapping of its fields too, as SciPy's result is.

    t, y : times, and the states at them, of shape (n, len(t)).
    sol : the dense output, a function of t, if it was asked for.
    t_events, y_events : of every event, the times and states at which it happened.
    success, status, message : whether the end of the span was reached; 0: it was, 1: a terminal event ended the solve,
        −1: a step failed; the same in words, with the time and the component.
    nfev, njev, nlu : evaluations of the right-hand side, of its Jacobian, LU decompositions.
    stats : accepted and rejected steps, evaluations; and of a gradient of the solve, where that can be told: bytes of
        stored states, and steps that are made again.
    """

    _fields = ("message", "success", "status", "t", "y", "sol", "t_events", "y_events", "nfev", "njev", "nlu", "stats")

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

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return self is other  # fields are arrays, which have no one answer

    __hash__ = object.__hash__

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._fields]

    def plot(self, axes: Any = None, labels: Sequence[str] | None = None) -> Any:
        """Draw the components over time, smoothly if there is dense output, with the steps, and the events as lines.

        axes : of matplotlib, to draw into; None: those of a new figure.
        labels : names of the components; by default y0, y1, …

        Returns the axes; `.figure.savefig(path)` saves the picture. Raises ImportError, which names the package to
        install, where matplotlib is missing.
        """
        from fastad.plots.solutions import plot_solution

        return plot_solution(self, axes, labels)

    def __repr__(self) -> str:
        return "\n".join(f"{name:>9}: {_shown(self[name])}" for name in self._fields)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: right'>{name}</th><td style='text-align: left'><pre>"
            f"{html.escape(_shown(self[name], indent=0))}</pre></td></tr>"
            for name in self._fields
        )
        return f"<table>{rows}</table>"


class _Later:
    """A field that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


def _shown(value: Any, indent: int = 11) -> str:
    if isinstance(value, dict):
        return ", ".join(_STATS[name].format(count) for name, count in value.items())
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=6, threshold=12, edgeitems=2, prefix=" " * indent)
    if isinstance(value, list):
        return f"[{', '.join(_shown(x, indent + 1) for x in value)}]"
    return str(value)


_STATS = {
    "accepted": "{:,} accepted", "rejected": "{:,} rejected", "evaluations": "{:,} evaluations",
    "checkpoint_bytes": "{:,} bytes of checkpoints", "recomputed": "{:,} recomputed in a gradient",
}  # fmt: skip


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
    message = _message(problem, pieces[-1].run, (t, y))
    totals = runs.sum(axis=0).astype(int)
    dtype = problem.y0.dtype
    return Solution(
        # as SciPy's, whose lists of points stay empty
        t=t if len(t) else [], y=y.T.astype(dtype) if len(t) else [],
        sol=steps.interpolated(DenseOutput.of(options.method)) if options.dense else None, t_events=None, y_events=None,
        nfev=int(totals[r.EVALUATIONS]), njev=0, nlu=0, status=0 if status == r.DONE else -1, message=message,
        success=status == r.DONE, stats=_stats(totals, pieces[0].storage),
    )  # fmt: skip


def _stats(totals: Any, storage: Any) -> dict[str, int]:
    """Numbers about a run, and what a gradient of it takes."""
    found = {name: int(totals[place]) for name, place in _COUNTS.items()}
    (schedule, size), n = storage, found["accepted"]
    return found | {
        "checkpoint_bytes": schedule.predicted_bytes(n, 8 * int(size)),
        "recomputed": max(schedule.predicted_steps(n) - (n - 1), 0) if n else 0,
    }


def _message(problem: Problem, run: Any, shown: tuple[Any, Any]) -> str:
    """How the solve ended, in words; `shown` are its times and states."""
    status = int(run[r.STATUS])
    if status == r.DONE:
        return _SUCCESS
    t = _time(run[r.POSITION], problem.t0, problem.t1)
    if status == r.OVERFLOWN:
        times, states = shown
        t = next((time for time, y in zip(times, states, strict=True) if not np.isfinite(y).all()), t)
    return ending(run, t)


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
        return Interpolant(
            self.t, self.y, np.reshape(self.dense, (len(self.dense), len(output.polynomials), n)), output
        )


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
        start, size = self.ts[k], self.ts[k + 1] - self.ts[k]
        theta = (t - start) / np.where(size == 0.0, 1.0, size)
        vectors = np.moveaxis(self._dense[k], -2, 0)
        y = self._ys[k] + size[..., None] * self._output.evaluate(theta, vectors)
        if not isinstance(y, Recorded):  # the polynomials of high order lose digits, which their derivatives do not
            y = np.where((theta == 1.0)[..., None], self._ys[k + 1], y)
        return y.T


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
        message=_Later(lambda: _message_of(problem, raw)),
        success=_Later(lambda: int(raw.run[r.STATUS]) == r.DONE), stats=run,
    )  # fmt: skip


def _message_of(problem: Problem, raw: Raw) -> str:
    """How the solve ended, in words, as far as it is known while it is recorded."""
    if int(raw.run[r.STATUS]) == r.DONE:
        return _SUCCESS
    run, t0, t1 = (np.asarray(x.value if isinstance(x, Recorded) else x) for x in (raw.run, problem.t0, problem.t1))
    return ending(run, float(_time(run[r.POSITION], t0, t1)))


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
