"""Explicit methods: order, exactness of every derivative, schedules, reference and kernels."""

import itertools

import numpy as np
import pytest

import fastad as fad
from fastad.ode.methods import METHODS
from fastad.tables.composites.solve_adjoint import SolveAdjoint
from fastad.tables.composites.solves import Solve
from fastad.tables.reference import evaluate

ADAPTIVE = [name for name, method in METHODS.items() if method.is_adaptive]
TIERS = ("sweep", "native")


def lotka(t, u, p):
    return np.array([p[0] * u[0] - p[1] * u[0] * u[1], p[3] * u[0] * u[1] - p[2] * u[1]])


def swinging(t, y, w):
    """A pendulum that is driven: neither linear nor autonomous."""
    return np.array([y[1], -w * np.sin(y[0]) + 0.5 * np.cos(2.0 * t)])


P, U0 = np.array([1.5, 1.0, 3.0, 1.0]), np.ones(2)


def cost(u0, p, **options):
    return 0.5 * np.sum((fad.solve_ivp(lotka, (0, 10), u0, args=(p,), **options).y[:, -1] - 1) ** 2)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes_fixed_steps])
def test_solutions_and_gradients_converge_with_the_methods_order(name):
    order = METHODS[name].order
    end = lambda w, **options: fad.solve_ivp(swinging, (0, 2), [1.0, 0.0], args=(w,), method=name, **options).y[0, -1]
    exact_end = lambda w: fad.solve_ivp(
        swinging, (0, 2), [1.0, 0.0], args=(w,), method="Dopri8", rtol=1e-13, atol=1e-14
    ).y[0, -1]
    right = exact_end(3.0), fad.grad(exact_end)(3.0)
    counts = (16, 32) if order > 5 else (64, 128)
    for find, wanted in (
        (lambda h: end(3.0, step=h), right[0]),
        (lambda h: fad.grad(lambda w: end(w, step=h))(3.0), right[1]),
    ):
        errors = [abs(find(2.0 / count) - wanted) for count in counts]
        assert errors[1] < 1e-12 or np.log2(errors[0] / errors[1]) > order - 0.5


def test_known_derivatives_of_lotka_volterra():
    u, p = fad.grad(cost, argnums=(0, 1))(U0, P, rtol=1e-12, atol=1e-13, method="Dopri8")
    np.testing.assert_allclose(u, [0.299599508304, -0.014151816345], atol=2e-10)
    np.testing.assert_allclose(p, [0.621961585551, 0.068001404151, 0.169176463996, 0.272560693950], atol=2e-10)


OPTIONS = [
    {"method": "RK4", "step": 0.02}, {"method": "Euler", "step": 0.01}, {"rtol": 1e-6}, {"method": "BS3", "rtol": 1e-4},
    {"method": "Dopri8", "rtol": 1e-8, "t_eval": [1.0, 5.0, 10.0]},
    {"method": "RK45", "rtol": 1e-7, "t_eval": [0.0, 3.3, 10.0]},
    {"method": "RK4", "step": 0.3, "t_eval": [0.1, 0.25, 9.0, 10.0]},
    {"method": "RK4", "step": 0.1, "t_eval": [0.0, 0.2, 10.0]}, {"method": "Heun", "rtol": 1e-3, "max_step": 0.3},
]  # fmt: skip


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_adjoint_is_the_transpose_of_the_tangent(options, tier):
    f = lambda u0, p: np.sum(np.sin(fad.solve_ivp(lotka, (0, 10), u0, args=(p,), **options).y))
    rng = np.random.default_rng(0)
    v = rng.normal(size=2), rng.normal(size=4)
    found = fad.grad(f, argnums=(0, 1), tier=tier)(U0, P)
    _, tangent = fad.jvp(f, (U0, P), v)
    np.testing.assert_allclose(sum(a @ b for a, b in zip(found, v, strict=True)), tangent, rtol=1e-11)


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_second_derivatives(options):
    f = lambda u0: cost(u0, P, **options)
    hessian = fad.hessian(f)(U0)
    np.testing.assert_allclose(fad.jacfwd(fad.grad(f))(U0), hessian, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fad.jacrev(fad.grad(f))(U0), hessian, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(fad.hvp(f, U0, np.array([1.0, 2.0])), hessian @ [1.0, 2.0], rtol=1e-10, atol=1e-12)


def test_fixed_steps_pass_the_finite_difference_check():
    fad.check_grads(lambda u0, p: cost(u0, p, method="RK4", step=0.05), (U0, P), order=2)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[2], OPTIONS[5]], ids=str)
def test_every_schedule_gives_the_same_bits(options, tier):
    c = fad.checkpoint
    known = [c.StoreNone(), c.Revolve(5), c.Periodic(20), c.Online(3)] if "step" in options else []
    schedules = [*known, c.Online(1), c.Online(4), c.Online(1000)]
    f = lambda u0, p, s: np.sum(fad.solve_ivp(lotka, (0, 10), u0, args=(p,), checkpoint=s, **options).y[:, -1] ** 2)
    wanted = fad.grad(lambda u0, p: f(u0, p, None), argnums=(0, 1), tier=tier)(U0, P)
    for schedule in schedules:
        found = fad.grad(lambda u0, p, s=schedule: f(u0, p, s), argnums=(0, 1), tier=tier)(U0, P)
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)), schedule


def test_times_have_derivatives():
    ts = np.linspace(0.5, 9.5, 4)
    total = lambda a, b, ts: np.sum(fad.solve_ivp(lotka, (a, b), U0, args=(P,), t_eval=ts, rtol=1e-10, atol=1e-12).y)
    a, b, points = fad.grad(total, argnums=(0, 1, 2))(0.0, 10.0, ts)
    sol = fad.solve_ivp(lotka, (0, 10), U0, args=(P,), t_eval=ts, rtol=1e-10, atol=1e-12)
    slopes = [np.sum(lotka(t, y, P)) for t, y in zip(ts, sol.y.T, strict=True)]
    np.testing.assert_allclose(points, slopes, rtol=1e-5)
    assert abs(b) < 1e-6
    np.testing.assert_allclose(a, -np.sum(slopes), rtol=1e-6)  # an autonomous system: a shift of all times
    end = lambda b: fad.solve_ivp(lotka, (0, b), U0, args=(P,), rtol=1e-9, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(fad.jacobian(end)(10.0), lotka(0, end(10.0), P), rtol=1e-6)


@pytest.mark.parametrize("ts", [None, [0.0, 0.55, 1.0]], ids=str)
def test_the_end_of_the_span_and_the_step_may_be_recorded_with_fixed_steps(ts):
    plain = lambda t1, h: fad.solve_ivp(lotka, (0, t1), U0, args=(P,), method="RK4", step=h, t_eval=ts).y[:, -1]
    solve = fad.jit(plain)
    for t1, h in ((1.0, 0.1), (1.04, 0.1), (2.0, 0.1), (1.0, 0.07)):
        np.testing.assert_allclose(solve(t1, h), plain(t1, h), rtol=1e-4)
    end = lambda t1, h: fad.solve_ivp(lotka, (0, t1), U0, args=(P,), method="RK4", step=h).y[0, -1]
    by_end, by_step = fad.grad(end, argnums=(0, 1))(1.03, 0.1)  # the number of steps is the same nearby: 11
    np.testing.assert_allclose(by_end, (end(1.031, 0.1) - end(1.029, 0.1)) / 0.002, rtol=1e-5)
    assert by_step == 0.0


def test_results_of_fixed_steps_at_the_start_of_the_span():
    solve = fad.jit(lambda ts: fad.solve_ivp(lotka, (0, 1), U0, args=(P,), method="RK4", step=0.1, t_eval=ts).y)
    for start in (0.0, 0.1):
        ts = np.array([start, 0.2, 1.0])
        plain = fad.solve_ivp(lotka, (0, 1), U0, args=(P,), method="RK4", step=0.1, t_eval=ts).y
        fine = fad.solve_ivp(lotka, (0, 1), U0, args=(P,), t_eval=ts, rtol=1e-10).y
        for found in (plain, solve(ts)):
            np.testing.assert_allclose(found, fine, atol=1e-4)
    nothing_but = fad.solve_ivp(lotka, (0, 1), U0, args=(P,), method="RK4", step=0.1, t_eval=[0.0]).y
    np.testing.assert_array_equal(nothing_but[:, 0], U0)


def test_a_mass_matrix_is_refused_rather_than_ignored():
    with pytest.raises(fad.errors.ShapeError, match=r"mass matrix .*test_ode"):
        fad.solve_ivp(swinging, (0, 1), [1.0, 0.2], args=(2.0,), mass=2 * np.eye(2))


def test_time_reversed():
    there = fad.solve_ivp(swinging, (0, 3), [1.0, 0.2], args=(2.0,), rtol=1e-10, atol=1e-12).y[:, -1]
    back = fad.solve_ivp(swinging, (3, 0), there, args=(2.0,), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(back.y[:, -1], [1.0, 0.2], atol=1e-8)
    assert back.t[0] == 3 and back.t[-1] == 0
    both = lambda y: fad.solve_ivp(
        swinging, (3, 0), fad.solve_ivp(swinging, (0, 3), y, args=(2.0,), rtol=1e-9).y[:, -1], args=(2.0,), rtol=1e-9
    ).y[:, -1]
    np.testing.assert_allclose(fad.jacobian(both)(np.array([1.0, 0.2])), np.eye(2), atol=1e-5)


def test_the_trap_of_differentiating_the_controller():
    def total(a, **options):
        f = lambda t, u: np.array([a * u[0] - u[0] * u[1], -a * u[1] + u[0] * u[1]])
        return np.sum(fad.solve_ivp(f, (0, 10), U0, t_eval=np.linspace(0, 10, 101), **options).y)

    assert abs(fad.grad(total)(1.0) - 212.7104252168) < 1e-3
    tight = fad.grad(lambda a: total(a, method="Dopri8", rtol=1e-12, atol=1e-13))(1.0)
    np.testing.assert_allclose(tight, 212.7104252168, rtol=1e-8)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_kernels_compute_what_the_definition_says(options):
    options = options | ({"t_eval": [0.5, 1.0]} if "t_eval" in options else {})
    f = lambda u0: fad.solve_ivp(lotka, (0, 1), u0, args=(P,), **options).y[:, -1]
    for own in (f, fad.grad(lambda u0: np.sum(f(u0) ** 2)), lambda u0: fad.jvp(f, (u0,), (u0,))[1]):
        table = fad.trace(own, U0)
        assert any(isinstance(sub, Solve | SolveAdjoint) for sub in table.subs)
        np.testing.assert_allclose(evaluate(table, [U0, *table.captured])[0], own(U0), rtol=1e-9)


def test_new_tolerances_spans_and_parameters_do_not_record_anew():
    f = fad.jit(lambda u0, p, rtol, t1: fad.solve_ivp(lotka, (0.0, t1), u0, args=(p,), rtol=rtol).y[:, -1])
    for rtol, t1, scale in itertools.product((1e-4, 1e-8), (1.0, 5.0), (1.0, 1.1)):
        f(U0 * scale, P, rtol, t1)
    assert f.stats()["recordings"] == 1
