"""Patterns: no element of a Jacobian is outside of its pattern, for any program; tight where that is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from random_programs import programs

import fastad as fad

INDEX = np.array([2, 0, 1])
MATRIX = np.eye(3) * 4 + np.ones((3, 3))
cube = fad.primitive(lambda x: x**3, jvp=lambda primals, tangents: 3 * primals[0] ** 2 * tangents[0])
squares = fad.primitive(lambda x: np.asarray([float(v) ** 2 for v in x]), vjp=lambda primals, u: (2 * primals[0] * u,))


def dense_pattern(f, x, points=3, argnums=0):
    """Which elements of the Jacobian are not zero at some point."""
    found = False
    for k in range(points):
        moved = x * (1 + 0.05 * k) + 0.01 * np.random.default_rng(k).random(np.shape(x))
        found = found | (np.reshape(fad.jacobian(f)(moved), (-1, np.size(x))) != 0)
    return found


def heat(u):
    """A stencil of three points."""
    return np.concatenate([u[:1], u[2:] - 2 * u[1:-1] * u[:-2], u[-1:]])


def written(x):
    y = np.zeros(6) + 0 * x
    y[INDEX] = x[3:]
    return y + x


def falling(x):
    """A ball that is reflected."""
    bounce = fad.ode.Event(lambda t, u: u[0], jump=lambda t, u: np.stack([u[0], -0.9 * u[1]]), direction=-1)
    return fad.solve_ivp(lambda t, u: np.stack([u[1], -1.0]), (0.0, 2.0), x[:2], events=bounce).y[:, -1]


# Every element of the pattern is nonzero somewhere near the point.
TIGHT = {
    "neighbours": lambda x: x[1:] * x[:-1],
    "reversed": lambda x: x[::-1] ** 2 + x,
    "broadcast": lambda x: x[:3, None] * x[None, 3:],
    "running sum": lambda x: np.cumsum(x[::-1]),
    "running product": lambda x: np.cumprod(x),
    "sum of rows": lambda x: x.reshape(2, 3).sum(axis=1) ** 2,
    "product of matrices": lambda x: x.reshape(2, 3) @ x[:3].reshape(3, 1),
    "transposed product": lambda x: x.reshape(3, 2).T @ x[:3],
    "fixed product": lambda x: MATRIX @ x[:3],
    "captured indices": lambda x: x[INDEX] * x[0],
    "written by indices": written,
    "added at indices": lambda x: np.bincount([0, 1, 1, 2, 2, 2], x**2),
    "rolled": lambda x: np.roll(x, 1) * x,
    "joined": lambda x: np.concatenate([x[3:], x[:3] ** 2, [1.0]]),
    "interpolated": lambda x: np.interp(x, np.linspace(0, 3, 7), np.arange(7.0) ** 2),
    "where": lambda x: np.where(x > 1, x**2, x),
    "stack of systems": lambda x: np.linalg.solve(
        np.stack([MATRIX * x[0], MATRIX * x[1]]), np.stack([x[2:5], x[3:6]])[..., None]
    ),
    "determinant": lambda x: np.linalg.slogdet(np.diag(x) + 0.1)[1],
    "scan": lambda x: fad.scan(lambda c, e: (c * e, c + e), x[0], x[1:])[1],
    "backward scan": lambda x: fad.scan(lambda c, e: (c * e, c + e), x[0], x[1:])[1][::-1],
    "loop of a stencil": lambda x: fad.fori_loop(0, 2, lambda k, u: u + 0.1 * heat(u), x),
    "while of one": lambda x: fad.vmap(lambda a: fad.while_loop(lambda c: c < 3.0, lambda c: c * 1.5, a))(x),
    "fixed steps": lambda x: fad.solve_ivp(lambda t, u: heat(u), (0.0, 0.1), x, method="Euler", step=0.05).y[:, -1],
    "adaptive steps": lambda x: fad.solve_ivp(lambda t, u: -(u**2), (0.0, 0.1), x, t_eval=[0.05, 0.1]).y,
    "solves in lanes": lambda x: fad.vmap(lambda a: fad.solve_ivp(lambda t, u: -a * u, (0, 0.1), a[None]).y[:, -1])(x),
    "events": falling,
    "checkpoint": fad.checkpoint(lambda x: x[1:] * x[:-1]),
    "vmap": lambda x: fad.vmap(lambda a, b: a * b + a)(x[:3], x[3:]),
    "rule for tangents": lambda x: cube(x)[1:] + x[:-1],
    "rule for adjoints": lambda x: squares(x)[1:] + x[:-1],
    "constant": lambda x: np.ones(3),
    "steps": lambda x: np.floor(x) + x[0],
}
# Elements that are zero here may not be elsewhere.
LOOSE = {
    "zeros": (lambda x: 0 * x + x[0], 11),
    "both branches": (lambda x: fad.cond(x[0] > 9, lambda x: x[1:] * x[:-1], lambda x: x[:5] ** 2, x), 10),
    "both values": (lambda x: np.where(x > 9, np.roll(x, 1), x), 12),
    "largest": (lambda x: np.max(x.reshape(2, 3), axis=1), 6),
    "sorted": (lambda x: np.sort(x), 36),
    "sorted rows": (lambda x: np.sort(x.reshape(2, 3), axis=1), 18),
    "sorted lanes": (lambda x: fad.vmap(lambda a: np.sort(a) + a[np.argmax(a)])(x.reshape(3, 2)), 12),
    "any number of steps": (lambda x: fad.while_loop(lambda u: u[0] < 9, lambda u: u + 1 + np.tanh(heat(u)), x), None),
}  # fmt: skip


@pytest.mark.parametrize("name", TIGHT)
def test_tight_patterns(name):
    f, x = TIGHT[name], np.linspace(0.5, 1.6, 6)
    found = fad.jacobian_sparsity(f, x)
    assert found.dtype == bool and found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), dense_pattern(f, x))


@pytest.mark.parametrize("name", LOOSE)
def test_patterns_hold_at_other_points(name):
    f, count = LOOSE[name]
    x = np.linspace(0.5, 1.6, 6)
    found = fad.jacobian_sparsity(f, x).toarray()
    assert count is None or found.sum() == count
    for factor in (0.1, 1.0, 9.0, 30.0):
        assert not np.any(dense_pattern(f, factor * x, points=1) & ~found)


@pytest.mark.parametrize("name", [name for name in TIGHT if name not in ("constant", "steps")])
def test_second_order_patterns(name):
    """Of the gradient, which goes through the adjoints of loops and solves."""
    f, x = TIGHT[name], np.linspace(0.5, 1.6, 6)
    found = fad.hessian_sparsity(lambda x: np.sum(np.sin(f(x))), x).toarray()
    np.testing.assert_array_equal(found, found.T)
    hessian = fad.hessian(lambda x: np.sum(np.sin(f(x))))(x)
    assert not np.any((hessian != 0) & ~found)
    assert found.sum() <= np.sum((found.astype(int).T @ found) > 0)


CURVED = [
    (lambda x: np.sum(x), []),
    (lambda x: np.sum(x**2), [(0, 0), (1, 1), (2, 2)]),
    (lambda x: x[0] * x[1] + x[2], [(0, 1), (1, 0)]),
    (lambda x: x[0] / x[1], [(0, 1), (1, 0), (1, 1)]),
    (lambda x: np.abs(x[0]) * x[2], [(0, 2), (2, 0)]),
    (lambda x: np.sum(x) ** 2, [(i, j) for i in range(3) for j in range(3)]),
]


@pytest.mark.parametrize("case", range(len(CURVED)))
def test_linear_terms_have_no_second_derivative(case):
    f, places = CURVED[case]
    found = fad.hessian_sparsity(f, np.array([1.0, 2.0, 3.0])).toarray()
    assert list(zip(*(axis.tolist() for axis in np.nonzero(found)), strict=True)) == places


@given(programs())
@settings(max_examples=15)
def test_no_element_is_outside_of_its_pattern(program):
    def f(*xs):
        return program.function(*xs)

    for k, x in enumerate(program.inputs):
        if not np.size(x):
            continue
        found = fad.jacobian_sparsity(f, *program.inputs, argnums=k).toarray()
        jacobians = fad.jacobian(f, argnums=k)(*program.inputs)
        with np.errstate(all="ignore"):
            dense = np.concatenate([np.reshape(J, (-1, np.size(x))) for J in jacobians])
        assert dense.shape == found.shape
        assert not np.any((dense != 0) & ~np.isnan(dense) & ~found)
        sparse = fad.sparse_jacobian(f, argnums=k, tier="sweep")(*program.inputs).toarray()
        np.testing.assert_allclose(sparse, dense, rtol=1e-9, atol=1e-9 * (1 + np.nanmax(np.abs(dense), initial=0)))


def test_branches_and_captured_arrays():
    index = np.array([2, 0, 1])

    def f(x):
        return x[index] * x[0] if x[0] > 0 else x[index]

    x = np.array([1.0, 2.0, 3.0])
    for point in (x, -x, x):
        np.testing.assert_array_equal(fad.jacobian_sparsity(f, point).toarray(), dense_pattern(f, point))
    index[:] = [0, 1, 2]
    np.testing.assert_array_equal(fad.jacobian_sparsity(f, x).toarray(), dense_pattern(f, x))
    chosen = fad.jacobian_sparsity(lambda x, i: x[i], x, np.array([0, 1]))
    assert chosen.nnz == 6  # an argument may choose any element


def test_several_arguments_and_results():
    def f(p, y):
        return {"a": p["u"][:2] * y, "b": p["v"]}

    args = {"u": np.ones(3), "v": 2.0}, np.array([3.0, 4.0])
    assert fad.jacobian_sparsity(f, *args).toarray().astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert fad.jacobian_sparsity(f, *args, argnums=1).shape == (3, 2)
    assert fad.jacobian_sparsity(f, *args, argnums=(0, 1)).nnz == 5
    assert fad.jacobian_sparsity(lambda x: x, np.zeros(0)).shape == (0, 0)
    assert fad.jacobian_sparsity(lambda x: x * 2, 1.0).nnz == 1


def test_long_loops_and_large_arrays_take_little_time():
    x = np.linspace(1.0, 2.0, 4)
    found = fad.jacobian_sparsity(lambda x: fad.fori_loop(0, 10**6, lambda k, u: u * 0.999 + np.roll(u, 2), x), x)
    assert found.nnz == 8
    n = 300_000
    assert fad.jacobian_sparsity(lambda x: np.sin(x[1:]) * x[:-1], np.ones(n)).nnz == 2 * (n - 1)
    assert fad.jacobian_sparsity(lambda x: np.cumsum(x), np.ones(1000)).nnz == 500_500


def cube_root(c):
    return fad.root(lambda z: z**3 + z - c, 0.0).x


def halved(c):
    return fad.sparse.cg(lambda v: 2.0 * v + c * v, c)[0]


runs = fad.primitive(np.cumsum, jvp=lambda primals, tangents: runs(tangents[0]),
                     vjp=lambda primals, u: (runs(u[::-1])[::-1],))  # fmt: skip
wave = fad.primitive(np.exp, jvp=lambda primals, tangents: wave(primals[0]) * tangents[0])
SOLVED = {
    "root": (lambda x: fad.root(lambda z: z**3 + z - x, np.ones(4)).x, 16),
    "krylov": (lambda x: fad.root(lambda z: z**3 + z - x, np.ones(4), method="newton-krylov").x, 16),
    "fixed point": (lambda x: fad.fixed_point(lambda z: 0.5 * np.cos(z) * x, np.ones(4)).x, 16),
    "minimum": (lambda x: fad.minimize(lambda z: np.sum((z - x) ** 2 + z**4), np.ones(4)).x, 16),
    "least squares": (lambda x: fad.least_squares(lambda z: z**3 + z - x, np.ones(4)).x, 16),
    "quadratic program": (lambda x: fad.quadprog(2.0 * np.eye(4), x).x, 16),
    "iterative": (halved, 16),
    "roots in lanes": (lambda x: fad.vmap(cube_root)(x), 4),
    "roots in many lanes": (lambda x: fad.vmap(cube_root)(np.tile(x, 32)), 128),
    "iterative in lanes": (lambda x: fad.vmap(halved)(x.reshape(2, 2)).reshape(-1), 8),
    "roots in a loop": (lambda x: fad.scan(lambda c, e: (cube_root(c + e), cube_root(e)), x[0], x)[1], 4),
    "rule that applies itself": (runs, 16),
    "rule with its own value": (wave, 4),
}


@pytest.mark.parametrize("name", SOLVED)
def test_rows_with_rules_that_hold_such_rows(name):
    (f, count), x = SOLVED[name], np.linspace(0.5, 1.1, 4)
    assert fad.jacobian_sparsity(f, x).nnz == count
    np.testing.assert_allclose(fad.sparse_jacobian(f)(x).toarray(), fad.jacobian(f)(x), rtol=1e-9, atol=1e-12)
    total = lambda x: np.sum(np.sin(f(x)))
    assert not np.any((fad.hessian(total)(x) != 0) & ~fad.hessian_sparsity(total, x).toarray())


def test_equations_of_equations_of_many_unknowns():
    found = fad.root(lambda x: x + 0.1 * fad.vmap(cube_root)(x) - 1.0, np.zeros(150))
    assert found.success
    np.testing.assert_allclose(found.x, found.x[0], rtol=1e-12)
