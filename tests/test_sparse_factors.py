"""Factors of sparse matrices as rows of a table: L U is the permuted matrix, whatever its columns share."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_tools import run

import fastad as fad
from fastad.equations.equation import Equation
from fastad.equations.linear import Point
from fastad.equations.sparse import Sparse
from fastad.primitives.sparse_values import Pattern as Parts
from fastad.primitives.sparse_values import as_places, size_of_factors
from fastad.sparse.analysis import analysis
from fastad.sparse.pattern import Pattern
from fastad.tables.builder import Builder
from fastad.tables.composites.sub import flat_sub


def factors(matrix, batch=1):
    """(L, U with its diagonal, permuted matrix, status) by the native kernel, dense."""
    entries = matrix.tocoo()
    pattern = Pattern.of(entries.row, entries.col, matrix.shape)
    found = analysis(pattern, entries.data)
    n, _, lower, upper = found.sizes
    b = Builder()
    places, data = b.input((len(found.packed),)), b.input((batch, len(entries.data)))
    factored = b.emit("sparse_lu", (places, data), (batch, *found.sizes), (batch, size_of_factors(n, lower, upper)))
    code, results = run(b.table([factored]), [found.packed, np.tile(entries.data, (batch, 1))])
    assert code == 0
    first, *others = results[0].reshape(batch, -1)
    assert all(np.array_equal(first, x) for x in others)
    parts = Parts.of(found.packed, *found.sizes)
    left, right = np.eye(n), np.zeros((n, n))
    left[parts.lower, np.repeat(np.arange(n), np.diff(parts.lower_starts))] = first[1 : 1 + lower]
    right[parts.upper, np.repeat(np.arange(n), np.diff(parts.upper_starts))] = first[1 + lower : 1 + lower + upper]
    right[np.arange(n), np.arange(n)] = first[1 + lower + upper :]
    permuted = np.zeros((n, n))
    permuted[np.ix_(parts.row_places, parts.column_places)] = matrix.toarray()
    return left, right, permuted, first[0]


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_factors_of_bordered_blocks(data):
    """Blocks that meet in a border of any width have columns with nested rows in groups of any size."""
    sizes = data.draw(st.lists(st.integers(1, 11), min_size=1, max_size=5))
    border = data.draw(st.integers(0, 14))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = sum(sizes) + border
    full = np.zeros((n, n))
    for end, m in zip(np.cumsum(sizes), sizes, strict=True):
        full[end - m : end, end - m : end] = rng.normal(size=(m, m))
    full[n - border :] = rng.normal(size=(border, n)) * (rng.random((border, n)) < 0.7)
    full[:, n - border :] += (rng.normal(size=(border, n)) * (rng.random((border, n)) < 0.7)).T
    full += np.diag(2.0 * n * np.ones(n))
    left, right, permuted, status = factors(sp.coo_array(full), batch=data.draw(st.integers(1, 2)))
    assert status == 0
    np.testing.assert_allclose(left @ right, permuted, atol=1e-11 * n)


def grid(y, theta, m):
    """Two substances on a periodic square."""
    u, v = y.reshape(2, m, m)
    wide = [np.roll(w, k, axis) for w in (u, v) for k, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1))]
    du = 1 + u * u * v - theta[0] * u + theta[1] * (wide[0] + wide[1] + wide[2] + wide[3] - 4 * u)
    dv = 3.4 * u - u * u * v + theta[1] * (wide[4] + wide[5] + wide[6] + wide[7] - 4 * v)
    return np.concatenate([du.reshape(-1), dv.reshape(-1)])


def looped(y, theta):
    """The same kind of coupling inside a loop: a composite row."""

    def step(_, z):
        return z + 0.1 * theta[0] * (np.roll(z, 1) - z * z)

    return fad.fori_loop(0, 3, step, y) + y


@pytest.mark.parametrize("lanes", [0, 2])
@pytest.mark.parametrize("case", ["grid", "loop"])
def test_a_newton_matrix_from_builder_level(case, lanes):
    """Elements of F_x by several tangents a sweep, factors on their pattern, and solves: F_x x = b, F_xᵀ x = b."""
    n, f = (18, lambda y, t: grid(y, t, 3)) if case == "grid" else (12, looped)
    rng = np.random.default_rng(5)
    theta, y = np.array([4.4, 2.0]), 1 + rng.random((max(lanes, 1), n))
    sides = rng.random((max(lanes, 1), n))
    traced = fad.trace(lambda z: f(z[:n], z[n:]), np.concatenate([y[0], theta]))
    equation = Equation.of(n, flat_sub(traced, "f"))
    solver, plan = Sparse.of(equation, y[0], theta)
    lead = (lanes,) if lanes else ()
    b = Builder()
    x, given_theta, packed, side = b.input((*lead, n)), b.input((*lead, 2)), b.input((len(plan),)), b.input((*lead, n))
    at = Point(b, equation, x, given_theta, packed, lanes)
    factor = solver.factor(at)
    found = [solver.solve(at, factor, side, transposed=turned) for turned in (False, True)]
    inputs = [y, np.tile(theta, (max(lanes, 1), 1)), plan, sides]
    code, results = run(b.table(found), inputs)
    assert code == 0
    for turned, result in enumerate(results):
        for own, x0, right in zip(result.reshape(-1, n), y, sides, strict=True):
            J = fad.jacobian(f)(x0, theta)
            np.testing.assert_allclose((J.T if turned else J) @ own, right, atol=1e-9)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_pattern_with_other_numbers_is_refused_or_harmless(data):
    """Kernels check what they index: with some numbers of a pattern changed they give an error, or just a result."""
    m = data.draw(st.integers(4, 9))
    full = np.eye(2 * m) * 9.0
    full[m:, :m] = full[:m, m:] = -np.eye(m)
    full[m:, m:] += 1.0
    entries = sp.coo_array(full)
    found = analysis(Pattern.of(entries.row, entries.col, full.shape), entries.data)
    (n, count, *_), plan = found.sizes, found.packed.copy()
    numbers = plan.view(np.int32)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 2 * (len(plan) - 1)))
        new = data.draw(st.one_of(st.integers(-2, n + 2), st.sampled_from([2**31 - 1, -(2**31)])))
        numbers[place] = new
    wild = np.any((numbers[2 * count :] < 0) | (numbers[2 * count :] == 2**31 - 1))
    b = Builder()
    own, other, values = b.input((len(plan),)), b.input((len(plan),)), b.input((count,))
    factors = b.emit("sparse_lu", (own, values), (1, *found.sizes), (size_of_factors(n, *found.sizes[2:]),))
    turned = data.draw(st.integers(0, 1))
    given = other, values, factors, b.const(np.ones(n))
    solved = b.emit("sparse_lu_solve", given, (1, *found.sizes, 1, turned, 1), (n,))
    run(b.table([solved]), [found.packed, plan, entries.data])
    code, _ = run(b.table([factors]), [plan, plan, entries.data])
    assert code != 0 or not wild


@pytest.mark.parametrize("place", [-1, -(2**31), 3, 2**31 - 1])
@pytest.mark.parametrize("m", [1, 2])
def test_places_outside_of_the_matrix_are_refused(place, m):
    for row, column in ((place, 0), (0, place)):
        b = Builder()
        places, data, x = b.input((1,)), b.input((1,)), b.input((3 * m,))
        table = b.table([b.emit("sparse_product", (places, data, x), (1, 1, 3, 3, m, 0, 0, 0), (3 * m,))])
        code, _ = run(table, [as_places([row], [column]), np.ones(1), np.ones(3 * m)])
        assert code != 0
