"""The function that a check works on: f as a function of its floating-point arguments alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import CheckError, DerivativeError, RecordingError, ShapeError
from fastad.once import lazy
from fastad.recording.recorded import Recorded
from fastad.transforms.base import Transformed
from fastad.transforms.call import flatten, flatten_whole, holds_complex, unflatten
from fastad.transforms.derivatives import Jit


@dataclass(frozen=True)
class Problem:
    """A function of the float leaves of some arguments. Everything else is fixed.

    `function(*leaves)` returns the tuple of float leaves of f's result, `raw(*leaves)` the result itself. `point` are
    the float leaves of the arguments, `places` their positions among all leaves. `name` is f's name, for messages.
    """

    function: Callable[..., tuple[Any, ...]]
    point: tuple[np.ndarray, ...]
    name: str
    places: tuple[int, ...]
    raw: Callable[..., Any]

    @lazy
    def result(self) -> Any:
        """f's result at the point, as plain NumPy computes it."""
        return self.quietly(self.raw, [x[()] for x in self.point])

    @lazy
    def values(self) -> list[np.ndarray]:
        """The float leaves of the result at the point."""
        return [np.asarray(x) for x in self.quietly(self.function, [x[()] for x in self.point])]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [x.shape for x in self.values]

    @property
    def sizes(self) -> list[int]:
        return [x.size for x in self.values]

    def along(self, direction: Sequence[np.ndarray]) -> "DirectionalLine":
        """The function h ↦ f(point + h direction)."""
        return DirectionalLine(self, direction)

    def chosen(self, tree: Any) -> list[Any]:
        """The leaves of a pytree like the arguments that belong to `point`."""
        leaves, _ = flatten(tree)
        return [leaves[i] for i in self.places]

    def packed(self, leaves: Sequence[np.ndarray]) -> Any:
        """The structure of f's result with these float leaves; other leaves are those of the result."""
        given, (own, tree) = iter(leaves), flatten(self.result)
        return unflatten(tree, [next(given)[()] if is_float(x) else x for x in own])

    def quietly(self, function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
        with np.errstate(all="ignore"):
            return function(*leaves)


class DirectionalLine:
    """The function h ↦ f(x + h v) in float64 (or complex128), with the results as one vector.

    `eps` is the rounding unit of the results of the last call: f may compute in float32 even on float64 arguments.
    """

    def __init__(self, problem: Problem, direction: Sequence[np.ndarray]) -> None:
        self._problem, self._direction = problem, direction
        self.eps = 0.0

    def __call__(self, h: Any) -> np.ndarray:
        p = self._problem
        moved = [(np.asarray(x, np.float64) + h * v)[()] for x, v in zip(p.point, self._direction, strict=True)]
        results = [np.asarray(y).reshape(-1) for y in p.quietly(p.function, moved)]
        self.eps = max([float(np.finfo(y.dtype).eps) for y in results if y.dtype.kind in "fc"], default=self.eps)
        kind = np.complex128 if any(np.iscomplexobj(y) for y in results) else np.float64
        return np.concatenate([np.zeros(0), *results]).astype(kind)


def make_problem(f: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int] | None = None) -> Problem:
    """f as a function of the floats in the arguments `argnums` (default: all), at these arguments.

    Raises `DerivativeError` if there are no floats among them, or none in the result.
    """
    name = getattr(f, "__name__", type(f).__name__)
    leaves, tree = flatten(tuple(args))
    owner = [k for k, arg in enumerate(args) for _ in flatten(arg)[0]]
    if not all(-len(args) <= k < len(args) for k in argnums or ()):
        raise ShapeError(
            f"{name}: argnums names positional argument {max(argnums or (), key=abs)}, but {len(args)} were given"
        )
    wanted = range(len(args)) if argnums is None else [k % len(args) for k in argnums]
    places = tuple(i for i, x in enumerate(leaves) if is_float(x) and owner[i] in wanted)
    if not places:
        raise DerivativeError(f"{name} has no floating-point argument to differentiate by; write 3.0, not 3")

    def raw(*given: Any) -> Any:
        filled = list(leaves)
        for i, x in zip(places, given, strict=True):
            filled[i] = x
        return f(*unflatten(tree, filled))

    def function(*given: Any) -> tuple[Any, ...]:
        stepped = any(map(np.iscomplexobj, given))  # by the complex step, of which results have imaginary parts
        if stepped and holds_complex(tree):
            raise CheckError("an argument of f is complex itself")
        return tuple(x for x in (flatten_whole if stepped else flatten)(raw(*given))[0] if is_float(x))

    function.__name__ = name
    problem = Problem(function, tuple(np.array(leaves[i]) for i in places), name, places, raw)
    if not _runs_plainly(problem, f):
        return make_problem(Jit(f), args, argnums)
    if not problem.values:
        raise DerivativeError(f"{name} returns no floating-point number or array, so it has no derivative")
    return problem


def _runs_plainly(problem: Problem, f: Callable[..., Any]) -> bool:
    """Whether f runs on plain arrays. It may not if it has a loop whose body indexes an argument, x[k]: the step number
    k is recorded, so x must be recorded too."""
    try:
        _ = problem.values
    except RecordingError:
        if isinstance(f, Transformed):
            raise
        return False
    return True


def is_float(x: Any) -> bool:
    """Whether a leaf is a real (or, for the complex step, complex) number or array."""
    if isinstance(x, float | complex):
        return True
    return isinstance(x, np.ndarray | np.generic | Recorded) and x.dtype.kind in "fcO"


def split(vector: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """A vector of all result elements, split into arrays of these shapes."""
    ends = np.cumsum([int(np.prod(s, dtype=np.int64)) for s in shapes])
    return [x.reshape(s) for x, s in zip(np.split(vector, ends[:-1]), shapes, strict=True)]
