"""What is said of equations that cannot be trusted: folds, poles, jumps, minima that were not found; and solvers of
other libraries that refer to recorded values."""

import functools
import warnings

import numpy as np
import pytest
import scipy.optimize

import fastad as fad
from fastad.errors import ConvergenceError, RecordingError

FOLD = 3.513830719125  # Bratu's


def square(x, a):
    return x * x - a


def bratu(theta, lam):
    return theta - np.sqrt(2 * lam) * np.cosh(theta / 4)


# ── folds ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("fun", "values"), [(square, (0.0, 1e-17)), (bratu, (FOLD, FOLD - 1e-9))])
def test_the_fold_of_one_equation_is_told_of(fun, values):
    solve = lambda a: fad.root(fun, 1.0, (a,)).x
    in_lanes = fad.vmap(fad.grad(solve))
    for a in values:
        for call in (solve, fad.grad(solve), lambda a: in_lanes(np.array([1.0, a]))):
            with pytest.warns(RuntimeWarning, match="near a fold"):
                call(a)


@pytest.mark.parametrize(
    ("fun", "x0", "a"),
    [
        (square, 1.0, 1e-8),
        (bratu, 1.0, 3.5),
        (lambda x, a: np.exp(1e5 * x) - a, 0.0, 2.0),
        (lambda x, a: np.log(x) - 1e9 * a, 1.0, 1e-9),
    ],
    ids=["square", "bratu", "steep", "small units"],
)
def test_regular_equations_are_no_folds(fun, x0, a):
    solve = lambda a: fad.root(fun, x0, (a,)).x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(a), fad.grad(solve)(a)


def test_folds_are_measured_by_the_change_of_derivatives():
    """x = √a: a relative change δ of a changes x′ = 1/(2 √a) by δ/2 of itself; one δ of x, if below 1, by δ/x."""
    for a in (4.0, 1e-4, 1e-12):
        x = np.sqrt(a)
        found = fad.root(square, 1.0, (a,), tol=1e-14)
        np.testing.assert_allclose(found.stats["fold"], max(1.0, x) / x, rtol=1e-6)


@pytest.mark.parametrize("n", [3, 5])
def test_the_fold_of_few_equations_is_told_of(n):
    second = (np.diag(-2.0 * np.ones(n)) + np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)) * (n + 1) ** 2
    solve = lambda lam: fad.root(lambda u, lam: second @ u + lam * np.exp(u), np.zeros(n), (lam,))
    low, high = 3.0, 4.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(50):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if solve(middle).success else (low, middle)
    with pytest.warns(RuntimeWarning, match="near a fold"):
        solve(low - 1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(low - 1e-2)


# ── brackets ──────────────────────────────────────────────────────────────────────────────────────────────────
NO_ROOTS = {
    "pole": (lambda x, a: 1 / (x - a), (0, 1)),
    "falling pole": (lambda x, a: -1 / (x - a), (0, 1)),
    "third order": (lambda x, a: 1 / (x - a) ** 3, (0, 1)),
    "tangent": (lambda x, a: np.tan(x) - a, (1, 2)),
    "jump": (lambda x, a: np.where(x > a, a + x, x - 2), (0, 1)),
}
ROOTS = {
    "line": (lambda x, a: x - a, (0, 1)),
    "at an end": (lambda x, a: x - a, (0.3, 1)),
    "steep": (lambda x, a: np.arctan(1e9 * (x - a)), (0, 1)),
    "exponential": (lambda x, a: np.exp(50 * x) - np.exp(50 * a), (0, 1)),
    "far": (lambda x, a: np.log(x) - np.log(a), (1e-300, 1e5)),
    "tangent": (lambda x, a: np.tan(x) - np.tan(a), (-1.5, 1.5)),
}


@pytest.mark.parametrize("name", NO_ROOTS)
def test_a_change_of_sign_without_a_root_is_no_success(name):
    fun, bracket = NO_ROOTS[name]
    solve = lambda a: fad.root(fun, args=(a,), bracket=bracket)
    found = solve(0.3)
    assert not found.success and "without a root" in found.message
    with pytest.raises(ConvergenceError, match=r"without a root.*test_equation_trust"):
        fad.grad(lambda a: solve(a).x)(0.3)
    assert not np.any(fad.vmap(lambda a: solve(a).success)(np.array([0.3, 0.4])))


@pytest.mark.parametrize("name", ROOTS)
def test_roots_in_brackets_are_found(name):
    fun, bracket = ROOTS[name]
    solve = lambda a: fad.root(fun, args=(a,), bracket=bracket)
    found = solve(0.3)
    assert found.success and found.x == pytest.approx(0.3, abs=1e-9)
    assert fad.grad(lambda a: solve(a).x)(0.3) == pytest.approx(1.0)


@pytest.mark.parametrize("fun", [lambda x, a: np.cbrt(x - a), lambda x, a: (x - a) ** 3, lambda x, a: (x - a) ** 9])
def test_flat_and_upright_roots_are_roots(fun):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are near a fold
        assert fad.root(fun, args=(0.3,), bracket=(0, 1)).success


# ── minima ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("part", [lambda found: found.fun, lambda found: found.x[0]])
def test_errors_of_minima_speak_of_the_minimisation(part):
    cost = lambda x, a: np.sum((x - a) ** 4 + x * x)
    solve = lambda a: part(fad.minimize(cost, np.ones(2), (a,), max_steps=1))
    for call in (fad.grad(solve), fad.hessian(solve), lambda a: fad.jvp(solve, (a,), (1.0,))):
        with pytest.raises(ConvergenceError, match=r"minimum was not found.*max_steps.*test_equation_trust"):
            call(3.0)


# ── solvers that refer to recorded values ─────────────────────────────────────────────────────────────────────
def brent(f):
    return scipy.optimize.brentq(f, 0, 10, xtol=1e-14)


class Model:
    def __init__(self, a):
        self.a = a

    def residual(self, x):
        return x * x - self.a

    def solve(self):
        return brent(self.residual)


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a):
        self.a = a

    def solve(self):
        return brent(lambda x: x * x - self.a)


def in_closure(a):
    return fad.implicit(lambda: brent(lambda x: x * x - a), lambda x: x * x - a)()


def in_both(a):
    return fad.implicit(lambda b: brent(lambda x: x * x - a * b), lambda x, b: x * x - a * b)(2.0 * a / a)


def in_containers(a):
    p = {"all": [2 * a, 3]}
    return fad.implicit(lambda: brent(lambda x: x * x - p["all"][0]), lambda x: x * x - p["all"][0])()


def in_default(a):
    def solve(b=a):
        return brent(lambda x: x * x - b)

    return fad.implicit(solve, lambda x: x * x - a)()


def in_partial(a):
    solve = functools.partial(brent, functools.partial(lambda b, x: x * x - b, a))
    return fad.implicit(solve, lambda x: x * x - a)()


def in_array(a):
    b = np.zeros(2)
    b[0], b[1] = a, 1.0
    solve = lambda: scipy.optimize.root(lambda x: x * x - b, np.ones(2), tol=1e-13).x
    return fad.implicit(solve, lambda x: x * x - b)()[0]


def in_attribute(a):
    model = Model(a)
    return fad.implicit(model.solve, model.residual)()


@pytest.mark.parametrize(
    ("f", "k"), [(in_closure, 1), (in_both, 2), (in_containers, 2), (in_default, 1), (in_partial, 1), (in_array, 1),
                 (in_attribute, 1)],
)  # fmt: skip
def test_solvers_may_refer_to_recorded_values(f, k):
    a, exact = 4.0, lambda a: np.sqrt(k * a)
    np.testing.assert_allclose(fad.value_and_grad(f)(a), fad.value_and_grad(exact)(a))
    np.testing.assert_allclose(fad.hessian(f)(a), fad.hessian(exact)(a))
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(np.array([4.0, 9.0])), [fad.grad(exact)(x) for x in (4.0, 9.0)])
    kept = fad.jit(f)
    np.testing.assert_allclose([kept(x) for x in (9.0, 4.0)], [exact(9.0), exact(4.0)])


def test_a_recorded_value_that_is_not_seen_is_an_error_with_the_fix():
    def hidden(a):
        return fad.implicit(Slotted(a).solve, lambda x: x * x - a)()

    with pytest.raises(RecordingError, match=r"test_equation_trust.*as an argument"):
        fad.grad(hidden)(4.0)


def test_solvers_are_recorded_with_the_numbers_that_they_refer_to_now():
    scale = 1.0
    solve = fad.implicit(lambda a: scale * np.sqrt(a), lambda x, a: x * x - scale * scale * a)
    for scale in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(fad.value_and_grad(solve)(4.0), (2 * scale, scale / 4))


def test_a_helper_that_minimises_keeps_no_values_of_an_ode():
    def helper(y):
        return fad.minimize(lambda z: np.sum((z - y) ** 2 + z**4), np.zeros(1)).x[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fad.solve_ivp(lambda t, y: -helper(y[0]) * np.ones(1), (0, 1), np.ones(1))
