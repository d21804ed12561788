"""Regions: what is read of a piece of an assembly is the same elements of the piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastad as fad
from fastad.primitives.regions import elements_of, inside, parts, region, span
from fastad.tables.builder import Builder
from fastad.tables.reference import evaluate


@st.composite
def apart(draw):
    """A region whose elements are all different, in an array that holds it."""
    shape, steps, step = [], [], 1
    for _ in range(draw(st.integers(1, 3))):
        step *= draw(st.integers(1, 3))
        n = draw(st.integers(1, 4))
        shape.insert(0, n)
        steps.insert(0, step)
        step *= n
    return region(draw(st.integers(0, 4)), tuple(shape), tuple(steps))


@st.composite
def any_region(draw, size):
    """A region of an array of this size, with strides of any sign."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    strides = tuple(draw(st.integers(-size, size)) for _ in shape)
    low, high = span((0, *shape, *strides))
    if high - low >= size:
        strides = tuple(int(np.sign(s)) for s in strides)
        low, high = span((0, *shape, *strides))
    if high - low >= size:
        return region(0, (1,), (1,))
    return region(draw(st.integers(-low, size - 1 - high)), shape, strides)


@given(st.data(), apart())
def test_what_lies_inside_a_piece_is_read_from_it(data, own):
    size = span(own)[1] + 1 + data.draw(st.integers(0, 3))
    r = data.draw(any_region(size))
    count = int(np.prod(parts(own)[1]))
    array = np.full(size, -1.0)
    elements_of(array, own)[...] = np.arange(count).reshape(parts(own)[1])
    found, read = inside(r, own), elements_of(array, r).reshape(-1)
    if found is not None:
        assert elements_of(np.arange(float(count)), found).reshape(-1).tolist() == read.tolist()
    if r == own:
        assert found is not None


def test_results_of_many_instances_are_read_without_all_that_lies_between():
    b = Builder()
    x = b.input((3, 5))
    wide = b.assemble([x], [region(1, (3, 5), (1000, 1))], (3000,))
    for r, shape in ((region(2, (3, 2, 2), (1000, 2, 1)), (3, 2, 2)), (region(1005, (5,), (-1,)), (5,)),
                     (region(2003, (1,), (1,)), (1,))):  # fmt: skip
        table = b.table([b.emit("strided", (wide,), r, shape)])
        assert list(table.rows())[table.outputs[0]].operands == (x,)
        value = np.arange(15.0).reshape(3, 5)
        array = np.zeros((3, 1000))
        array[:, 1:6] = value
        np.testing.assert_array_equal(evaluate(table, [value])[0], elements_of(array.reshape(-1), r).reshape(shape))


@pytest.mark.parametrize("method", ["Tsit5", "Rodas5P"])
def test_ensembles_of_adaptive_solves_hold_no_states_that_nobody_reads(method):
    """Each may store states of a million steps."""

    def cost(p):
        sol = fad.solve_ivp(lambda t, y, p: -p * y, (0, 1), np.array([1.0, 2.0]), method, [0.5, 1.0], args=(p,))
        return np.sum(sol.y**2)

    table = fad.trace(fad.vmap(fad.value_and_grad(cost)), np.linspace(0.5, 1.5, 7))
    assert np.sum(table.sizes) < 10_000


def test_a_small_part_of_a_wide_assembly_is_one_of_its_own():
    """Of pieces inside the part and apart from it, in lanes too; not where one lies across its ends."""
    for lanes, width, places in ((1, 1000, (1, 4)), (3, 500, (0, 2)), (2, 400, (3, 1))):
        b = Builder()
        x, y = b.input((lanes, 2)), b.input((lanes,))
        first, second = places
        spots = [region(first, (lanes, 2), (width, 1)), region(300, (lanes,), (width,))]
        wide = b.assemble([x, y], spots, (lanes, width))
        for start, size in ((0, 8), (second, 6), (first + 1, 4)):
            table = b.table([b.emit("strided", (wide,), region(start, (lanes, size), (width, 1)), (lanes, size))])
            values = np.arange(2.0 * lanes).reshape(lanes, 2) + 1.0, np.full(lanes, 9.0)
            array = np.zeros((lanes, width))
            array[:, first : first + 2], array[:, 300] = values
            assert evaluate(table, values)[-1].tolist() == array[:, start : start + size].tolist()
            held = start <= first and first + 2 <= start + size
            reads_all = wide in list(table.rows())[table.outputs[0]].operands
            assert reads_all == (not held and start < first + 2)


def test_a_gradient_of_a_gradient_and_its_value_holds_no_room_for_steps_that_nobody_reads():
    """Newton's method by hand, which reads both: the adjoint of all that the inner solve returns is mostly 0."""

    def end(s, p):
        return fad.solve_ivp(lambda t, y: [y[1], -p * np.exp(y[0])], (0, 1), [0.0, s], rtol=1e-6).y[0, -1]

    def better(s, p):
        value, slope = fad.value_and_grad(end)(s, p)
        return s - value / slope

    for function, args in ((better, (0.5, 1.0)), (fad.vmap(better), (np.array([0.5, 0.6]), np.ones(2)))):
        derived = fad.grad(lambda s, p, f=function: np.sum(f(s, p)), argnums=1)
        rows = fad.trace(derived, *args).rows()
        assert max(np.prod(row.shape, dtype=int) for row in rows if row.name == "assemble") < 1000
    h = 1e-5
    slope = (better(0.5, 1.0 + h) - better(0.5, 1.0 - h)) / (2 * h)
    assert fad.grad(better, argnums=1)(0.5, 1.0) == pytest.approx(slope, rel=1e-5)
