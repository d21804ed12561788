"""The graph of a table as drawings show it: nodes with labels, values and adjoints, and edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.errors import ShapeError
from fastad.primitives import Elementwise, Form, primitive
from fastad.tables.builder import Builder
from fastad.tables.inline import copy_row
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import Runner, Stopped, evaluate_rows
from fastad.tables.shown.listing import constant_text, count_text, input_name, line_text, region_text
from fastad.tables.table import Row, Table

_SIGNS = {"-": "−", "*": "×", "/": "÷", "<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}  # as they are printed
_NODES = {Form.INPUT: "input", Form.CONSTANT: "const"}
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Node:
    """One row as it is drawn; `kind` is "input", "result", "const" or "op"."""

    row: int
    label: str
    type: str
    kind: str
    value: str
    adjoint: str
    tip: str


@dataclass(frozen=True)
class Graph:
    """Nodes, edges between them (as positions in `nodes`), and the number of rows left out."""

    nodes: list[Node]
    edges: list[tuple[int, int]]
    omitted: int

    @property
    def has_adjoints(self) -> bool:
        return any(node.adjoint for node in self.nodes)


def graph(table: Table, values: Sequence[Any] | None = None, limit: int = 60, run: Runner | None = None) -> Graph:
    """The first `limit` rows as a graph. Constants of one value appear in the labels of the rows that use them."""
    inline = [_number(table, i) for i in range(len(table))]
    drawn = [i for i in range(len(table)) if inline[i] is None or i in table.outputs]
    texts, adjoints = _texts(table, values, run)
    shown = {row: k for k, row in enumerate(drawn[:limit])}
    nodes = [_node(table, table.row(i), inline, texts, adjoints) for i in shown]
    edges = sorted({(shown[x], shown[i]) for i in shown for x in table.row(i).operands if x in shown})
    return Graph(nodes, edges, len(drawn) - len(shown))


def adjoints_of(table: Table, values: Sequence[Any], run: Runner | None = None) -> list[np.ndarray | None]:
    """Adjoint of every row at these inputs (None for integers and booleans) of a table with one scalar result.

    The adjoint of a value is the derivative with respect to a perturbation added to it, so such a perturbation of every
    row is made an input.

    >>> table, values = s1_example()
    >>> [float(a) for a in adjoints_of(table, values)[:2]]
    [39.0, 84.0]
    """
    b = Builder()
    inputs = [b.input(*kind) for kind in table.inputs[: table.explicit_inputs]]
    rows = [row for row in table.rows() if row.dtype in "df" and row.form is not Form.GUARD]
    extra = {row.index: b.input(row.shape, row.dtype) for row in rows}
    inputs += [b.input(*kind) for kind in table.inputs[table.explicit_inputs :]]
    refs: list[int] = []
    for row in table.rows():
        ref = copy_row(b, table, row, refs, inputs)
        refs.append(b.reshape(b.add(ref, extra[row.index]), row.shape) if row.index in extra else ref)
    perturbed = b.table([refs[i] for i in table.outputs], table.captured)
    first = table.explicit_inputs
    derived = adjoint_table(perturbed, range(first, first + len(rows)), seeds=[1.0])
    found = _evaluated(derived, [*values, *(np.zeros(row.shape) for row in rows)], run)
    by_row = {row.index: found[i] for row, i in zip(rows, derived.outputs[len(table.outputs) :], strict=True)}
    return [by_row.get(i) for i in range(len(table))]


def s1_example() -> tuple[Table, list[float]]:
    """(table, inputs) of the README's example f = (2 x₀ + 5 x₁)(3 x₀ x₁) at (2, 1): value 54, gradient (39, 84)."""
    b = Builder()
    x0, x1 = b.input(()), b.input(())
    total = b.add(b.multiply(b.const(2.0), x0), b.multiply(b.const(5.0), x1))
    product = b.multiply(b.multiply(b.const(3.0), x0), x1)
    return b.table([b.multiply(total, product)]), [2.0, 1.0]


def _evaluated(table: Table, values: Sequence[Any], run: Runner | None) -> list[np.ndarray]:
    """Values of all rows, with the current elements of captured arrays."""
    if len(values) != table.explicit_inputs:
        raise ShapeError(f"the table has {count_text(table.explicit_inputs, 'input')}, but {len(values)} were given")
    try:
        return evaluate_rows(table, [*values, *table.captured], run)
    except Stopped as stop:
        raise ShapeError(f"these inputs take another path than this table: {stop}; draw that path's table") from stop


# ── texts ─────────────────────────────────────────────────────────────────────────────────────────────────────
def _texts(table: Table, values: Sequence[Any] | None, run: Runner | None) -> tuple[list[str], list[str]]:
    """Values and adjoints of all rows as texts; empty where there are none."""
    empty = [""] * len(table)
    if values is None:
        return empty, empty
    found = [value_text(x) for x in _evaluated(table, values, run)]
    scalar = len(table.outputs) == 1 and table.output_types[0].size == 1 and table.output_types[0].dtype in "df"
    if not scalar:
        return found, empty
    return found, ["" if a is None else value_text(a) for a in adjoints_of(table, values, run)]


def value_text(x: np.ndarray) -> str:
    """A number, or the first elements of an array, as text."""
    flat = [f"{v:.4g}".replace("-", "−") for v in x.reshape(-1)[:3].tolist()]
    if x.size == 1:
        return flat[0]
    return f"[{', '.join(flat)}{', …' if x.size > 3 else ''}]"


def _node(table: Table, row: Row, inline: list[str | None], texts: list[str], adjoints: list[str]) -> Node:
    kind = _NODES.get(row.form, "op")
    if row.index in table.outputs:
        kind = "result"
    tip = f"%{row.index} {row.name} {table.type_of(row.index)}\n{line_text(table.line_of(row.index))}".rstrip()
    shape = str(table.type_of(row.index)) if row.shape or row.dtype != "d" else ""
    plain = row.form in (Form.CONSTANT, Form.GUARD)  # a constant's label is its value, a guard has none
    value, adjoint = ("", "") if plain else (texts[row.index], adjoints[row.index])
    return Node(row.index, _label(table, row, inline), shape, kind, value, adjoint, tip)


def _label(table: Table, row: Row, inline: list[str | None]) -> str:
    if row.form is Form.INPUT:
        return input_name(table, row.index).translate(_SUBSCRIPTS)
    if row.form is Form.CONSTANT:
        return constant_text(table, row.index)
    if row.form is Form.VIEW:
        return _strided_label(table, row)
    if row.sub is not None:
        return f"{row.sub.name}: {row.sub.kind_text}"
    if isinstance(row.primitive, Elementwise):
        return _elementwise_label(row, [inline[i] for i in row.operands])
    return row.primitive.sign or row.name  # type: ignore[attr-defined]


def _sign(name: str) -> str:
    """What stands for an elementwise primitive in a drawing; empty if its name does."""
    row = primitive(name)
    if row.operator is None or (not row.operator.instruction.startswith("f") and row.operator.kind != "comparison"):
        return str(row.sign)
    return _SIGNS.get(row.operator.sign, row.operator.sign)


def _elementwise_label(row: Row, numbers: list[str | None]) -> str:
    """The operation with its constants: 2 ×, − 3, maximum(·, 0)."""
    sign = _sign(row.name) or row.name
    if not any(numbers):
        return sign
    if len(numbers) == 2 and _sign(row.name):
        left, right = numbers
        if primitive(row.name).commutes and sign == _SIGNS["*"]:  # the builder may have swapped them
            left, right = left or right, None if not left else right
        return " ".join(text for text in (left, sign, right) if text)
    return f"{row.name}({', '.join(text or '·' for text in numbers)})"


def _strided_label(table: Table, row: Row) -> str:
    source = table.type_of(row.operands[0]).size
    text = region_text(row.statics)
    if row.statics == (0, source, 1):
        return "reshape"
    if source == 1:
        return "broadcast"
    return text if text.startswith("[") else row.name


def _number(table: Table, index: int) -> str | None:
    """Text of a constant of one value, also if it is broadcast to an array; None for other rows."""
    row = table.row(index)
    if row.form is Form.CONSTANT and row.size == 1:
        return constant_text(table, index).strip("[]").replace("-", "−")
    if row.form is Form.VIEW and table.type_of(row.operands[0]).size == 1:
        return _number(table, row.operands[0])
    return None
