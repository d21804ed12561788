"""Functions from a tuple of arrays to a tuple of arrays, whose derivatives and batches are functions of the same kind.

A framework knows one operation, "call a FlatFunction"; its rules for derivatives and batches call another FlatFunction.
So they hold at every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastad.transforms.public import jit, jvp, vjp, vmap

Arrays = Sequence[Any]
# Shape and dtype of each array.
Shapes = tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


class FlatFunction:
    """`rows(*arrays)`, a tuple of arrays, recorded once for each kind of arguments.

    `shapes_of` tells the results' shapes without values.
    """

    def __init__(self, rows: Callable[..., tuple[Any, ...]], shapes_of: Callable[[Shapes], Shapes]) -> None:
        self._rows = rows
        self._run = jit(rows)
        self._shapes_of = shapes_of
        self._derived: dict[Any, FlatFunction] = {}
        self._shapes: dict[Shapes, Shapes] = {}

    def __call__(self, *arrays: Any) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(result) for result in self._run(*arrays))

    def shapes(self, arguments: Shapes) -> Shapes:
        """Shapes and dtypes of the results."""
        if arguments not in self._shapes:
            self._shapes[arguments] = self._shapes_of(arguments)
        return self._shapes[arguments]

    def pushed(self, active: tuple[int, ...], floating: tuple[int, ...]) -> FlatFunction:
        """(*arguments, *tangents of the active ones) to the tangents of the floating results."""

        def rows(*given: Any) -> tuple[Any, ...]:
            arguments, tangents = _split(given, len(given) - len(active))
            function, chosen = self._restricted(arguments, active, floating)
            return tuple(jvp(function, chosen, tangents)[1])

        def shapes(given: Shapes) -> Shapes:
            results = self.shapes(given[: len(given) - len(active)])
            return tuple(results[k] for k in floating)

        return self._remembered(("pushed", active, floating), rows, shapes)

    def pulled(self, active: tuple[int, ...], floating: tuple[int, ...]) -> FlatFunction:
        """(*arguments, *cotangents of the floating results) to the cotangents of the active arguments."""

        def rows(*given: Any) -> tuple[Any, ...]:
            arguments, cotangents = _split(given, len(given) - len(floating))
            function, chosen = self._restricted(arguments, active, floating)
            return vjp(function, *chosen)[1](cotangents)

        return self._remembered(("pulled", active, floating), rows, lambda given: tuple(given[k] for k in active))

    def mapped(self, axes: tuple[int | None, ...]) -> FlatFunction:
        """Over the given axis of each argument; results have the batch as their first axis."""

        def shapes(given: Shapes) -> Shapes:
            size = next(shape[axis] for (shape, _), axis in zip(given, axes, strict=True) if axis is not None)
            one = tuple(
                (shape if axis is None else shape[:axis] + shape[axis:][1:], dtype)
                for (shape, dtype), axis in zip(given, axes, strict=True)
            )
            return tuple(((size, *shape), dtype) for shape, dtype in self.shapes(one))

        return self._remembered(("mapped", axes), vmap(self._rows, in_axes=axes), shapes)

    def _restricted(
        self, arguments: Arrays, active: tuple[int, ...], floating: tuple[int, ...]
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The floating results as a function of the active arguments, and these."""

        def function(*chosen: Any) -> tuple[Any, ...]:
            everything = list(arguments)
            for k, value in zip(active, chosen, strict=True):
                everything[k] = value
            results = self._rows(*everything)
            return tuple(results[k] for k in floating)

        return function, tuple(arguments[k] for k in active)

    def _remembered(self, key: Any, rows: Callable[..., Any], shapes: Callable[[Shapes], Shapes]) -> FlatFunction:
        if key not in self._derived:
            self._derived[key] = FlatFunction(rows, shapes)
        return self._derived[key]


def floating(dtypes: Sequence[Any]) -> tuple[int, ...]:
    """Which of them have derivatives."""
    return tuple(k for k, dtype in enumerate(dtypes) if np.issubdtype(dtype, np.floating))


def _split(given: Sequence[Any], n: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return tuple(given[:n]), tuple(given[n:])
