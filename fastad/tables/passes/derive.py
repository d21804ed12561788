"""Derivation: tables of tangents and adjoints from a table. Composing the two gives derivatives of any order.

Griewank & Walther (2008), Evaluating Derivatives: forward mode is table 3.3, reverse mode table 3.6. The adjoint of a
value that several rows use is the sum of their contributions.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fastad.primitives import Elementwise, Form
from fastad.primitives.regions import Region, elements_of, parts, region, whole
from fastad.primitives.rewrites import is_zero
from fastad.primitives.rules import Piece, Scattered, adjoint_call
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.inline import Lookup, compact, copy_row, inline, new_inputs
from fastad.tables.passes.activity import active_elements, active_rows
from fastad.tables.passes.contributions import Kinds, rules
from fastad.tables.passes.kinks import with_gaps
from fastad.tables.table import Row, Table


def tangent_table(table: Table, wrt: Sequence[int]) -> Table:
    """Table from (inputs, tangents of the inputs `wrt`) to (results, tangents of the results)."""
    table = with_gaps(table)
    b = Builder()
    inputs, seeds = new_inputs(b, table, [table.inputs[i] for i in wrt])
    refs, tangents = push_forward(b, table, inputs, dict(zip(wrt, seeds, strict=True)))
    outs = [refs[i] for i in table.outputs]
    out_tangents = [_or_zeros(b, tangents[i], table.type_of(i)) for i in table.outputs]
    return compact(b.table(outs + out_tangents, table.captured))


def adjoint_table(table: Table, wrt: Sequence[int], *, seeds: Sequence[float] | None = None) -> Table:
    """Table from (inputs, adjoints of the results) to (results, adjoints of the inputs `wrt`).

    With `seeds` (one number for each result) the adjoints of the results are these constants instead of inputs.
    """
    table = with_gaps(table)
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
        if moves and row.sub is not None:  # one row computes value and tangent
            b.source_line(line.derived("tangent"))
            x, dx = (b.reshape(v, (row.sub.n_in,)) for v in (refs[row.operands[0]], own[0]) if v is not None)
            value, tangent = row.sub.emit_joint(b, x, dx)
        else:
            b.source_line(line)
            value = copy_row(b, table, row, refs, inputs)
            b.source_line(line.derived("tangent"))
            tangent = _row_tangent(b, row, refs, value, own) if moves else None
        if row.form is Form.INPUT and row.dtype in "df":
            tangent = seeds.get(int(table.columns["a"][row.index]))
        refs.append(value)
        tangents.append(tangent)
    return refs, tangents


def _values(b: Builder, table: Table, inputs: Sequence[Ref], wrt: Sequence[int]) -> list[Ref]:
    """All rows; composite rows that depend on the inputs `wrt` save states for their adjoints."""
    if not any(sub.can_save for sub in table.subs):
        return inline(b, table, inputs)
    active = active_rows(table, wrt)
    refs: list[Ref] = []
    for row in table.rows():
        b.source_line(table.line_of(row.index))
        if row.sub is not None and row.sub.can_save and active[row.index]:
            value, saved = row.sub.emit_saving(b, b.reshape(refs[row.operands[0]], (row.sub.n_in,)))
            b.saved[value] = saved
            refs.append(value)
        else:
            refs.append(copy_row(b, table, row, refs, inputs))
    return refs


def _row_tangent(b: Builder, row: Row, refs: Sequence[Ref], value: Ref, tangents: list[Ref | None]) -> Ref | None:
    operands = [refs[i] for i in row.operands]
    if not isinstance(row.primitive, Elementwise):
        return row.primitive.tangent(b, row, operands, value, tangents)  # type: ignore[attr-defined]
    values = _names(operands, value)
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
    active = active_rows(table, wrt)
    plain = _Plain(b, table, refs)
    sums = AdjointSums(b, len(table))
    for row_index, seed in zip(table.outputs, seeds, strict=True):
        if active[row_index]:
            sums.add(row_index, seed)
    found: dict[int, Ref | None] = {}
    lines = Lookup(lambda number: b.line_number(table.lines[number].derived("adjoint")))
    for index in range(len(table) - 1, -1, -1):
        if index not in sums:
            continue
        b.at_line(lines[table._lists["line"][index]])
        u = sums.total(index, table.type_of(index).shape)
        if plain.pull_back(index, u, active, sums):
            continue
        row = table.row(index)
        if row.sub is not None and is_zero(b, u):
            continue  # a solution on which nothing depends: no system need be solved
        if row.form is Form.INPUT:
            found[int(table.columns["a"][index])] = u
        else:
            _spread_adjoint(b, table, row, refs, u, active, sums)
    return [found.get(i) for i in wrt]


def _spread_adjoint(
    b: Builder, table: Table, row: Row, refs: Any, u: Ref, active: Any, sums: "AdjointSums"
) -> None:
    operands = [refs[i] for i in row.operands]
    if isinstance(row.primitive, Elementwise):
        contributions: Any = _elementwise_adjoint(b, row, operands, refs[row.index], u, active)
    elif row.sub is not None:
        wanted = partial(active_elements, table, row.operands[0], active)
        contributions = adjoint_call(b, row, operands, refs[row.index], u, wanted)
    else:
        contributions = row.primitive.adjoint(b, row, operands, refs[row.index], u)  # type: ignore[attr-defined]
    for operand, contribution in zip(row.operands, contributions, strict=True):
        if contribution is not None and active[operand]:
            sums.add(operand, contribution)


def _elementwise_adjoint(b: Builder, row: Row, operands: Any, result: Ref, u: Ref, active: Any) -> list[Ref | None]:
    values = _names(operands, result) | {"u": u}
    contributions: list[Ref | None] = []
    for index, operand, expr in zip(row.operands, operands, row.primitive.contribution_exprs, strict=True):  # type: ignore[attr-defined]
        if expr is None or not active[index]:
            contributions.append(None)
            continue
        term = b.expression(expr, values, row.shape)
        if b.size(operand) != row.size:  # the operand was spread over the row
            term = b.total(b.broadcast(term, row.shape), b.shape(operand))
        contributions.append(b.reshape(term, b.shape(operand)))
    return contributions


def _names(operands: Sequence[Ref], result: Ref) -> dict[str, Ref]:
    return dict(zip("abc", operands, strict=False)) | {"r": result}


def _or_zeros(b: Builder, ref: Ref | None, kind: ValueType) -> Ref:
    dtype = kind.dtype if kind.dtype in "df" else "d"
    if ref is None:
        return b.broadcast(b.const(0.0, dtype), kind.shape)
    if b.dtype(ref) != dtype:  # a seed of another precision
        return b.cast(ref, kind.shape, dtype)
    return b.reshape(ref, kind.shape)


_FEW = 32  # elements up to which they are summed one by one
_SPARSE = 8  # pieces are added where they lie if the array is so many times larger
_LAYERS = 4  # of pieces, that are looked at for every piece


class AdjointSums:
    """Sums of contributions to the adjoints of a table's rows. Contributions to regions are collected and written in
    one row, so a program that reads an array element by element does not need an adjoint array for each element."""

    def __init__(self, b: Builder, rows: int) -> None:
        self._builder = b
        self.full: list[Ref | None] = [None] * rows
        self.pieces: dict[int, dict[Region, Ref]] = {}
        self.scattered: dict[int, list[Scattered]] = {}

    def __contains__(self, index: int) -> bool:
        return self.full[index] is not None or index in self.pieces or index in self.scattered

    def add(self, index: int, contribution: Ref | Piece | list[Piece] | Scattered) -> None:
        """Add a contribution to the adjoint of row `index`."""
        if isinstance(contribution, list):
            for piece in contribution:
                self._add_piece(self.pieces.setdefault(index, {}), piece)
            return
        if isinstance(contribution, Scattered):
            self.scattered.setdefault(index, []).append(contribution)
            return
        if isinstance(contribution, Piece):
            self._add_piece(self.pieces.setdefault(index, {}), contribution)
        else:
            full = self.full[index]
            self.full[index] = contribution if full is None else self._builder.add(full, contribution)

    def _add_piece(self, pieces: dict[Region, Ref], piece: Piece) -> None:
        b, known = self._builder, pieces.get(piece.region)
        if known is not None:
            pieces[piece.region] = b.add(known, b.reshape(piece.ref, b.shape(known)))
        else:
            pieces[piece.region] = piece.ref

    def total(self, index: int, shape: tuple[int, ...]) -> Ref:
        """The sum as one value of this shape."""
        found = self.scattered.pop(index, None)
        if found:
            full = self.total(index, shape) if index in self else None
            for part in found:
                full = part.onto(self._builder, full, shape)
            return full  # type: ignore[return-value]
        b, full, pieces = self._builder, self.full[index], self.pieces.pop(index, None)
        if pieces is None and full is not None:
            return b.reshape(full, shape)
        size = math.prod(shape)
        layers = disjoint_layers(pieces or {}, size)
        if pieces and len(layers) > 1 and size <= _FEW:
            layers = [self._by_element(pieces, size)]
        for layer in layers:
            full = self._with_layer(full, layer, shape)
        assert full is not None
        return b.reshape(full, shape)

    def _with_layer(self, full: Ref | None, layer: list[tuple[Region, Ref]], shape: tuple[int, ...]) -> Ref:
        """The sum of contributions so far, and pieces that do not overlap. Pieces of few elements are added where they
        lie, so that it costs their own size and not the array's: plans write over an array that nobody reads later."""
        b, size = self._builder, math.prod(shape)
        refs, regions = [ref for _, ref in layer], [own for own, _ in layer]
        if full is None or _SPARSE * sum(map(b.size, refs)) > size:
            part = b.assemble(refs, regions, shape)
            return part if full is None else b.add(full, part)
        before = b.reshape(full, shape)
        sums = [b.add(b.region(before, own, b.shape(ref)), ref) for own, ref in layer]
        return b.assemble([before, *sums], [whole(size), *regions], shape)

    def _by_element(self, pieces: dict[Region, Ref], size: int) -> list[tuple[Region, Ref]]:
        """The sums of few elements one by one: cheaper than sums of whole arrays that are mostly zeros."""
        b, found = self._builder, dict[int, Ref]()
        for own, ref in pieces.items():
            offset, shape, strides = parts(own)
            places = np.lib.stride_tricks.as_strided(np.arange(size)[offset:], shape, [8 * s for s in strides])
            for i, place in enumerate(places.ravel().tolist()):
                element = b.region(ref, region(i, (), ()), ())
                found[place] = element if place not in found else b.add(found[place], element)
        return [(region(place, (), ()), b.reshape(ref, (1,))) for place, ref in sorted(found.items())]


class _Plain:
    """Elementwise rows whose operands and result are float64 of one shape."""

    def __init__(self, b: Builder, table: Table, refs: Sequence[Ref]) -> None:
        self._builder, self._refs = b, refs
        col = table._lists
        self._op, self._operands, self._type = col["op"], [col[name] for name in "abc"], col["type"]
        self._kinds = [Kinds(b, kind.shape) if kind.dtype == "d" else None for kind in table.types]

    def pull_back(self, index: int, u: Ref, active: Sequence[bool], sums: AdjointSums) -> bool:
        """Contributions of a row to the adjoints of its operands; False if the row is not of this kind."""
        contributions, kinds = rules(self._op[index]), self._kinds[self._type[index]]
        if contributions is None or kinds is None:
            return False
        b, refs, types = self._builder, self._refs, self._builder.columns["type"]
        rows = [column[index] for column, _ in zip(self._operands, contributions, strict=False)]
        own = [refs[x] for x in rows]
        number = types[refs[index]]
        if types[u] != number or number != kinds["d"] or any(types[x] != number for x in own):
            return False
        terms = []
        names = (b.emit_elementwise, b.number, kinds, *(*own, -1, -1)[:3], refs[index], u)
        for x, rule in zip(rows, contributions, strict=True):
            if rule is not None and active[x]:
                terms.append((x, rule(*names)))
        full = sums.full
        for x, term in terms:
            before = full[x]
            full[x] = term if before is None else b.add_typed(before, term, number)
        return True


def disjoint_layers(pieces: dict[Region, Ref], size: int) -> list[list[tuple[Region, Ref]]]:
    """Distribute pieces over layers so that no two pieces of a layer overlap: to the first of a few layers that has
    room, and the others, which are many only if most of them overlap, to a new layer whenever the last one is full."""
    layers: list[tuple[np.ndarray, list[tuple[Region, Ref]]]] = []
    for own, ref in pieces.items():
        free = (layer for layer in layers[:_LAYERS] if not elements_of(layer[0], own).any())
        mask, layer = next(free, None) or _room(layers, own, size)
        elements_of(mask, own)[...] = True
        layer.append((own, ref))
    return [layer for _, layer in layers]


def _room(layers: list[Any], own: Region, size: int) -> Any:
    """The last layer if it has room for a region, else a new one. Those behind the first few have one mask in turn."""
    if len(layers) > _LAYERS:
        mask, last = layers[-1]
        if not elements_of(mask, own).any():
            return layers[-1]
        for taken, _ in last:
            elements_of(mask, taken)[...] = False
    else:
        mask = np.zeros(size, np.bool_)
    layers.append((mask, []))
    return layers[-1]
