"""Large constrained problems with few elements: sparse systems give what dense ones give."""

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator
from transform_tools import central, each_tier

import fastad as fad
from fastad.kernels import superlu

N = 122


def energy(x, p):
    return 12.0 * np.sum((x[1:] - x[:-1]) ** 2) + np.sum((x - p) ** 2) + 0.1 * np.sum(np.sin(3.0 * x))


def equal(x):
    return x[:-2:5] + x[2::5] ** 2 - 0.5


def within(x):
    return 1.2 - x[1::4] ** 2 - 0.1 * x[:-1:4]


def chain(p):
    """A chain whose neighbours pull on each other, with equations, inequalities and bounds."""
    limits = [{"type": "eq", "fun": equal}, {"type": "ineq", "fun": within}]
    return fad.minimize(energy, np.full(N, 0.3), args=(p,), constraints=limits, bounds=[(-0.8, 0.45)] * N)


POINT = np.sin(np.arange(N))
WEIGHTS = np.cos(np.arange(N))


def total(p):
    return chain(p).x @ WEIGHTS


def test_solution_and_gradient_are_those_of_the_dense_system():
    """The conditions hold, and the derivative is that of a dense solve with the same active set."""
    found, slope = chain(POINT), fad.grad(total)(POINT)
    assert found.success and np.any(found.active_mask != 0)
    on_bound = found.active_mask != 0
    rows = np.concatenate([fad.jacobian(equal)(found.x), fad.jacobian(within)(found.x), np.eye(N)[on_bound]])
    v = np.concatenate([*found.multipliers, found.bound_multipliers[on_bound]])
    np.testing.assert_allclose(found.jac + v @ rows, 0.0, atol=1e-9)

    count = len(equal(POINT))

    def lagrangian(x):
        return energy(x, POINT) + v[:count] @ equal(x) + found.multipliers[1] @ within(x)

    kept = np.concatenate([np.ones(count, bool), found.active[1] != 0, np.ones(np.sum(on_bound), bool)])
    j = rows[kept]
    system = np.block([[fad.hessian(lagrangian)(found.x), j.T], [j, np.zeros((len(j), len(j)))]])
    right = np.concatenate([2.0 * np.eye(N), np.zeros((len(j), N))])  # minus the derivative of ∇L by p
    np.testing.assert_allclose(slope, WEIGHTS @ np.linalg.solve(system, right)[:N], atol=1e-9)


def test_no_dense_factors_are_made():
    names = {row.name for row in fad.trace(fad.grad(total), POINT).primitives}
    assert "sparse_lu" in names and "lu" not in names


@each_tier
def test_derivatives_are_differences(tier):
    direction = np.cos(3.0 * np.arange(N))
    gradient = fad.jit(fad.grad(total), tier=tier)(POINT)
    wanted = central(total, POINT, direction, 1e-5)
    assert abs(gradient @ direction - wanted) < 1e-6 * (1.0 + abs(wanted))
    along = fad.jvp(total, (POINT,), (direction,))[1]
    assert abs(gradient @ direction - along) < 1e-9 * (1.0 + abs(along))


def test_second_order():
    direction = np.cos(3.0 * np.arange(N))
    product = fad.hvp(total, POINT, direction)
    wanted = (fad.grad(total)(POINT + 1e-5 * direction) - fad.grad(total)(POINT - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(product, wanted, atol=1e-5)


def test_the_users_random_numbers_are_left_alone():
    np.random.seed(3)  # noqa: NPY002
    first = np.random.uniform()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    found = superlu._estimated_norm(aslinearoperator(np.diag(1.0 + np.arange(40))))
    assert found == 40.0 and np.random.uniform() == first  # noqa: NPY002


def test_lanes():
    points = np.stack([POINT, 0.5 * POINT])
    np.testing.assert_allclose(fad.vmap(lambda p: chain(p).x)(points), [chain(p).x for p in points], atol=1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_directions_without_curvature(sign):
    """A linear objective in a box: no Hessian at all."""
    found = fad.minimize(lambda x: sign * np.sum(x), np.full(N, 0.3), bounds=[(-1, 2)] * N)
    np.testing.assert_allclose(found.x, -1.0 if sign > 0 else 2.0, atol=1e-8)


def test_a_variable_that_does_not_matter_has_a_value_but_no_derivative():
    def solve(p):
        return fad.minimize(lambda x, p: np.sum((x[1:] - p) ** 2), np.full(N, 0.3), args=(p,), method="bfgs").x

    np.testing.assert_allclose(fad.jit(solve)(1.0)[1:], 1.0, atol=1e-7)
    with pytest.raises(fad.SingularMatrixError):
        fad.grad(lambda p: solve(p)[5])(1.0)
