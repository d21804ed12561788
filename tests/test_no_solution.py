"""What is said where there is no solution: by results, and by derivatives, which are errors at the user's line."""

import warnings

import numpy as np
import pytest

import fastad as fad
from fastad.optimize.minimizing import METHODS
from fastad.optimize.status import in_words

ONE, TWO = np.ones(1), np.eye(2)


def minimum(fun, x0, **options):
    return lambda a: fad.minimize(fun, x0, args=(a,), **options)


def both_sides(x):
    return np.stack([x[0] - 3.0, 1.0 - x[0]])


PROBLEMS = {
    "infeasible": (minimum(lambda x, a: a * x @ x, [0.5, 0.5], constraints={"type": "ineq", "fun": both_sides}), 4),
    "unbounded": (minimum(lambda x, a: a * x[0], [0.0]), 5),
    "few steps": (minimum(lambda x, a: a * x[0] ** 4, [1.0], max_steps=2), 1),
    "not finite": (minimum(lambda x, a: a * np.log(x[0]) + x[0], [-1.0]), 3),
    "not convex": (lambda a: fad.quadprog(-a * TWO, np.ones(2)), 7),
    "NaN in P": (lambda a: fad.quadprog(a * np.nan * TWO, np.ones(2)), 3),
    "infeasible programme": (
        lambda a: fad.quadprog(a * TWO, np.ones(2), np.array([[1.0, 0], [-1, 0]]), -np.ones(2)),
        4,
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives_give_the_reason_of_the_result_and_the_line(name):
    solve, status = PROBLEMS[name]
    found = solve(1.0)
    assert not found.success and found.status == status and found.message == in_words(status)
    for field in ("x", "fun"):
        with pytest.raises(fad.ConvergenceError) as told:
            fad.grad(lambda a, field=field: np.sum(solve(a)[field]))(1.0)
        text = str(told.value)
        assert in_words(status).removesuffix(".") in text and "the minimum was not found" in text
        assert "test_no_solution.py:" in text and ".," not in text


UNSOLVED = {
    "no root": lambda: (lambda x: x**2 + 1, fad.root(lambda x: x**2 + 1, 3.0)),
    "few steps": lambda: (lambda x: np.tanh(x) - 0.5, fad.root(lambda x: np.tanh(x) - 0.5, 1.0, max_steps=1)),
    "an iteration that diverges": lambda: (lambda x: x + 1, fad.fixed_point(lambda x: 2 * x + 1, 1.0, memory=0)),
    "the same sign": lambda: (lambda x: x**2 + 1, fad.root(lambda x: x**2 + 1, bracket=(0.0, 1.0))),
    "an infinite bracket": lambda: (np.tanh, fad.root(lambda x: np.tanh(x), bracket=(-np.inf, 1.0))),
}


@pytest.mark.parametrize("name", UNSOLVED)
def test_results_that_are_no_solutions_have_no_bound_and_their_own_residual(name):
    residual, found = UNSOLVED[name]()
    assert not found.success and found.stats["error"] == np.inf and found.stats["gradient_error"] == np.inf
    assert np.isclose(found.fun, residual(found.x))
    assert "Jacobian is singular" not in found.message


@pytest.mark.parametrize("method", METHODS)
def test_no_variables_are_solved(method):
    found = fad.minimize(lambda x: np.sum(x**2), np.zeros(0), method=method)
    assert found.success and found.x.shape == (0,) and found.fun == 0


def test_optima_inside_of_a_right_hand_side_keep_nothing():
    def pulled(t, y):
        return -fad.minimize(lambda x: (x[0] - y[0]) ** 2 + x[0] ** 4, [0.0], bounds=[(0, 0.7)]).x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fad.grad(lambda y0: fad.solve_ivp(pulled, (0, 1), y0, step=0.5).y[0, -1])(ONE)
