"""The public transformations: jit, grad, jvp, vjp, jacobian, hessian, vmap, trace and their variants."""

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from fastad.execution.traced import traced
from fastad.recording.elementwise import detached
from fastad.recording.keys import compares_by_identity
from fastad.recording.settings import pinned
from fastad.recording.source import at_line
from fastad.transforms.base import Transformed
from fastad.transforms.batches import SpreadVmap
from fastad.transforms.call import flatten, make_call, unflatten
from fastad.transforms.derivatives import Gradient, Jit, JvpFunction, VjpFunction, frozen_primals
from fastad.transforms.jacobians import Jacobian
from fastad.transforms.known import Memory
from fastad.transforms.mapping import Vmap

# Of functions that live: a recursive one lives as long as its memory, so there is a limit.
_memories: WeakKeyDictionary[Any, dict[type[Transformed], Memory]] = WeakKeyDictionary()
_REMEMBERED = 256


_GIVEN: Any = object()


def jit(
    f: Callable[..., Any], *, tier: str = "auto", threads: int | None = None, roll: Any = None,
    device: str | None = None, **unknown: Any,
) -> Jit:  # fmt: skip
    """f, recorded once for each structure of its arguments and each path through its branches, then replayed.

    Arguments may be any pytree of float, complex, integer or bool arrays and numbers. Python integers are constants
    until they change, and inputs then, except where Python needs the number itself (a shape, `range(n)`). Other leaves
    are static: part of the key under which a recording is found. A new function object with the same code, and captured
    arrays of the same shapes and dtypes, finds the same recordings; captured numbers are constants until they change.

    `tier` forces the interpreter ("sweep") or native code ("native"); "auto" interprets, and has native code
    made in the background once interpreting has taken half as long as that is expected to take.
    `threads` is the largest number of threads for large loops and for lanes of `vmap`.
    `roll=False` leaves Python loops as the copies of their rows; by default long ones become loop rows, with the same
    values (docs/loops.md). Their gradients store all states, or those that a schedule chooses, as in
    roll=fad.checkpoint.Revolve(100).
    `device="cuda"` runs on an NVIDIA GPU (docs/cuda.md): the lanes of a `vmap` are threads, and arrays that lie on the
    device are taken, and returned, without a copy.

    >>> import numpy as np, fastad as fad
    >>> f = fad.jit(lambda x: np.sum(np.sin(x) ** 2))
    >>> float(f(np.zeros(3)))
    0.0
    """
    if unknown:
        names = ", ".join(f"{name}=" for name in unknown)
        raise TypeError(
            f"jit does not take {names}{at_line()}; what is no float, integer or bool array, and no float, is static "
            "without being named: strings, None, functions, other objects. Options are tier=, threads=, roll=, device="
        )
    return Jit(f, tier=tier, threads=threads, roll=roll, device=device)


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, **options: Any) -> Gradient:
    """Gradient of a scalar-valued f with respect to the positional arguments `argnums`, in their structure.

    With has_aux, f returns (value, auxiliary) and the result is (gradient, auxiliary). Options as in `jit`.
    By a complex argument z = x + iy the gradient is ∂f/∂x + i ∂f/∂y, as in PyTorch: z - rate * gradient goes downhill,
    and the change of f is Re(conj(gradient) dz). JAX and autograd return the conjugate.
    Reverse mode: Griewank & Walther (2008), Evaluating Derivatives, table 3.6.

    >>> import numpy as np, fastad as fad
    >>> fad.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    return Gradient(f, argnums, has_aux, **options)


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, **options: Any
) -> Gradient:
    """Value and gradient: (value, gradient), or ((value, auxiliary), gradient) with has_aux.

    >>> import numpy as np, fastad as fad
    >>> value, gradient = fad.value_and_grad(lambda x: x @ x)(np.array([3.0, 4.0]))
    >>> float(value), gradient.tolist()
    (25.0, [6.0, 8.0])
    """
    return Gradient(f, argnums, has_aux, with_value=True, **options)


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value and directional derivative: (f(*primals), J tangents), where J tangents is the sum over all primals.

    Forward mode: Griewank & Walther (2008), Evaluating Derivatives, table 3.3. A tangent of None counts as zero.

    >>> import numpy as np, fastad as fad
    >>> out, tangent = fad.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    >>> float(out), float(tangent)
    (6.0, 3.0)
    """
    if not isinstance(primals, tuple | list) or not isinstance(tangents, tuple | list):
        raise TypeError("jvp takes a tuple of primals and a tuple of tangents: fad.jvp(f, (x,), (v,))")
    return remembered(JvpFunction, f)(tuple(primals), tuple(tangents))


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Value and pullback: (f(*primals), pullback), where pullback(u) is the tuple of Jᵀu, one entry for each primal.

    J maps real and imaginary parts to such: of an analytic f of a complex z, pullback(u) is conj(f'(z)) u.

    >>> import numpy as np, fastad as fad
    >>> out, pullback = fad.vjp(np.outer, np.array([1.0, 2.0]), np.array([3.0]))
    >>> [x.tolist() for x in pullback(np.ones((2, 1)))]
    [[3.0, 3.0], [3.0]]
    """
    fixed = frozen_primals(f, primals)
    out = remembered(Jit, f)(*fixed)
    pull = pinned(remembered(VjpFunction, f))
    return out, lambda u: pull(fixed, u)[1]


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Value and derivative at a point: (f(*primals), derivative), where derivative(*tangents) is J tangents.

    >>> import numpy as np, fastad as fad
    >>> out, derivative = fad.linearize(np.sin, 0.0)
    >>> float(derivative(2.0))
    2.0
    """
    fixed = frozen_primals(f, primals)
    out = remembered(Jit, f)(*fixed)
    push = pinned(remembered(_LinearFunction, f))
    return out, lambda *tangents: push(fixed, tangents)[1]


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto", **options: Any) -> Jacobian:
    """Dense Jacobian, of shape (*result, *argument).

    `mode` is "fwd" (one tangent for each column), "rev" (one adjoint for each row), or "auto": the one that the cost
    model predicts to be cheaper (`fad.trace(f, x).cost()`).

    >>> import numpy as np, fastad as fad
    >>> fad.jacobian(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    return Jacobian(f, argnums, mode, **options)


def jacfwd(f: Callable[..., Any], argnums: int | Sequence[int] = 0, **options: Any) -> Jacobian:
    """Dense Jacobian by forward mode; see `jacobian`."""
    return Jacobian(f, argnums, "fwd", **options)


def jacrev(f: Callable[..., Any], argnums: int | Sequence[int] = 0, **options: Any) -> Jacobian:
    """Dense Jacobian by reverse mode; see `jacobian`."""
    return Jacobian(f, argnums, "rev", **options)


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0, **options: Any) -> Jacobian:
    """Dense Hessian of a scalar-valued f, by forward mode over reverse mode.

    >>> import numpy as np, fastad as fad
    >>> fad.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0])).tolist()
    [[4.0, 2.0], [2.0, 0.0]]
    """
    return Jacobian(Gradient(f, argnums), argnums, "fwd", **options)


def hvp(f: Callable[..., Any], x: Any = _GIVEN, v: Any = _GIVEN) -> Any:
    """Hessian-vector product of a scalar-valued f at x, forward over reverse: a small multiple of the cost of f.

    >>> import numpy as np, fastad as fad
    >>> fad.hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 1.0])).tolist()
    [6.0, 12.0]
    """
    if x is _GIVEN or v is _GIVEN:
        raise TypeError(
            f"hvp takes the function, the point and the direction at once{at_line()}: fad.hvp(f, x, v); for many of "
            "them take lambda x, v: fad.hvp(f, x, v), which jit and vmap accept"
        )
    return remembered(_HvpFunction, f)((x,), (v,))[1]


def stop_gradient(x: Any) -> Any:
    """x, as a constant for derivatives: the same values, with derivative 0. x is a pytree.

    >>> import fastad as fad
    >>> float(fad.grad(lambda x: x * fad.stop_gradient(x))(3.0))
    3.0
    """
    leaves, tree = flatten(x)
    return unflatten(tree, list(map(detached, leaves)))


class _LinearFunction(JvpFunction):
    called = "linearize"


class _HvpFunction(JvpFunction):
    called = "hvp"

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(Gradient(function), **options)


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, executor: Any = None, **options: Any) -> Vmap:
    """f applied along an axis of its arguments. `in_axes` is an axis, None, or a pytree prefix of these; so is
    `out_axes`.

    All lanes are computed at once, by SIMD vectors and threads. They must take the same Python branches; where they may
    differ, use np.where or fad.cond.

    With an `executor` (of concurrent.futures, a `dask.distributed.Client`, an `mpi4py.futures.MPIPoolExecutor`) each of
    its workers computes a part of the lanes; the recorded program travels, not pickled code. Inside of recordings the
    lanes are rows as without it.

    >>> import numpy as np, fastad as fad
    >>> fad.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    if executor is not None:
        return SpreadVmap(f, in_axes, out_axes, executor, **options)
    return Vmap(f, in_axes, out_axes, **options)


def trace(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The op table of f (or of a transformed function) for these arguments.

    >>> import numpy as np, fastad as fad
    >>> len(fad.trace(lambda x: np.sin(x) + 1.0, 0.5))
    4
    """
    function = f if isinstance(f, Transformed) else Jit(f)
    return traced(function.table_program(make_call(*function.normalise(args, kwargs))).table)


def remembered(kind: type[Transformed], f: Callable[..., Any]) -> Transformed:
    """A transformation of f that goes on from what an earlier one of the same kind has found out."""
    made = kind(f)
    if not compares_by_identity(type(f)):
        return made
    try:
        known = _memories.setdefault(f, {})
    except TypeError:  # there are no weak references to it: a built-in function, say
        return made
    if kind not in known:
        made.memory.outside = next((memory.outside for memory in known.values()), made.memory.outside)
    made.memory = known.setdefault(kind, made.memory)
    while len(_memories) > _REMEMBERED:
        _memories.popitem()
    return made
