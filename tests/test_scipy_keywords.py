"""SciPy's keywords of `minimize` and `least_squares`, and points without gradient that are no minima."""

import numpy as np
import pytest
import scipy.optimize as so

import fastad as fad


def bowl(x, a):
    return np.sum((x - a) ** 2) + np.sum(x**4)


def with_gradient(x, a):
    return bowl(x, a), 2.0 * (x - a) + 4.0 * x**3


WRITTEN = [
    {"jac": "2-point", "options": {"maxiter": 50, "gtol": 1e-9, "disp": False}},
    {"jac": None, "hess": None, "hessp": None, "callback": None},
    {"method": "BFGS", "options": {"gtol": 1e-9}},
    {"method": "SLSQP", "bounds": so.Bounds(-5, 5), "options": {"ftol": 1e-10, "maxiter": 100}},
]


@pytest.mark.parametrize("more", WRITTEN)
def test_calls_as_scipys_users_write_them(more):
    found, peer = fad.minimize(bowl, [0.3, 0.2], args=(1.5,), **more), so.minimize(bowl, [0.3, 0.2], args=(1.5,))
    assert found.success
    np.testing.assert_allclose(found.x, peer.x, atol=1e-6)


def test_a_function_with_its_gradient():
    solve = fad.jacobian(lambda a: fad.minimize(with_gradient, [0.3], args=(a,), jac=True).x)
    plain = fad.jacobian(lambda a: fad.minimize(bowl, [0.3], args=(a,)).x)
    np.testing.assert_allclose(solve(1.5), plain(1.5), rtol=1e-12)
    with pytest.raises(fad.FastadError, match="leave jac out"):
        fad.minimize(bowl, [0.3], args=(1.5,), jac=True)


def test_a_gradient_of_the_users_is_compared_with_the_exact_one():
    solve = lambda a: fad.minimize(bowl, [0.3, 0.2], args=(a,), jac=lambda x, a: with_gradient(x, a)[1]).x[0]
    plain = lambda a: fad.minimize(bowl, [0.3, 0.2], args=(a,)).x[0]
    assert solve(1.5) == plain(1.5) and fad.grad(solve)(1.5) == fad.grad(plain)(1.5)


def test_options_count():
    assert fad.minimize(bowl, [3.0], args=(1.5,), options={"maxiter": 1}).nit == 1
    fitted = fad.least_squares(lambda x: x**3 - 8.0, [1.0], ftol=1e-10, xtol=1e-10, gtol=1e-10, max_nfev=90, verbose=0)
    np.testing.assert_allclose(fitted.x, 2.0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"jac": lambda x, a: 2.0 * (x - a)}, "its component 0 is -1, and .* is 3"),
        ({"jac": with_gradient}, "jac returned a tuple"),
        ({"hess": np.eye}, "leave hess out"),
        ({"hessp": np.dot}, "trust-ncg"),
        ({"callback": print}, "max_steps=1"),
        ({"options": {"disp": True}}, "print the result"),
        ({"options": 3}, "must be a dictionary"),
        ({"options": {"maxiter": 2.5}}, "must be an integer"),
        ({"options": {"maxiter": -1}}, "must not be negative"),
        ({"options": {"finite_diff": 1}}, "there is no argument or option 'finite_diff'"),
        ({"speed": 1}, "there is no argument or option 'speed'"),
    ],
)
def test_refusals_name_the_line_and_the_fix(more, words):
    with pytest.raises((ValueError, TypeError), match=words) as error:
        fad.minimize(bowl, [1.0], args=(1.5,), **more)
    assert "test_scipy_keywords.py" in str(error.value)


@pytest.mark.parametrize("method", ["newton", "trust-ncg"])
@pytest.mark.parametrize(("start", "nit"), [([0.0, 0.0], 0), ([1.0, 0.0], None)])
def test_a_saddle_point_is_no_minimum(start, nit, method):
    """The start is one, or Newton's steps never leave the line that leads to it."""

    def saddle(x, a):
        return a * x[0] ** 2 - x[1] ** 2 + x[1] ** 4

    found = fad.minimize(saddle, start, args=(1.0,), method=method)
    assert not found.success and "saddle point" in found.message and (nit is None or found.nit == nit)
    with pytest.raises(fad.ConvergenceError):
        fad.grad(lambda a: fad.minimize(saddle, start, args=(a,), method=method).x[0])(1.0)
    assert fad.minimize(saddle, [0.1, 0.1], args=(1.0,), method=method).success
    assert fad.minimize(
        lambda x: x[0] ** 2 + 0.0 * x[1], [1.0, 1.0], method=method
    ).success  # flat: minima are not isolated
