"""What `minimize`, `least_squares` and `quadprog` return: SciPy's fields, and what derivatives rest on."""

import html
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import optree

from fastad.recording.recorded import Recorded
from fastad.transforms.call import NAMESPACE


class Later:
    """A field that is computed when it is asked for."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute


class OptimizeResult(Mapping[str, Any]):
    """The result of an optimisation. A mapping of its fields too, as SciPy's result is; `jit` and `vmap` may return it.

    x, fun : the solution, and the objective there (`least_squares`: the residuals; `cost` is the objective).
    success, status, message : whether x is a solution; why the iteration ended, as a number and in words.
    jac : the gradient of the objective (`least_squares`: the Jacobian of the residuals; `grad` is the gradient).
    nit, nfev, njev, nhev : steps; evaluations of the objective, its gradient and its Hessian (or products with it).
    multipliers : for each constraint, v of the condition ∇f + Σ Jᵀv + w = 0: negative where a lower limit is active,
        positive where an upper one is, 0 elsewhere. `bound_multipliers` are w, those of the bounds on x.
    active, active_mask : for each constraint, and for the bounds: −1 where a lower limit is active, 1 where an upper
        one is, 0 elsewhere. Equations are 1.
    strict_complementarity : whether every active limit has a multiplier that is not 0, and no other is reached. Where
        it fails, x has a kink in the parameters, and its derivative is that of the active set reported here.
    """

    def __init__(self, fields: dict[str, Any], message: Callable[[dict[str, Any]], str]) -> None:
        self._given, self._message = fields, message

    def __getattr__(self, name: str) -> Any:
        given = self.__dict__.get("_given", {})
        if name == "message":
            return self._in_words()
        if name not in given:
            raise AttributeError(f"the result has no {name!r}; its fields are {', '.join(self)}")
        value = given[name]
        if isinstance(value, Later):
            value = given[name] = value.compute()
        return value

    def _in_words(self) -> Any:
        """The message; of several lanes, a list of messages."""
        plain = {name: _plain(self[name]) for name in self._given}
        if np.ndim(plain["status"]) == 0:
            return self._message(plain)
        return [
            OptimizeResult({name: _lane(x, k) for name, x in plain.items()}, self._message).message
            for k in range(len(plain["status"]))
        ]

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        return iter(("message", *self._given))

    def __len__(self) -> int:
        return len(self._given) + 1

    def __eq__(self, other: object) -> bool:
        return self is other  # fields are arrays, which have no one answer

    __hash__ = object.__hash__

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self))
        return "\n".join(f"{name:>{width}}: {_shown(self[name], width + 2)}" for name in self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align: right'>{name}</th><td style='text-align: left'><pre>"
            f"{html.escape(_shown(self[name], 0))}</pre></td></tr>"
            for name in self
        )
        return f"<table>{rows}</table>"


def as_given(fields: dict[str, Any], x0: Any) -> dict[str, Any]:
    """The fields with the precision of the first guess: all is computed in float64."""
    if getattr(x0, "dtype", None) != np.float32:
        return fields
    return {name: _single(x) for name, x in fields.items()}


def _single(x: Any) -> Any:
    if isinstance(x, Later):
        return Later(lambda: _single(x.compute()))
    if isinstance(x, tuple):
        return tuple(map(_single, x))
    is_float = isinstance(x, Recorded | np.ndarray | np.generic) and x.dtype == np.float64
    return x.astype(np.float32) if is_float else x


def _plain(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_plain, x))
    return x.value if isinstance(x, Recorded) else x


def _lane(x: Any, k: int) -> Any:
    return tuple(_lane(v, k) for v in x) if isinstance(x, tuple) else np.asarray(x)[k]


def _shown(value: Any, indent: int) -> str:
    if isinstance(value, np.ndarray) and value.ndim:
        return np.array2string(value, precision=6, threshold=12, edgeitems=2, prefix=" " * indent)
    if isinstance(value, tuple):
        return f"({', '.join(_shown(x, indent + 1) for x in value)})"
    return (
        f"{float(value):.10g}" if isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f" else str(value)
    )


def _flattened(result: OptimizeResult) -> tuple[tuple[Any, ...], Any, tuple[str, ...]]:
    names = tuple(result._given)
    return tuple(result[name] for name in names), (names, result._message), names


def _rebuilt(kind: tuple[tuple[str, ...], Any], children: Any) -> OptimizeResult:
    names, message = kind
    return OptimizeResult(dict(zip(names, children, strict=True)), message)


optree.register_pytree_node(OptimizeResult, _flattened, _rebuilt, namespace=NAMESPACE)  # type: ignore[arg-type]

__all__ = ["Later", "OptimizeResult", "as_given"]
