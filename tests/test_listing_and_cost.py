"""The listing of a table, and its predicted cost."""

import numpy as np
import pytest

from fastad.execution.traced import traced
from fastad.primitives import PRIMITIVES, Elementwise
from fastad.tables.builder import Builder
from fastad.tables.columns import Line
from fastad.tables.passes.cost import Operations, choose_mode, cost, count_operations, peak_bytes
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.shown.listing import listing


def network(depth, width=10, results=1, activation="tanh"):
    """`depth` layers of `width`, then `results` weighted sums; the weights are captured arrays."""
    b = Builder()
    x = b.input((width,))
    weights = [b.input((width, width)) for _ in range(depth)] + [b.input((results, width))]
    for w in weights[:-1]:
        x = b.emit(activation, (b.emit("matmul", (w, x), (1, width, width, 1, 0, 0, 1, 1), (width,)),))
    y = b.emit("matmul", (weights[-1], x), (1, results, width, 1, 0, 0, 1, 1), (results,))
    return b.table([y], [np.ones(b.shape(w)) for w in weights])


# ── listing ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_listing_names_operands_integers_and_source_lines():
    b = Builder()
    b.source_line(Line("/home/user/model.py", 12, "model"))
    x, weights = b.input((2, 3)), b.input((3,))
    y = b.emit("multiply", (b.emit("sum", (x,), (2, 3, 1), (2,)), b.const([2.0, 3.0])))
    picked = b.emit("strided", (weights,), (2, 3, -1), (3,))
    whole = b.assemble([y, picked], [(0, 2, 1), (2, 3, 1)], (5,))
    text = listing(b.table([whole, picked], [np.ones(3)]))
    for line in (
        "%0  float64[2,3]  input     x0                            model.py:12",
        "%1  float64[3]    input     c0                            model.py:12",
        "%2  float64[2]    sum       %0, outer=2 n=3 inner=1       model.py:12",
        "%3  float64[2]    const     [2, 3]                        model.py:12",
        "%5  float64[3]    strided   %1, offset=2 shape=(3) strides=(-1)",
        "%6  float64[5]    assemble  %4 to [0:2], %5 to [2:5]",
        "return %6, %5",
    ):
        assert line.replace(" ", "") in text.replace(" ", "")
    assert len({line.index("model.py") for line in text.splitlines() if "model.py" in line}) == 1  # aligned


def test_long_tables_are_elided_in_the_middle():
    b = Builder()
    x = b.input(())
    for _ in range(200):
        x = b.emit("sin", (x,))
    table = b.table([x])
    short, full = listing(table, 20).splitlines(), listing(table, limit=None).splitlines()
    assert len(full) == 203 and len(short) == 23
    assert "… 181 more rows" in short and short[1].startswith("%0 ") and short[-2].startswith("%200")
    assert str(traced(table)) == listing(table)
    assert listing(table, 0).splitlines()[1] == "… 201 more rows"


def test_listings_of_derived_tables_say_what_a_row_is_for():
    b = Builder()
    b.source_line(Line("model.py", 12, "model"))
    text = listing(adjoint_table(b.table([b.emit("sin", (b.input(()),))]), [0])).splitlines()
    assert text[-1].startswith("return") and text[-2].endswith("model.py:12 (adjoint)")
    assert any("sin " in line and line.endswith("model.py:12") for line in text)


def test_an_empty_table_and_one_with_many_results_have_listings():
    assert listing(Builder().table([])).startswith("op table: 0 rows")
    b = Builder()
    table = b.table([b.input(())] * 40)
    assert listing(table).endswith("… 24 more")


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────
def test_operations_are_counted_by_kind():
    b = Builder()
    x, y = b.input((4, 5)), b.input((5, 6))
    product = b.emit("matmul", (x, y), (1, 4, 5, 6, 0, 0, 1, 1), (4, 6))
    wave = b.emit("divide", (b.emit("sin", (product,)), b.const(3.0)))
    total = b.emit("sum", (b.emit("maximum", (wave, b.const(0.5))),), (1, 24, 1), ())
    found = count_operations(b.table([total]))
    # maximum is where((a >= b) | (a != a), a, b): four comparisons
    assert found == Operations(120 + 23, 120, 24, 24, 4 * 24, 0, products=120)
    assert found.total == 143 + 120 + 24 + 24 + 96
    assert 3 * found == found + found + found


COUNTED = [row for row in PRIMITIVES if isinstance(row, Elementwise) and not row.detached]


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.name)
def test_every_elementwise_row_has_a_count(row):
    b = Builder()
    table = b.table([b.emit(row.name, [b.input((7,)) for _ in row.domain])])
    count = count_operations(table).total
    assert count >= 7 and count % 7 == 0


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_peak_memory_is_that_of_the_values_alive_at_once():
    b = Builder()
    x = b.input((100,))
    for _ in range(50):
        x = b.emit("sin", (x,))
    chain = b.table([x])
    assert peak_bytes(chain) == 2 * 800  # one value and the next
    everything = b.table(list(range(51)))
    assert peak_bytes(everything) == 50 * 800


def test_rows_without_use_take_no_memory():
    b = Builder()
    x = b.input((100,))
    b.emit("cos", (x,))
    assert peak_bytes(b.table([b.emit("sin", (x,))])) == 800


# ── a layered network with one result ─────────────────────────────────────────────────────────────────────────
def test_work_of_a_layered_network():
    """610 multiplications a product with the network's matrices; ten of them forward, one in reverse."""
    c = cost(network(6))
    assert (c.d, c.m) == (10, 1)
    assert c.tangent.each.products == c.adjoint.each.products == 610
    assert c.d * c.tangent.each.products == 6100 and c.m * c.adjoint.each.products == 610
    assert c.mode == "rev"
    assert c.jacobian_forward.total > 4 * c.jacobian_reverse.total  # the values themselves are counted in both


def test_memory_of_a_layered_network():
    """Forward memory follows the width; reverse memory the number of values, 60 of them."""
    six, twelve, wide = cost(network(6)), cost(network(12)), cost(network(6, 20))
    assert six.tangent.bytes == twelve.tangent.bytes <= 8 * 4 * 10
    assert wide.tangent.bytes == 2 * six.tangent.bytes
    assert 8 * 60 <= six.adjoint.bytes <= 8 * 85
    assert twelve.adjoint.bytes - six.adjoint.bytes == 8 * 60


def test_linear_networks_need_no_values_in_reverse():
    assert cost(network(6, activation="negative")).adjoint.bytes < 8 * 40


def test_an_adjoint_costs_a_small_multiple_of_the_value():
    c = cost(network(6))
    assert c.value.once.total < c.adjoint.repeated(1).total < 4 * c.value.once.total


# ── the choice and the report ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("results", "mode"), [(1, "rev"), (9, "rev"), (10, "fwd"), (11, "fwd"), (40, "fwd")])
def test_reverse_mode_when_there_are_fewer_results_than_inputs(results, mode):
    c = cost(network(6, results=results))
    assert c.m == results and c.mode == mode
    assert choose_mode(None, c.d, c.m) == mode


def test_only_arguments_of_floating_point_type_count_as_inputs():
    b = Builder()
    x, i = b.input((4,)), b.input((2,), "i")
    table = b.table([b.emit("gather", (x, i), (1,), (2,)), i])
    c = cost(table)
    assert (c.d, c.m) == (4, 2)
    assert cost(table, wrt=[]).d == 0


def test_the_report_prints_well():
    c = cost(network(6))
    text = str(c).splitlines()
    assert "10 inputs, 1 result: Jacobian by reverse mode" in text[0] and len(text) == 7
    assert len({len(line) for line in text[1:]}) == 1  # aligned
    assert "Jacobian, 10 JVPs" in str(c) and "Jacobian, 1 VJP " in str(c)
    assert c._repr_html_().count("<tr>") == 6


def test_derived_tables_have_costs_too():
    assert cost(adjoint_table(network(3), [0])).value.once.products == 2 * (300 + 10)
