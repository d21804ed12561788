"""Small systems of equations in SIMD lanes: every lane with pivots of its own, as `lu` and `lu_solve` one by one."""

import numpy as np
import pytest

import fastad as fad
from fastad.primitives.linear_elements import MOST
from fastad.tables.builder import Builder
from fastad.tables.composites.choices import Lanes
from fastad.tables.composites.solve_lanes import SolveLanes, SolveLanesAdjoint
from fastad.tables.composites.sub import Sub
from fastad.tables.passes.lanes import NoLanes, over_lanes

LANES = 24
RNG = np.random.default_rng(4)


def matrices(n, lanes=LANES):
    """Some need no exchange, some many, some have zeros where a pivot would stand."""
    a = RNG.normal(size=(lanes, n, n))
    a[0] += 10.0 * np.eye(n)
    a[1] = np.eye(n)[::-1]
    a[2, 0, 0] = 0.0 if n > 1 else 2.0
    return a


def in_lanes(rows, *operands):
    """What the rows of a program give over lanes, and one by one. `rows(b, *operands)` emits the last one."""
    b, sizes = Builder(), [x[0].size for x in operands]
    v, at, refs = b.input((sum(sizes),)), 0, []
    for x, size in zip(operands, sizes, strict=True):
        refs.append(b.region(v, (at, size, 1), x.shape[1:]))
        at += size
    out = rows(b, *refs)
    sub = Sub(sum(sizes), b.size(out), "rows", b.table([b.reshape(out, (b.size(out),))]))
    given = np.concatenate([x.reshape(len(x), -1) for x in operands], 1)
    wide = over_lanes(sub, len(given), "lanes")
    return wide.evaluate(given.T.ravel()).reshape(sub.n_out, -1).T, np.stack([sub.evaluate(own) for own in given])


@pytest.mark.parametrize("n", range(1, MOST + 1))
def test_factors_are_those_of_the_row(n):
    found, wanted = in_lanes(lambda b, a: b.emit("lu", (a,), (1, n), (n * (n + 1),)), matrices(n))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found[:, n * n :], wanted[:, n * n :])


@pytest.mark.parametrize("trans", (0, 1))
@pytest.mark.parametrize("n", (1, 2, 3, 5, MOST))
def test_solutions_solve(n, trans):
    a, z = matrices(n), RNG.normal(size=(LANES, n, 2))

    def rows(b, a, z):
        factors = b.emit("lu", (a,), (1, n), (n * (n + 1),))
        return b.emit("lu_solve", (a, factors, z), (1, n, 2, trans, 1), (n, 2))

    found, wanted = in_lanes(rows, a, z)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
    x = found.reshape(LANES, n, 2)
    np.testing.assert_allclose((a.swapaxes(1, 2) if trans else a) @ x, z, atol=1e-9)


@pytest.mark.parametrize("statics", [(lower, trans, unit) for lower in (0, 1) for trans in (0, 1) for unit in (0, 1)])
def test_triangles(statics):
    t, z = matrices(4) + 3.0 * np.eye(4), RNG.normal(size=(LANES, 4, 2))
    found, wanted = in_lanes(lambda b, t, z: b.emit("triangular_solve", (t, z), (1, 4, 2, *statics, 1), (4, 2)), t, z)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inverse", (0, 1))
def test_exchanges_of_rows(inverse):
    pivots = np.array([RNG.integers(k, 5, LANES) for k in range(5)]).T.astype(float)
    rows = lambda b, p, z: b.emit("permute_rows", (p, z), (1, 5, 3, inverse, 1), (5, 3))
    np.testing.assert_array_equal(*in_lanes(rows, pivots, RNG.normal(size=(LANES, 5, 3))))


def test_a_singular_matrix_gives_nan_in_its_lane_only():
    a, z = matrices(3), RNG.normal(size=(LANES, 3, 1))
    a[5, :, 1], a[6] = 0.0, 0.0

    def rows(b, a, z):
        return b.emit("lu_solve", (a, b.emit("lu", (a,), (1, 3), (12,)), z), (1, 3, 1, 0, 1), (3, 1))

    with pytest.raises(fad.errors.SingularMatrixError):
        in_lanes(rows, a, z)
    regular = np.delete(np.arange(LANES), [5, 6])
    wanted = in_lanes(rows, a[regular], z[regular])[1]
    b = Builder()
    v = b.input((12,))
    out = rows(b, b.region(v, (0, 9, 1), (3, 3)), b.region(v, (9, 3, 1), (3, 1)))
    sub = Sub(12, 3, "rows", b.table([b.reshape(out, (3,))]))
    given = np.concatenate([a.reshape(LANES, 9), z.reshape(LANES, 3)], 1)
    found = over_lanes(sub, LANES, "lanes").evaluate(given.T.ravel()).reshape(3, LANES).T
    np.testing.assert_allclose(found[regular], wanted, rtol=1e-9, atol=1e-12)
    assert np.all(np.isnan(found[[5, 6]]))


def test_larger_systems_do_not_come_apart():
    n = MOST + 1
    with pytest.raises(NoLanes):
        in_lanes(lambda b, a: b.emit("lu", (a,), (1, n), (n * (n + 1),)), matrices(n))


# ── stacks ────────────────────────────────────────────────────────────────────────────────────────────────────
STACKED = {
    "solve": np.linalg.solve, "vector": lambda a, z: np.linalg.solve(a, z[:, 0]),
    "inverse": lambda a, z: np.linalg.inv(a),
    "determinant": lambda a, z: np.linalg.det(a) + z[0, 0], "cholesky": lambda a, z: np.linalg.cholesky(a @ a.T) @ z,
    "transposed": lambda a, z: np.linalg.solve(a.T, z),
}  # fmt: skip


@pytest.mark.parametrize("n", (1, 3, 4, MOST, MOST + 1))
@pytest.mark.parametrize("name", STACKED)
def test_stacks_of_any_size_in_native_code(name, n):
    f = STACKED[name]
    for lanes in (1, 3, 21):
        a, z = matrices(n, 24)[:lanes], RNG.normal(size=(lanes, n, 2))
        many = fad.jit(fad.vmap(f), tier="native")
        found = many(a, z)
        np.testing.assert_allclose(found, [f(*own) for own in zip(a, z, strict=True)], rtol=1e-8, atol=1e-9)
        for k in (0, lanes - 1):  # whichever place a matrix has in the stack
            places = np.roll(np.arange(lanes), 5)
            np.testing.assert_array_equal(many(a[places], z[places])[np.argmax(places == k)], found[k])


@pytest.mark.parametrize("n", (2, MOST))
@pytest.mark.parametrize("place", (9, 20))
def test_one_singular_matrix_of_a_stack_is_an_error(n, place):
    a, z = matrices(n, 24)[:21], RNG.normal(size=(21, n, 1))
    a[place, :, -1] = 0.0
    for tier in ("sweep", "native"):
        with pytest.raises(fad.errors.SingularMatrixError):
            fad.jit(fad.vmap(np.linalg.solve), tier=tier)(a, z)
    definite = np.stack([np.eye(n)] * 21)
    definite[place, 0, 0] = -1.0
    with pytest.raises(fad.errors.NotPositiveDefiniteError):
        fad.jit(fad.vmap(np.linalg.cholesky), tier="native")(definite)


# ── in solves ─────────────────────────────────────────────────────────────────────────────────────────────────
def linearly_implicit(n):
    mixing, source = 0.3 * np.random.default_rng(0).normal(size=(n, n)), np.linspace(-1.0, 1.0, n)

    def rhs(t, y, p):
        mass = np.eye(n)[::-1] + p[0] * mixing * np.sin(y)[:, np.newaxis]  # needs exchanges
        return -np.linalg.solve(mass, (y - p[1] * source)[::-1])

    return lambda y, p: fad.solve_ivp(rhs, (0.0, 1.0), y, args=(p,), rtol=1e-6).y[:, -1]


@pytest.mark.parametrize("n", (2, 3))
@pytest.mark.parametrize("tier", ("sweep", "native"))
def test_steps_with_systems_are_made_in_lanes(n, tier):
    f, y0, p = linearly_implicit(n), RNG.normal(size=(2 * LANES + 5, n)), np.array([1.0, 0.3])
    many = fad.vmap(f, in_axes=(0, None))
    cost = fad.grad(lambda y, p: np.sum(many(y, p) ** 2), argnums=(0, 1))
    assert {type(sub) for sub in fad.trace(many, y0, p).subs} == {SolveLanes}
    inner = [type(own) for sub in fad.trace(cost, y0, p).subs if sub.table for own in sub.table.subs]
    assert SolveLanesAdjoint in inner and Lanes not in inner
    np.testing.assert_allclose(fad.jit(many, tier=tier)(y0, p), [f(y, p) for y in y0], rtol=1e-11, atol=1e-12)
    y_bar, p_bar = fad.jit(cost, tier=tier)(y0, p)
    one = fad.grad(lambda y, p: np.sum(f(y, p) ** 2), argnums=(0, 1))
    wanted = [one(y, p) for y in y0]
    np.testing.assert_allclose(y_bar, [own[0] for own in wanted], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(p_bar, sum(own[1] for own in wanted), rtol=1e-9, atol=1e-11)
