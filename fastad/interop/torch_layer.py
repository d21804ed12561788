"""A fastad program as a torch.autograd.Function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree

from fastad.interop.flat import FlatFunction, Shapes

try:
    import torch
except ImportError as error:
    raise ImportError("fad.interop.torch_function needs PyTorch: pip install 'fastad[torch]'") from error

_NUMPY_HAS = {torch.float64, torch.float32, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


class TorchLayer:
    """f over tensors; one FlatFunction for each structure of the arguments and value of what is no tensor."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._flat: dict[Any, tuple[FlatFunction, list[Any]]] = {}

    def __repr__(self) -> str:
        return f"torch_function({getattr(self._f, '__qualname__', self._f)!s})"

    def __call__(self, *args: Any) -> Any:
        leaves, structure = _flatten(args)
        where = tuple(k for k, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor))
        if not where:
            raise TypeError(f"{self!r} was called without a tensor; call the NumPy function itself")
        others = tuple(leaf for leaf in leaves if not isinstance(leaf, torch.Tensor))
        key = structure, where, tuple((type(other), other) for other in others)
        if key not in self._flat:
            self._flat[key] = self._flattened(structure, where, leaves)
        function, found = self._flat[key]
        results = _Call.apply(function, *(leaves[k] for k in where))
        return optree.tree_unflatten(found[0], results)

    def _flattened(self, structure: Any, where: tuple[int, ...], leaves: list[Any]) -> tuple[FlatFunction, list[Any]]:
        """f from arrays to arrays, and a list that holds the structure of its result once it has run."""
        fixed = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        found: list[Any] = []

        def rows(*arrays: Any) -> tuple[Any, ...]:
            everything = list(fixed)
            for k, array in zip(where, arrays, strict=True):
                everything[k] = array
            results, tree = _flatten(self._f(*optree.tree_unflatten(structure, everything)))
            found[:] = [tree]
            return tuple(results)

        return FlatFunction(rows, _unasked), found


def _flatten(tree: Any) -> tuple[list[Any], Any]:
    leaves, structure = optree.tree_flatten(tree, none_is_leaf=True)
    return list(leaves), structure


def _unasked(arguments: Shapes) -> Shapes:
    raise AssertionError("PyTorch runs a program before it asks for shapes")


class _Call(torch.autograd.Function):
    """Call a FlatFunction. Its derivatives are calls of other ones, so they have derivatives too."""

    @staticmethod
    def forward(function: FlatFunction, *tensors: Any) -> tuple[Any, ...]:
        results = function(*(_to_numpy(tensor) for tensor in tensors))
        return tuple(torch.from_numpy(result).to(tensors[0].device) for result in results)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.function, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.results = len(output)
        ctx.floating = tuple(k for k, result in enumerate(output) if result.is_floating_point())
        ctx.mark_non_differentiable(*(result for result in output if not result.is_floating_point()))

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad[1:]
        active = tuple(k for k, need in enumerate(needed) if need)
        pulled = ctx.function.pulled(active, ctx.floating)
        results = iter(_Call.apply(pulled, *ctx.saved_tensors, *(cotangents[k] for k in ctx.floating)))
        return None, *(next(results) if need else None for need in needed)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Any) -> tuple[Any, ...]:
        active = tuple(k for k, tangent in enumerate(tangents) if tangent is not None)
        pushed = ctx.function.pushed(active, ctx.floating)
        results = dict(
            zip(ctx.floating, _Call.apply(pushed, *ctx.saved_tensors, *(tangents[k] for k in active)), strict=True)
        )
        return tuple(results.get(k) for k in range(ctx.results))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], function: FlatFunction, *tensors: Any) -> tuple[Any, Any]:
        results = _Call.apply(function.mapped(in_dims[1:]), *tensors)
        return results, (0,) * len(results)


def _to_numpy(tensor: Any) -> np.ndarray:
    if tensor.dtype not in _NUMPY_HAS:
        raise TypeError(f"fastad has no values of dtype {tensor.dtype}; pass tensor.double() or tensor.float()")
    return tensor.detach().cpu().numpy()
