"""Derivation: tables of tangents and adjoints from a table. Composition of the two gives any order.

Forward mode is Algorithm 17.65 of the notes (Griewank & Walther, table 3.3), reverse mode Algorithm 17.66 (table
3.6): adjoints of a value that several rows use are summed.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.primitives import Elementwise
from fastad.primitives.regions import Region, parts, whole
from fastad.primitives.rules import Piece
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact, copy_row, inline, new_inputs
from fastad.tables.table import Row, Table, ValueType


def tangent_table(table: Table, wrt: Sequence[int]) -> Table:
    """Table of (inputs, tangents of the inputs `wrt`) to (results, tangents of the results)."""
    b = Builder()
    inputs, seeds = new_inputs(b, table, [table.inputs[i] for i in wrt])
    refs, tangents = push_forward(b, table, inputs, dict(zip(wrt, seeds, strict=True)))
    outs = [refs[i] for i in table.outputs]
    out_tangents = [_or_zeros(b, tangents[i], table.type_of(i)) for i in table.outputs]
    return compact(b.table(outs + out_tangents, table.captured))


def adjoint_table(table: Table, wrt: Sequence[int], *, seeds: Sequence[float] | None = None) -> Table:
    """Table of (inputs, adjoints of the results) to (results, adjoints of the inputs `wrt`).

    With `seeds` (one number a result) the adjoints of the results are these constants instead of inputs.
    """
    b = Builder()
    kinds = table.output_types
    inputs, given = new_inputs(b, table, kinds if seeds is None else ())
    refs = _values(b, table, inputs, wrt)
    if seeds is not None:
        given = [b.broadcast(b.const(s, k.dtype), k.shape) for s, k in zip(seeds, kinds, strict=True)]
    adjoints = pull_back(b, table, refs, given, wrt)
    bars = [_or_zeros(b, x, table.inputs[i]) for x, i in zip(adjoints, wrt, strict=True)]
    return compact(b.table([refs[i] for i in table.outputs] + bars, table.captured))


def push_forward(
    b: Builder, table: Table, inputs: Sequence[Ref], seeds: dict[int, Ref]
) -> tuple[list[Ref], list[Ref | None]]:
    """Value and tangent (None: zero) of every row, given the tangents of some inputs, by their numbers."""
    refs: list[Ref] = []
    tangents: list[Ref | None] = []
    for row in table.rows():
        line = table.line_of(row.index)
        own = [tangents[i] for i in row.operands]
        moves = row.dtype in "df" and any(
            t is not None and row.primitive.is_differentiable(k)  # type: ignore[attr-defined]
            for k, t in enumerate(own)
        )
        if moves and row.sub is not None:  # value and tangent at once
            b.source_line(line.derived("tangent"))
            x, dx = (b.reshape(v, (row.sub.n_in,)) for v in (refs[row.operands[0]], own[0]) if v is not None)
            value, tangent = row.sub.emit_joint(b, x, dx)
        else:
            b.source_line(line)
            value = copy_row(b, table, row, refs, inputs)
            b.source_line(line.derived("tangent"))
            tangent = _row_tangent(b, row, [*refs, value], own) if moves else None
        if row.name == "input" and row.dtype in "df":
            tangent = seeds.get(int(table.columns["a"][row.index]))
        refs.append(value)
        tangents.append(tangent)
    return refs, tangents


def _values(b: Builder, table: Table, inputs: Sequence[Ref], wrt: Sequence[int]) -> list[Ref]:
    """All rows; composite rows that depend on the inputs `wrt` keep what their adjoints can use."""
    if not any(sub.keeps for sub in table.subs):
        return inline(b, table, inputs)
    active = _active_rows(table, wrt)
    refs: list[Ref] = []
    for row in table.rows():
        b.source_line(table.line_of(row.index))
        if row.sub is not None and row.sub.keeps and active[row.index]:
            value, kept = row.sub.emit_keeping(b, b.reshape(refs[row.operands[0]], (row.sub.n_in,)))
            b.kept[value] = kept
            refs.append(value)
        else:
            refs.append(copy_row(b, table, row, refs, inputs))
    return refs


def _row_tangent(b: Builder, row: Row, refs: Sequence[Ref], tangents: list[Ref | None]) -> Ref | None:
    operands = [refs[i] for i in row.operands]
    if not isinstance(row.primitive, Elementwise):
        return row.primitive.tangent(b, row, operands, refs[row.index], tangents)  # type: ignore[attr-defined]
    values = _names(operands, refs[row.index])
    terms = []
    for tangent, expr in zip(tangents, row.primitive.contribution_exprs, strict=True):
        if tangent is not None and expr is not None:
            term = b.expression(expr, values | {"u": tangent}, row.shape)
            terms.append(b.broadcast(term, row.shape) if b.size(term) != row.size else b.reshape(term, row.shape))
    return b.add(*terms) if terms else None


def pull_back(
    b: Builder, table: Table, refs: Sequence[Ref], seeds: Sequence[Ref], wrt: Sequence[int]
) -> list[Ref | None]:
    """Adjoints of the inputs `wrt` (None: zero), given adjoints of the results."""
    active = _active_rows(table, wrt)
    sums: dict[int, AdjointSum] = {}
    for row_index, seed in zip(table.outputs, seeds, strict=True):
        if active[row_index]:
            sums.setdefault(row_index, AdjointSum()).add(b, seed)
    found: dict[int, Ref | None] = {}
    for index in range(len(table) - 1, -1, -1):
        if index not in sums:
            continue
        row = table.row(index)
        b.source_line(table.line_of(index).derived("adjoint"))
        u = sums.pop(index).total(b, row.shape)
        if row.name == "input":
            found[int(table.columns["a"][index])] = u
        else:
            _spread_adjoint(b, row, refs, u, active, sums)
    return [found.get(i) for i in wrt]


def _spread_adjoint(b: Builder, row: Row, refs: Any, u: Ref, active: Any, sums: dict[int, "AdjointSum"]) -> None:
    operands = [refs[i] for i in row.operands]
    if isinstance(row.primitive, Elementwise):
        contributions: Any = _elementwise_adjoint(b, row, operands, refs[row.index], u, active)
    else:
        contributions = row.primitive.adjoint(b, row, operands, refs[row.index], u)  # type: ignore[attr-defined]
    for operand, contribution in zip(row.operands, contributions, strict=True):
        if contribution is not None and active[operand]:
            sums.setdefault(operand, AdjointSum()).add(b, contribution)


def _elementwise_adjoint(b: Builder, row: Row, operands: Any, result: Ref, u: Ref, active: Any) -> list[Ref | None]:
    values = _names(operands, result) | {"u": u}
    contributions: list[Ref | None] = []
    for index, operand, expr in zip(row.operands, operands, row.primitive.contribution_exprs, strict=True):  # type: ignore[attr-defined]
        if expr is None or not active[index]:
            contributions.append(None)
            continue
        term = b.expression(expr, values, row.shape)
        if b.size(operand) != row.size:  # the operand was spread over the row
            term = b.emit("sum", (b.broadcast(term, row.shape),), (1, row.size, 1), b.shape(operand))
        contributions.append(b.reshape(term, b.shape(operand)))
    return contributions


def _names(operands: Sequence[Ref], result: Ref) -> dict[str, Ref]:
    return dict(zip("abc", operands, strict=False)) | {"r": result}


def _active_rows(table: Table, wrt: Sequence[int]) -> list[bool]:
    """Rows whose value depends differentiably on an input of `wrt`."""
    active: list[bool] = []
    for row in table.rows():
        if row.name == "input":
            active.append(int(table.columns["a"][row.index]) in wrt and row.dtype in "df")
        else:
            differentiable = row.primitive.is_differentiable  # type: ignore[attr-defined]
            active.append(
                row.dtype in "df" and any(active[i] and differentiable(k) for k, i in enumerate(row.operands))
            )
    return active


def _or_zeros(b: Builder, ref: Ref | None, kind: ValueType) -> Ref:
    dtype = kind.dtype if kind.dtype in "df" else "d"
    if ref is None:
        return b.broadcast(b.const(0.0, dtype), kind.shape)
    if b.dtype(ref) != dtype:  # a seed of another precision
        return b.emit("strided", (ref,), whole(b.size(ref)), kind.shape, dtype)
    return b.reshape(ref, kind.shape)


class AdjointSum:
    """Sum of contributions to one adjoint. Contributions to regions are collected and written once, so that
    reading an array element by element does not cost an array for each element."""

    def __init__(self) -> None:
        self.full: Ref | None = None
        self.pieces: dict[Region, Ref] = {}

    def add(self, b: Builder, contribution: Ref | Piece) -> None:
        if isinstance(contribution, Piece):
            known = self.pieces.get(contribution.region)
            ref = (
                contribution.ref
                if known is None
                else b.emit("add", (known, b.reshape(contribution.ref, b.shape(known))))
            )
            self.pieces[contribution.region] = ref
        else:
            self.full = contribution if self.full is None else b.emit("add", (self.full, contribution))

    def total(self, b: Builder, shape: tuple[int, ...]) -> Ref:
        """The sum as one value of this shape."""
        if not self.pieces and self.full is not None:
            return b.reshape(self.full, shape)
        layers = _disjoint_layers(self.pieces, math.prod(shape))
        terms = [] if self.full is None else [self.full]
        terms += [b.assemble([ref for _, ref in layer], [r for r, _ in layer], shape) for layer in layers]
        return b.reshape(b.add(*terms), shape)


def _disjoint_layers(pieces: dict[Region, Ref], size: int) -> list[list[tuple[Region, Ref]]]:
    """Distribute pieces over as few layers as a greedy walk needs, no two pieces of a layer overlapping."""
    layers: list[tuple[np.ndarray, list[tuple[Region, Ref]]]] = []
    for own, ref in pieces.items():
        offset, shape, strides = parts(own)
        for mask, layer in layers:
            view = np.lib.stride_tricks.as_strided(mask[offset:], shape, strides)
            if not view.any():
                view[...] = True
                layer.append((own, ref))
                break
        else:
            mask = np.zeros(size, np.bool_)
            np.lib.stride_tricks.as_strided(mask[offset:], shape, strides)[...] = True
            layers.append((mask, [(own, ref)]))
    return [layer for _, layer in layers]
