"""Implicit methods whose stages are solved by Newton's iteration: exactness of every derivative, stiffness, laws."""

import itertools

import numpy as np
import pytest
from scipy.integrate import Radau
from scipy.integrate import solve_ivp as scipy_solve_ivp

import fastad as fad
from fastad.tables.files.store import load, save
from fastad.tables.reference import evaluate

METHOD_NAMES = ["ImplicitEuler", "ImplicitMidpoint", "Trapezoid", "SDIRK2", "Kvaerno5", "RadauIIA5"]
FIXED, ADAPTIVE = {"step": 0.1}, {"rtol": 1e-5, "atol": 1e-7}
OPTIONS = [FIXED, ADAPTIVE, ADAPTIVE | {"t_eval": [0.0, 0.3, 1.7, 2.0]}]
JUMP = fad.ode.Event(lambda t, y, mu: y[0] - 1.5, lambda t, y, mu: np.array([2.0, 0.5 * y[1]]), direction=-1)
KEY = {"ids": lambda x: x if isinstance(x, str) else "-".join(x)}
Y0, MU = np.array([2.0, 0.0]), 20.0


def oscillator(t, y, mu):
    """Van der Pol's oscillator, driven."""
    return np.array([y[1], mu * ((1.0 - y[0] ** 2) * y[1]) - y[0] + np.cos(t)])


def cost(y0, mu, method, **options):
    y = fad.solve_ivp(oscillator, (0, 2), y0, args=(mu,), method=method, **options).y
    return np.sum(np.sin(2.0 * (y if "t_eval" in options else y[:, -1])))


def rober(t, y, k):
    slow, fast = k[1] * y[1] * y[2] - k[0] * y[0], k[2] * y[1] ** 2
    return np.array([slow, -slow - fast, fast])


RATES = np.array([0.04, 1e4, 3e7])


@pytest.mark.parametrize("options", OPTIONS, **KEY)
@pytest.mark.parametrize("method", METHOD_NAMES)
def test_the_adjoint_is_the_transpose_of_the_tangent(method, options):
    f = lambda y0, mu: cost(y0, mu, method, **options)
    v = np.array([0.3, -1.0]), 0.7
    by_y, by_mu = fad.grad(f, argnums=(0, 1))(Y0, MU)
    np.testing.assert_allclose(by_y @ v[0] + by_mu * v[1], fad.jvp(f, (Y0, MU), v)[1], rtol=1e-10)


@pytest.mark.parametrize("method", ["ImplicitEuler", "Trapezoid"])
def test_fixed_steps_pass_the_finite_difference_check(method):
    fad.check_grads(lambda y0: cost(y0, MU, method, **FIXED), (Y0,), order=2)


@pytest.mark.parametrize("method", ["SDIRK2", "RadauIIA5"])
def test_second_derivatives(method):
    f = lambda y0: cost(y0, MU, method, **ADAPTIVE)
    hessian = fad.hessian(f)(Y0)
    np.testing.assert_allclose(fad.jacfwd(fad.grad(f))(Y0), hessian, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(fad.jacrev(fad.grad(f))(Y0), hessian, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("options", [FIXED, OPTIONS[2], {"rtol": 1e-4, "events": JUMP}], **KEY)
@pytest.mark.parametrize("method", ["Kvaerno5", "RadauIIA5"])
def test_every_schedule_gives_the_same_bits(method, options):
    c = fad.checkpoint
    gradient = lambda s: fad.grad(lambda y0: cost(y0, MU, method, checkpoint=s, **options))(Y0)
    wanted = gradient(c.StoreAll())
    for schedule in (c.Online(2), *([c.Revolve(3)] if "step" in options else [])):
        assert gradient(schedule).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("adjoint", ["forward", "interpolating", "continuous"])
@pytest.mark.parametrize("method", ["Trapezoid", "RadauIIA5"])
def test_other_adjoints(method, adjoint):
    mild, options = 3.0, {"rtol": 1e-7, "atol": 1e-9}
    own = lambda adjoint: fad.grad(lambda mu: cost(Y0, mu, method, adjoint=adjoint, **options))(mild)
    np.testing.assert_allclose(
        own(adjoint), own("discrete"), rtol={"forward": 1e-9, "continuous": 0.03}.get(adjoint, 1e-3)
    )


@pytest.mark.parametrize("method", ["ImplicitEuler", "Kvaerno5"])
def test_events_and_jumps(method):
    options = {"rtol": 1e-7, "atol": 1e-9, "events": JUMP, "t_eval": [0.7, 2.0]} | (
        {"rtol": 1e-4, "atol": 1e-6} if method == "ImplicitEuler" else {}
    )
    f = lambda y0, mu: cost(y0, mu, method, **options)
    exact = lambda y0, mu: cost(y0, mu, "Dopri8", **options | {"rtol": 1e-11, "atol": 1e-12})
    found, wanted = (fad.grad(g, argnums=(0, 1))(Y0, MU) for g in (f, exact))
    np.testing.assert_allclose(np.r_[found], np.r_[wanted], rtol=0.05 if method == "ImplicitEuler" else 1e-4)


@pytest.mark.parametrize("method", ["Trapezoid", "RadauIIA5"])
def test_the_kernels_compute_what_the_definition_says(method):
    f = lambda y0: cost(y0, MU, method, rtol=1e-3, atol=1e-4)
    for own in (f, fad.grad(f)):
        table = fad.trace(own, Y0)
        np.testing.assert_allclose(evaluate(table, [Y0, *table.captured])[0], own(Y0), rtol=1e-7)


@pytest.mark.parametrize("method", ["SDIRK2", "RadauIIA5"])
def test_a_table_is_what_a_file_holds(method, tmp_path):
    table = fad.trace(fad.grad(lambda y0: cost(y0, MU, method, rtol=1e-2, atol=1e-2)), Y0)
    save(table, tmp_path / "table.npz")
    found, given = load(tmp_path / "table.npz"), [Y0, *table.captured]
    np.testing.assert_array_equal(evaluate(found, given)[0], evaluate(table, given)[0])


@pytest.mark.parametrize("method", ["ImplicitMidpoint", "RadauIIA5"])
def test_ensembles_are_solves_one_by_one(method):
    starts = np.random.default_rng(0).normal(size=(5, 2))
    f = lambda y0: cost(y0, MU, method, **ADAPTIVE)
    np.testing.assert_allclose(fad.vmap(f)(starts), [f(y) for y in starts], rtol=1e-11)
    np.testing.assert_allclose(fad.vmap(fad.grad(f))(starts), [fad.grad(f)(y) for y in starts], rtol=1e-9)


def test_new_numbers_do_not_record_anew():
    f = fad.jit(lambda y0, mu, rtol: cost(y0, mu, "Kvaerno5", rtol=rtol, atol=1e-8))
    for rtol, mu in itertools.product((1e-4, 1e-7), (1.0, 50.0)):
        np.testing.assert_allclose(f(Y0, mu, rtol), cost(Y0, mu, "Kvaerno5", rtol=rtol, atol=1e-8), rtol=1e-12)
    assert f.stats()["recordings"] == 1


def test_scipys_names_and_counts():
    mine = fad.solve_ivp(rober, (0, 1e5), [1.0, 0.0, 0.0], args=(RATES,), method=Radau, rtol=1e-6, atol=1e-10)
    theirs = scipy_solve_ivp(rober, (0, 1e5), [1.0, 0.0, 0.0], args=(RATES,), method="Radau", rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(mine.y[:, -1], theirs.y[:, -1], rtol=1e-5)
    assert mine.success and 0 < mine.njev <= mine.nlu and mine.nfev > mine.stats["iterations"] > 0
    assert mine.stats["accepted"] < 2 * len(theirs.t) and mine.stats["unsolved"] <= mine.stats["rejected"]
    np.testing.assert_array_equal(
        mine.y[:, -1],
        fad.solve_ivp(rober, (0, 1e5), [1.0, 0, 0], args=(RATES,), method="Radau", rtol=1e-6, atol=1e-10).y[:, -1],
    )


# ── stiffness ─────────────────────────────────────────────────────────────────────────────────────────────────
def hires(t, y, k):
    fast = k * y[5] * y[7]
    return np.array([
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007, 1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4], 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6], -fast + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        fast - 1.81 * y[6], -fast + 1.81 * y[6],
    ])  # fmt: skip


def orego(t, y, s):
    return np.array(
        [s * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])), (y[2] - (1 + y[0]) * y[1]) / s, 0.161 * (y[0] - y[2])]
    )


def vdpol(t, y, mu):
    return np.array([y[1], mu * ((1 - y[0] ** 2) * y[1]) - y[0]])


# The IVP test set of Mazzia & Magherini (2008), release 2.4.
TEST_SET = [
    (rober, 1e11, [1.0, 0.0, 0.0], RATES, 1e-14, [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]),
    (orego, 360.0, [1.0, 2.0, 3.0], 77.27, 1e-8, [1.000814870318523, 1228.178521549917, 132.0554942846706]),
    (hires, 321.8122, [1.0, 0, 0, 0, 0, 0, 0, 0.0057], 280.0, 1e-10, [
        0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
        0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2]),
    (vdpol, 2000.0, [2.0, 0.0], 1000.0, 1e-8, [1.706167732170469, -0.8928097010248125e-3]),
]  # fmt: skip


@pytest.mark.parametrize("problem", TEST_SET, ids=lambda p: p[0].__name__)
@pytest.mark.parametrize("method", ["Kvaerno5", "RadauIIA5"])
def test_final_values_of_the_test_set(method, problem):
    f, end, y0, parameters, atol, wanted = problem
    sol = fad.solve_ivp(f, (0, end), y0, args=(parameters,), method=method, rtol=1e-8, atol=atol)
    np.testing.assert_allclose(sol.y[:, -1], wanted, rtol=2e-6)


@pytest.mark.parametrize("method", ["Kvaerno5", "RadauIIA5"])
def test_sensitivities_of_robertsons_reaction(method):
    """∫₀^{4e7} y₃ dt with its gradient by the rates."""

    def integral(k):
        f = lambda t, y: np.concatenate([rober(t, y[:3], k), y[2:3]])
        return fad.solve_ivp(f, (0, 4e7), [1.0, 0.0, 0.0, 0.0], method=method, rtol=1e-9, atol=1e-12).y[3, -1]

    np.testing.assert_allclose(integral(RATES), 3.998252821e7, rtol=1e-7)
    np.testing.assert_allclose(fad.grad(integral)(RATES), [7.683773e5, -3.068921, 5.114890e-4], rtol=1e-5)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_very_stiff_problem_takes_no_small_steps(method):
    """Prothero & Robinson's: the solution is smooth however stiff the problem is."""
    stiff = lambda t, y, rate: -rate * (y - np.cos(t)) - np.sin(t)
    for rate in (1e3, 1e9):
        sol = fad.solve_ivp(stiff, (0, 5), [1.0], args=(rate,), method=method, rtol=1e-4, atol=1e-6)
        assert sol.success and sol.stats["accepted"] < 2500
        np.testing.assert_allclose(sol.y[0, -1], np.cos(5.0), atol=2e-3)


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_equations_without_a_solution():
    """Beyond the blow-up of y' = y² no step has a solution: outside of derivatives as SciPy, inside an error."""
    f = lambda t, y, k: k * y**2
    solve = lambda k, **options: fad.solve_ivp(f, (0, 2), [1.0], args=(k,), method="Kvaerno5", **options)
    assert solve(1.0, rtol=1e-6).status == -1
    fixed = solve(1.0, step=0.5)
    assert fixed.status == -1 and "equations of a step could not be solved, at t = " in fixed.message
    for options in ({"rtol": 1e-6}, {"step": 0.5}):
        with pytest.raises(fad.StepSizeError, match="at t = "):
            fad.grad(lambda k, o=options: solve(k, **o).y[0, -1])(1.0)


def test_a_tableau_that_is_none():
    make = fad.ode.DiagonallyImplicitRK
    with pytest.raises(fad.ShapeError, match="i \\+ 1 numbers"):
        make([[1.0, 0.0]], [1.0], dense=[[1.0]])
    with pytest.raises(fad.ShapeError, match="diagonal"):
        make([[0.5], [0.5, 0.2]], [0.5, 0.5], dense=[[1.0], [0.0]])
    with pytest.raises(fad.ShapeError, match="consistent"):
        make([[1.0]], [0.5], dense=[[1.0]])
    with pytest.raises(fad.ShapeError, match="dense"):
        make([[1.0]], [1.0])
