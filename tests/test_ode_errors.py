"""Solves that fail: they say where and why, and their derivatives raise the same."""

import re

import numpy as np
import pytest

import fastad as fad

FAILING = {
    "blow-up": (lambda t, y: y**2, {}, r"Required step size is less than spacing between numbers, at t = 1\.0000"),
    "not finite at the start": (lambda t, y: np.log(-y), {}, "not finite at the start, at t = 0; component 0"),
    "infinite at the start": (lambda t, y: 1 / (y - 1), {}, "not finite at the start, at t = 0; component 0"),
    "not finite later": (lambda t, y: y * np.sqrt(1.5 - t), {}, r"Required step size .* at t = 1\.5"),
    "too many steps": (lambda t, y: -y, {"max_steps": 5}, "more than max_steps steps, at t = 0"),
    "fixed steps": (
        lambda t, y: y * np.sqrt(1.25 - t), {"method": "RK4", "step": 0.1},
        r"not finite, at t = 1\.3; component 0 is not",
    ),
}  # fmt: skip


def ends(fun, options):
    return lambda y: fad.solve_ivp(fun, (0, 3), np.reshape(y, (1,)), **options).y[0, -1]


@pytest.mark.parametrize("name", FAILING)
def test_a_solve_that_fails_says_where_and_why(name):
    fun, options, message = FAILING[name]
    sol = fad.solve_ivp(fun, (0, 3), [1.0], **options)
    assert not sol.success and sol.status == -1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(sol.message)


@pytest.mark.parametrize("tier", ("sweep", "native"))
@pytest.mark.parametrize("name", FAILING)
def test_derivatives_of_a_solve_that_fails_raise_the_same(name, tier):
    fun, options, message = FAILING[name]
    end = ends(fun, options)
    batch = np.array([1.0, 1.001])
    derivatives = {
        "grad": lambda: fad.grad(end, tier=tier)(1.0),
        "value_and_grad": lambda: fad.value_and_grad(end, tier=tier)(1.0),
        "jvp": lambda: fad.jvp(end, (1.0,), (1.0,)),
        "hvp": lambda: fad.hvp(end, 1.0, 1.0),
        "jit of grad": lambda: fad.jit(fad.grad(end), tier=tier)(1.0),
        "vmap of grad": lambda: fad.vmap(fad.grad(end), tier=tier)(batch),
        "scan": lambda: fad.grad(lambda y: fad.scan(lambda c, _: (end(c), None), y, length=2)[0], tier=tier)(1.0),
    }
    for derivative in derivatives.values():
        with pytest.raises(fad.StepSizeError, match=message.partition(", at t")[0]) as found:
            derivative()
        text = str(found.value)
        assert "component 0" in text and re.search(r"recorded at .*test_ode_errors\.py:\d+ in ends", text)


def test_a_solve_that_fails_says_what_may_help():
    for options, stiff in (({}, True), ({"method": "RK4", "step": 0.1}, True), ({"method": "Kvaerno5"}, False)):
        sol = fad.solve_ivp(lambda t, y: -1e6 * (y - np.cos(t)), (0, 99), [2.0], max_steps=20, **options)
        assert not sol.success and ('take method="auto" or "Rodas5P"' in sol.message) == stiff
        assert "Raise max_steps" in sol.message or "Take a smaller step" in sol.message


@pytest.mark.parametrize("method", ["SDIRK2", "Kvaerno5", "Radau", "BDF"])
def test_an_exact_step_that_is_not_found_is_named(method, monkeypatch):
    """Derivatives need exact steps; where Newton's iteration may not go on, there are none."""
    monkeypatch.setattr("fastad.ode.newton._MOST_EXACT", 1)
    monkeypatch.setattr("fastad.ode.stages._EXACT", 1e-16)

    def end(k):
        def swing(t, y):
            return np.stack([y[1], k * (1 - y[0] ** 2) * y[1] - y[0], -y[2]])

        return fad.solve_ivp(swing, (0, 300), [2.0, 0.0, 1.0], method, rtol=0.2, atol=1e-9).y[0, -1]

    derivatives = [fad.grad(end), lambda k: fad.jvp(end, (k,), (1.0,))]
    if method == "SDIRK2":  # hvp runs what the others run
        derivatives.append(lambda k: fad.hvp(end, k, 1.0))
    for derivative in derivatives:
        with pytest.raises(fad.ConvergenceError) as found:
            derivative(100.0)
        text = str(found.value)
        assert re.search(r"in the step of size \S+ from t = \d+\.\d+: .* in component [012]\. ", text)
        assert "lower rtol" in text and re.search(r"recorded at .*test_ode_errors\.py:\d+ in .*end", text)


def test_results_at_points_end_where_the_solve_does():
    sol = fad.solve_ivp(lambda t, y: y**2, (0, 3), [1.0], t_eval=[0.1, 0.5, 2.9])
    np.testing.assert_allclose(sol.t, [0.1, 0.5])
    np.testing.assert_allclose(sol.y, [[1 / 0.9, 2.0]], rtol=1e-4)


def test_a_replay_that_fails_raises_too():
    derivative = fad.grad(ends(lambda t, y: y**2, {}))
    np.testing.assert_allclose(derivative(0.1), 1 / 0.7**2, rtol=1e-4)
    with pytest.raises(fad.StepSizeError, match=r"at t = 1\.0000"):
        derivative(1.0)


def printing(t, y):
    assert f"{y} {t:.2f}"
    return -y


kept = []


def keeping(t, y):
    kept.append(2 * y)
    return -y


def drawing(t, y):
    return -y + rng.normal(size=1)


def raising(t, y):
    raise RuntimeError("of the user")


def converting(t, y):
    return [-float(y[0])]


def writing(t, y):
    outside[0] = y[0]
    return -y


outside, rng = np.zeros(1), np.random.default_rng(0)


@pytest.mark.parametrize("derive", [lambda f: f, fad.grad])
def test_right_hand_sides_that_do_more_than_compute_are_told(derive):
    for fun, kind, message in (
        (printing, UserWarning, "printing makes text of t or y"),
        (keeping, UserWarning, "keeping .*keeps values of t or y"),
        (drawing, RuntimeWarning, "drew random numbers"),
    ):
        with pytest.warns(kind, match=message) as found:
            derive(ends(fun, {}))(1.0)
        assert all("test_ode_errors.py" in str(own.message) for own in found)
    for fun, kind, line in (
        (raising, RuntimeError, "of the user"), (converting, fad.RecordingError, "in converting"),
        (writing, fad.RecordingError, "in writing"),
    ):  # fmt: skip
        with pytest.raises(kind, match=line):
            derive(ends(fun, {}))(1.0)


@pytest.mark.parametrize("max_steps", [1024, 1200, 2897, 2898])
def test_the_limit_of_steps_holds_over_all_pieces_of_a_plain_solve(max_steps):
    sol = fad.solve_ivp(lambda t, y: -y, (0, 1e4), [1.0], max_steps=max_steps)
    assert sol.success == (max_steps >= 2898) and len(sol.t) == 1 + min(max_steps, 2898)
    assert sol.success or "more than max_steps" in sol.message


def test_bounces_without_end_reach_the_limit_of_steps():
    """Python branches keep the floor below a ball that has come to rest."""
    falling = lambda t, y: y[0] if y[1] < 0.0 else y[0] + 1.0
    ball = fad.ode.Event(falling, lambda t, y: np.array([0.0, -0.6 * y[1]]), direction=-1)
    sol = fad.solve_ivp(lambda t, y: [y[1], -9.81], (0, 2.5), [0.4, 0.0], events=ball, max_step=0.05, max_steps=300)
    assert not sol.success and "more than max_steps" in sol.message and 64 < len(sol.t_events[0]) < 300


@pytest.mark.parametrize("condition", [lambda t, y: y[0] < 0.5, lambda t, y: True])
def test_conditions_of_events_are_no_truth_values(condition):
    with pytest.raises(TypeError, match=r"truth value .*test_ode_errors.*return y\[0\] - 0.5"):
        fad.solve_ivp(lambda t, y: -y, (0, 5), [1.0], events=condition)


def test_unknown_options_and_preconditioners_that_are_no_functions():
    with pytest.raises(TypeError, match=r"does not take min_step= \(at .*test_ode_errors.py.*leave it out"):
        fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0], "LSODA", min_step=1e-9)
    with pytest.raises(TypeError, match=r"P @ r"):
        fad.ode.Krylov(np.eye(2))


@pytest.mark.parametrize("options", [{}, {"t_eval": [1.0], "dense_output": True}])
def test_fixed_steps_that_no_memory_holds(options):
    """The error says how many bytes they need."""
    with pytest.raises(MemoryError) as found:
        fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0, 2.0], "RK4", step=1e-12, **options)
    vectors = 1 + 3 * ("dense_output" in options)
    assert f"{8 * 10**12 * (2 * vectors + 1):,} bytes" in str(found.value)
    assert re.search(r"test_ode_errors\.py:\d+ .* take a larger step, or t_eval .* checkpoint=", str(found.value))


@pytest.mark.parametrize("derive", [lambda f: f, fad.grad])
def test_fixed_steps_that_cannot_be_counted(derive):
    with pytest.raises(fad.ShapeError, match=r"step=1e-30 makes 1e\+30 steps of the span .*test_ode_errors.py"):
        derive(lambda y: fad.solve_ivp(lambda t, y: -y, (0, 1), [y], "RK4", step=1e-30).y[0, -1])(1.0)


def test_states_of_many_fixed_steps_are_stored_by_a_schedule():
    """From 10⁷ numbers on; derivatives are those of all states, bit for bit."""
    n, step = 20_000, 1 / 600
    options = {"method": "Euler", "step": step}
    few = fad.solve_ivp(lambda t, y: -(y**2), (0, 1), np.ones(n), t_eval=[1.0], **options).stats
    assert 7e7 < few["checkpoint_bytes"] < 9e7 and 0 < few["recomputed"] < 600

    def end(y, checkpoint):
        sol = fad.solve_ivp(lambda t, y: -(y**2), (0, 1), y, checkpoint=checkpoint, **options)
        return np.sum(sol.y[:, -1])

    y = np.linspace(0.5, 1.5, n)
    found, expected = (fad.grad(lambda y, own=own: end(y, own))(y) for own in (None, fad.checkpoint.StoreAll()))
    np.testing.assert_array_equal(found, expected)
