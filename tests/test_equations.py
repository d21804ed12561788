"""Roots, fixed points and wrapped solvers: laws of the implicit function theorem, and what is said of the result."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.optimize
from control_tools import both_tiers, equal_derivatives
from hypothesis import given, settings
from hypothesis import strategies as st

import fastad as fad
from fastad.errors import ConvergenceError, ShapeError, SingularMatrixError
from fastad.primitives import primitive

METHODS = ("newton", "newton-krylov", "broyden")


def circle(x, a):
    return np.stack([x[0] ** 2 + x[1] ** 2 - a[0], np.exp(0.3 * x[0]) * x[1] - a[1]])


A = np.array([4.0, 1.0])


def by_newton(f, x0, args, steps=8):
    """The root by Newton's method in plain Python, unrolled."""
    x = x0 + 0.0
    for _ in range(steps):
        x = x - np.linalg.solve(fad.jacobian(f)(x, *args), f(x, *args))
    return x


def cubic(x, a):
    return x**3 + x - a


# ── the same derivatives by all ways ──────────────────────────────────────────────────────────────────────────
@both_tiers
@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_those_of_the_equation(method, tier):
    f = lambda a: np.sum(fad.root(circle, np.ones(2), (a,), method, tol=1e-12).x ** 3)
    equal_derivatives(f, lambda a: np.sum(by_newton(circle, np.ones(2), (a,)) ** 3), A, tier=tier, tolerance=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_unrolled_steps_have_the_same_derivatives(method):
    def f(a, way):
        return np.sum(fad.root(circle, np.ones(2), (a,), method, differentiate=way, tol=1e-12).x ** 3)

    np.testing.assert_allclose(fad.grad(f)(A, "unroll"), fad.grad(f)(A, "implicit"), rtol=1e-8)
    if method == "newton":
        np.testing.assert_allclose(fad.hessian(f)(A, "unroll"), fad.hessian(f)(A, "implicit"), rtol=1e-8)


@pytest.mark.parametrize(("memory", "linear"), [(0, "gmres"), (5, "dense")])
def test_fixed_points_by_both_ways(memory, linear):
    def f(a, way):
        found = fad.fixed_point(
            lambda x: np.cos(a * x), np.full(3, 0.5), memory=memory, differentiate=way, linear=linear, tol=1e-12
        )
        return np.sum(found.x**2)

    a = np.array([0.9, 0.8, 0.3])
    np.testing.assert_allclose(fad.grad(f)(a, "unroll"), fad.grad(f)(a, "implicit"), rtol=1e-7, atol=1e-9)
    fad.check_grads(lambda a: f(a, "implicit"), (a,), order=2)


@given(st.floats(0.1, 50.0))
@settings(max_examples=20, deadline=None)
def test_closed_forms(a):
    x = lambda a: fad.root(lambda x, a: x**3 - a, 1.0, (a,)).x
    np.testing.assert_allclose(x(a), np.cbrt(a), rtol=1e-12)
    np.testing.assert_allclose(fad.grad(x)(a), np.cbrt(a) / (3 * a), rtol=1e-7)
    np.testing.assert_allclose(fad.grad(fad.grad(x))(a), -2 * np.cbrt(a) / (9 * a**2), rtol=1e-6)


@both_tiers
def test_inside_all_transformations(tier):
    x = lambda a: fad.root(cubic, 1.0, (a,)).x
    slope = lambda a: 1 / (3 * x(a) ** 2 + 1)
    many = np.linspace(1.0, 9.0, 5)
    wanted = np.array([slope(a) for a in many])
    np.testing.assert_allclose(fad.vmap(fad.grad(x), tier=tier)(many), wanted, rtol=1e-9)
    np.testing.assert_allclose(fad.grad(lambda a: np.sum(fad.vmap(x)(a)), tier=tier)(many), wanted, rtol=1e-9)
    last = lambda c: fad.scan(lambda c, _: (x(c) + 0.1, x(c)), c, None, 3)[0]
    fad.check_grads(fad.jit(last, tier=tier), (2.0,), order=2)
    whole = fad.jit(fad.vmap(lambda a: fad.root(circle, np.ones(2), (a,))), tier=tier)(np.stack([A, 1.1 * A]))
    assert whole.success.all() and whole.x.shape == (2, 2) and whole.message == "The equation was solved."


def test_arguments_and_unknowns_are_any_pytrees():
    def f(x, p, q):
        return [x["a"] * x["b"][0] - p["u"], x["b"] - q]

    def solve(p, q):
        return fad.root(f, {"a": 1.0, "b": np.ones(1)}, (p, q)).x["a"]

    by_p, by_q = fad.grad(solve, argnums=(0, 1))({"u": 6.0}, np.array([2.0]))
    np.testing.assert_allclose([by_p["u"], by_q[0]], [0.5, -1.5])
    outside = np.array([2.0])
    np.testing.assert_allclose(fad.grad(lambda k: fad.root(lambda x: x * outside - k, np.ones(1)).x[0])(3.0), 0.5)


def test_dtypes_and_empty_unknowns():
    single = fad.root(lambda x: x**2 - 2, np.ones(2, np.float32)).x
    assert single.dtype == np.float32 and np.allclose(single, np.sqrt(2))
    assert fad.root(lambda x: x, np.zeros(0)).success
    assert fad.root(lambda x: 2 * x, np.zeros((2, 2))[:, ::2]).x.shape == (2, 1)
    with pytest.raises(ShapeError, match="3 numbers for 2 unknowns"):
        fad.root(lambda x: np.zeros(3), np.zeros(2))


# ── one factorisation ─────────────────────────────────────────────────────────────────────────────────────────
def rows_of(table):
    """Names of the rows of a table, without its sub-programs."""
    return [row.primitive.name for row in table.rows()]


def test_derivatives_do_not_factorise_again():
    f = lambda a: np.sum(fad.root(circle, np.ones(2), (a,)).x ** 2)
    for g in (fad.value_and_grad(f), fad.hessian(f), fad.grad(lambda a: np.sum(fad.grad(f)(a)))):
        table = fad.trace(g, A)
        assert "lu" not in rows_of(table) and "lu_solve" in rows_of(table)
        assert sum(sub.name == "root" for sub in table.subs) == 1  # nothing solves the equation again
    found = fad.root(circle, np.ones(2), (A,))
    assert found.stats["factorisations"] == found.nit + 1


def laplacian_of(u, h):
    full = np.zeros(len(u) + 2)
    full[1:-1] = u
    return np.diff(full, 2) / h**2


def bratu(u, lam):
    return laplacian_of(u, 1 / (len(u) + 1)) + lam * np.exp(u)


def test_linear_solvers_agree():
    n = 140
    mid = lambda lam, linear: fad.root(bratu, np.zeros(n), (lam,), linear=linear).x[n // 2]
    for derivative in (fad.grad, lambda f: fad.grad(fad.grad(f))):
        found = [derivative(mid)(2.0, linear) for linear in ("dense", "sparse", "auto", "gmres")]
        np.testing.assert_allclose(found, found[0], rtol=1e-6)
    for linear, row in (("auto", "banded_lu_solve"), ("sparse", "sparse_lu_solve")):
        assert row in rows_of(fad.trace(fad.grad(mid), 2.0, linear))
    batch = fad.vmap(fad.grad(lambda lam: mid(lam, "sparse")))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(batch[1], fad.grad(mid)(2.0, "dense"), rtol=1e-9)


# ── what is known ─────────────────────────────────────────────────────────────────────────────────────────────
def chebyshev(n):
    """The second derivative at n + 1 points of [0, 1], without the ends (Trefethen 2000, program 6)."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.where((np.arange(n + 1) == 0) | (np.arange(n + 1) == n), 2.0, 1.0) * (-1.0) ** np.arange(n + 1)
    d = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    d -= np.diag(d.sum(axis=1))
    return 4 * (d @ d)[1:-1, 1:-1]


SECOND = chebyshev(24)


def middle(lam):
    return fad.root(lambda u, lam: SECOND @ u + lam * np.exp(u), np.zeros(23), (lam,)).x[11]


def test_bratu_in_one_dimension():
    for lam, u, slope in ((1.0, 0.14053921440, 0.15920280620), (2.0, 0.32895242134, 0.22680163236)):
        value, gradient = fad.value_and_grad(middle)(lam)
        assert abs(value - u) < 2e-11 and abs(gradient - slope) < 2e-11


@both_tiers
def test_a_fold_is_told_of(tier):
    fold = 3.513830719125
    with pytest.warns(RuntimeWarning, match="near a fold") as found:
        fad.grad(middle, tier=tier)(fold)
    assert found[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="near a fold"):
        fad.root(lambda u, lam: SECOND @ u + lam * np.exp(u), np.zeros(23), (fold,))
    with pytest.raises(ConvergenceError, match=r"largest residual is .* in component 11.*test_equations"):
        fad.grad(middle, tier=tier)(3.6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fad.grad(middle, tier=tier)(3.0)


def test_bratu_in_two_dimensions():
    n = 63

    def f(u, lam):
        full = np.zeros((n + 2, n + 2))
        full[1:-1, 1:-1] = u.reshape(n, n)
        inner = full[1:-1, 1:-1]
        around = full[2:, 1:-1] + full[:-2, 1:-1] + full[1:-1, 2:] + full[1:-1, :-2]
        return ((around - 4 * inner) * (n + 1) ** 2 + lam * np.exp(inner)).ravel()

    highest = lambda lam: np.max(fad.root(f, np.zeros(n * n), (lam,)).x)
    value, slope = fad.value_and_grad(highest)(6.0)
    assert abs(value - 0.79706900) < 5e-9 and abs(slope - 0.31843078) < 5e-9


def test_kepler_over_many_orbits():
    rng = np.random.default_rng(0)
    M, e = rng.uniform(0, 2 * np.pi, 1000), rng.uniform(0, 0.9, 1000)
    solve = lambda M, e: fad.root(lambda E, M, e: E - e * np.sin(E) - M, M, (M, e)).x
    E, (by_m, by_e) = fad.vmap(fad.value_and_grad(solve, argnums=(0, 1)))(M, e)
    np.testing.assert_allclose(E - e * np.sin(E), M, atol=1e-14)
    np.testing.assert_allclose(by_m, 1 / (1 - e * np.cos(E)), rtol=1e-8)
    np.testing.assert_allclose(by_e, np.sin(E) / (1 - e * np.cos(E)), rtol=1e-8, atol=1e-12)


@both_tiers
@pytest.mark.parametrize("size", [97, 300])  # one block, several blocks
def test_many_lanes_at_once(size, tier):
    x = lambda a: fad.root(cubic, 1.0, (a,)).x
    a = np.linspace(1.0, 9.0, size)
    found = fad.vmap(x, tier=tier)(a)
    np.testing.assert_allclose(found**3 + found, a, rtol=1e-14)
    slope = 1 / (3 * found**2 + 1)
    np.testing.assert_allclose(fad.vmap(fad.grad(x), tier=tier)(a), slope, rtol=1e-12)
    np.testing.assert_allclose(fad.grad(lambda a: np.sum(fad.vmap(x)(a)), tier=tier)(a), slope, rtol=1e-12)
    np.testing.assert_allclose(fad.vmap(fad.grad(fad.grad(x)), tier=tier)(a), -6 * found * slope**3, rtol=1e-12)
    twice = fad.vmap(fad.vmap(fad.grad(x)), tier=tier)(np.stack([a, a]))
    np.testing.assert_allclose(twice, np.stack([slope, slope]), rtol=1e-12)


def test_lanes_that_fail():
    many = np.linspace(-1.0, 5.0, 100)
    found = fad.vmap(lambda a: fad.root(lambda x, a: x**2 - a, 1.0, (a,)))(many)
    np.testing.assert_array_equal(found.success, many > 0)
    assert found.message.startswith("17 of 100 equations were not solved")
    with pytest.raises((ConvergenceError, SingularMatrixError), match="equation 0 of 100"):
        fad.vmap(fad.grad(lambda a: fad.root(lambda x, a: x**2 - a, 1.0, (a,)).x))(many)


# ── how far it can be trusted ─────────────────────────────────────────────────────────────────────────────────
def test_the_bound_covers_the_error_of_loose_solves():
    n, p, rng = 4, 3, np.random.default_rng(1)

    def f(x, t, W, V):
        return x + 0.5 * np.tanh(W @ x) + 0.3 * np.sin(V @ t) * x**2 - V @ t * (1 + 0.2 * np.exp(0.3 * x[0]))

    def run(t, W, V, u, tol):
        found = fad.root(f, np.zeros(n), (t, W, V), tol=tol)
        return u @ found.x, (found.stats["gradient_error"], found.stats["error"])

    both = fad.value_and_grad(run, has_aux=True)
    shares, errors = [], []
    while len(shares) < 100:
        W, V, t, u = rng.normal(size=(n, n)), 0.5 * rng.normal(size=(n, p)), rng.normal(size=p), rng.normal(size=n)
        try:
            (_, (bound, _)), loose = both(t, W, V, u, 10 ** rng.uniform(-3, -0.5))
            exact = both(t, W, V, u, 1e-13)[1]
        except ConvergenceError:  # this one has no root
            continue
        error = np.linalg.norm(loose - exact)
        shares.append(error / max(bound * np.linalg.norm(u), 1e-12))
        errors.append(error / np.linalg.norm(exact))
    assert max(shares) <= 1.0 and np.median(shares) > 0.01  # and it is no idle bound
    assert max(errors) > 0.05 and np.median(errors) > 5e-4  # what is covered is worth covering


@both_tiers
def test_a_bound_above_the_limit_is_an_error(tier):
    f = lambda a, limit: np.sum(fad.root(circle, np.ones(2), (a,), tol=0.1, gradient_limit=limit).x)
    free = lambda a: np.sum(fad.root(circle, np.ones(2), (a,), tol=0.1).x)
    np.testing.assert_array_equal(fad.grad(f, tier=tier)(A, 1.0), fad.grad(free, tier=tier)(A))
    with pytest.raises(ConvergenceError, match="gradient_limit"):
        fad.grad(f, tier=tier)(A, 1e-9)


def test_numbers_about_the_derivatives():
    found = fad.root(circle, np.ones(2), (A,), tol=1e-3)
    J = fad.jacobian(circle)(found.x, A)
    np.testing.assert_allclose(found.stats["condition"], np.linalg.cond(J, 1), rtol=0.05)
    assert found.stats["adjoint_residual"] < 1e-14
    exact = fad.root(circle, np.ones(2), (A,), tol=1e-13).x
    assert np.max(np.abs(found.x - exact)) < found.stats["error"] < 2e-3


def test_numbers_on_demand_of_plain_calls_are_those_of_recorded_ones():
    def told(a):
        return fad.root(lambda x, a: x**3 + x - a, np.ones(2), (a,), tol=0.1).stats["gradient_error"]

    a = np.array([10.0, 3.0])
    plain = fad.root(lambda x, a: x**3 + x - a, np.ones(2), (a,), tol=0.1)
    expected = told(a)
    assert "gradient_error" not in plain.stats and "gradient_error" in repr(plain)
    a[:] = 0.0  # arguments may change before somebody asks
    assert expected > 1e-6
    np.testing.assert_allclose([plain.stats["gradient_error"], fad.jit(told)(np.array([10.0, 3.0]))], expected)


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("method", METHODS)
def test_no_solution(method):
    f = lambda x, a: np.stack([x[0] + x[1] - 1.0, x[0] ** 2 + a + x[1] ** 2])
    found = fad.root(f, np.array([1.0, 2.0]), (1.0,), method)
    assert not found.success and "component" in found.message and found.status > 0
    with pytest.raises((ConvergenceError, SingularMatrixError)):
        fad.grad(lambda a: fad.root(f, np.array([1.0, 2.0]), (a,), method).x[0])(1.0)


def test_a_singular_jacobian():
    f = lambda x, a: np.stack([x[0] + x[1] - a, 2 * x[0] + 2 * x[1] - 1])
    with pytest.raises(SingularMatrixError, match=r"condition number.*test_equations"):
        fad.root(f, np.ones(2), (3.0,))
    flat = fad.root(lambda x: x**2 + 1.0, 0.0)
    assert not flat.success and "singular" in flat.message
    with pytest.raises(SingularMatrixError, match="singular"):
        fad.grad(lambda a: fad.root(lambda x: x**2 + a, 0.0).x)(1.0)


def test_values_that_are_not_finite():
    found = fad.root(lambda x: np.sqrt(x - 2.0), 0.0)
    assert not found.success and "not finite" in found.message
    assert not fad.root(lambda x: x - np.nan, np.ones(3)).success


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("x0", [np.inf, -np.inf, np.nan, np.array([1.0, np.inf])])
def test_what_is_not_finite_is_no_solution(x0, method):
    with np.errstate(all="ignore"):
        found = fad.root(lambda x: x - 1.0, x0, method=method)
    assert not found.success and "not finite" in found.message


def test_what_is_known_of_a_solution_is_a_pytree():
    def stats(a):
        return fad.root(cubic, 1.0, (a,)).stats

    found = fad.jit(stats)(10.0)
    plain = stats(10.0)
    assert float(found["error"]) == plain["error"] and int(found["factorisations"]) == plain["factorisations"]
    assert fad.vmap(stats)(np.array([2.0, 10.0]))["error"].shape == (2,)
    asked = fad.jit(lambda a: [s := stats(a), s["condition"]][0])(10.0)
    np.testing.assert_allclose(asked["condition"], plain["condition"])


@pytest.mark.parametrize("options", [{"tol": -1.0}, {"tol": np.nan}, {"max_steps": -1}])
@pytest.mark.parametrize("solve", [fad.root, fad.fixed_point])
def test_limits_that_are_none(solve, options):
    with pytest.raises(ValueError, match=r"(tol|max_steps) must .*test_equations"):
        solve(np.cos, 1.0, **options)


def test_wrong_arguments():
    for call, kind, text in (
        (lambda: fad.root(cubic, 1.0, (1.0,), "hybr"), ValueError, "no method 'hybr'"),
        (lambda: fad.root(cubic, args=(1.0,)), TypeError, "x0"),
        (lambda: fad.root(3, 1.0), TypeError, "function"),
        (lambda: fad.root(cubic, 1.0, (1.0,), differentiate="both"), ValueError, "implicit"),
        (lambda: fad.root(cubic, 1.0, (1.0,), bracket=1.0), ShapeError, "two numbers"),
        (lambda: fad.root(circle, np.ones(2), (A,), bracket=(0, 1)), ShapeError, "one unknown"),
        (lambda: fad.fixed_point(np.cos, 1.0, linear="lu"), ValueError, "dense"),
        (lambda: fad.fixed_point(lambda x: x[0], np.ones(2)), ShapeError, "like the one"),
        (lambda: fad.implicit(3, cubic), TypeError, "function"),
    ):
        with pytest.raises(kind, match=text):
            call()


# ── brackets ──────────────────────────────────────────────────────────────────────────────────────────────────
HARD = {
    "exp": (lambda x, a: np.exp(x) - a, -4.0, 5.0),
    "steep": (lambda x, a: np.tanh(50 * (x - a / 3)), -7.0, 8.0),
    "pole": (lambda x, a: 1 / (x - 4.0) + a, -1.0, 3.99),
    "kink": (lambda x, a: np.where(x > a / 3, x - a / 3, 5 * (x - a / 3)), -1.0, 7.0),
}


@pytest.mark.parametrize("name", HARD)
def test_bracketed_roots_are_scipys(name):
    f, low, high = HARD[name]
    solve = lambda a: fad.root(f, args=(a,), bracket=(low, high)).x
    many = np.linspace(0.5, 2.5, 7)
    wanted = [scipy.optimize.brentq(f, low, high, args=(a,), xtol=1e-13) for a in many]
    np.testing.assert_allclose(fad.vmap(solve)(many), wanted, atol=1e-9)
    fad.check_grads(solve, (1.3,), order=1)


def test_a_bracket_without_a_change_of_sign():
    found = fad.root(lambda x: x**2 + 1.0, bracket=(-1.0, 2.0))
    assert not found.success and "same sign" in found.message
    with pytest.raises(ConvergenceError, match="same sign"):
        fad.grad(lambda a: fad.root(lambda x: x**2 + a, bracket=(-1.0, 2.0)).x)(1.0)
    ends = fad.grad(lambda b: fad.root(lambda x: x - 1.0, bracket=(b, 2.0)).x)(0.0)
    assert ends == 0.0


def test_brackets_and_tolerances_of_any_numbers():
    f = lambda x: x**3 + x - 10.0
    for low, high in ((0, 10), (np.float32(0), 10), ([0], np.array([10])), np.array([0, 10])):
        np.testing.assert_allclose(fad.root(f, bracket=(low, high)).x, 2.0, rtol=1e-12)
    np.testing.assert_allclose(fad.jit(lambda b: fad.root(f, bracket=(0, b)).x)(10), 2.0, rtol=1e-12)
    np.testing.assert_allclose(fad.vmap(lambda b: fad.root(f, bracket=(0, b)).x)(np.array([5, 10])), 2.0, rtol=1e-12)
    np.testing.assert_allclose(fad.jit(lambda b: fad.root(f, bracket=(0.0, 10.0)).x)(1.0), 2.0, rtol=1e-12)
    assert fad.root(f, 1.0, tol=1).success


# ── solvers of others ─────────────────────────────────────────────────────────────────────────────────────────
SCIPY = fad.implicit(lambda a: scipy.optimize.root(circle, np.ones(2), args=(a,), tol=1e-13).x, circle)
OWN = fad.implicit(lambda a: fad.while_loop(lambda x: abs(x * x - a) > 1e-14 * a, lambda x: (x + a / x) / 2, 1.0),
                   lambda x, a: x * x - a)  # fmt: skip


@both_tiers
def test_scipys_solvers_are_differentiable(tier):
    plain = lambda a: np.sum(by_newton(circle, np.ones(2), (a,)) ** 3)
    equal_derivatives(lambda a: np.sum(SCIPY(a) ** 3), plain, A, tier=tier, tolerance=1e-9)
    many = np.stack([A, 1.1 * A])
    wanted = np.stack([fad.grad(plain)(a) for a in many])
    f = lambda a: np.sum(SCIPY(a) ** 3)
    np.testing.assert_allclose(fad.vmap(fad.grad(f), tier=tier)(many), wanted, rtol=1e-9)


def test_own_solvers_are_differentiable():
    assert OWN(2.0) == pytest.approx(np.sqrt(2), abs=1e-15)
    np.testing.assert_allclose([fad.grad(OWN)(4.0), fad.grad(fad.grad(OWN))(4.0)], [0.25, -1 / 32])
    np.testing.assert_allclose(fad.vmap(fad.grad(OWN))(np.array([1.0, 4.0])), [0.5, 0.25])
    tree = fad.implicit(lambda p: {"a": np.sqrt(p["q"]), "b": [2 * p["q"]]},
                        lambda x, p: [x["a"] ** 2 - p["q"], x["b"][0] - 2 * p["q"]])  # fmt: skip
    assert fad.grad(lambda q: tree({"q": q})["a"] + tree({"q": q})["b"][0])(4.0) == pytest.approx(2.25)


def test_a_solver_that_did_not_solve_is_reported():
    bad = fad.implicit(lambda a: np.array([1.0, 2.0]) + 0 * a, circle)
    with pytest.warns(RuntimeWarning, match="does not solve") as found:
        np.testing.assert_array_equal(bad(A), [1.0, 2.0])
    assert found[0].filename == __file__
    with pytest.raises(ConvergenceError, match=r"1\.7 in component 1"):
        fad.grad(lambda a: np.sum(bad(a)))(A)


# ── files, and the result itself ──────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("linear", ["dense", "sparse", "gmres"])
def test_saved_with_all_derivatives(linear, tmp_path):
    mid = lambda lam: fad.root(bratu, np.zeros(12), (lam,), linear=linear).x[6]
    f = fad.jit(mid)
    value = f(2.0)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    np.testing.assert_array_equal(loaded(2.0), value)
    np.testing.assert_allclose(fad.grad(loaded)(2.0), fad.grad(mid)(2.0), rtol=1e-9)
    assert pickle.loads(pickle.dumps(f))(2.0) == value


def test_the_result_is_a_mapping_and_a_pytree():
    found = fad.root(circle, np.ones(2), (A,))
    assert found["x"] is found.x and set(found) >= {"x", "fun", "success", "message", "nit", "nfev", "stats"}
    assert "solved" in repr(found) and len(found) == 9
    through = fad.jit(lambda a: fad.root(circle, np.ones(2), (a,)))(A)
    assert type(through) is type(found) and through.success and np.array_equal(through.x, found.x)
    with pytest.raises(KeyError, match="factorisations"):
        through.stats["none"]


@both_tiers
def test_the_row_that_checks_is_its_definition(tier):
    row = primitive("solved")
    x, r = np.arange(6.0), np.arange(4.0)
    np.testing.assert_array_equal(row.numpy((2, 3, 2, 1), (6,), x, r, np.zeros(2)), x)
    with pytest.raises(ConvergenceError, match="3 in component 1"):
        row.numpy((2, 3, 2, 1), (6,), x, r, np.array([0.0, 1.0]))
    np.testing.assert_array_equal(row.numpy((2, 3, 2, 0), (6,), x, r, np.array([0.0, 1.0])), x)
