"""The functions that a solve is given: what they refer to, and when."""

import numpy as np
import pytest
import scipy.sparse

import fastad as fad

OPTIONS = {"rtol": 1e-8, "atol": 1e-10}


def test_delays_by_the_method_of_steps():
    """Each piece looks at the one before through a name that the next one gives another value."""

    def population(rate):
        past, end, found = (lambda t: 0.5 + 0.0 * t), np.array([0.5]), []
        for k in range(3):
            before = past
            sol = fad.solve_ivp(
                lambda t, y: rate * y * (1.0 - before(t - 1.0)),  # noqa: B023, it is another function for each piece
                (k, k + 1.0), end, dense_output=True, **OPTIONS,
            )  # fmt: skip
            past, end = (lambda t, sol=sol: sol.sol(t)[0]), sol.y[:, -1]
            found.append(end[0])
        return np.stack(found)

    rate, h = 1.4, 1e-5
    assert fad.jit(population)(rate) == pytest.approx(population(rate), rel=1e-12)
    differences = (population(rate + h) - population(rate - h)) / (2 * h)
    np.testing.assert_allclose(fad.jacobian(population)(rate), differences, rtol=2e-5)
    assert population(rate)[0] == pytest.approx(0.5 * np.exp(0.7), rel=1e-7)  # there the past is known


@pytest.mark.parametrize("field", ["sol", "t", "y", "stats"])
def test_what_is_computed_later_is_that_of_the_solve(field):
    """A name in the right-hand side that has another value when a field is asked for."""

    def look(sol):
        if field == "stats":
            return sol.stats["adjoint_residual"] < 1e-10
        return {"sol": lambda: sol.sol(0.5)[0], "t": lambda: sol.t[1], "y": lambda: sol.y[0, 1]}[field]()

    def solved(k, later):
        own = k
        sol = fad.solve_ivp(lambda t, y: -own * y, (0, 1), [1.0], "Rodas5P", dense_output=field == "sol", **OPTIONS)
        own = own if later is None else later
        return look(sol)

    assert fad.jit(solved)(1.5, 40.0) == fad.jit(solved)(1.5, None)


@pytest.mark.parametrize("method", ["Radau", "BDF", "Rodas5P"])
@pytest.mark.parametrize("form", [list, np.array, lambda rows: scipy.sparse.csr_matrix(np.array(rows))])
def test_a_jacobian_may_refer_to_what_is_differentiated(method, form):
    def end(mu, given):
        fun = lambda t, y: [y[1], mu * (1.0 - y[0] ** 2) * y[1] - y[0]]
        jac = lambda t, y: form([[0.0, 1.0], [-2.0 * mu * y[0] * y[1] - 1.0, mu * (1.0 - y[0] ** 2)]])
        return fad.solve_ivp(fun, (0, 2), [2.0, 0.0], method, jac=jac if given else None, **OPTIONS).y[0, -1]

    assert fad.grad(end)(5.0, True) == fad.grad(end)(5.0, False)


@pytest.mark.parametrize("form", [np.diag, scipy.sparse.diags])
def test_a_constant_jacobian_may_be_recorded(form):
    def end(rates, factor):
        jac = form(factor * rates)
        return np.sum(fad.solve_ivp(lambda t, y: rates * y, (0, 1), [2.0, 1.0], "Radau", jac=jac, **OPTIONS).y[:, -1])

    rates = np.array([-1.0, -2.0])
    with pytest.raises(fad.ShapeError, match=r"element \[., .\].*Leave jac out"):
        fad.grad(end)(rates, 1.5)
    np.testing.assert_allclose(fad.grad(end)(rates, 1.0), np.array([2.0, 1.0]) * np.exp(rates), rtol=1e-6)
