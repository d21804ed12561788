"""vmap: a function applied along an axis of its arguments. Lanes become elements of rows."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.primitives.regions import region
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import tentatively
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import DTYPES
from fastad.tables.inline import compact
from fastad.tables.passes.batch import batch_rows
from fastad.transforms.base import Transformed, program_of
from fastad.transforms.call import Call, ChangingInt, flatten
from fastad.transforms.program import Program


class Vmap(Transformed):
    """A function applied along an axis; see `vmap`."""

    options = ("in_axes", "out_axes")

    def __init__(self, function: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, **options: Any) -> None:
        super().__init__(function, **options)
        self.in_axes, self.out_axes = in_axes, out_axes

    def program(self, call: Call) -> Program:
        axes = self._input_axes(call)
        size = self._lanes(call, axes)
        lane = call.replaced([x if a is None else _lane(x, a) for x, a in zip(call.inputs, axes, strict=True)])
        with nullcontext() if size else tentatively():  # zeros stand for a lane that there is not
            inner = program_of(self.__wrapped__, lane)
        table = inner.inner
        b = Builder()
        kinds, flags, places = [], [], []
        for kind, source in zip(table.inputs, (*inner.sources, *(-1 for _ in table.captured)), strict=True):
            axis = axes[source] if source >= 0 else None
            kinds.append(kind.shape if axis is None else (*kind.shape[:axis], size, *kind.shape[axis:]))
            flags.append(axis is not None)
            places.append(axis)
        inputs = [b.input(shape, kind.dtype) for shape, kind in zip(kinds, table.inputs, strict=True)]
        moved = [x if a in (None, 0) else _move_axis(b, x, a, 0) for x, a in zip(inputs, places, strict=True)]
        if size == 0:  # one lane of zeros is computed instead, and `_placed` drops it
            of_lane = zip(moved, table.inputs, flags, strict=True)
            moved = [b.const(np.zeros((1, *k.shape), DTYPES[k.dtype])) if f else x for x, k, f in of_lane]
        refs, batched = batch_rows(b, table, moved, flags, max(size, 1))
        out_axes = self._output_axes(inner)
        outputs = [_placed(b, refs[o], batched[o], size, axis) for o, axis in zip(table.outputs, out_axes, strict=True)]
        return inner.with_table(compact(b.table(outputs, table.captured)))

    def device_program(self, call: Call) -> Program:
        """The program of one lane, and how lanes lie."""
        from fastad.transforms.devices import many_lanes

        axes = self._input_axes(call)
        count = self._lanes(call, axes)
        lane = call.replaced([x if a is None else _lane(x, a) for x, a in zip(call.inputs, axes, strict=True)])
        with nullcontext() if count else tentatively():
            inner = program_of(self.__wrapped__, lane)
        return many_lanes(inner, count, axes, self._output_axes(inner))

    def _input_axes(self, call: Call) -> list[int | None]:
        """The mapped axis of every input of the call (None: the same value in all lanes)."""
        args, _ = call.rebuild(call.inputs)
        spec = self.in_axes if isinstance(self.in_axes, tuple | list) else (self.in_axes,) * len(args)
        if len(spec) != len(args):
            raise ShapeError(
                f"vmap of {self.__name__}: in_axes has {len(spec)} entries for {len(args)} arguments{at_line()}; give "
                "one for each"
            )
        per_leaf = [a for s, arg in zip(spec, args, strict=True) for a in broadcast_axes(s, arg)]
        per_leaf += [0] * (len(call.leaves) - len(per_leaf))
        found: list[int | None] = []
        for x, axis, dynamic in zip(call.leaves, per_leaf, call.dynamic, strict=True):
            if dynamic:
                found.append(None if type(x) is ChangingInt else _normal_axis(x, axis, self.__name__))
        return found

    def _lanes(self, call: Call, axes: list[int | None]) -> int:
        sizes = {np.shape(x)[a] for x, a in zip(call.inputs, axes, strict=True) if a is not None}
        if len(sizes) != 1:
            what = (
                f"the mapped axes have different sizes {sorted(sizes)}; they must be equal"
                if sizes
                else "no argument has a mapped axis; give at least one in in_axes"
            )
            raise ShapeError(f"vmap of {self.__name__}: {what}{at_line()}")
        return int(sizes.pop())

    def _output_axes(self, inner: Program) -> list[int | None]:
        skeleton = inner.result([0] * len(inner.table.outputs))
        axes = broadcast_axes(self.out_axes, skeleton)
        return [a for a, x in zip(axes, inner.out_leaves, strict=True) if x is None]


def broadcast_axes(spec: Any, tree: Any) -> list[Any]:
    """One axis for each leaf, from an axis or a pytree prefix of axes."""
    if spec is None or isinstance(spec, int):
        return [spec] * len(flatten(tree)[0])
    if isinstance(spec, tuple | list) and isinstance(tree, tuple | list) and len(spec) == len(tree):
        return [a for s, t in zip(spec, tree, strict=True) for a in broadcast_axes(s, t)]
    if isinstance(spec, dict) and isinstance(tree, dict) and set(spec) == set(tree):
        keys = flatten(tree)[1].entries()
        return [a for k in keys for a in broadcast_axes(spec[k], tree[k])]
    raise ShapeError(f"vmap: axes {spec!r} do not match the structure of the argument or result")


def _normal_axis(x: Any, axis: int | None, name: str) -> int | None:
    if axis is None:
        return None
    ndim = x.ndim if isinstance(x, Recorded) else np.ndim(x)
    if not -ndim <= axis < ndim:
        raise ShapeError(
            f"vmap of {name}: an argument with {ndim} dimensions has no axis {axis}{at_line()}; use None in "
            "in_axes for it"
        )
    return axis % ndim


def _lane(x: np.ndarray, axis: int) -> Any:
    """The first lane; zeros where there is none."""
    return np.take(x, 0, axis) if x.shape[axis] else np.zeros_like(x, shape=np.delete(x.shape, axis))[()]


def _move_axis(b: Builder, x: Ref, source: int, target: int) -> Ref:
    view = np.moveaxis(
        np.lib.stride_tricks.as_strided(np.empty(1, np.int8), b.shape(x), _strides(b.shape(x))), source, target
    )
    return b.region(x, region(0, view.shape, view.strides), view.shape)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    from fastad.primitives.regions import contiguous_strides

    return contiguous_strides(shape)


def _placed(b: Builder, ref: Ref, flag: bool, size: int, axis: int | None) -> Ref:
    if axis is None:
        if flag:
            raise ShapeError("vmap: out_axes is None for a result that differs between lanes; give an axis for it")
        return ref
    if flag and size == 0:
        kind = b.type(ref)
        ref = b.const(np.zeros((0, *kind.shape[1:]), DTYPES[kind.dtype]))
    full = ref if flag else b.broadcast(ref, (size, *b.shape(ref)))
    if not -len(b.shape(full)) <= axis < len(b.shape(full)):
        raise ShapeError(f"vmap: out_axes has the axis {axis} for a result with {len(b.shape(full))} dimensions")
    return full if axis == 0 else _move_axis(b, full, 0, axis % len(b.shape(full)))
