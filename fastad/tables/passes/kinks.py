"""Derivatives as limits: second ones where a norm is 0, and those of spectra with equal values.

A norm r has a kink at 0, where its derivative is 0 by convention. Smooth functions of r, such as r² or cos(r), have
second derivatives there; but if the convention is differentiated as a constant, they come out as 0. So a table that
is derived more than once computes r as ε > 0 where it is 0, for its derivatives alone. That is the norm smoothed in a
ball of radius ε: its gradient x/ε is 0 at 0 as before, its second derivative is 1/ε, and f'(ε)/ε is the second
derivative of a smooth f(r), to rounding.

Every norm gets the same ε. So norms of one vector in different units, as in |v| |2v|, are not smoothed alike, and the
second derivative of their product is wrong at 0.

Where eigenvalues are equal, derivatives of f(A) = V f(Λ) Vᵀ have quotients 0/0, though f(A) is smooth: it does not
depend on the choice of V. So derivatives of every order see equal values a little apart (see
`fastad.primitives.spectral_rules`), and are the limits to about 8 digits, second ones to 5. The row that has values
apart is told by `near`.
"""

from collections.abc import Sequence

from fastad.primitives import ArrayPrimitive, array_rows, elementwise_rows
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact, copy_row, new_inputs
from fastad.tables.table import Row, Table

_NORMS = frozenset(row.code for row in elementwise_rows() if row.near)
_SPECTRA = frozenset(row.code for row in array_rows() if row.near)


def with_limits(table: Table) -> Table:
    """A table with the same values, whose derivatives may be derived again."""
    return _smoothed_table(table, _NORMS)


def with_gaps(table: Table) -> Table:
    """A table with the same values, which is to be derived: equal values of spectra are apart for derivatives."""
    return _smoothed_table(table, _SPECTRA)


def _smoothed_table(table: Table, codes: frozenset[int]) -> Table:
    """The table with rows of these primitives replaced by those near to them, for derivatives alone."""
    if codes.isdisjoint(table._lists["op"]):
        return table
    b = Builder()
    inputs, _ = new_inputs(b, table)
    values: list[Ref] = []
    smoothed: list[Ref] = []
    for row in table.rows():
        b.source_line(table.line_of(row.index))
        value = copy_row(b, table, row, values, inputs)
        near = _smoothed(b, table, row, smoothed, inputs, codes) if _moves(row, values, smoothed, codes) else value
        if row.sub is not None and (row.sub.overwrites_saved or row.sub.result_is_overwritten):
            value = near  # saved states serve one adjoint
        values.append(value)
        smoothed.append(near)
    outputs = [b.beside(values[i], smoothed[i]) for i in table.outputs]
    return compact(b.table(outputs, table.captured))


def _moves(row: Row, values: Sequence[Ref], smoothed: Sequence[Ref], codes: frozenset[int]) -> bool:
    """Whether derivatives see another value of a row. Decisions depend on the values as they are."""
    if row.primitive.code in codes:
        return True
    decides = row.dtype not in "df" or (isinstance(row.primitive, ArrayPrimitive) and row.primitive.kept)
    return not decides and any(values[i] != smoothed[i] for i in row.operands)


def _smoothed(
    b: Builder, table: Table, row: Row, smoothed: Sequence[Ref], inputs: Sequence[Ref], codes: frozenset[int]
) -> Ref:
    """The row as its derivatives see it."""
    primitive = row.primitive
    if primitive.code not in codes:
        return copy_row(b, table, row, smoothed, inputs)
    operands = [smoothed[i] for i in row.operands]
    if isinstance(primitive, ArrayPrimitive):
        assert primitive.near is not None
        return b.emit(row.name, operands, primitive.near(row.statics), row.shape, row.dtype)
    return b.emit(primitive.near, operands, shape=row.shape, dtype=row.dtype)  # type: ignore[attr-defined]
