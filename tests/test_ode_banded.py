"""Implicit methods on systems whose Jacobian is a band matrix: steps and derivatives of dense and sparse factors."""

import numpy as np
import pytest

import fastad as fad
from fastad.equations import sparse
from fastad.equations.banded import Banded, order_of
from fastad.equations.equation import Equation
from fastad.equations.linear import Point
from fastad.tables.builder import Builder
from fastad.tables.composites.sub import made, slices
from fastad.tables.reference import evaluate

RNG = np.random.default_rng(3)
CASES = [  # and whether their steps share factors, as those of many unknowns do
    ("Rodas5P", False), ("Kvaerno5", False), ("BDF", True), ("Radau", True),
    pytest.param("Kvaerno5", True, marks=pytest.mark.slow),
]  # fmt: skip


def fisher(t, y, a, r):
    """Reaction and diffusion on a line."""
    padded = np.concatenate([np.zeros(1), y, np.ones(1)])
    return a * (padded[2:] - 2.0 * padded[1:-1] + padded[:-2]) + r * y * (1.0 - y)


def pair(t, y, a, r):
    """Two fields, one after the other: a band only in another order of the unknowns."""
    u, v = y[: len(y) // 2], y[len(y) // 2 :]
    move = lambda w: np.concatenate([w[1:], w[-1:]]) - 2.0 * w + np.concatenate([w[:1], w[:-1]])
    return np.concatenate([a * move(u) + r * u * (1.0 - v), 0.5 * a * move(v) + u * v - v])


def misfit(f, method, y0, a, r, **options):
    sol = fad.solve_ivp(f, (0, 0.2), y0, method, [0.1, 0.2], args=(a, r), rtol=1e-7, atol=1e-9, **options)
    return np.sum((sol.y - 0.3) ** 2)


def start(n):
    return 0.5 + 0.4 * np.sin(np.arange(1.0, n + 1))


@pytest.fixture
def chosen(monkeypatch):
    """The bands that are factorised; those of `chosen.none()` on are dense or sparse matrices, as the size says."""

    class Chosen(set):
        def none(self):
            monkeypatch.setattr(sparse, "narrowest", lambda equation: (None, np.inf))

    found, factor = Chosen(), Banded.factor
    monkeypatch.setattr(Banded, "factor", lambda self, at: found.add(tuple(self.data()[1:])) or factor(self, at))
    return found


@pytest.mark.parametrize("method, shares", CASES)
def test_bands_give_what_other_factors_do(method, shares, chosen, monkeypatch):
    for module in ("newton", "implicit", "radau"):
        monkeypatch.setattr(f"fastad.ode.{module}.SMALL", 0 if shares else 64)
    n = 16
    y0, direction = start(n), np.cos(np.arange(float(n)))
    f = lambda y0, r: misfit(fisher, method, y0, 40.0, r)
    value, by = fad.value_and_grad(f, argnums=(0, 1))(y0, 2.0)
    slope = fad.jvp(f, (y0, 2.0), (direction, 0.7))[1]
    assert by[0] @ direction + 0.7 * by[1] == pytest.approx(slope, rel=1e-10)
    assert (n, 1, 1, 0) in chosen
    chosen.none()
    g = lambda y0, r: 1.0 * misfit(fisher, method, y0, 40.0, r)  # another recording
    other, others = fad.value_and_grad(g, argnums=(0, 1))(y0, 2.0)
    assert value == pytest.approx(other, rel=1e-9)
    np.testing.assert_allclose(by[0], others[0], rtol=1e-6, atol=1e-9)


def test_an_order_of_the_unknowns_is_found(chosen):
    y0, direction = start(24), np.cos(np.arange(24.0))
    f = lambda y0: misfit(pair, "Rodas5P", y0, 40.0, 2.0)
    value, gradient = fad.value_and_grad(f)(y0)
    (own,) = chosen
    assert own[3] == 1 and own[1] + own[2] < 10
    assert gradient @ direction == pytest.approx(fad.jvp(f, (y0,), (direction,))[1], rel=1e-10)
    chosen.none()
    other, others = fad.value_and_grad(lambda y0: 1.0 * misfit(pair, "Rodas5P", y0, 40.0, 2.0))(y0)
    assert value == pytest.approx(other, rel=1e-9)
    np.testing.assert_allclose(gradient, others, rtol=1e-6, atol=1e-9)


def test_transformations_of_solves_with_bands():
    y0 = start(16)
    f = lambda r, **options: misfit(fisher, "Rodas5P", y0, 40.0, r, **options)
    gradient, h = fad.grad(f)(2.0), 1e-4
    fixed = lambda r: f(r, step=0.02)
    difference = (fixed(2.0 + h) - fixed(2.0 - h)) / (2 * h)
    assert fad.grad(fixed)(2.0) == pytest.approx(difference, rel=1e-6)
    assert fad.jit(fad.grad(f))(2.0) == pytest.approx(gradient, rel=1e-12)
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(np.array([1.0, 2.0]))[1], gradient, rtol=1e-9)
    forward = fad.jvp(lambda r: fad.grad(f)(r), (2.0,), (1.0,))[1]
    assert fad.grad(fad.grad(f))(2.0) == pytest.approx(forward, rel=1e-9)
    online = fad.grad(lambda r: f(r, checkpoint=fad.checkpoint.Online(3)))(2.0)
    assert online == gradient


@pytest.mark.parametrize("ordered", [0, 1])
def test_what_equations_ask_of_a_band(ordered):
    """Norm, products of absolute values, solutions with the matrix and its transpose: those of the dense matrix."""
    n, b = 6, Builder()
    equation = Equation.of(n, made("cubic", n + 1, lambda b, x: _cubic(b, *slices(b, x, (n, 1)))))
    x, theta, v = (b.input((size,)) for size in (n, 1, n))
    _, low, high = order_of(equation, bool(ordered))
    found, at = Banded(n, low, high, ordered), Point(b, equation, x, theta, b.zeros((0,)))
    factor = found.factor(at)
    solved = [found.solve(at, factor, v, transposed=back, derived=back) for back in (False, True)]
    table = b.table([found.norm(at), found.sizes(at, v), *solved])
    values = RNG.normal(size=n), np.array([0.7]), RNG.normal(size=n)
    norm, sizes, plain, back = (np.reshape(x, -1) for x in evaluate(table, values))
    matrix = np.diag(3.0 * values[0] ** 2 + 4.0) + 0.7 * np.eye(n, k=-1) - np.eye(n, k=2)
    assert norm == pytest.approx(np.linalg.norm(matrix, 1)) and (low, high) == ((1, 2) if not ordered else (low, high))
    np.testing.assert_allclose(sizes, np.abs(matrix) @ values[2], rtol=1e-12)
    np.testing.assert_allclose(plain, np.linalg.solve(matrix, values[2]), rtol=1e-10)
    np.testing.assert_allclose(back, np.linalg.solve(matrix.T, values[2]), rtol=1e-10)


def _cubic(b, x, theta):
    """x³ + 4x + θ x₋₁ − x₊₂."""
    n = b.size(x)
    below = b.assemble([b.region(x, (0, n - 1, 1), (n - 1,))], [(1, n - 1, 1)], (n,))
    above = b.assemble([b.region(x, (2, n - 2, 1), (n - 2,))], [(0, n - 2, 1)], (n,))
    cube, four = b.multiply(x, b.emit("square", (x,))), b.multiply(b.const(4.0), x)
    return b.emit("subtract", (b.add(cube, four, b.multiply(b.reshape(theta, ()), below)), above))


def test_a_singular_band_is_an_error():
    """The second difference with no flow at the ends."""
    flow = lambda y, p: np.diff(np.concatenate([y[:1], y, y[-1:]]), 2) - p
    with pytest.raises((fad.SingularMatrixError, fad.ConvergenceError)):
        fad.grad(lambda p: np.sum(fad.root(flow, start(20), (p,)).x))(1.0)


# ── the bands that users give ─────────────────────────────────────────────────────────────────────────────────
def packed(t, y, a, r):
    """The diagonals of the Jacobian as SciPy's LSODA takes them."""
    n = len(y)
    return np.array([np.full(n, a), -2.0 * a + r * (1.0 - 2.0 * y), np.full(n, a)])


@pytest.mark.parametrize("method", ["LSODA", "Kvaerno5"])
def test_bands_of_the_user(method):
    """As SciPy's users write it."""
    from scipy.integrate import solve_ivp

    y0, options = start(20), {"args": (40.0, 2.0), "t_eval": [0.2], "rtol": 1e-6, "lband": 1, "uband": 1, "jac": packed}
    sol = fad.solve_ivp(fisher, (0, 0.2), y0, method, **options)
    other = solve_ivp(fisher, (0, 0.2), y0, "LSODA", **options)
    np.testing.assert_allclose(sol.y, other.y, rtol=1e-3)
    without = {key: value for key, value in options.items() if key not in ("lband", "uband", "jac")}
    np.testing.assert_array_equal(sol.y, fad.solve_ivp(fisher, (0, 0.2), y0, method, **without).y)


def test_wrong_bands_name_the_element_and_the_fix():
    solve = lambda **given: fad.solve_ivp(fisher, (0, 0.2), start(5), "Rodas5P", args=(40.0, 2.0), **given)
    with pytest.raises(fad.ShapeError, match=r"leave out element \[1, 0\] .*derivative .* is 40 .*finds the band"):
        solve(uband=1)
    with pytest.raises(fad.ShapeError, match=r"shape \(3, 5\) .*actually has \(5, 5\).*Leave lband and uband out"):
        solve(lband=1, uband=1, jac=np.eye(5))
    with pytest.raises(fad.ShapeError, match="jac is not the Jacobian of fun"):
        solve(lband=1, uband=1, jac=lambda t, y, a, r: 2.0 * packed(t, y, a, r))
    with pytest.raises(fad.ShapeError, match="integers, 0 or more"):
        solve(lband=-1)
    with pytest.warns(UserWarning, match="no effect for a chosen solver: `lband`"):
        fad.solve_ivp(fisher, (0, 0.2), start(5), args=(40.0, 2.0), lband=1)
