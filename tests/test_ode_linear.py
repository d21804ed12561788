"""The linear systems of implicit methods: dense, sparse and without matrices, with the same steps and derivatives."""

import numpy as np
import pytest

import fastad as fad


def heat(t, y, a):
    padded = np.concatenate([np.zeros(1), y, np.zeros(1)])
    return a * (padded[2:] - 2.0 * padded[1:-1] + padded[:-2]) - y**3


def misfit(y0, a, **options):
    sol = fad.solve_ivp(heat, (0, 0.1), y0, "Rodas5P", [0.05, 0.1], args=(a,), rtol=1e-7, atol=1e-9, **options)
    return np.sum((sol.y - 0.3) ** 2)


def start(n):
    return np.sin(np.pi * np.arange(1, n + 1) / (n + 1))


NEARLY = fad.ode.Krylov(lambda t, y, c, r, a: r / (1.0 + 2.0 * a * c))


@pytest.mark.parametrize("jac", [fad.ode.Krylov(), NEARLY], ids=["GMRES", "with a preconditioner"])
def test_systems_without_matrices(jac):
    y0 = start(12)
    own, dense = (fad.value_and_grad(misfit, argnums=(0, 1))(y0, 100.0, **given) for given in ({"jac": jac}, {}))
    assert own[0] == pytest.approx(dense[0], rel=1e-9)
    for mine, other in zip(own[1], dense[1]):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-10)
    curvature = lambda **given: fad.grad(fad.grad(lambda a: misfit(y0, a, **given)))(100.0)
    assert curvature(jac=jac) == pytest.approx(curvature(), rel=1e-7)


def test_a_preconditioner_returns_vectors():
    wrong = fad.ode.Krylov(lambda t, y, c, r, a: r[:3])
    with pytest.raises(fad.ShapeError, match="the preconditioner returned an array of shape"):
        misfit(start(12), 100.0, jac=wrong)


def test_newtons_methods_need_a_matrix():
    with pytest.raises(fad.ShapeError, match="Rodas5P"):
        fad.solve_ivp(heat, (0, 0.1), start(5), "Kvaerno5", args=(1.0,), jac=NEARLY)


def test_sparse_systems():
    """A heat equation with 150 unknowns, whose matrices are sparse, beside GMRES: values, tangents and adjoints."""
    y0, direction = start(150), np.cos(np.arange(150.0))
    f = lambda y0: misfit(y0, 2e3)
    value, slope = fad.jvp(f, (y0,), (direction,))
    gradient = fad.grad(f)(y0)
    assert gradient @ direction == pytest.approx(slope, rel=1e-10)
    h = 1e-5
    assert slope == pytest.approx((f(y0 + h * direction) - f(y0 - h * direction)) / (2 * h), rel=1e-6)
    assert value == pytest.approx(misfit(y0, 2e3, jac=NEARLY), rel=1e-8)
    np.testing.assert_array_equal(fad.grad(lambda y0: misfit(y0, 2e3, checkpoint=fad.checkpoint.Online(3)))(y0), gradient)


def test_a_sparse_mass_matrix_of_many_unknowns():
    """Finite elements: the mass matrix has three diagonals."""
    n = 120
    mass = fad.sparse.diags([np.full(n - 1, 1 / 6), np.full(n, 2 / 3), np.full(n - 1, 1 / 6)], [-1, 0, 1])
    sol = fad.solve_ivp(heat, (0, 0.1), start(n), "Rodas5P", [0.1], args=(500.0,), mass=mass, rtol=1e-7, atol=1e-9)
    whole = np.linalg.inv(mass.toarray())
    other = fad.solve_ivp(
        lambda t, y: whole @ heat(t, y, 500.0), (0, 0.1), start(n), "Rodas5P", [0.1], rtol=1e-7, atol=1e-9
    )
    np.testing.assert_allclose(sol.y, other.y, rtol=1e-6)
