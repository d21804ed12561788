"""The linear systems of implicit methods: dense, sparse and without matrices, with the same steps and derivatives."""

import numpy as np
import pytest

import fastad as fad
from fastad.ode import coupled


def heat(t, y, a):
    padded = np.concatenate([np.zeros(1), y, np.zeros(1)])
    return a * (padded[2:] - 2.0 * padded[1:-1] + padded[:-2]) - y**3


def misfit(y0, a, method="Rodas5P", **options):
    sol = fad.solve_ivp(heat, (0, 0.1), y0, method, [0.05, 0.1], args=(a,), rtol=1e-7, atol=1e-9, **options)
    return np.sum((sol.y - 0.3) ** 2)


def start(n):
    return np.sin(np.pi * np.arange(1, n + 1) / (n + 1))


NEARLY = fad.ode.Krylov(lambda t, y, c, r, a: r / (1.0 + 2.0 * a * c))


@pytest.mark.parametrize("jac", [fad.ode.Krylov(), NEARLY], ids=["GMRES", "with a preconditioner"])
def test_systems_without_matrices(jac):
    y0 = start(4)
    own, dense = (fad.value_and_grad(misfit, argnums=(0, 1))(y0, 100.0, **given) for given in ({"jac": jac}, {}))
    assert own[0] == pytest.approx(dense[0], rel=1e-9)
    for mine, other in zip(own[1], dense[1]):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-10)
    if jac is not NEARLY:
        return
    curvature = lambda **given: fad.grad(fad.grad(lambda a: misfit(y0, a, **given)))(100.0)
    assert curvature(jac=jac) == pytest.approx(curvature(), rel=1e-7)


def test_a_preconditioner_returns_vectors():
    wrong = fad.ode.Krylov(lambda t, y, c, r, a: r[:3])
    with pytest.raises(fad.ShapeError, match="the preconditioner returned an array of shape"):
        misfit(start(6), 100.0, jac=wrong)


@pytest.mark.parametrize("method", ["SDIRK2", "BDF", "Radau"])
def test_newtons_methods_without_matrices(method):
    """GMRES with the user's preconditioner gives the derivatives that dense factors do, and exact ones."""
    y0, direction = start(4), np.array([1.0, -0.5, 0.3, 0.2])
    f = lambda y0, a, jac=NEARLY: misfit(y0, a, method, jac=jac)
    value, by = fad.value_and_grad(f, argnums=(0, 1))(y0, 100.0)
    other, others = fad.value_and_grad(lambda y0, a: f(y0, a, None), argnums=(0, 1))(y0, 100.0)
    assert value == pytest.approx(other, rel=1e-6) and by[1] == pytest.approx(others[1], rel=1e-6)
    np.testing.assert_allclose(by[0], others[0], rtol=1e-5, atol=1e-6)
    slope = fad.jvp(lambda y0: f(y0, 100.0), (y0,), (direction,))[1]
    assert by[0] @ direction == pytest.approx(slope, rel=1e-10)


def test_second_derivatives_and_lanes_of_stages_without_matrices():
    f = lambda a: misfit(start(4), a, "SDIRK2", jac=NEARLY, step=0.025)
    h, slope = 1e-2, fad.grad(f)
    assert fad.grad(slope)(100.0) == pytest.approx((slope(100.0 + h) - slope(100.0 - h)) / (2 * h), rel=1e-5)
    np.testing.assert_allclose(fad.vmap(slope)(np.array([50.0, 100.0]))[1], slope(100.0), rtol=1e-8)


# ── the stages of Radau, which are solved for together ────────────────────────────────────────────────────────
def fed(t, y, a):
    """A heat equation whose first component is given by a sum, with a matrix that is not sparse."""
    n = len(y)
    mixed = np.cos(np.outer(np.arange(n), np.arange(n)) / n) @ y / n
    return heat(t, y, a) + np.where(np.arange(n) == 0, -a * y, 1.0) * np.exp(-t) + mixed


@pytest.mark.parametrize("mass", [None, "singular"])
def test_stages_by_a_real_and_a_complex_system(mass, monkeypatch):
    """The steps are those of the matrix of all stages together."""
    n = 5
    monkeypatch.setattr(coupled, "_FEW", n - 1)
    y0, direction = start(n), np.cos(np.arange(float(n)))
    given = {None: None, "singular": (np.arange(n) != n - 1) * 1.0}[mass]

    def f(y0, a):
        sol = fad.solve_ivp(fed, (0, 0.1), y0, "Radau", [0.1], args=(a,), step=0.05, mass=given)
        return np.sum((sol.y - 0.3) ** 2)

    value, by = fad.value_and_grad(f, argnums=(0, 1))(y0, 40.0)
    slope = fad.jvp(lambda y0: f(y0, 40.0), (y0,), (direction,))[1]
    assert by[0] @ direction == pytest.approx(slope, rel=1e-10)
    monkeypatch.setattr(coupled, "_FEW", n)
    other, others = fad.value_and_grad(lambda y0, a: 1.0 * f(y0, a), argnums=(0, 1))(y0, 40.0)
    assert value == pytest.approx(other, rel=1e-10) and by[1] == pytest.approx(others[1], rel=1e-8)
    np.testing.assert_allclose(by[0], others[0], rtol=1e-8, atol=1e-10)


def test_sparse_systems(monkeypatch):
    """A heat equation whose matrices count as sparse, beside GMRES: values, tangents and adjoints."""
    n = 40
    for module in ("equations.sparse", "ode.iteration"):
        monkeypatch.setattr(f"fastad.{module}._FEW", n - 1)
    y0, direction = start(n), np.cos(np.arange(float(n)))
    f = lambda y0: misfit(y0, 2e3)
    value, slope = fad.jvp(f, (y0,), (direction,))
    gradient = fad.grad(f)(y0)
    assert gradient @ direction == pytest.approx(slope, rel=1e-10)
    h, fixed = 1e-4, lambda y0: misfit(y0, 2e3, step=0.025)
    difference = (fixed(y0 + h * direction) - fixed(y0 - h * direction)) / (2 * h)
    assert fad.jvp(fixed, (y0,), (direction,))[1] == pytest.approx(difference, rel=1e-5)
    assert value == pytest.approx(misfit(y0, 2e3, jac=NEARLY), rel=1e-8)
    np.testing.assert_array_equal(
        fad.grad(lambda y0: misfit(y0, 2e3, checkpoint=fad.checkpoint.Online(3)))(y0), gradient
    )


def test_a_sparse_mass_matrix_of_many_unknowns():
    """Finite elements for the heat equation: the mass matrix has three diagonals, of which sines are eigenvectors."""
    n, half = 120, np.pi / 242
    mass = fad.sparse.diags([np.full(n - 1, 1 / 6), np.full(n, 2 / 3), np.full(n - 1, 1 / 6)], [-1, 0, 1])
    linear = lambda t, y: heat(t, y, 500.0) + y**3
    sol = fad.solve_ivp(linear, (0, 0.1), start(n), "Rodas5P", [0.1], mass=mass, rtol=1e-7, atol=1e-9)
    decay = 500.0 * 4.0 * np.sin(half) ** 2 / (1.0 - 2.0 / 3.0 * np.sin(half) ** 2)
    np.testing.assert_allclose(sol.y[:, -1], np.exp(-0.1 * decay) * start(n), rtol=1e-6)
