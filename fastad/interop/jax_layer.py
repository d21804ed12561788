"""A fastad program as a JAX primitive: "call a FlatFunction", with rules that call other FlatFunctions.

custom_jvp and custom_vjp do not compose (a custom_vjp has no forward mode, a callback no transpose), a primitive does:
its tangent is a call that is linear in the last arguments and knows its transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastad.interop.flat import FlatFunction, Shapes, floating

try:
    import jax
    from jax.extend.core import Primitive
    from jax.interpreters import ad, batching, mlir
except ImportError as error:
    raise ImportError("fad.interop.jax_function needs JAX: pip install 'fastad[jax]'") from error


class Linear(NamedTuple):
    """A call that is linear in its arguments from number `fixed` on, and its transpose by them."""

    fixed: int
    transpose: FlatFunction


class JaxLayer:
    """f over JAX arrays; one FlatFunction for each structure of the arguments and value of what is no array."""

    def __init__(self, f: Callable[..., Any], result_shape: Any) -> None:
        self._f = f
        self._result_shape = result_shape
        self._flat: dict[Any, tuple[FlatFunction, list[Any]]] = {}

    def __repr__(self) -> str:
        return f"jax_function({getattr(self._f, '__qualname__', self._f)!s})"

    def __call__(self, *args: Any) -> Any:
        leaves, structure = jax.tree.flatten(args)
        where = tuple(k for k, leaf in enumerate(leaves) if _is_array(leaf))
        others = tuple((type(leaf), leaf) for leaf in leaves if not _is_array(leaf))
        key = structure, where, others
        if key not in self._flat:
            self._flat[key] = self._flattened(structure, where, leaves)
        function, found = self._flat[key]
        arrays = [jax.numpy.asarray(leaves[k]) for k in where]
        function.shapes(_shapes(arrays))  # finds the structure of the results
        return jax.tree.unflatten(found[0], _call.bind(*arrays, function=function, linear=None))

    def _flattened(self, structure: Any, where: tuple[int, ...], leaves: list[Any]) -> tuple[FlatFunction, list[Any]]:
        """f from arrays to arrays, and a list that holds the structure of its result once shapes were asked for."""
        fixed = [None if _is_array(leaf) else leaf for leaf in leaves]
        found: list[Any] = []

        def rows(*arrays: Any) -> tuple[Any, ...]:
            everything = list(fixed)
            for k, array in zip(where, arrays, strict=True):
                everything[k] = array
            results, tree = jax.tree.flatten(self._f(*jax.tree.unflatten(structure, everything)))
            found[:] = [tree]
            return tuple(results)

        def shapes(arguments: Shapes) -> Shapes:
            if self._result_shape is None:
                return _tried(self, flat, arguments)
            results, tree = jax.tree.flatten(self._result_shape)
            found[:] = [tree]
            return tuple((tuple(result.shape), np.dtype(result.dtype)) for result in results)

        flat = FlatFunction(rows, shapes)
        return flat, found


def _tried(layer: JaxLayer, function: FlatFunction, arguments: Shapes) -> Shapes:
    """Shapes of the results at random arguments: a matrix of them is regular, and logarithms and roots exist."""
    rng = np.random.default_rng(0)
    try:
        results = function(*(rng.uniform(0.5, 1.5, shape).astype(dtype) for shape, dtype in arguments))
    except Exception as error:
        error.add_note(
            f"{layer!r} was recorded at random values between 0.5 and 1.5 to find the shapes of its results, which JAX "
            "must know before it has values; if it is not defined there, say them: "
            "jax_function(f, result_shape=jax.ShapeDtypeStruct(shape, dtype))"
        )
        raise
    return tuple((result.shape, jax.dtypes.canonicalize_dtype(result.dtype)) for result in results)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.floating | float)


def _shapes(arrays: Sequence[Any]) -> Shapes:
    """Of arrays, tracers, and the floats with a dtype that `jax.checkpoint` makes."""
    return _of_types([jax.typeof(array) for array in arrays])


def _of_types(types: Sequence[Any]) -> Shapes:
    return tuple((tuple(kind.shape), np.dtype(kind.dtype)) for kind in types)


# ---- the primitive ------------------------------------------------------------------------------------------------

_call = Primitive("fastad_call")
_call.multiple_results = True


def _run(function: FlatFunction, results: Shapes, arrays: Sequence[Any]) -> list[np.ndarray]:
    return [
        value.astype(dtype, copy=False)
        for value, (_, dtype) in zip(function(*map(np.asarray, arrays)), results, strict=True)
    ]


@_call.def_impl
def _now(*arrays: Any, function: FlatFunction, linear: Linear | None) -> list[Any]:
    return [jax.numpy.asarray(value) for value in _run(function, function.shapes(_shapes(arrays)), arrays)]


@_call.def_abstract_eval
def _abstract(*types: Any, function: FlatFunction, linear: Linear | None) -> list[Any]:
    return [jax.core.ShapedArray(shape, dtype) for shape, dtype in function.shapes(_of_types(types))]


def _in_a_callback(*arrays: Any, function: FlatFunction, linear: Linear | None) -> list[Any]:
    results = function.shapes(_shapes(arrays))
    structs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in results]
    return jax.pure_callback(lambda *values: _run(function, results, values), structs, *arrays)


def _tangent(
    primals: Sequence[Any], tangents: Sequence[Any], *, function: FlatFunction, linear: Linear | None
) -> tuple[list[Any], list[Any]]:
    out = _call.bind(*primals, function=function, linear=linear)
    active = tuple(k for k, tangent in enumerate(tangents) if type(tangent) is not ad.Zero)
    differentiable = floating([value.dtype for value in out])
    moved = _call.bind(
        *primals, *(tangents[k] for k in active),
        function=function.pushed(active, differentiable),
        linear=Linear(len(primals), function.pulled(active, differentiable)),
    )  # fmt: skip
    found = dict(zip(differentiable, moved, strict=True))
    return out, [found.get(k, ad.Zero(jax.typeof(value).to_tangent_aval())) for k, value in enumerate(out)]


def _transpose(cotangents: Sequence[Any], *given: Any, function: FlatFunction, linear: Linear | None) -> list[Any]:
    if linear is None:
        raise TypeError("a fastad program is not linear in its arguments; jax.linear_transpose does not apply to it")
    fixed = given[: linear.fixed]
    results = _call.bind(
        *fixed, *map(ad.instantiate_zeros, cotangents),
        function=linear.transpose, linear=Linear(linear.fixed, function),
    )  # fmt: skip
    return [None] * linear.fixed + list(results)


def _batch(
    given: Sequence[Any], axes: Sequence[Any], *, function: FlatFunction, linear: Linear | None
) -> tuple[list[Any], list[int]]:
    """Over the batch; arguments of a linear call all get the batch axis, so that its transpose has no sums over it."""
    size = next(x.shape[axis] for x, axis in zip(given, axes, strict=True) if axis is not None)
    fixed = len(given) if linear is None else linear.fixed
    arrays = [
        *given[:fixed],
        *(batching.bdim_at_front(x, axis, size) for x, axis in zip(given[fixed:], axes[fixed:], strict=True)),
    ]
    where = (*axes[:fixed], *(0 for _ in given[fixed:]))
    if linear is not None:
        cotangents = len(_abstract(*_one_lane(arrays, where), function=function, linear=linear))
        linear = Linear(fixed, linear.transpose.mapped((*where[:fixed], *(0 for _ in range(cotangents)))))
    out = _call.bind(*arrays, function=function.mapped(where), linear=linear)
    return out, [0] * len(out)


def _one_lane(arrays: Sequence[Any], axes: Sequence[int | None]) -> list[Any]:
    return [
        jax.ShapeDtypeStruct(x.shape if axis is None else x.shape[:axis] + x.shape[axis + 1 :], x.dtype)
        for x, axis in zip(arrays, axes, strict=True)
    ]


mlir.register_lowering(_call, mlir.lower_fun(_in_a_callback, multiple_results=True))
ad.primitive_jvps[_call] = _tangent
ad.primitive_transposes[_call] = _transpose
batching.primitive_batchers[_call] = _batch
