"""Validation of tables, with wrong numbers and malicious geometry: executors rely on it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_store import TABLE

from fastad.errors import TableError
from fastad.primitives import opcode
from fastad.tables import validate
from fastad.tables.builder import Builder
from fastad.tables.columns import COLUMNS, POOLS, Line, ValueType
from fastad.tables.table import Table
from fastad.tables.validate import LARGEST

EXTREMES = [-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 2**15, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1]


def fits(x, dtype):
    if np.dtype(dtype).kind == "f":
        return True
    info = np.iinfo(dtype)
    return info.min <= x <= info.max


@given(st.data())
def test_wrong_numbers(data):
    """Wrong numbers in the columns and pools, which no checksum of a file would find: the table must reject them."""
    columns = {name: x.copy() for name, x in TABLE.columns.items()}
    pools = {name: x.copy() for name, x in TABLE.pools.items()}
    arrays = columns | pools
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from([*COLUMNS, "statics", "statics", "operands"]))
        place = data.draw(st.integers(0, len(arrays[name]) - 1))
        near = int(arrays[name][place]) + data.draw(st.sampled_from([-1, 0, 1]))
        value = data.draw(st.sampled_from([near, *EXTREMES]))
        if fits(value, arrays[name].dtype):
            arrays[name][place] = value
    try:
        table = Table(columns, pools, TABLE.types, TABLE.lines, TABLE.inputs, TABLE.outputs, TABLE.captured)
    except TableError:
        return
    stays_inside(table)


def stays_inside(table):
    """Whether every element that a kernel may access is inside its array; slow, and independent of `validate`."""
    for row in table.rows():
        sizes = [table.type_of(i).size for i in row.operands]
        assert all(0 <= i < row.index for i in row.operands)
        if row.name in ("strided", "strided_add"):
            touched = elements(row.statics)
            inside, outside = (sizes[0], row.size) if row.name == "strided" else (row.size, sizes[0])
            assert len(touched) == outside and all(0 <= i < inside for i in touched)
        elif row.name == "assemble":
            for own, size in zip(row.regions, sizes, strict=True):
                touched = elements(own)
                assert len(touched) == size and all(0 <= i < row.size for i in touched)
        elif row.name in ("sum", "amax", "cumsum", "linrec"):
            outer, n, inner = row.statics[:3]
            assert all(size == outer * n * inner for size in sizes)


def elements(r):
    nd = (len(r) - 1) // 2
    found = [r[0]]
    for n, s in zip(r[1 : 1 + nd], r[1 + nd :], strict=True):
        found = [i + k * s for i in found for k in range(n)]
    return found


def one_row(name, statics, sizes, size, pooled=False):
    """A table of inputs and one array row, made without the builder's simplification."""
    n = len(sizes)
    kinds = [ValueType((s,), "d") for s in (*sizes, size)]
    a, b = (0, n) if pooled else (*range(n), -1, -1)[:2]
    rows = [(opcode("input"), k, 0, k, -1, -1) for k in range(n)] + [(opcode(name), n, 0, a, b, 0)]
    columns = {key: np.array(x, COLUMNS[key]) for key, x in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
    pools = {"operands": range(n), "statics": [len(statics), *statics], "constants": []}
    arrays = {key: np.array(x, POOLS[key]) for key, x in pools.items()}
    return Table(columns, arrays, tuple(kinds), (Line("", 0, ""),), tuple(kinds[:n]), (n,))


BIG, LOW = 2**63 - 1, -(2**63)
BAD_ROWS = [
    ("strided", (), (4,), 4),
    ("strided", (0, 4), (4,), 4),
    ("strided", (1, 4, 1), (4,), 4),
    ("strided", (0, 4, -1), (4,), 4),
    ("strided", (0, -4, 1), (4,), 4),
    ("strided", (LOW, 4, BIG), (4,), 4),
    ("strided", (0, 2, 2, BIG, BIG), (4,), 4),
    ("strided", (0, 2**32, 2**32, 0, 0), (4,), 0),
    ("strided", (0, 2**39, 2**39, 0, 0, 0, 0), (4,), 0),
    ("strided", (0, *[1] * 65, *[0] * 65), (1,), 1),
    ("strided_add", (2, 3, 1), (3,), 4),
    ("strided_add", (0, 3, -1), (3,), 4),
    ("sum", (1, 4), (4,), 1),
    ("sum", (-1, -4, 1), (4,), 1),
    ("sum", (2**32, 2**32, 1), (0,), 0),
    ("sum", (2**39, 2**39, 0), (0,), 0),
    ("amax", (2, 2, 1), (4,), 1),
    ("argmin", (1, 5, 1), (4,), 1),
    ("argsort", (1, 5, 1), (4,), 4),
    ("argsort", (2, 2), (4,), 4),
    ("cumsum", (1, 4, 1), (4,), 4),
    ("cumsum", (1, 4, 1, 0), (3,), 4),
    ("cumsum", (2**39, 0, 2**39, 0), (0,), 0),
    ("linrec", (1, 4, 1, 0), (4, 3), 4),
    ("linrec", (1, 4, 1, -1), (4, 4), 4),
    ("matmul", (1, 2, 2, 2, 0, 0, 1), (4, 4), 4),
    ("matmul", (1, 2, 2, 2, 0, 0, 2, 1), (4, 4), 4),
    ("matmul", (2, 2, 2, 2, 0, 0, 1, 1), (4, 8), 8),
    ("matmul", (1, -2, 2, -2, 0, 0, 1, 1), (4, 4), 4),
    ("matmul", (2**39, 0, 2**39, 0, 0, 0, 0, 0), (0, 0), 0),
    ("gather", (), (4, 2), 2),
    ("gather", (0,), (4, 2), 0),
    ("gather", (-1,), (4, 2), 2),
    ("gather", (3,), (4, 2), 6),
    ("gather", (2,), (4, 2), 5),
    ("scatter_add", (2,), (4, 3), 4),
    ("scatter_add", (2,), (4, 2), 5),
    ("put_blocks", (2, 1), (5, 4, 2), 5),
    ("put_blocks", (0, 1), (4, 2, 2), 4),
    ("put_blocks", (2, 1), (4, 4, 3), 4),
    ("add_blocks", (2,), (4, 4, 2), 6),
    ("wrap_index", (), (4,), 4),
    ("wrap_index", (-3,), (4,), 4),
    ("wrap_index", (3,), (4,), 5),
    ("searchsorted", (), (4, 2), 2),
    ("searchsorted", (0,), (4, 2), 3),
    ("guard", (), (4, 2), 4),
]
BAD_ASSEMBLIES = [
    (1, 0, 3, 1),  # one region for two pieces
    (1, 0, 3, 1, 1, 3, 3, 1),  # outside
    (1, 0, 3, 1, 1, -1, 2, 1),
    (1, 0, 3, 1, 1, 3, 1, 1),  # another size than the piece
    (1, 0, 3, 1, 2, 3, 2, 1),  # cut off
    (1, 0, 3, 1, -1, 3, 2, 1),
    (1, 0, 3, 1, BIG, 3, 2, 1),
    (1, 0, 3, 1, 1, 3, 2, 1, 1, 0, 2, 1),  # a region too many
]


@pytest.mark.parametrize(("name", "statics", "sizes", "size"), BAD_ROWS)
def test_geometry_that_leaves_the_arrays_or_never_ends_is_refused(name, statics, sizes, size):
    with pytest.raises(TableError):
        one_row(name, statics, sizes, size)


@pytest.mark.parametrize("statics", BAD_ASSEMBLIES)
def test_bad_assemblies_are_refused(statics):
    with pytest.raises(TableError):
        one_row("assemble", statics, (3, 2), 5, pooled=True)


def test_good_geometry_is_accepted():
    one_row("assemble", (1, 0, 3, 1, 1, 3, 2, 1), (3, 2), 5, pooled=True)
    one_row("strided", (3, 4, -1), (4,), 4)
    one_row("strided", (0, 0, 1), (4,), 0)
    one_row("sum", (3, 0, 2), (0,), 6)
    one_row("matmul", (2, 2, 0, 3, 0, 0, 1, 0), (0, 0), 12)


def test_operand_lists_that_share_their_pool_are_refused():
    """Otherwise a small file could cause checks and runs of quadratic cost."""
    table = one_row("assemble", (1, 0, 3, 1, 1, 3, 2, 1), (3, 2), 5, pooled=True)
    columns = {name: np.concatenate([x, x[-1:]]) for name, x in table.columns.items()}
    with pytest.raises(TableError, match="pool"):
        Table(columns, dict(table.pools), table.types, table.lines, table.inputs, table.outputs)


def test_the_largest_sizes():
    def identity(shape):
        b = Builder()
        return b.table([b.input(shape)])

    assert identity((LARGEST,)).sizes[0] == LARGEST
    for shape in ((LARGEST + 1,), (2**21, 2**20), (0, LARGEST + 1), (2**64,)):
        with pytest.raises(TableError, match="8 TiB"):
            identity(shape)


def test_columns_that_are_not_plain_memory_are_refused():
    columns = dict(TABLE.columns)
    columns["a"] = np.repeat(columns["a"], 2)[::2]
    with pytest.raises(TableError, match="contiguous"):
        Table(columns, dict(TABLE.pools), TABLE.types, TABLE.lines, TABLE.inputs, TABLE.outputs, TABLE.captured)


def many_rows():
    """A table of many array rows of several kinds: reads, assemblies, products, sums."""
    b = Builder()
    x = b.input((6,))
    for i in range(40):
        part = b.region(x, (i % 4, 3, 1), (3,), "d")
        y = b.emit("multiply", (part, b.const(float(i) + 2)))
        place = [1, 0, 6, 1, 1, i % 2, 3, 1 + i % 2] if i % 3 else [1, 0, 6, 1, 1, 0, 3, 2, 1, 5, 1, 1]
        pieces = (x, y) if i % 3 else (x, y, b.emit("sum", (y,), (1, 3, 1), (), "d"))
        x = b.emit("assemble", pieces, place, (6,), "d")
    return b.table([x])


@settings(max_examples=300)
@given(st.data())
def test_the_complaint_is_the_same_where_rows_of_one_kind_are_looked_for(data):
    table = MANY_ROWS
    columns = {name: x.copy() for name, x in table.columns.items()}
    pools = {name: x.copy() for name, x in table.pools.items()}
    arrays = columns | pools
    for _ in range(data.draw(st.integers(0, 3))):
        name = data.draw(st.sampled_from(["type", "a", "b", "c", "operands", "statics", "op"]))
        place = data.draw(st.integers(0, len(arrays[name]) - 1))
        other = data.draw(st.integers(0, len(arrays[name]) - 1))
        near = int(arrays[name][place]) + data.draw(st.sampled_from([-1, 1]))
        value = data.draw(st.sampled_from([near, int(arrays[name][other]), *EXTREMES]))
        if fits(value, arrays[name].dtype):
            arrays[name][place] = value
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for many in (0, 10**9):
            patch.setattr(validate, "_MANY", many)
            try:
                Table(columns, pools, table.types, table.lines, table.inputs, table.outputs)
            except TableError as error:
                found.append(str(error))
            else:
                found.append("")
    assert found[0] == found[1]


MANY_ROWS = many_rows()
