"""Pictures of tables: layout, SVG and Graphviz text, values and adjoints on the nodes."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastad.errors import ShapeError
from fastad.execution.traced import traced
from fastad.tables.builder import Builder
from fastad.tables.columns import Line
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate_rows
from fastad.tables.shown.drawing import to_dot, to_svg
from fastad.tables.shown.graph import adjoints_of, graph, s1_example
from fastad.tables.shown.layered import layered

ROOT = Path(__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg)


def scalar_chain(n):
    b = Builder()
    x = b.input(())
    for _ in range(n):
        x = b.emit("sin", (x,))
    return b.table([x])


# ── the example of the README ─────────────────────────────────────────────────────────────────────────────────
def test_every_value_and_adjoint_of_s1_stands_on_its_node():
    g = graph(*s1_example())
    found = {(node.label, node.value, node.adjoint) for node in g.nodes}
    assert found == {
        ("x₀", "2", "39"), ("x₁", "1", "84"), ("2 ×", "4", "6"), ("5 ×", "5", "6"), ("+", "9", "6"),
        ("3 ×", "6", "9"), ("×", "6", "9"), ("×", "54", "1"),
    }  # fmt: skip
    assert [node.kind for node in g.nodes] == ["input", "input", *["op"] * 5, "result"]


def test_the_picture_in_the_docs_is_what_the_code_draws():
    """Made by `python -m fastad.tables.shown.drawing docs/s1-graph.svg`."""
    assert (ROOT / "docs" / "s1-graph.svg").read_text(encoding="utf-8") == to_svg(*s1_example())


def test_dot_has_the_same_nodes_and_edges():
    text = to_dot(*s1_example())
    assert text.count(" -> ") == 9 and text.count("label=") == 8
    assert text == traced(s1_example()[0]).to_dot([2.0, 1.0])
    assert "value 54\\nadjoint 1" in text


# ── adjoints ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_adjoints_of_inputs_are_the_gradient():
    b = Builder()
    x, w, i = b.input((3,)), b.input((3,)), b.input((3,), "i")
    y = b.emit("multiply", (b.emit("exp", (b.emit("gather", (x, i), (1,), (3,)),)), w))
    table = b.table([b.emit("sum", (y,), (1, 3, 1), ())], [np.array([2.0, 0, 1])])
    values = [np.array([0.1, 0.2, 0.3]), np.array([1.0, -2.0, 3.0])]
    found = adjoints_of(table, values)
    derived = adjoint_table(table, [0, 1], seeds=[1.0])
    rows = evaluate_rows(derived, [*values, *table.captured])
    for own, index in zip(found[:2], derived.outputs[1:], strict=True):
        np.testing.assert_allclose(own, rows[index], rtol=1e-14)
    assert found[2] is None
    np.testing.assert_array_equal(found[-1], 1.0)


def test_adjoints_of_inner_values_are_derivatives_by_a_change_of_them():
    b = Builder()
    x = b.input(())
    inner = b.emit("sin", (x,))
    table = b.table([b.emit("multiply", (b.emit("exp", (inner,)), inner))])
    s = np.sin(0.7)
    assert adjoints_of(table, [0.7])[1] == pytest.approx(np.exp(s) * (1 + s), rel=1e-14)


def test_no_adjoints_without_a_scalar_result():
    b = Builder()
    x = b.input((2,))
    g = graph(b.table([b.emit("sin", (x,))]), [[1.0, 2.0]])
    assert not g.has_adjoints and g.nodes[1].value == "[0.8415, 0.9093]"


def test_wrong_inputs_are_an_error():
    table, _ = s1_example()
    with pytest.raises(ShapeError, match="2 inputs, but 1 were given"):
        to_svg(table, [1.0])
    b = Builder()
    x = b.input(())
    b.emit("guard", (b.emit("less", (x, b.const(0.0))), b.const(True)))
    with pytest.raises(ShapeError, match="another path"):
        to_svg(b.table([x]), [1.0])


# ── labels ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_constants_of_one_value_are_part_of_labels():
    b = Builder()
    x, y = b.input(()), b.input((4,))
    rows = [
        b.emit("subtract", (x, b.const(3.0))),
        b.emit("subtract", (b.const(3.0), x)),
        b.emit("divide", (b.const(1.0), x)),
        b.emit("power", (x, b.const(2.5))),
        b.emit("maximum", (x, b.const(-1.0))),
        b.emit("multiply", (y, b.const(2.0))),
        b.emit("multiply", (x, y)),
        b.emit("negative", (x,)),
        b.emit("less", (x, b.const(0.0))),
        b.emit("where", (x, b.const(1.0), x)),
    ]
    labels = [node.label for node in graph(b.table(rows)).nodes]
    assert labels == [
        "x₀", "x₁", "− 3", "3 −", "1 ÷", "^ 2.5", "maximum(·, −1)", "2 ×", "×", "−", "< 0", "where(·, 1, ·)"
    ]  # fmt: skip


def test_a_constant_that_is_a_result_is_a_node():
    b = Builder()
    g = graph(b.table([b.const(2.0), b.input(())]))
    assert [(node.label, node.kind) for node in g.nodes] == [("2", "result"), ("x₀", "result")]


def test_tips_name_the_source_line():
    b = Builder()
    b.source_line(Line("/somewhere/<model.py", 7, "f"))
    svg = to_svg(b.table([b.emit("sin", (b.input((2, 3)),))]))
    titles = [t.text for t in parsed(svg).iter(f"{SVG}title")]
    assert titles[1] == "%1 sin float64[2,3]\n<model.py:7"


# ── SVG ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_svg_is_well_formed_and_everything_is_inside():
    for table, values in [s1_example(), (scalar_chain(30), [0.5]), (Builder().table([]), [])]:
        for given_values in (None, values):
            root = parsed(to_svg(table, given_values))
            width, height = float(root.get("width")), float(root.get("height"))
            for box in root.iter(f"{SVG}rect"):
                x, y, w, h = (float(box.get(name)) for name in ("x", "y", "width", "height"))
                assert min(x, y) >= 0 and x + w <= width and y + h <= height
            for path in root.iter(f"{SVG}path"):
                numbers = [float(n) for n in re.findall(r"-?[\d.]+", path.get("d"))]
                assert all(-10 <= n <= max(width, height) for n in numbers)


def test_large_tables_are_cut_and_the_picture_says_so():
    svg = to_svg(scalar_chain(500))
    assert len(list(parsed(svg).iter(f"{SVG}rect"))) == 60
    assert "the first 60 of 501 rows" in svg and "the first 60 of 501 rows" in to_dot(scalar_chain(500))
    assert len(list(parsed(to_svg(scalar_chain(500), limit=5)).iter(f"{SVG}rect"))) == 5


def test_notebooks_show_the_picture():
    table = traced(s1_example()[0])
    assert table._repr_svg_() == to_svg(table)
    assert "prefers-color-scheme: dark" in table._repr_svg_()


# ── layout ────────────────────────────────────────────────────────────────────────────────────────────────────
@st.composite
def graphs(draw):
    n = draw(st.integers(1, 14))
    edges = {(draw(st.integers(0, b - 1)), b) for b in range(1, n) for _ in range(draw(st.integers(0, 2)))}
    return n, sorted(edges), draw(st.lists(st.floats(1, 90), min_size=n, max_size=n))


@given(graphs())
def test_nodes_of_a_layer_never_overlap_and_edges_go_forward(drawn):
    n, edges, size = drawn
    layout = layered(n, edges, size, 10.0)
    for a, b in edges:
        assert layout.layer[a] < layout.layer[b]
        assert [k for k, _ in layout.routes[a, b]] == list(range(layout.layer[a], layout.layer[b] + 1))
    spans = [(layout.layer[v], layout.position[v] - size[v] / 2, layout.position[v] + size[v] / 2) for v in range(n)]
    spans += [(k, p, p) for route in layout.routes.values() for k, p in route[1:-1]]
    for (k, _, end), (j, start, _) in zip(sorted(spans), sorted(spans)[1:], strict=False):
        assert k != j or start >= end + 9.9
    assert all(start >= -0.01 for _, start, _ in spans)


def test_crossings_are_removed_where_they_can_be():
    layout = layered(4, [(0, 3), (1, 2)], [10.0] * 4, 5.0)
    assert (layout.position[0] < layout.position[1]) == (layout.position[3] < layout.position[2])
