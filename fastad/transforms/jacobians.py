"""Dense Jacobians: all directions at once, as one batched table that computes the primal's rows once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fastad.errors import DerivativeError
from fastad.primitives.regions import contiguous_strides, region
from fastad.recording.complex_operands import is_complex_leaf
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact
from fastad.tables.passes.batch import batch_rows
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table
from fastad.transforms.base import program_of
from fastad.transforms.call import Call, flatten, flatten_whole, unflatten
from fastad.transforms.derivatives import Differentiated, _skeleton, no_number
from fastad.transforms.program import Program


class Jacobian(Differentiated):
    """Jacobian of a function's results with respect to some arguments; see `jacobian`."""

    options = ("argnums", "mode")

    def __init__(
        self, function: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto", **options: Any
    ) -> None:
        if mode not in ("fwd", "rev", "auto"):
            raise ValueError(f"mode must be 'fwd', 'rev' or 'auto', not {mode!r}{at_line()}")
        super().__init__(function, argnums, **options)
        self.mode = mode

    def normalise(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = super().normalise(args, kwargs)
        if any(map(is_complex_leaf, flatten_whole([args[position] for position in self._positions])[0])):
            raise DerivativeError(
                f"{self.__name__}: the Jacobian by a complex argument is no complex matrix unless the function is "
                f"analytic{at_line()}; take fad.jvp or fad.vjp, or the parts as arguments: "
                "fad.jacobian(lambda re, im: f(re + 1j * im), argnums=(0, 1))"
            )
        return args, kwargs

    def program(self, call: Call) -> Program:
        primal = program_of(self.__wrapped__, call)
        numbers, inner = self.targets(call)
        self._check(primal)
        wrt = primal.wrt(numbers)
        mode = self.mode if self.mode != "auto" else cheaper_mode(primal.table, wrt)
        base = with_limits(primal.inner)  # the Jacobian may be derived
        table = (forward_jacobian if mode == "fwd" else reverse_jacobian)(base, wrt)
        outer = _skeleton(primal)
        leaves, structure = flatten(outer)
        packed = unflatten(structure, [inner if x is None else x for x in leaves])
        out_leaves, out_tree = flatten(packed)
        return primal.with_table(table, out_tree=out_tree, out_leaves=tuple(out_leaves))

    def _check(self, primal: Program) -> None:
        if not primal.table.output_types:
            raise no_number(self.__name__, _skeleton(primal))
        if any(k.dtype not in "df" for k in primal.table.output_types):
            raise DerivativeError(
                f"{self.__name__} returns integers or truth values, which have no Jacobian{at_line()}; return floats"
            )


def cheaper_mode(table: Table, wrt: Sequence[int]) -> str:
    """The mode, "fwd" or "rev", that the cost model predicts to be cheaper."""
    from fastad.tables.passes.cost import choose_mode, cost

    d = sum(table.inputs[i].size for i in wrt)
    m = sum(k.size for k in table.output_types)
    return choose_mode(cost(table), d, m)


def forward_jacobian(table: Table, wrt: Sequence[int]) -> Table:
    """Table from inputs to Jacobians, one tangent for each column. Order: for each result, all inputs of `wrt`."""
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    blocks = [_columns(b, table, inputs, i) for i in wrt]
    outputs = [block[j] for j in range(len(table.outputs)) for block in blocks]
    return compact(b.table(outputs, table.captured))


def _columns(b: Builder, table: Table, inputs: Sequence[Ref], i: int) -> list[Ref]:
    """Jacobians of all results with respect to one input."""
    kind = table.inputs[i]
    if not kind.size:
        return [b.zeros((*out.shape, *kind.shape)) for out in table.output_types]
    derived = tangent_table(table, [i])
    seeds = identity(b, kind.shape, kind.dtype)
    count = table.explicit_inputs
    given = [*inputs[:count], seeds, *inputs[count:]]
    flags = [k == count for k in range(len(given))]
    refs, batched = batch_rows(b, derived, given, flags, kind.size)
    return [
        _moved_last(b, _full(b, refs[o], batched[o], kind.size), kind.shape)
        for o in derived.outputs[len(table.outputs) :]
    ]


def _full(b: Builder, ref: Ref, flag: bool, size: int) -> Ref:
    return ref if flag else b.broadcast(ref, (size, *b.shape(ref)))


def _moved_last(b: Builder, ref: Ref, shape: tuple[int, ...]) -> Ref:
    """(columns, *result) to (*result, *shape)."""
    columns, *rest = b.shape(ref)
    strides = contiguous_strides(tuple(rest))
    full = (*rest, columns)
    if 0 in full:
        return b.zeros((*rest, *shape))
    step = b.size(ref) // columns
    return b.region(ref, region(0, full, (*strides, step)), (*rest, *shape))


def reverse_jacobian(table: Table, wrt: Sequence[int]) -> Table:
    """Table from inputs to Jacobians, one adjoint for each row. Order: for each result, all inputs of `wrt`."""
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs]
    outputs: list[Ref] = []
    for j, kind in enumerate(table.output_types):
        if not kind.size:
            outputs += [b.zeros((*kind.shape, *table.inputs[i].shape)) for i in wrt]
            continue
        derived = adjoint_table(replace(table, outputs=(table.outputs[j],)), wrt)
        count = table.explicit_inputs
        given = [*inputs[:count], identity(b, kind.shape, kind.dtype), *inputs[count:]]
        flags = [k == count for k in range(len(given))]
        refs, batched = batch_rows(b, derived, given, flags, kind.size)
        for i, o in zip(wrt, derived.outputs[1:], strict=True):
            full = _full(b, refs[o], batched[o], kind.size)
            outputs.append(b.reshape(full, (*kind.shape, *table.inputs[i].shape)))
    return compact(b.table(outputs, table.captured))


def identity(b: Builder, shape: tuple[int, ...], dtype: str = "d") -> Ref:
    """All unit vectors of the space of arrays of this shape, stacked along a new first axis."""
    n = 1
    for m in shape:
        n *= m
    if n == 1:
        return b.broadcast(b.const(1.0, dtype), (1, *shape))
    ones = b.broadcast(b.const(1.0, dtype), (n,))
    return b.assemble([ones], [region(0, (n,), (n + 1,))], (n, *shape)) if n else b.zeros((0, *shape))
