"""Large constrained problems with few elements: sparse systems give what dense ones give."""

import numpy as np
import pytest
from transform_tools import central, each_tier

import fastad as fad
from fastad.optimize import canonical, conditions

N = 122


def chain(p):
    """A chain whose neighbours pull on each other, with equations, inequalities and bounds."""
    n = len(p)

    def energy(x, p):
        return 0.1 * n * np.sum((x[1:] - x[:-1]) ** 2) + np.sum((x - p) ** 2) + 0.1 * np.sum(np.sin(3.0 * x))

    equal = {"type": "eq", "fun": lambda x: x[:-2:5] + x[2::5] ** 2 - 0.5}
    within = {"type": "ineq", "fun": lambda x: 1.2 - x[1::4] ** 2 - 0.1 * x[:-1:4]}
    return fad.minimize(
        energy, np.full(n, 0.3), args=(p,), constraints=[equal, within], bounds=[(-0.8, 0.35)] * n
    )  # fmt: skip


POINT = np.sin(np.arange(N))


def total(p):
    return np.sum(chain(p).x * np.cos(np.arange(N)))


def test_sparse_systems_are_used_and_give_what_dense_ones_give(monkeypatch):
    names = [row.name for row in fad.trace(fad.grad(total), POINT).rows()]
    assert "lu" not in names and "sparse_lu" in names
    found, slope = chain(POINT), fad.grad(total)(POINT)
    assert found.success and np.any(found.active_mask != 0)
    monkeypatch.setattr(canonical, "FEW", 10**9)
    monkeypatch.setattr(conditions, "is_sparse", lambda equation: False)
    dense = fad.jit(lambda p: (chain(p).x, chain(p).multipliers, fad.grad(total)(p)))(POINT + 0.0)
    np.testing.assert_allclose(found.x, dense[0], atol=1e-9)
    np.testing.assert_allclose(np.concatenate(found.multipliers), np.concatenate(dense[1]), atol=1e-8)
    np.testing.assert_allclose(slope, dense[2], atol=1e-9)


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
