"""Implicit methods for systems that are not small, whose factors are kept, and with mass matrices that depend on the
solution."""

import numpy as np
import pytest

import fastad as fad

N = 5
X = np.linspace(0.0, 1.0, N)
FRONT = 1.0 / (1.0 + np.exp(20.0 * (X - 0.3)))
V = np.sin(np.arange(N))


def front(t, u, a):
    """A reaction and diffusion front."""
    right, left = np.concatenate([u[1:], u[-1:]]), np.concatenate([u[:1], u[:-1]])
    return a * N**2 * (right - 2 * u + left) + 10.0 * u * (1 - u) * (u - 0.2)


def solved(y0, a, method="Kvaerno5", **options):
    return fad.solve_ivp(front, (0, 2), y0, args=(a,), method=method, rtol=1e-4, atol=1e-6, **options)


def cost(y0, a, **options):
    return np.sum(solved(y0, a, **options).y[:, -1] ** 2)


@pytest.fixture
def keeps(monkeypatch):
    """Let factors of such systems be kept."""
    monkeypatch.setattr("fastad.ode.implicit.SMALL", 4)
    monkeypatch.setattr("fastad.ode.radau.SMALL", 4)


@pytest.mark.parametrize("method", ["Kvaerno5", "Radau"])
def test_factors_are_kept_from_step_to_step(keeps, method):
    sol = solved(FRONT, 0.01, method)
    assert sol.success and sol.nlu == sol.njev < 0.9 * sol.stats["accepted"]
    fine = fad.solve_ivp(front, (0, 2), FRONT, args=(0.01,), method="Dopri8", rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sol.y[:, -1], fine.y[:, -1], atol=2e-3)


@pytest.mark.parametrize("method", ["SDIRK2", "Kvaerno5", "Radau"])
def test_derivatives_know_nothing_of_kept_factors(keeps, method):
    """They are exact, and the same bits however states are stored, although the factors are lost then."""
    gradient = lambda **options: fad.grad(lambda y0: cost(y0, 0.01, method=method, **options))(FRONT)
    found = gradient()
    np.testing.assert_allclose(
        found @ V, fad.jvp(lambda y0: cost(y0, 0.01, method=method), (FRONT,), (V,))[1], rtol=1e-10
    )
    assert gradient(checkpoint=fad.checkpoint.Online(3)).tobytes() == found.tobytes()


# ── mass matrices that depend on t and y ──────────────────────────────────────────────────────────────────────
START, RATE = np.array([0.5, 0.0]), 3.0


def force(t, y, a):
    return np.array([(-a * (y[0] - np.cos(t)) - np.sin(t)) * (1 + y[0] ** 2) + 0.3 * y[1], y[0] - y[1]])


def mass(t, y, a):
    return np.array([[1 + y[0] ** 2, 0.2 * y[1]], [0.1 * np.sin(t), 2 + np.cos(a * y[0])]])


def end(a, method, **options):
    return fad.solve_ivp(force, (0, 2), START, args=(a,), method=method, mass=mass, **options).y[0, -1]


def exact_end(a):
    slope = lambda t, y: np.linalg.solve(mass(t, y, a), force(t, y, a))
    return fad.solve_ivp(slope, (0, 2), START, method="Dopri8", rtol=1e-12, atol=1e-12).y[0, -1]


@pytest.mark.parametrize(("method", "accuracy"), [("ImplicitEuler", 1e-2), ("Trapezoid", 1e-4), ("SDIRK2", 1e-4),
                                                  ("Kvaerno5", 1e-5), ("Radau", 1e-6)])  # fmt: skip
def test_a_mass_matrix_that_depends_on_the_solution(method, accuracy):
    options = {"rtol": 1e-6, "atol": 1e-8} if accuracy < 1e-4 else {"rtol": 1e-4, "atol": 1e-6}
    f = lambda a: end(a, method, **options)
    np.testing.assert_allclose(f(RATE), exact_end(RATE), rtol=accuracy)
    np.testing.assert_allclose(fad.grad(f)(RATE), fad.jvp(f, (RATE,), (1.0,))[1], rtol=1e-10)
    np.testing.assert_allclose(fad.grad(f)(RATE), fad.grad(exact_end)(RATE), rtol=100 * accuracy)


def chemistry(t, y, k):
    """Robertson's reaction, with the conservation of mass as an algebraic equation."""
    slow, fast = k[1] * y[1] * y[2] - k[0] * y[0], k[2] * y[1] ** 2
    return np.array([slow, -slow - fast, y[0] + y[1] + y[2] - 1.0])


@pytest.mark.parametrize("method", ["ImplicitEuler", "SDIRK2", "Kvaerno5", "RadauIIA5"])
def test_algebraic_equations(method):
    rates = np.array([0.04, 1e4, 3e7])
    options = {"args": (rates,), "method": method, "rtol": 1e-5, "atol": 1e-9}
    constant = fad.solve_ivp(chemistry, (0, 100), [1.0, 0.0, 0.1], mass=np.array([1.0, 1.0, 0.0]), **options)
    of_time = fad.solve_ivp(
        chemistry, (0, 100), [1.0, 0.0, 0.1], mass=lambda t, y, k: np.array([1.0, 1.0, 0.0 * t]), **options
    )
    np.testing.assert_allclose(of_time.y[:, -1], constant.y[:, -1], rtol=1e-9)
    np.testing.assert_allclose(constant.y[:, -1], [6.172348e-1, 6.153592e-6, 3.827590e-1], rtol=5e-3)
    np.testing.assert_allclose(constant.y[:, 1:].sum(axis=0), 1.0, rtol=1e-9)


def test_a_mass_matrix_of_another_shape():
    with pytest.raises(fad.ShapeError, match="mass has shape"):
        fad.solve_ivp(force, (0, 1), START, args=(RATE,), method="Radau", mass=lambda t, y, a: np.zeros(3))


@pytest.mark.parametrize("method", ["BDF", "Kvaerno5", "Radau", "SDIRK2"])
def test_tangents_of_trial_steps_that_were_not_solved_are_not_asked_for(method):
    def end(k):
        stiff = lambda t, y: [y[1], k * (1 - y[0] ** 2) * y[1] - y[0]]
        return fad.solve_ivp(stiff, (0, 2000.0), [2.0, 0.0], method, [2000.0], rtol=1e-2, atol=1e-2).y[0, -1]

    plain = fad.solve_ivp(lambda t, y: [y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]], (0, 2000.0), [2.0, 0.0], method,
                          rtol=1e-2, atol=1e-2)  # fmt: skip
    assert plain.success and plain.stats["unsolved"] > 0
    assert fad.jvp(end, (1e3,), (1.0,))[1] == pytest.approx(fad.grad(end)(1e3), rel=1e-8)
