"""What a row of the primitive table holds. Opcodes are positions in the table, in the order of registration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fastad.primitives import expression
from fastad.primitives.expression import Expr

# Rules get a builder (see `fastad.tables.builder.Builder`), the row they derive and references to its operands.
Ref = int
Rule = Callable[..., Any]

PRIMITIVES: list["Primitive"] = []
_BY_NAME: dict[str, int] = {}


@dataclass(frozen=True)
class Primitive:
    """One primitive: `name` is unique; `numpy` evaluates it on concrete NumPy values."""

    name: str
    numpy: Callable[..., Any]


@dataclass(frozen=True)
class Elementwise(Primitive):
    """A primitive that maps scalars to a scalar, as text.

    `value` and `partials` are expressions (see `expression`) in the operands a, b, c and the result r.
    A row whose value is a call of itself is a leaf: `symbol` names the C function, or it is a machine operation.
    `result` is the dtype rule: "float", "bool", "same" (the promoted dtype of the operands), or "total" (the
    same, but integers for truth values).
    `domain` gives one interval key per operand, on which the laws are tested (see `DOMAINS`).
    A `detached` row is a constant to derivatives by intention, so finite differences do not test it.
    `ufuncs` names the NumPy and SciPy ufuncs (their `__name__`) that record as this primitive.
    """

    value: str
    partials: tuple[str, ...]
    domain: tuple[str, ...]
    result: str = "same"
    symbol: str | None = None
    ufuncs: tuple[str, ...] = ()
    detached: bool = False

    @property
    def arity(self) -> int:
        return len(self.partials)

    @cached_property
    def value_expr(self) -> Expr:
        return expression.parse(self.value)

    @cached_property
    def partial_exprs(self) -> tuple[Expr, ...]:
        return tuple(expression.parse(p) for p in self.partials)

    @cached_property
    def contribution_exprs(self) -> tuple[Expr | None, ...]:
        """For each operand: partial times `u` (a tangent or an adjoint), or None where the partial is zero."""
        return tuple(expression.times(p, "u") for p in self.partial_exprs)

    @cached_property
    def is_leaf(self) -> bool:
        return self.value_expr[0] == "call" and self.value_expr[1] == self.name

    def is_linear(self, operand: int) -> bool:
        """Whether the result depends on this operand affinely (its partial does not mention the operand or r)."""
        used = expression.names(self.partial_exprs[operand])
        return "abc"[operand] not in used and "r" not in used

    def is_differentiable(self, operand: int) -> bool:
        return self.contribution_exprs[operand] is not None


@dataclass(frozen=True)
class ArrayPrimitive(Primitive):
    """A primitive on whole arrays, with static integers.

    `numpy(statics, shape, *operands)` evaluates it; `statics` names the integers;
    `tangent(b, row, operands, result, tangents)` and `adjoint(b, row, operands, result, u)` emit rows with the
    builder b: the result's tangent (None where it is zero), and one adjoint reference (or None) an operand;
    `batch(b, row, operands, batched, size)` emits the row over a leading axis of that size;
    `check(statics, shape, operand_shapes)` returns a complaint or None: it proves that a kernel run with these
    integers stays inside its arrays. `kernel` names the functions in `fastad.kernels` that execute it.
    """

    arity: int  # -1: any number of operands
    statics: tuple[str, ...] = ()
    check: Callable[..., str | None] = field(default=lambda *args: None)
    tangent: Rule | None = None
    adjoint: Rule | None = None
    batch: Rule | None = None
    result: str = "float"
    pure: bool = True

    def is_differentiable(self, operand: int) -> bool:
        return self.adjoint is not None


def register(row: Primitive) -> Primitive:
    if row.name in _BY_NAME:
        raise ValueError(f"primitive {row.name!r} has a row already")
    _BY_NAME[row.name] = len(PRIMITIVES)
    PRIMITIVES.append(row)
    return row


def opcode(name: str) -> int:
    return _BY_NAME[name]


def primitive(name: str) -> Any:
    return PRIMITIVES[_BY_NAME[name]]


def elementwise_rows() -> Sequence[Elementwise]:
    return [row for row in PRIMITIVES if isinstance(row, Elementwise)]
