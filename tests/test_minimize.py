"""`minimize` without constraints: minima as SciPy finds them, derivatives by equations, failures in words."""

import warnings

import numpy as np
import pytest
import scipy.optimize
from optimize_tools import check_two_orders
from transform_tools import each_tier

import fastad as fad
from fastad.optimize.definite import attempted_cholesky, regularised
from fastad.optimize.minimizing import METHODS

each_method = pytest.mark.parametrize("method", METHODS)


def banana(x, a):
    """Rosenbrock's function in n variables; the minimum is (a, a², a⁴, …) for two variables."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (a - x[:-1]) ** 2)


def well(x, a):
    """A convex function whose minimum has no closed form."""
    return np.sum(np.cosh(x - a[:2])) + a[2] * (x @ x) + 0.5 * (x[0] * x[1]) ** 2


THETA = np.array([0.7, -1.1, 0.4])


# ── minima ────────────────────────────────────────────────────────────────────────────────────────────────────
@each_method
def test_minima_of_rosenbrock_and_derivatives_in_closed_form(method):
    found = fad.minimize(banana, [-1.2, 1.0], args=(1.0,), method=method)
    assert found.success and found.status == 0 and found.message.startswith("Optimization terminated")
    np.testing.assert_allclose(found.x, [1.0, 1.0], atol=1e-7)
    jacobian = fad.jacobian(lambda a: fad.minimize(banana, [-1.2, 1.0], args=(a,), method=method).x)
    np.testing.assert_allclose(jacobian(3.0), [1.0, 6.0], atol=1e-6)


@each_method
def test_steps_and_evaluations_are_about_scipys(method):
    """Not worse than SciPy's methods of the same kind by more than a half, on a problem of ten variables."""
    kinds = {"newton": "Newton-CG", "bfgs": "BFGS", "l-bfgs": "L-BFGS-B", "trust-ncg": "trust-ncg"}
    start = np.linspace(0.5, 2.0, 10)
    more = {"hess": fad.hessian(banana)} if method in ("newton", "trust-ncg") else {}
    options = {"xtol": 1e-8} if method == "newton" else {"gtol": 1e-8}
    peer = scipy.optimize.minimize(
        banana, start, args=(1.0,), method=kinds[method], jac=fad.grad(banana), options=options, **more
    )
    found = fad.minimize(banana, start, args=(1.0,), method=method)
    assert found.success and found.fun < 1e-12
    assert found.nfev <= 1.5 * peer.nfev + 5, (found.nfev, peer.nfev)


def saddle(x):
    """The gradient at (1, 0.1) points almost to the saddle at 0."""
    return 0.5 * x[0] ** 2 - 0.5 * x[1] ** 2 + 0.25 * x[1] ** 4


def kinks(x):
    """Almost the maximum of the components."""
    return np.log(np.sum(np.exp(x - np.max(x)))) + np.max(x) + 1e-3 * np.sum((x - 1.0) ** 2)


def high(x):
    """Differences of values are soon rounding errors."""
    return 1e6 * np.sum((x - 1.0) ** 2) + 1e6


def narrow(x):
    """Brown's badly scaled function."""
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


HARD = [
    (METHODS, saddle, [1.0, 0.1], -0.25),
    (["newton"], kinks, [30.0, -10.0, 2.0], np.log(3.0) - 497 / 3 + 3e-3 * (500 / 3) ** 2),
    (["bfgs", "trust-ncg"], high, [5.0, 3.0], 1e6),
    (["l-bfgs"], narrow, [1.0, 1.0], 0.0),
]


@pytest.mark.parametrize(("methods", "fun", "start", "least"), HARD, ids=lambda x: getattr(x, "__name__", ""))
def test_hard_starts(methods, fun, start, least):
    for method in methods:
        found = fad.minimize(fun, start, method=method)
        assert found.success, found.message
        assert abs(found.fun - least) < 1e-8 * (1.0 + abs(least))


# ── derivatives ───────────────────────────────────────────────────────────────────────────────────────────────
def test_two_orders_of_the_minimum():
    check_two_orders(lambda a: fad.minimize(well, np.zeros(2), args=(a,)).x, THETA)


def test_the_envelope_theorem_at_two_orders():
    def value(a):
        return fad.minimize(well, np.zeros(2), args=(a,)).fun

    x = fad.minimize(well, np.zeros(2), args=(THETA,)).x
    np.testing.assert_allclose(fad.grad(value)(THETA), fad.grad(well, argnums=1)(x, THETA), rtol=1e-9)
    moves = fad.jacobian(lambda a: fad.minimize(well, np.zeros(2), args=(a,)).x)(THETA)
    both = fad.jacobian(fad.grad(well, argnums=1), argnums=(0, 1))(x, THETA)
    np.testing.assert_allclose(fad.hessian(value)(THETA), both[1] + both[0] @ moves, rtol=1e-7, atol=1e-9)


def test_the_gradient_of_the_value_solves_no_linear_system():
    def names(field):
        table = fad.trace(fad.grad(lambda a: np.sum(fad.minimize(well, np.zeros(2), args=(a,))[field])), THETA)
        return [row.name for row in table.rows()]

    assert "lu" not in names("fun") and "lu" in names("x")


def test_ridge_regression(rng):
    """dx/dλ = −(AᵀA + λI)⁻¹ x."""
    A, b = rng.normal(size=(12, 4)), rng.normal(size=12)

    def weights(penalty):
        return fad.minimize(lambda x: 0.5 * np.sum((A @ x - b) ** 2) + 0.5 * penalty * (x @ x), np.zeros(4)).x

    wanted = -np.linalg.solve(A.T @ A + 0.3 * np.eye(4), weights(0.3))
    np.testing.assert_allclose(fad.jacobian(weights)(0.3), wanted, rtol=1e-9)


def test_values_from_outside_are_differentiated():
    def solve(a):
        return fad.minimize(lambda x: (x[0] - a) ** 2 + (x[0] - 3.0) ** 2, [0.0]).x[0]

    assert abs(fad.grad(solve)(1.0) - 0.5) < 1e-12


def test_the_first_guess_has_no_derivative():
    assert fad.grad(lambda x0: fad.minimize(well, x0, args=(THETA,)).x[0])(np.ones(2)).tolist() == [0.0, 0.0]


def test_no_derivative_of_the_iteration_is_made():
    """The tables of a gradient have one loop for the iteration, not its adjoint."""
    plain = fad.trace(lambda a: fad.minimize(well, np.zeros(2), args=(a,)).x[0], THETA)
    derived = fad.trace(fad.grad(lambda a: fad.minimize(well, np.zeros(2), args=(a,)).x[0]), THETA)
    assert str(derived).count("while_loop") == str(plain).count("while_loop") > 0


# ── composition ───────────────────────────────────────────────────────────────────────────────────────────────
def _solve(a):
    return fad.minimize(banana, [-1.2, 1.0], args=(a,)).x


@each_tier
def test_jit_vmap_and_scan(tier):
    values = np.array([0.5, 1.0, 2.0])
    wanted = np.stack([values, values**2], axis=1)
    np.testing.assert_allclose(fad.jit(_solve, tier=tier)(2.0), [2.0, 4.0], atol=1e-7)
    np.testing.assert_allclose(fad.jit(fad.vmap(_solve), tier=tier)(values), wanted, atol=1e-7)
    slopes = fad.jit(fad.vmap(fad.jacobian(_solve)), tier=tier)(values)
    np.testing.assert_allclose(slopes, np.stack([np.ones(3), 2 * values], axis=1), atol=1e-6)

    def summed(scale):
        return fad.scan(lambda total, a: (total + _solve(scale * a)[1], None), 0.0, values)[0]

    assert abs(fad.jit(fad.grad(summed), tier=tier)(1.0) - 2 * np.sum(values**2)) < 1e-5


def test_results_pass_through_jit_and_vmap():
    found = fad.jit(lambda a: fad.minimize(banana, [-1.2, 1.0], args=(a,)))(1.0)
    assert found.success and isinstance(found.message, str) and dict(found)["nit"] == found.nit
    lanes = fad.vmap(lambda a: fad.minimize(banana, [-1.2, 1.0], args=(a,)))(np.array([1.0, 2.0]))
    assert lanes.success.tolist() == [True, True] and len(lanes.message) == 2
    assert "x:" in repr(found) and "<table>" in found._repr_html_()
    with pytest.raises(AttributeError, match="its fields are"):
        _ = found.nothing


def test_a_saved_minimum_keeps_its_derivatives(tmp_path):
    def both(a):
        found = fad.minimize(well, np.zeros(2), args=(a,), bounds=[(0.0, 0.5), (None, None)])
        return found.fun + found.x[1]

    solve = fad.jit(both)
    solve(THETA)
    solve.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    np.testing.assert_allclose(fad.hessian(loaded)(THETA), fad.hessian(both)(THETA), atol=1e-12)


def test_single_precision():
    found = fad.minimize(lambda x, a: np.sum((x - a) ** 2), np.zeros(2, np.float32), args=(np.ones(2, np.float32),))
    assert found.x.dtype == found.fun.dtype == found.jac.dtype == np.float32
    slope = fad.grad(lambda a: fad.minimize(lambda x: np.sum((x - a) ** 2), np.zeros(2, np.float32)).x[0])
    assert slope(np.ones(2, np.float32)).dtype == np.float32


def test_repeated_calls_replay():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # there is a warning after 64 recordings
        for k in range(70):
            found = fad.minimize(lambda x, a: np.sum((x - a) ** 4 + x**2), np.ones(3) * k, args=(np.ones(3) + k,))
    assert found.success


# ── sizes ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_many_variables_without_a_matrix():
    n = 400

    def chain(x, a):
        return 0.5 * np.sum((x - a) ** 2) + 0.25 * np.sum((x[1:] - x[:-1]) ** 2) + 0.1 * np.sum(x**4)

    def size(a):
        return np.sum(fad.minimize(chain, np.zeros(n), args=(a,), method="l-bfgs", tol=1e-10).x ** 2)

    a, v = np.sin(np.arange(n)), np.cos(np.arange(n))
    gradient, step = fad.grad(size)(a), 1e-4
    wanted = (size(a + step * v) - size(a - step * v)) / (2 * step)
    assert abs(gradient @ v - wanted) < 1e-6 * abs(wanted)
    assert not any(kind.size >= n * n for kind in _types(fad.trace(fad.grad(size), a)))


def _types(table):
    return [table.type_of(k) for k in range(len(table))]


@pytest.mark.parametrize("n", [0, 1])
def test_few_variables(n):
    found = fad.minimize(lambda x: np.sum((x - 2.0) ** 2), np.zeros(n))
    assert found.success
    np.testing.assert_allclose(found.x, np.full(n, 2.0))


def test_a_number_as_first_guess():
    np.testing.assert_allclose(fad.minimize(lambda x: (x - 2.0) ** 2, 0).x, [2.0])


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("what", ["x", "fun"])
def test_an_unfinished_iteration_has_no_derivative(what):
    def solve(a):
        return fad.minimize(banana, [-1.2, 1.0], args=(a,), max_steps=3)

    found = solve(1.0)
    assert not found.success and "max_steps" in found.message
    with pytest.raises(fad.ConvergenceError, match=r"minimum was not found.*in component.*max_steps.*test_minimize"):
        fad.grad(lambda a: np.sum(getattr(solve(a), what)))(1.0)


def test_a_minimum_that_is_not_isolated_has_no_derivative():
    def solve(a):
        return fad.minimize(lambda x: (x[0] + x[1] - a) ** 2, np.zeros(2))

    assert solve(1.0).success
    with pytest.raises(fad.SingularMatrixError, match=r"test_minimize\.py"):
        fad.grad(lambda a: solve(a).x[0])(1.0)
    assert abs(fad.grad(lambda a: solve(a).fun)(1.0)) < 1e-8  # the value has one


@pytest.mark.parametrize(
    ("fun", "start", "words"),
    [
        (lambda x: np.sum(x), np.zeros(2), "without limit"),
        (lambda x: np.sum(np.log(x)), -np.ones(2), "not finite"),
        (fad.primitive(lambda x: x @ x, jvp=lambda p, t: -2 * p[0] @ t[0]), np.ones(2), "derivative is inexact"),
    ],
    ids=["unbounded", "nan", "wrong derivative"],
)
def test_failures_in_words(fun, start, words):
    found = fad.minimize(fun, start)
    assert not found.success and words in found.message


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fad.minimize(3, [1.0]), "must be a function"),
        (lambda: fad.minimize(lambda x: x, [1.0, 2.0]), "an objective is one number"),
        (lambda: fad.minimize(np.sum, [[1.0, 2.0]]), "one axis"),
        (lambda: fad.minimize(np.sum, [np.nan]), "finite"),
        (lambda: fad.minimize(np.sum, ["a"]), "real numbers"),
        (lambda: fad.minimize(np.sum, [1.0], method="simplex"), "'trust-ncg'"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


# ── pieces ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("n", [1, 33])
def test_an_attempted_factorisation(n, rng):
    a = rng.normal(size=(n, n))
    a = a @ a.T + np.eye(n)
    attempt = fad.jit(attempted_cholesky)
    lower, ok = attempt(a)
    assert ok
    np.testing.assert_allclose(lower, np.linalg.cholesky(a), atol=1e-11 * n)
    assert not attempt(a - 1.1 * np.linalg.eigvalsh(a)[0] * np.eye(n))[1]
    assert not attempt(np.full((n, n), np.nan))[1]
    delta, lower, ok = fad.jit(regularised)(a - 20.0 * np.eye(n))
    assert ok and np.allclose(lower @ lower.T, a + (delta - 20.0) * np.eye(n))


@pytest.mark.parametrize("fun", [lambda x: None, lambda x: "one"])
def test_objectives_that_are_no_numbers(fun):
    with pytest.raises(TypeError, match=r"test_minimize.*one number"):
        fad.minimize(fun, [1.0])
