"""BDF and auto: their coefficients, their derivatives under every schedule, SciPy's names, stiff problems."""

import numpy as np
import pytest
import scipy.integrate
from scipy.integrate._ivp.bdf import compute_R

import fastad as fad
from fastad.ode import bdf
from fastad.tables.reference import evaluate


def robertson(t, y, p):
    slow, back, fast = p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]
    return np.array([back - slow, slow - back - fast, fast])


def driven(t, y, p):
    """Stiff with a rate p₀ where it is large, towards a curve that moves."""
    return np.array([-p[0] * (y[0] - np.cos(t)) + y[1], p[1] * np.sin(t) - y[1] * y[0] ** 2])


START, RATES = np.array([1.0, 0.0, 0.0]), np.array([0.04, 1e4, 3e7])
Y0, P = np.array([0.3, 0.7]), np.array([200.0, 0.8])
METHODS = ("BDF", "auto")
OPTIONS = {
    "end": {}, "points": {"t_eval": [0.0, 0.4, 1.1, 2.0]},
    "jump": {"events": fad.ode.Event(lambda t, y, p: y[1] - 0.6, lambda t, y, p: y + np.array([0.0, 0.5]))},
}  # fmt: skip
each_case = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
each_method = pytest.mark.parametrize("method", METHODS)


def end(y0, p, method="BDF", rtol=1e-4, **options):
    sol = fad.solve_ivp(driven, (0, 2), y0, method, args=(p,), rtol=rtol, atol=rtol, **options)
    return sol.y if "t_eval" in options else sol.y[:, -1]


def cost(y0, p, **options):
    return np.sum(np.sin(3.0 * end(y0, p, **options)))


# ── the coefficients of BDF ───────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("k", range(1, bdf.HIGHEST + 1))
def test_differences_of_another_step_are_scipys(k):
    ratio = 0.37
    powers = ratio ** np.arange(bdf.HIGHEST + 1)
    found = np.tensordot(powers, bdf.rescaling(), 1)[: k + 1, : k + 1]
    np.testing.assert_allclose(found, (compute_R(k, ratio) @ compute_R(k, 1)).T, atol=1e-13)


@pytest.mark.parametrize("k", range(1, bdf.HIGHEST + 1))
@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_a_step_of_order_k_is_exact_for_polynomials_of_degree_k(k, ratio):
    """Differences of y = tᵏ at times before 1 and steps of size h₀ are those at 1 + h after a step of size h, with d
    from y' at its end."""
    h0, h = 0.1, 0.1 * ratio
    y, slope = (lambda t: t**k), (lambda t: k * t ** (k - 1))
    differences = lambda at, h: np.array([
        sum((-1.0) ** m * np.prod([(j - i) / (i + 1) for i in range(m)]) * y(at - m * h) for m in range(j + 1))
        for j in range(bdf.ROWS)
    ])  # fmt: skip
    weights = np.tensordot(ratio ** np.arange(bdf.HIGHEST + 1), bdf.weights(k), 1)
    predicted, psi, *base = weights @ differences(1.0, h0)
    change = h / bdf.ALPHA[k] * slope(1.0 + h) - psi
    np.testing.assert_allclose(predicted + change, y(1.0 + h), rtol=1e-12)
    after = np.array(base) + change * (np.arange(bdf.ROWS) <= k + 2)
    np.testing.assert_allclose(after[: k + 1], differences(1.0 + h, h)[: k + 1], rtol=1e-9, atol=1e-12)


def test_steps_orders_and_errors_are_as_scipys():
    own, theirs = (
        solve(driven, (0, 20), Y0, "BDF", args=(P,), rtol=1e-6, atol=1e-8)
        for solve in (fad.solve_ivp, scipy.integrate.solve_ivp)
    )
    exact = scipy.integrate.solve_ivp(driven, (0, 20), Y0, "Radau", args=(P,), rtol=1e-11, atol=1e-13).y[:, -1]
    assert own.success and own.stats["accepted"] <= 1.15 * len(theirs.t) and own.nlu <= theirs.nlu
    assert np.abs(own.y[:, -1] - exact).max() <= 4 * np.abs(theirs.y[:, -1] - exact).max() + 1e-7


# ── derivatives ───────────────────────────────────────────────────────────────────────────────────────────────
@each_method
@each_case
def test_adjoints_are_tangents_and_near_finite_differences(method, options):
    g = lambda y0, p: cost(y0, p, method=method, **options)
    v = np.array([0.4, -0.9]), np.array([30.0, 0.5])
    bars = fad.grad(g, argnums=(0, 1))(Y0, P)
    found = sum(a @ b for a, b in zip(bars, v, strict=True))
    np.testing.assert_allclose(found, fad.jvp(g, (Y0, P), v)[1], rtol=1e-10)
    tight = lambda s: cost(Y0 + s * v[0], P + s * v[1], method="Radau", rtol=1e-10, **options)
    np.testing.assert_allclose(found, (tight(1e-4) - tight(-1e-4)) / 2e-4, rtol=1e-2, atol=5e-3)


@each_method
@each_case
def test_every_schedule_gives_the_same_bits(method, options):
    c = fad.checkpoint
    gradient = lambda s: fad.grad(lambda y0: cost(y0, P, method=method, checkpoint=s, **options))(Y0)
    wanted = gradient(c.StoreAll())
    for schedule in (c.Online(2), c.Online(9)):
        assert gradient(schedule).tobytes() == wanted.tobytes(), schedule


@each_method
def test_second_derivatives_are_finite_differences_of_gradients(method):
    v, e = np.array([0.4, -0.9]), 1e-5
    gradient = fad.grad(lambda y0: cost(y0, P, method=method, rtol=1e-8))
    found = fad.jvp(gradient, (Y0,), (v,))[1]
    np.testing.assert_allclose(found, (gradient(Y0 + e * v) - gradient(Y0 - e * v)) / (2 * e), rtol=1e-4, atol=1e-6)


@each_method
def test_the_kernels_compute_what_the_definition_says(method):
    value = lambda y0: cost(y0, P, method=method, rtol=1e-3)
    for own in (value, fad.grad(value)):
        table = fad.trace(own, Y0)
        np.testing.assert_allclose(evaluate(table, [Y0, *table.captured])[0], own(Y0), rtol=1e-9)


@each_method
def test_solves_under_jit_and_vmap(method):
    starts = Y0 + np.array([[0.0, 0.0], [0.2, -0.1], [-0.3, 0.4]])
    one = lambda y0: cost(y0, P, method=method)
    wanted, bars = np.array([one(y0) for y0 in starts]), np.array([fad.grad(one)(y0) for y0 in starts])
    np.testing.assert_allclose(fad.jit(one)(Y0), one(Y0), rtol=1e-12)
    np.testing.assert_allclose(fad.vmap(one)(starts), wanted, rtol=1e-9)
    np.testing.assert_allclose(fad.grad(lambda ys: np.sum(fad.vmap(one)(ys)))(starts), bars, rtol=1e-8, atol=1e-12)


@each_method
def test_ends_of_the_span_have_derivatives(method):
    last = lambda ends: fad.solve_ivp(driven, (ends[0], ends[1]), Y0, method, args=(P,), rtol=1e-8, atol=1e-10).y[:, -1]
    found = fad.jacobian(last)(np.array([0.0, 2.0]))
    np.testing.assert_allclose(found[:, 1], driven(2.0, last(np.array([0.0, 2.0])), P), rtol=1e-4)
    e = 1e-4
    moved = (last(np.array([e, 2.0])) - last(np.array([-e, 2.0]))) / (2 * e)
    np.testing.assert_allclose(found[:, 0], moved, rtol=1e-3, atol=1e-5)


# ── as SciPy's users call them ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("method", [*METHODS, "LSODA", scipy.integrate.BDF, scipy.integrate.LSODA])
def test_robertson_to_the_end(method):
    wanted = np.array([0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050])
    sol = fad.solve_ivp(robertson, (0, 1e11), START, method, args=(RATES,), rtol=1e-8, atol=[1e-16, 1e-22, 1e-8])
    np.testing.assert_allclose(sol.y[:, -1], wanted, rtol=3e-6)
    assert 0 < sol.nlu <= sol.njev and sol.nfev > sol.stats["accepted"]


@each_method
def test_dense_output_is_as_good_as_the_steps(method):
    sol = fad.solve_ivp(driven, (0, 5), Y0, method, args=(P,), rtol=1e-7, atol=1e-7, dense_output=True)
    t = np.linspace(0, 5, 101)
    exact = scipy.integrate.solve_ivp(driven, (0, 5), Y0, "Radau", t, args=(P,), rtol=1e-11, atol=1e-12).y
    np.testing.assert_allclose(sol.sol(t), exact, atol=2e-5)
    np.testing.assert_allclose(sol.sol(sol.t), sol.y, rtol=1e-14)


@each_method
def test_fixed_steps_are_refused(method):
    with pytest.raises(fad.errors.ShapeError, match=f"{method} chooses its steps"):
        fad.solve_ivp(driven, (0, 1), Y0, method, args=(P,), step=0.1)


@pytest.mark.parametrize("method", [*METHODS, "Radau"])
def test_systems_of_no_components(method):
    assert fad.solve_ivp(lambda t, y: np.zeros(0), (0, 1), np.zeros(0), method).y.shape[0] == 0


def test_auto_is_explicit_where_the_system_is_not_stiff():
    circle = lambda t, y: np.array([y[1], -y[0]])
    sol, explicit = (fad.solve_ivp(circle, (0, 20), [1.0, 0.0], m, rtol=1e-6) for m in ("auto", "Tsit5"))
    assert sol.nlu == 0 and sol.stats["accepted"] == explicit.stats["accepted"]
    np.testing.assert_allclose(sol.y[:, -1], explicit.y[:, -1], rtol=1e-9)


def test_auto_changes_its_method_with_the_stiffness():
    """The rate is large in the middle of the span only."""
    f = lambda t, y: -(1.0 + 1e5 * np.exp(-((t - 5.0) ** 2))) * (y - np.sin(t))
    sol = fad.solve_ivp(f, (0, 30), [1.0], "auto", rtol=1e-6, atol=1e-8)
    assert 0 < sol.nlu < 0.8 * sol.stats["accepted"] and abs(sol.y[0, -1]) < 1.0
    alone = fad.solve_ivp(f, (0, 30), [1.0], "Tsit5", rtol=1e-6, atol=1e-8)
    assert sol.stats["accepted"] < 0.1 * alone.stats["accepted"]
    np.testing.assert_allclose(sol.y[0, -1], alone.y[0, -1], rtol=1e-5)


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating"])
def test_adjoints_that_integrate_over_single_steps_are_refused(adjoint):
    with pytest.raises(fad.ShapeError, match=r"BDF depend on several before.*'Rodas5P'"):
        fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0], "BDF", adjoint=adjoint)
