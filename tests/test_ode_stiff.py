"""Rosenbrock methods: order conditions, order of convergence, stiff problems with known solutions, exact adjoints."""

import numpy as np
import pytest

import fastad as fad

ROBER = np.array([0.04, 1e4, 3e7])


def rober(t, y, k=ROBER):
    first, second, third = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
    return np.array([second - first, first - second - third, third])


def test_order_conditions():
    method = fad.ode.Rodas5P
    assert (method.order, method.error_order, method.order_of_dense()) == (5, 5, 4)


def test_rober_ends_where_it_is_known_to():
    sol = fad.solve_ivp(rober, (0, 1e11), [1.0, 0, 0], "Rodas5P", [1e11], rtol=1e-8, atol=1e-15)
    end = [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]
    assert sol.success
    np.testing.assert_allclose(sol.y[:, -1], end, rtol=2e-7)
    assert sol.njev == sol.nlu == sol.stats["accepted"] + sol.stats["rejected"]


@pytest.fixture(scope="module")
def integral():
    def integral(k):
        with_integral = lambda t, y: np.concatenate([rober(t, y, k), [y[2]]])
        atol = [1e-12, 1e-14, 1e-12, 1e-6]
        return fad.solve_ivp(with_integral, (0, 4e7), [1.0, 0, 0, 0], "Rodas5P", rtol=1e-8, atol=atol).y[3, -1]

    return integral


def test_gradient_of_rober_is_that_of_the_literature(integral):
    value, gradient = fad.value_and_grad(integral)(ROBER)
    assert value == pytest.approx(3.998252821e7, rel=1e-7)
    np.testing.assert_allclose(gradient, [7.683773e5, -3.068921, 5.114890e-4], rtol=1e-6)


def test_adjoint_and_tangent_agree(integral):
    direction = ROBER * [1.0, 2.0, 3.0]
    forward = fad.jvp(integral, (ROBER,), (direction,))[1]
    assert fad.grad(integral)(ROBER) @ direction == pytest.approx(forward, rel=1e-10)
