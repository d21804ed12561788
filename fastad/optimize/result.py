"""What `minimize`, `least_squares` and `quadprog` return: SciPy's fields, and what derivatives rest on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optree

from fastad.recording.recorded import Recorded
from fastad.transforms.call import NAMESPACE
from fastad.transforms.fields import Fields, Later


class OptimizeResult(Fields):
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

    @property
    def message(self) -> Any:
        """Why the iteration ended; of several lanes, a list of messages."""
        plain = {name: _plain(self[name]) for name in self._given}
        if np.ndim(plain["status"]) == 0:
            return self._message(plain)
        return [
            OptimizeResult({name: _lane(x, k) for name, x in plain.items()}, self._message).message
            for k in range(len(plain["status"]))
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(("message", *self._given))

    def _shown(self, name: str, indent: int) -> str:
        return _shown(self[name], indent)


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
