"""Rosenbrock methods: order conditions, convergence, stiff problems with known solutions, exact derivatives."""

import numpy as np
import pytest

import fastad as fad

RATES = np.array([0.04, 1e4, 3e7])


def rober(t, y, k=RATES):
    first, second, third = k[0] * y[0], k[1] * y[1] * y[2], k[2] * y[1] * y[1]
    return np.array([second - first, first - second - third, third])


def orego(t, y):
    first = 77.27 * (y[1] + y[0] * (1.0 - 8.375e-6 * y[0] - y[1]))
    return np.array([first, (y[2] - (1.0 + y[0]) * y[1]) / 77.27, 0.161 * (y[0] - y[2])])


def hires(t, y):
    a = 280.0 * y[5] * y[7]
    return np.array([
        -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007, 1.71 * y[0] - 8.75 * y[1],
        -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4], 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
        -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6], -a + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
        a - 1.81 * y[6], -a + 1.81 * y[6],
    ])  # fmt: skip


def vdpol(t, y):
    return np.array([y[1], 1e3 * (1.0 - y[0] ** 2) * y[1] - y[0]])


# Reactions of POLLU: rate, reactants; and for each component the reactions with their numbers of molecules.
POLLU_RATES = [
    0.35, 26.6, 1.23e4, 8.6e-4, 8.2e-4, 1.5e4, 1.3e-4, 2.4e4, 1.65e4, 9e3, 0.022, 1.2e4, 1.88, 1.63e4, 4.8e6, 3.5e-4,
    0.0175, 1e8, 4.44e11, 1240.0, 2.1, 5.78, 0.0474, 1780.0, 3.12,
]  # fmt: skip
POLLU_FROM = [
    (0,), (1, 3), (4, 1), (6,), (6,), (6, 5), (8,), (8, 5), (10, 1), (10, 0), (12,), (9, 1), (13,), (0, 5), (2,), (3,),
    (3,), (15,), (15,), (16, 5), (18,), (18,), (0, 3), (18, 0), (19,),
]  # fmt: skip
POLLU_TO = [
    (1, 2), (0,), (0, 5), (4, 4, 7), (7,), (4, 7), (4, 7, 9), (10,), (0, 9, 11), (12,), (0, 10), (0, 13), (4, 6), (14,),
    (3,), (15,), (2,), (5, 5), (2,), (4, 17), (1,), (0, 2), (18,), (19,), (0, 18),
]  # fmt: skip


def pollu(t, y):
    r = [k * (y[g[0]] * y[g[1]] if len(g) > 1 else y[g[0]]) for k, g in zip(POLLU_RATES, POLLU_FROM)]
    slopes = [0.0] * 20
    for rate, given, made in zip(r, POLLU_FROM, POLLU_TO):
        for i in given:
            slopes[i] = slopes[i] - rate
        for i in made:
            slopes[i] = slopes[i] + rate
    return np.array(slopes)


START_OF_POLLU = np.zeros(20)
START_OF_POLLU[[1, 3, 6, 7, 8, 16]] = [0.2, 0.04, 0.1, 0.3, 0.01, 0.007]
# The test set for IVP solvers (Mazzia & Magherini, 2008): right-hand side, end, start, atol, components of the end.
KNOWN = {
    "rober": (rober, 1e11, [1.0, 0, 0], 1e-15, {
        0: 0.2083340149701255e-7, 1: 0.8333360770334713e-13, 2: 0.9999999791665050}),
    "orego": (orego, 360.0, [1.0, 2, 3], 1e-8, {0: 1.000814870318523, 1: 1228.178521549917, 2: 132.0554942846706}),
    "hires": (hires, 321.8122, [1.0, 0, 0, 0, 0, 0, 0, 0.0057], 1e-12, {
        0: 0.7371312573325668e-3, 1: 0.1442485726316185e-3, 2: 0.5888729740967575e-4, 3: 0.1175651343283149e-2,
        4: 0.2386356198831331e-2, 5: 0.6238968252742796e-2, 6: 0.2849998395185769e-2, 7: 0.2850001604814231e-2}),
    "vdpol": (vdpol, 2000.0, [2.0, 0], 1e-10, {0: 1.706167732170469, 1: -0.8928097010248125e-3}),
    "pollu": (pollu, 60.0, START_OF_POLLU, 1e-13, {
        0: 0.5646255480022769e-1, 1: 0.1342484130422339, 19: 0.5682943292316392e-4}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_problems_end_where_it_is_known(name):
    fun, end, start, atol, known = KNOWN[name]
    sol = fad.solve_ivp(fun, (0, end), start, "Rodas5P", [end], rtol=1e-8, atol=atol)
    assert sol.success
    np.testing.assert_allclose([sol.y[i, -1] for i in known], list(known.values()), rtol=2e-7)
    assert sol.njev == sol.nlu == sol.stats["accepted"] + sol.stats["rejected"]


# ── order ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_order_conditions():
    method = fad.ode.Rodas5P
    assert (method.order, method.error_order, method.order_of_dense()) == (5, 5, 4)


def moving(t, y, k):
    return np.array([-k * y[0] * y[1] + np.sin(t), y[0] * np.cos(t) - y[1] ** 2])


def slope(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def test_order_of_values_and_gradients():
    def end(k, step):
        return np.sum(fad.solve_ivp(moving, (0, 2), [1.0, 0.5], "Rodas5P", args=(k,), step=step).y[:, -1])

    exact = fad.value_and_grad(end)(1.3, 0.004)
    sizes = [0.1, 0.05, 0.025]
    found = np.array([fad.value_and_grad(end)(1.3, step) for step in sizes])
    for k in range(2):
        assert slope(sizes, np.abs(found[:, k] - exact[k])) > 4.6


def test_dense_output_has_order_four():
    def wrong(step):
        sol = fad.solve_ivp(moving, (0, 2), [1.0, 0.5], "Rodas5P", args=(1.3,), step=step, dense_output=True)
        return np.abs(sol.sol(times) - exact).max()

    times = np.linspace(0.05, 1.95, 77)
    exact = fad.solve_ivp(moving, (0, 2), [1.0, 0.5], "Dopri8", times, args=(1.3,), rtol=1e-12, atol=1e-13).y
    assert slope([0.2, 0.1, 0.05], [wrong(step) for step in (0.2, 0.1, 0.05)]) > 4.0


def test_order_four_for_every_stiffness_of_prothero_and_robinson():
    """y' = −λ (y − φ) + φ' with φ = sin(t + 0.8): one constant for all λ, and errors that fall with large λ. Of methods
    that were not made for this the order falls to 2 or 1."""

    def error(stiffness, step):
        fun = lambda t, y: -stiffness * (y - np.sin(t + 0.8)) + np.cos(t + 0.8)
        return abs(fad.solve_ivp(fun, (0, 2), [np.sin(0.8)], "Rodas5P", step=step).y[0, -1] - np.sin(2.8))

    sizes = np.array([0.4, 0.2, 0.1, 0.05])
    errors = np.array([[error(stiffness, step) for step in sizes] for stiffness in (1.0, 1e2, 1e3, 1e4, 1e6)])
    assert np.all(errors < 1e-4 * sizes**4)
    assert np.all(errors[-1] < 1e-2 * errors[1:-1].max(axis=0))


def test_a_tableau_is_all_that_a_method_is():
    """ROS3PL's little sister: two stages of order 2, L-stable (Hairer & Wanner II, IV.7, exercise 3)."""
    g = 1.0 - np.sqrt(0.5)
    ros2 = fad.ode.Rosenbrock(
        [[], [1 / g]], [[], [-2 / g]], g, [1.5 / g, 0.5 / g], error=[0.5 / g, 0.5 / g],
        dense=[[1.5 / g], [0.5 / g]], name="ROS2",
    )  # fmt: skip
    assert (ros2.order, ros2.error_order) == (2, 2)
    sol = fad.solve_ivp(rober, (0, 40.0), [1.0, 0, 0], ros2, [40.0], rtol=1e-6, atol=1e-10)
    other = fad.solve_ivp(rober, (0, 40.0), [1.0, 0, 0], "Rodas5P", [40.0], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(sol.y, other.y, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"A": [[], []]}, "row i of A"), ({"b": [1.0]}, "row i of A"), ({"dense": [[1.0]]}, "dense and error"),
     ({"b": [1.0, 1.0]}, "not consistent")],
)  # fmt: skip
def test_wrong_tableaus(change, message):
    g = 1.0 - np.sqrt(0.5)
    given = {"A": [[], [1 / g]], "C": [[], [-2 / g]], "gamma": g, "b": [1.5 / g, 0.5 / g], "dense": [[1.0], [0.0]]}
    with pytest.raises(fad.ShapeError, match=message):
        fad.ode.Rosenbrock(**given | change)


# ── derivatives ───────────────────────────────────────────────────────────────────────────────────────────────
def integral(k, **options):
    with_integral = lambda t, y: np.concatenate([rober(t, y, k), [y[2]]])
    atol = [1e-12, 1e-14, 1e-12, 1e-6]
    return fad.solve_ivp(
        with_integral, (0, 4e7), [1.0, 0, 0, 0], "Rodas5P", rtol=1e-8, atol=atol, **options
    ).y[3, -1]  # fmt: skip


def test_gradient_of_rober_is_that_of_the_literature():
    value, gradient = fad.value_and_grad(integral)(RATES)
    assert value == pytest.approx(3.998252821e7, rel=1e-7)
    np.testing.assert_allclose(gradient, [7.683773e5, -3.068921, 5.114890e-4], rtol=1e-6)


def test_adjoint_and_tangent_agree():
    direction = RATES * [1.0, 2.0, 3.0]
    forward = fad.jvp(integral, (RATES,), (direction,))[1]
    assert fad.grad(integral)(RATES) @ direction == pytest.approx(forward, rel=1e-10)


@pytest.mark.parametrize("schedule", [fad.checkpoint.Online(7), fad.checkpoint.Online(30)], ids=repr)
def test_schedules_of_adaptive_steps_do_not_change_a_bit(schedule):
    short = lambda k, **options: np.sum(
        fad.solve_ivp(rober, (0, 10.0), [1.0, 0, 0], "Rodas5P", [3.0, 10.0], args=(k,), **options).y[1]
    )
    stored = fad.grad(short)(RATES)
    np.testing.assert_array_equal(fad.grad(lambda k: short(k, checkpoint=schedule))(RATES), stored)


@pytest.mark.parametrize(
    "schedule", [fad.checkpoint.Revolve(3), fad.checkpoint.Periodic(9), fad.checkpoint.StoreNone()], ids=repr
)
def test_schedules_of_fixed_steps_do_not_change_a_bit(schedule):
    short = lambda k, **options: np.sum(
        fad.solve_ivp(moving, (0, 2), [1.0, 0.5], "Rodas5P", args=(k,), step=0.1, **options).y[:, -1]
    )
    stored = fad.grad(short)(1.3)
    np.testing.assert_array_equal(fad.grad(lambda k: short(k, checkpoint=schedule))(1.3), stored)


def test_other_adjoints_are_near():
    def end(k, adjoint):
        args = (RATES * k,)
        return fad.solve_ivp(
            rober, (0, 40.0), [1.0, 0, 0], "Rodas5P", [40.0], args=args, adjoint=adjoint, rtol=1e-8, atol=1e-12
        ).y[0, -1]  # fmt: skip

    exact = fad.grad(end)(np.ones(3), "discrete")
    np.testing.assert_allclose(fad.grad(end)(np.ones(3), "forward"), exact, rtol=1e-9)
    np.testing.assert_allclose(fad.grad(end)(np.ones(3), "interpolating"), exact, rtol=1e-4)


def test_second_derivatives():
    def end(k):
        return fad.solve_ivp(rober, (0, 4.0), [1.0, 0, 0], "Rodas5P", [4.0], args=(RATES * k,), rtol=1e-9).y[0, -1]

    own = fad.hessian(end)(np.ones(3))
    h = 1e-4
    slopes = [(fad.grad(end)(np.ones(3) + h * e) - fad.grad(end)(np.ones(3) - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(own, own.T, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(own, slopes, rtol=1e-4, atol=1e-8)


def test_derivatives_by_times_and_at_points():
    def at(ends):
        sol = fad.solve_ivp(moving, (ends[0], ends[2]), [1.0, 0.5], "Rodas5P", ends[1:], args=(1.3,), rtol=1e-10)
        return np.sum(sol.y[0])

    ends, h = np.array([0.0, 0.7, 1.5]), 1e-5
    slopes = [(at(ends + h * e) - at(ends - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(fad.grad(at)(ends), slopes, rtol=1e-5)


def test_events_and_jumps():
    def after(k):
        refill = fad.ode.Event(lambda t, y, k: y[0] - 0.9, jump=lambda t, y, k: np.array([1.0, y[1], y[2]]))
        options = {"args": (k * RATES,), "events": refill, "rtol": 1e-9, "atol": 1e-13}
        return fad.solve_ivp(rober, (0, 30.0), [1.0, 0, 0], "Rodas5P", [30.0], **options).y[2, -1]

    ones, h = np.ones(3), 1e-5
    slopes = [(after(ones + h * e) - after(ones - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(fad.grad(after)(ones), slopes, rtol=1e-5)


def test_ensembles_are_the_solves_one_by_one():
    end = lambda k: fad.solve_ivp(rober, (0, 1e3), [1.0, 0, 0], "Rodas5P", [1e3], args=(k,), atol=1e-10).y[:, -1]
    rates = RATES * np.exp(0.3 * np.random.default_rng(0).normal(size=(30, 3)))
    np.testing.assert_allclose(fad.vmap(end)(rates), [end(k) for k in rates], rtol=1e-9)
    total = lambda k: np.sum(end(k) * [1.0, 1e4, 1.0])
    np.testing.assert_allclose(fad.vmap(fad.grad(total))(rates), [fad.grad(total)(k) for k in rates], rtol=1e-7)


# ── what fails ────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_singular_matrix_rejects_the_step(n):
    """The first step is such that γh times an eigenvalue is 1."""
    growth = np.array([1.0 / (fad.ode.Rodas5P.gamma * 0.5), -1.0, -2.0])[:n]
    sol = fad.solve_ivp(lambda t, y: growth * y, (0, 0.5), np.ones(n), "Rodas5P", first_step=0.5, rtol=1e-9)
    assert sol.success and sol.stats["rejected"] > 0
    np.testing.assert_allclose(sol.y[:, -1], np.exp(0.5 * growth), rtol=1e-7)


def test_a_solution_that_ends_says_where():
    sol = fad.solve_ivp(lambda t, y: y**2, (0, 2), [1.0], "Rodas5P")
    assert not sol.success and sol.status == -1 and sol.message
    with pytest.raises(fad.StepSizeError):
        fad.grad(lambda y: fad.solve_ivp(lambda t, y: y**2, (0, 2), y, "Rodas5P").y[0, -1])(np.array([1.0]))


# ---- what Newton's iterations leave ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ImplicitEuler", "SDIRK2", "Kvaerno5", "Radau"])
def test_the_error_that_newton_leaves_is_told(method, monkeypatch):
    """Loose fixed steps against steps solved to rounding errors: their difference is below the estimate."""

    def swing(t, y):
        return np.stack([y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]])

    def solved(f):
        return fad.solve_ivp(f, (0, 0.5), np.array([2.0, 0.0]), method=method, step=0.05)

    tight = solved(swing)
    assert tight.stats["newton_error"] < 1
    monkeypatch.setattr("fastad.ode.emitting.FIXED", (1e-1, 1e-1))
    loose = solved(lambda t, y: np.stack([y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]]))
    scale = 1e-1 * (1 + abs(tight.y[:, -1]))
    true = np.max(abs(loose.y[:, -1] - tight.y[:, -1]) / scale)
    assert loose.stats["iterations"] < tight.stats["iterations"]
    blocks = loose.stats["accepted"] * {"ImplicitEuler": 1, "SDIRK2": 2, "Kvaerno5": 6, "Radau": 1}[method]
    assert true < loose.stats["newton_error"] < 1e-2 * blocks


def test_linear_systems_leave_rounding_errors():
    found = fad.solve_ivp(lambda t, y: -100 * y, (0, 1), [1.0], method="Radau", rtol=1e-6)
    assert found.stats["newton_error"] < 1e-3 and "tolerances left" in repr(found)
    assert "newton_error" not in fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0]).stats


# ---- what the linear systems of reverse mode leave ---------------------------------------------------------------

IMPLICIT = ["ImplicitEuler", "ImplicitMidpoint", "Trapezoid", "SDIRK2", "Kvaerno5", "Radau", "Rodas5P", "BDF"]


def options_of(method):
    return {"method": method, "step": 2e-3} if method.startswith(("Implicit", "Trap")) else {"method": method}


def lines(n):
    """y' = ∂²y/∂x² + y² on a line, with n points inside."""

    def f(t, y):
        left, right = np.concatenate([np.zeros(1), y[:-1]]), np.concatenate([y[1:], np.zeros(1)])
        return (n + 1) ** 2 * (left - 2 * y + right) + y**2

    return f, np.sin(np.pi * np.arange(1, n + 1) / (n + 1))


@pytest.mark.parametrize("n, shares", [(1, False), (4, False), (16, False), (16, True)])
@pytest.mark.parametrize("method", IMPLICIT)
def test_adjoint_systems_are_solved_to_rounding_errors(method, n, shares, monkeypatch):
    """Divisions, dense factors, those of a band, and factors that serve several steps, as those of many unknowns do."""
    for module in ("newton", "implicit", "radau"):
        monkeypatch.setattr(f"fastad.ode.{module}.SMALL", 0 if shares else 64)
    f, y0 = lines(n)
    stats = fad.solve_ivp(f, (0, 0.02), y0, **options_of(method)).stats
    trials = stats["accepted"] + stats["rejected"]
    assert trials > 1 and stats["adjoint_residual"] < 1e-15 * 7 * trials
    assert stats["adjoint_residual"] > 0 or n < 16  # little systems may be solved exactly


@pytest.mark.parametrize("method", [*IMPLICIT, "auto"])
def test_loose_adjoint_systems_are_told(method):
    """Systems solved up to ε: one step of refinement leaves ε², and Rosenbrock methods, without one, ε."""
    f, y0 = lines(40)  # of few unknowns GMRES may leave less than it is told to
    stages = {"SDIRK2": 2, "Kvaerno5": 6}.get(method, 1)
    for loose in 1e-6, 1e-3:
        stats = fad.solve_ivp(f, (0, 0.05), y0, rtol=1e-4, jac=fad.ode.Krylov(rtol=loose), **options_of(method)).stats
        each = stats["adjoint_residual"] / (stages * (stats["accepted"] + stats["rejected"]))
        left = loose if method in ("Rodas5P", "auto") else loose**2
        assert 1e-3 * left < each < np.sqrt(len(y0)) * left


@pytest.mark.parametrize("method", ["Kvaerno5", "Rodas5P", "BDF"])
def test_the_adjoint_residual_of_the_steps_that_are_recorded(method):
    """It is that of the plain solve, and changes no derivative."""

    def end(k, asks):
        sol = fad.solve_ivp(lambda t, y: rober(t, y, k), (0, 1e3), [1.0, 0, 0], method=method)
        return sol.y[0, -1] + (0 * sol.stats["adjoint_residual"] if asks else 0)

    def residual(k):
        return fad.solve_ivp(lambda t, y: rober(t, y, k), (0, 1e3), [1.0, 0, 0], method=method).stats[
            "adjoint_residual"
        ]

    assert 0 < fad.jit(residual)(RATES) < 1e-13 and 0 < residual(RATES) < 1e-13
    with_it, without = (fad.grad(lambda k, asks=asks: end(k, asks))(RATES) for asks in (True, False))
    np.testing.assert_array_equal(with_it, without)


def test_the_adjoint_residual_counts_all_steps_once():
    """That of a solve with events, points and dense output in several pieces; explicit methods have none."""
    given = {"method": "BDF", "rtol": 1e-8}
    plain = fad.solve_ivp(vdpol, (0, 2000), [2.0, 0.0], **given)
    assert plain.stats["accepted"] > 1024
    more = fad.solve_ivp(vdpol, (0, 2000), [2.0, 0.0], t_eval=[1.0, 5.0], dense_output=True, **given)
    assert plain.stats["adjoint_residual"] == more.stats["adjoint_residual"] > 0
    assert "residuals of adjoint systems" in repr(plain) and "residuals" not in repr(
        fad.solve_ivp(vdpol, (0, 1), [2.0, 0])
    )
    with pytest.raises(KeyError, match="adjoint_residual: there are accepted"):
        fad.solve_ivp(vdpol, (0, 0.1), [2.0, 0.0]).stats["adjoint_residual"]


@pytest.mark.parametrize("method", ["SDIRK2", "Kvaerno5", "Radau", "BDF", "Rodas5P", "auto"])
def test_from_a_hundredth_on_tolerances_keep_the_cycle_of_van_der_pol(method):
    ends = [fad.solve_ivp(vdpol, (0, 2e3), [2.0, 0], method, rtol=x, atol=x).y[0, -1] for x in (1e-2, 1e-3, 1e-5)]
    assert (abs(np.array(ends) - 1.706167732170469) < [0.15, 0.04, 3e-3]).all()


@pytest.mark.parametrize("method", ["SDIRK2", "Kvaerno5", "Radau", "BDF"])
@pytest.mark.parametrize("rtol", [0.1, 1e-2, 3e-3])
def test_loose_tolerances_have_exact_derivatives(method, rtol):
    """Large steps, in which simplified iterations end too early or not at all: adjoints are those of the tangents."""

    def end(k):
        def f(t, y):
            first = 77.27 * (y[1] + y[0] * (k[0] - 8.375e-6 * y[0] - y[1]))
            return np.array([first, (k[1] * y[2] - (1.0 + y[0]) * y[1]) / 77.27, 0.161 * k[2] * (y[0] - y[2])])

        return fad.solve_ivp(f, (0, 360), [1.0, 2.0, 3.0], method, rtol=rtol).y[0, -1]

    k, v = np.ones(3), np.array([0.3, -1.0, 0.7])
    by_adjoint, by_tangent = fad.grad(end)(k), fad.jvp(end, (k,), (v,))[1]
    np.testing.assert_allclose(by_adjoint @ v, by_tangent, rtol=1e-8, atol=1e-10 * abs(by_adjoint) @ abs(v))
