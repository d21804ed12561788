"""What root finders return: SciPy's fields, and how far the result and its derivatives can be trusted."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optree

from fastad.primitives.equations import SOLVED, reason
from fastad.recording.recorded import Recorded
from fastad.transforms.call import NAMESPACE, flatten
from fastad.transforms.fields import Fields

_LEAVES = ("x", "fun", "status", "nit", "nfev", "njev")


class Stats(dict[str, Any]):
    """Numbers about a solution. Some are computed when they are asked for first."""

    def __init__(self, known: Mapping[str, Any], later: Mapping[str, Callable[[], Any]] | None = None) -> None:
        super().__init__(known)
        self.later = dict(later or {})

    def __missing__(self, name: str) -> Any:
        if name not in self.later:
            raise KeyError(f"{name}: there are {', '.join([*self, *self.later])}")
        found = self[name] = self.later.pop(name)()
        return found

    def tree_flatten(self) -> tuple[Sequence[Any], Any, Sequence[str]]:
        """Children for optree: what is known. Numbers that nobody has asked for are not among them."""
        return [dict(self)], None, ["known"]

    @classmethod
    def tree_unflatten(cls, metadata: Any, children: Sequence[Any]) -> "Stats":
        return cls(children[0])


class Result(Fields):
    """The solution of an equation. A mapping of its fields too, as SciPy's OptimizeResult; a pytree.

    x : the solution, in the structure of x0.
    success, status, message : whether the equation was solved; 0: it was; the same in words, with the largest residual.
    fun : the residual at x.
    nit, nfev, njev : steps, evaluations of the residual and of its Jacobian.
    stats : how far the derivatives can be trusted; see `fad.root`.
    """

    _fields = ("message", "success", "status", "fun", "x", "nit", "nfev", "njev", "stats")

    def __init__(
        self, x: Any, fun: Any, status: Any, nit: Any, nfev: Any, njev: Any, stats: Mapping[str, Any] | None = None
    ) -> None:
        self.x, self.fun, self.status, self.nit, self.nfev, self.njev = x, fun, status, nit, nfev, njev
        self.stats = stats if isinstance(stats, Stats) else Stats(stats or {})

    @property
    def success(self) -> Any:
        found = self.status == SOLVED
        return bool(found) if isinstance(found, np.bool_) else found

    @property
    def message(self) -> Any:
        """The status in words; of several equations, that of the first which was not solved."""
        if np.ndim(self.status) == 0:
            return _message(int(self.status), self.fun)
        status = np.ravel(np.asarray(_value(self.status)))
        failed = np.flatnonzero(status != SOLVED)
        if not failed.size:
            return reason(SOLVED)
        first = failed[0]
        return f"{failed.size} of {status.size} equations were not solved. Number {first}: {reason(status[first])}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def _shown(self, name: str, indent: int) -> str:
        return _shown(self[name], indent)

    # ── a pytree ─────────────────────────────────────────────────────────────────────────────────────────────
    def tree_flatten(self) -> tuple[Sequence[Any], Any, Sequence[str]]:
        """Children for optree."""
        return [*(getattr(self, name) for name in _LEAVES), self.stats], None, [*_LEAVES, "stats"]

    @classmethod
    def tree_unflatten(cls, metadata: Any, children: Sequence[Any]) -> "Result":
        return cls(*children)


_register: Callable[..., Any] = optree.register_pytree_node  # its types speak of collections of keys
_register(Stats, Stats.tree_flatten, Stats.tree_unflatten, namespace=NAMESPACE)
_register(Result, Result.tree_flatten, Result.tree_unflatten, namespace=NAMESPACE)


def _message(status: int, fun: Any) -> str:
    text = reason(status)
    if status == SOLVED:
        return text
    leaves = [np.ravel(np.asarray(_value(x))) for x in flatten(fun)[0]]
    residual = np.abs(np.concatenate(leaves)) if leaves else np.zeros(0)
    worst = int(np.argmax(np.where(np.isnan(residual), np.inf, residual))) if residual.size else 0
    return f"{text} The largest residual is {residual[worst]:.3g}, in component {worst}." if residual.size else text


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Recorded) else x


def _shown(value: Any, indent: int) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=6, threshold=12, edgeitems=2, prefix=" " * indent)
    if isinstance(value, Stats):
        return ", ".join([*(f"{name} {_shown(x, indent)}" for name, x in value.items()), *value.later])
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)
