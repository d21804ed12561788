"""The derivative rules of the elementwise primitives as Python functions that emit rows, where all values are float64
arrays of one shape: the types of all rows are known beforehand then, and most rows of long programs are of that kind.
"""

from collections.abc import Callable
from functools import cache

from fastad.primitives import PRIMITIVES, Elementwise, primitive
from fastad.primitives.expression import Expr
from fastad.tables.builder import Builder, Ref, result_dtype, strong_dtypes
from fastad.tables.columns import ValueType

# From the builder's `emit_elementwise` and `number`, type numbers by dtype, the operands a, b, c, the result r and the
# tangent or adjoint u to the contribution.
Rule = Callable[..., Ref]


class Kinds(dict[str, int]):
    """Numbers of the types of one shape by dtype; a type is added when it is first needed."""

    def __init__(self, b: Builder, shape: tuple[int, ...]) -> None:
        self._builder, self._shape = b, shape

    def __missing__(self, dtype: str) -> int:
        number = self[dtype] = self._builder.type_number(ValueType(self._shape, dtype))
        return number


@cache
def rules(opcode: int) -> tuple[Rule | None, ...] | None:
    """The contributions of a primitive by operand (None: zero); None for array primitives."""
    row = PRIMITIVES[opcode]
    if not isinstance(row, Elementwise):
        return None
    return tuple(None if expr is None else _compiled(expr) for expr in row.contribution_exprs)


def _compiled(expr: Expr) -> Rule:
    numbers: list[float] = []
    text, dtype, _ = _text(expr, numbers)
    assert dtype == "d"  # as u is
    scope = {f"x{k}": number for k, number in enumerate(numbers)}
    return eval(f"lambda emit, number, kinds, a, b, c, r, u: {text}", scope)


def _text(expr: Expr, numbers: list[float]) -> tuple[str, str, bool]:
    """An expression as Python text, its dtype, and whether it is a constant."""
    kind, head, *arguments = expr
    if kind == "name":
        return head, "d", False
    if kind == "num":
        numbers.append(head)
        return f"number(x{len(numbers) - 1})", "d", True
    texts, dtypes, constants = zip(*(_text(x, numbers) for x in arguments), strict=True)
    dtype = result_dtype(primitive(head).result, strong_dtypes(dtypes, constants))
    return f"emit({head!r}, ({', '.join(texts)},), kinds[{dtype!r}])", dtype, all(constants)
