"""Where stiff solves start and end: consistent first states, no unknowns, advice where explicit steps are too many."""

import numpy as np
import pytest

import fastad as fad

METHODS = ("Rodas5P", "Kvaerno5", "BDF")
MASS = np.diag([1.0, 0.0])


def halved(t, y, a):
    """y₁ = a y₀, at all times."""
    return np.stack([-y[0], y[1] - a * y[0]])


@pytest.mark.parametrize("method", METHODS)
def test_first_states_of_daes_are_consistent_wherever_they_are_read(method):
    def starts(a):
        solve = lambda **options: fad.solve_ivp(
            halved, (0, 1), np.array([1.0, 5.0]), method, args=(a,), mass=MASS, **options
        )
        return np.stack(
            [solve().y[1, 0], solve(t_eval=np.array([0.0, 1.0])).y[1, 0], solve(dense_output=True).sol(0.0)[1]]
        )

    np.testing.assert_allclose(starts(2.0), 2.0, rtol=1e-12)
    np.testing.assert_allclose(fad.jacobian(starts)(2.0), 1.0, rtol=1e-12)


@pytest.mark.parametrize("method", ("auto", "Radau", *METHODS))
def test_no_unknowns_are_solved(method):
    found = fad.solve_ivp(lambda t, y: -y, (0, 1), np.zeros(0), method)
    assert found.success and found.y.shape[0] == 0


def test_explicit_methods_that_need_too_many_steps_name_the_stiff_ones():
    def message(y0, method):
        return fad.solve_ivp(lambda t, y: -1e6 * (y - np.cos(t)), (0, 10), y0, method, max_steps=25).message

    assert '"Rodas5P"' in message(np.zeros(1), "Tsit5") and '"Rodas5P"' in fad.jit(message)(np.zeros(1), "RK45")
    assert "stiff" not in message(np.zeros(1), "Radau")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("derive", [lambda f: f, fad.grad])
def test_initial_values_without_a_consistent_state_name_the_equation_and_the_line(method, derive):
    def last(a):
        fun = lambda t, y: np.stack([-y[0], y[1] ** 2 + a])
        return fad.solve_ivp(fun, (0, 1), [1.0, 2.0], method, mass=MASS).y[0, -1]

    with pytest.raises(fad.ConvergenceError, match=r"consistent.* at t = 0 .*test_ode_starts.*component 1 of fun"):
        derive(last)(1.0)
