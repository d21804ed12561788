"""Events of ODE solves: where they happen, what they do, and exact derivatives of all that."""

import numpy as np
import pytest
import scipy.integrate

import fastad as fad
from fastad.ode import Event
from fastad.tables.composites.solve_adjoint import SolveAdjoint
from fastad.tables.composites.solves import Solve
from fastad.tables.reference import evaluate

TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def swing(t, y, w):
    return np.array([y[1], -w * np.sin(y[0])])


def fall(t, y, g, e):
    return np.array([y[1], -g])


FLOOR = Event(lambda t, y, g, e: y[0], lambda t, y, g, e: np.array([y[0], -e * y[1]]), direction=-1)


def drop(h, g, e, **options):
    return fad.solve_ivp(fall, (0, 4), np.array([h, 0.0 * h]), args=(g, e), events=FLOOR, **options)


def bounces(h, g, e, n):
    """Closed form: the times of the first n bounces."""
    return np.sqrt(2 * h / g) * (1 + 2 * np.array([0.0, *np.cumsum([e**k for k in range(1, n)])]))


def height(t, h, g, e):
    """Closed form: height and velocity at a time."""
    times, speed = bounces(h, g, e, 20), np.sqrt(2 * g * h)
    if t <= times[0]:
        return np.array([h - g * t * t / 2, -g * t])
    k = sum(time < t for time in times)
    since, up = t - times[k - 1], speed * e**k
    return np.array([up * since - g * since**2 / 2, up - g * since])


# ── SciPy's results ───────────────────────────────────────────────────────────────────────────────────────────
def with_attributes(function, terminal=False, direction=0):
    def event(*args):
        return function(*args)

    event.terminal, event.direction = terminal, direction
    return event


CASES = [
    [with_attributes(lambda t, y, w: y[0])],
    [with_attributes(lambda t, y, w: y[0], direction=1), with_attributes(lambda t, y, w: y[0], direction=-1)],
    [with_attributes(lambda t, y, w: y[1], terminal=True), with_attributes(lambda t, y, w: y[0] - 0.3)],
    [with_attributes(lambda t, y, w: y[0], terminal=3), with_attributes(lambda t, y, w: y[1] - 2.0)],
    [with_attributes(lambda t, y, w: np.cos(t) * w, terminal=np.int64(2), direction=1)],
]


@pytest.mark.parametrize("span", [(0, 5), (5, 0)], ids=str)
@pytest.mark.parametrize("events", CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("t_eval", [False, True])
def test_events_are_those_of_scipy(events, span, t_eval):
    points = {"t_eval": np.linspace(*span, 23)[1:]} if t_eval else {}
    call = swing, span, [1.0, 0.1]
    ours = fad.solve_ivp(*call, args=(4.0,), events=events, method="Dopri8", **points, **TIGHT)
    theirs = scipy.integrate.solve_ivp(*call, args=(4.0,), events=events, method="DOP853", **points, **TIGHT)
    assert (ours.status, ours.success) == (theirs.status, theirs.success)
    assert len(ours.t_events) == len(ours.y_events) == len(events)
    for name in ("t_events", "y_events"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7)
            assert np.shape(a) == np.shape(b)
    if t_eval:
        np.testing.assert_array_equal(ours.t, theirs.t)
        np.testing.assert_allclose(ours.y, np.reshape(theirs.y, np.shape(ours.y)), atol=1e-7)  # SciPy's may be empty
    else:
        np.testing.assert_allclose((ours.t[-1], *ours.y[:, -1]), (theirs.t[-1], *theirs.y[:, -1]), atol=1e-7)


def test_without_events_there_are_none():
    sol = fad.solve_ivp(swing, (0, 1), [1.0, 0.0], args=(4.0,))
    assert sol.t_events is None and sol.y_events is None and sol.status == 0


def test_what_is_no_event_raises():
    solve = lambda events: fad.solve_ivp(swing, (0, 1), [1.0, 0.0], args=(4.0,), events=events)
    with pytest.raises(ValueError, match="terminal"):
        solve(with_attributes(lambda t, y, w: y[0], terminal=-1))
    with pytest.raises(ValueError, match="direction"):
        Event(lambda t, y: y[0], direction="up")
    with pytest.raises(TypeError, match="condition"):
        solve([3.0])
    with pytest.raises(fad.ShapeError, match="condition of an event"):
        solve(lambda t, y, w: y)
    with pytest.raises(fad.ShapeError, match="jump of an event"):
        solve(Event(lambda t, y, w: y[0], jump=lambda t, y, w: 0.0))


# ── the bouncing ball ─────────────────────────────────────────────────────────────────────────────────────────
BALL = (1.3, 9.81, 0.75)


def test_ten_bounces():
    sol = drop(*BALL, max_step=0.05, **TIGHT)
    np.testing.assert_allclose(sol.t_events[0][:10], bounces(*BALL, 10), rtol=1e-12)
    assert np.all(np.abs(sol.y_events[0][:, 0]) < 1e-10) and np.all(sol.y_events[0][:, 1] < 0)
    assert sol.status == 0 and sol.t[-1] == 4


@pytest.mark.parametrize("k", [0, 1, 9])
def test_derivatives_of_the_times_of_bounces(k):
    found = fad.grad(lambda *ball: drop(*ball, max_step=0.05).t_events[0][k], argnums=(0, 1, 2))(*BALL)
    right = fad.grad(lambda *ball: bounces(*ball, 10)[k], argnums=(0, 1, 2))(*BALL)
    np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("points", [[0.2, 1.0, 1.9], [float(bounces(*BALL, 1)[0]), 2.2], [2.5]], ids=str)
def test_derivatives_of_what_comes_after_bounces(points):
    """A bounce at a point: the result there is that before it."""
    points = np.array(points)
    own = lambda *ball: drop(*ball, t_eval=points, max_step=0.05).y
    closed = lambda *ball: np.stack([height(t, *ball) for t in points], axis=1)
    np.testing.assert_allclose(own(*BALL), closed(*BALL), rtol=1e-10, atol=1e-10)
    for found, right in zip(fad.jacobian(own, (0, 1, 2))(*BALL), fad.jacobian(closed, (0, 1, 2))(*BALL), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-9)


def test_second_and_third_derivatives_through_bounces():
    h, *rest = BALL
    own = lambda h: drop(h, *rest, t_eval=[1.9], max_step=0.05).y[0, 0]
    closed = lambda h: height(1.9, h, *rest)[0]
    for order in range(1, 4):
        own, closed = fad.grad(own), fad.grad(closed)
        np.testing.assert_allclose(own(h), closed(h), rtol=1e-8, err_msg=str(order))
    f = lambda x: drop(x[0], x[1], x[2], max_step=0.05).t_events[0][3]
    g = lambda x: bounces(x[0], x[1], x[2], 4)[3]
    np.testing.assert_allclose(fad.hessian(f)(np.array(BALL)), fad.hessian(g)(np.array(BALL)), rtol=1e-9, atol=1e-10)


# ── derivatives ───────────────────────────────────────────────────────────────────────────────────────────────
STOP = Event(lambda t, y, w: y[0] - 0.5 * t + 0.1 * w, terminal=True)
KICK = Event(lambda t, y, w: y[0], lambda t, y, w: np.array([y[0], 0.9 * y[1] + 0.1 * t * w]), direction=-1)
OPTIONS = [
    {"events": STOP}, {"events": KICK}, {"events": [KICK, Event(lambda t, y, w: y[1] + 0.2)]},
    {"events": [Event(lambda t, y, w: y[1] + 0.2), STOP], "t_eval": [0.1, 0.3, 3.0]},
    {"events": KICK, "t_eval": [0.1, 1.5, 3.0], "method": "Dopri8"}, {"events": KICK, "step": 0.05, "method": "RK4"},
]  # fmt: skip


def solved(y0, w, span=(0, 3), **options):
    return fad.solve_ivp(swing, span, y0, args=(w,), **options)


def cost(y0, w, **options):
    sol = solved(y0, w, **options)
    events = sum(np.sum(np.sin(sol.y_events[i][0])) + sol.t_events[i][0] for i in range(len(sol.t_events)))
    return np.sum(sol.y[:, -1] ** 2) + events


Y0, W = np.array([1.0, 0.1]), 4.0


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_the_adjoint_is_the_transpose_of_the_tangent(options, tier):
    f = lambda y0, w: cost(y0, w, **options)
    v = np.array([0.3, -0.8]), 0.6
    found = fad.grad(f, argnums=(0, 1), tier=tier)(Y0, W)
    tangent = fad.jit(lambda y0, w: fad.jvp(f, (y0, w), v)[1], tier=tier)(Y0, W)  # with the same rounding errors
    np.testing.assert_allclose(found[0] @ v[0] + found[1] * v[1], tangent, rtol=1e-11)


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_derivatives_are_differences(options):
    options = options | ({"rtol": 1e-11, "atol": 1e-12} if "step" not in options else {})
    f = lambda w: cost(Y0, w, **options)
    h = 1e-4
    np.testing.assert_allclose(fad.grad(f)(W), (f(W + h) - f(W - h)) / (2 * h), rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS[:4], ids=range(4))
def test_hessians(options):
    f = lambda y0: cost(y0, W, **options)
    hessian = fad.hessian(f, tier="sweep")(Y0)
    np.testing.assert_allclose(fad.jacfwd(fad.grad(f), tier="native")(Y0), hessian, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(fad.jacrev(fad.grad(f), tier="sweep")(Y0), hessian, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS[1:4], ids=range(3))
def test_every_schedule_gives_the_same_bits(options):
    c = fad.checkpoint
    wanted = fad.grad(lambda y0: cost(y0, W, checkpoint=c.StoreAll(), **options))(Y0)
    for schedule in (c.Online(1), c.Online(4), c.Online(1000)):
        found = fad.grad(lambda y0, s=schedule: cost(y0, W, checkpoint=s, **options))(Y0)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
def test_the_kernels_compute_what_the_definition_says(options):
    few = {"rtol": 1e-3} if "step" not in options else {}  # steps, which the definition takes in Python
    few |= {"t_eval": [0.1, 0.3]} if "t_eval" in options else {}
    f = lambda y0: cost(y0, W, span=(0, 1.2), **options | few)
    for own in (f, fad.grad(f), lambda y0: fad.jvp(f, (y0,), (y0,))[1]):
        table = fad.trace(own, Y0)
        assert any(isinstance(sub, Solve | SolveAdjoint) for sub in table.subs)
        np.testing.assert_allclose(evaluate(table, [Y0, *table.captured])[0], own(Y0), rtol=1e-8)


def test_derivatives_by_the_ends_of_the_span():
    """Of an autonomous system: the time of the event moves with the start."""
    event = Event(lambda t, y, w: y[0], terminal=True)
    time = lambda a: solved(Y0, W, span=(a, 3.0), events=event, **TIGHT).t_events[0][0]
    np.testing.assert_allclose(fad.grad(time)(0.5), 1.0, rtol=1e-8)
    end = lambda b: solved(Y0, W, span=(0.0, b), events=KICK, **TIGHT).y[:, -1]
    np.testing.assert_allclose(fad.jacobian(end)(2.0), swing(2.0, end(2.0), W), rtol=1e-6)


def test_a_function_and_its_derivative_are_recorded_once():
    f = fad.jit(lambda y0, w: solved(y0, w, events=STOP, rtol=1e-8).t[-1])
    g = fad.grad(lambda y0, w: solved(y0, w, events=STOP, rtol=1e-8).y[0, -1])
    for scale in (1.0, 1.1, 1.2):
        f(scale * Y0, W), g(scale * Y0, W)
    assert f.stats()["recordings"] == g.stats()["recordings"] == 1


def test_vmap_over_parameters_with_other_numbers_of_events():
    ws = np.array([2.0, 4.0, 9.0])
    for f in (lambda w: solved(Y0, w, events=KICK).t_events[0][0], lambda w: solved(Y0, w, events=KICK).y[:, -1]):
        np.testing.assert_array_equal(fad.vmap(f)(ws), [f(w) for w in ws])
        gradient = fad.grad(lambda w, f=f: np.sum(f(w)))
        np.testing.assert_allclose(fad.vmap(gradient)(ws), [gradient(w) for w in ws], rtol=1e-12)


# ── where and when ────────────────────────────────────────────────────────────────────────────────────────────
LINE = lambda t, y: np.array([1.0])


def line(events, span=(0, 1), **options):
    return fad.solve_ivp(LINE, span, [span[0] * 1.0], events=events, **options)


def test_an_event_at_the_start_does_not_happen():
    sol = line([lambda t, y: y[0], lambda t, y: np.sin(2 * np.pi * t)])
    assert len(sol.t_events[0]) == 0
    np.testing.assert_allclose(sol.t_events[1][0], 0.5, rtol=1e-12)
    back = fad.solve_ivp(lambda t, y: np.array([y[1], -1.0]), (0, 3), [0.0, 1.0], events=lambda t, y: y[0])
    np.testing.assert_allclose(back.t_events[0], [2.0], rtol=1e-12)


def test_an_event_at_the_end_happens():
    for span in ((0, 1), (1, 0)):
        sol = line(Event(lambda t, y, end=span[1]: t - end, terminal=True), span)
        assert sol.t_events[0] == [span[1]] and sol.status == 1 and sol.t[-1] == span[1]
    jumped = line(Event(lambda t, y: t - 1.0, lambda t, y: y + 5.0))
    np.testing.assert_allclose(jumped.y[0, -1], 6.0, rtol=1e-12)
    assert jumped.status == 0


def test_a_condition_that_only_touches_zero_does_not_happen():
    sol = line(lambda t, y: (t - 0.4) ** 2, max_step=0.1, first_step=0.07)
    assert len(sol.t_events[0]) == 0


def test_a_condition_that_is_not_continuous_happens_where_its_sign_changes():
    time = lambda a: line(Event(lambda t, y: np.where(y[0] * a < 0.3, -1.0, 1.0), terminal=True)).t_events[0][0]
    np.testing.assert_allclose(time(1.0), 0.3, rtol=1e-12)
    assert fad.grad(time)(1.0) == 0.0


def test_several_events_in_one_step():
    times = 0.8, 0.3, 0.5
    events = [lambda t, y, at=at: t - at for at in times]
    sol = line(events, first_step=1.0)
    assert sol.stats["accepted"] == 1
    np.testing.assert_allclose(np.ravel(sol.t_events), times, rtol=1e-14)
    events[2] = Event(events[2], terminal=True)
    sol = line(events, first_step=1.0)
    assert [len(found) for found in sol.t_events] == [0, 1, 1] and sol.t[-1] == sol.t_events[2][0]


def test_jumps_at_the_same_time_are_all_made():
    """A ball that hits two walls in their corner."""
    turned = [lambda t, y: y * np.array([1.0, 1.0, -1.0, 1.0]), lambda t, y: y * np.array([1.0, 1.0, 1.0, -1.0])]
    walls = [Event(lambda t, y, i=i: 1.0 - y[i], turned[i], direction=-1) for i in range(2)]
    fly = lambda t, y: np.array([y[2], y[3], 0.0, 0.0])
    sol = fad.solve_ivp(fly, (0, 3), [0.0, 0.0, 1.0, 1.0], events=walls, dense_output=True)
    np.testing.assert_allclose(sol.y[:, -1], [-1.0, -1.0, -1.0, -1.0], rtol=1e-12)
    assert [len(found) for found in sol.t_events] == [1, 1]
    np.testing.assert_allclose(sol.sol(np.array([0.5, 1.0, 2.0]))[0], [0.5, 1.0, 0.0], atol=1e-12)


def test_dense_output_follows_jumps():
    sol = drop(*BALL, dense_output=True, max_step=0.05)
    ts = np.linspace(0.0, 2.5, 40)
    np.testing.assert_allclose(sol.sol(ts), np.stack([height(t, *BALL) for t in ts], axis=1), atol=1e-10)
    inside = fad.grad(lambda h: drop(h, *BALL[1:], dense_output=True, max_step=0.05).sol(1.9)[0])(BALL[0])
    np.testing.assert_allclose(inside, fad.grad(lambda h: height(1.9, h, *BALL[1:])[0])(BALL[0]), rtol=1e-9)


def test_backward_in_time():
    there = drop(*BALL, **TIGHT).t_events[0][0]
    back = fad.solve_ivp(fall, (there, -2), [0.0, -BALL[1] * there], args=BALL[1:], events=lambda t, y, g, e: y[1] - g)
    np.testing.assert_allclose(back.t_events[0], [-1.0], rtol=1e-12)
    assert back.t[-1] == -2


def test_many_events_and_steps():
    """Of a pendulum: more than are logged or kept at a time. It swings with a period, so all times scale alike."""
    event = Event(lambda t, y, w: y[0], terminal=200)
    solve = lambda w: solved([1.0, 0.0], w, (0, 400), events=event, max_step=0.2, **TIGHT)
    sol = solve(W)
    assert len(sol.t_events[0]) == 200 and sol.status == 1 and len(sol.t) > 1024
    np.testing.assert_allclose(np.diff(sol.t_events[0]), sol.t_events[0][1] - sol.t_events[0][0], rtol=1e-5)
    last = sol.t_events[0][-1]
    assert sol.t[-1] == last
    np.testing.assert_allclose(fad.grad(lambda w: solve(w).t_events[0][-1])(W), -0.5 * last / W, rtol=1e-4)


def test_a_solve_with_events_is_stored_in_files(tmp_path):
    f = fad.jit(lambda y0: cost(y0, W, events=[KICK, STOP]))
    right = f(Y0)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    np.testing.assert_array_equal(loaded(Y0), right)
    np.testing.assert_allclose(fad.grad(loaded)(Y0), fad.grad(f)(Y0), rtol=1e-12)


# ── with other methods, adjoints and branches ─────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("events", [[KICK], [KICK, STOP]], ids=len)
def test_forward_sensitivities_go_through_events(events):
    f, g = (lambda w, a=a: cost(Y0, w, events=events, adjoint=a) for a in ("forward", "discrete"))
    for of in (lambda f: f, fad.grad):
        found, wanted = (fad.grad(of(own), tier="sweep")(W) for own in (f, g))
        np.testing.assert_allclose(found, wanted, rtol=1e-9)
    np.testing.assert_allclose(fad.grad(f, tier="native")(W), fad.grad(g, tier="sweep")(W), rtol=1e-9)


@pytest.mark.parametrize("adjoint", ["continuous", "interpolating", "reversible"])
def test_adjoints_that_know_no_events_say_so(adjoint):
    with pytest.raises(fad.ShapeError, match=f"'{adjoint}' has no derivatives of events"):
        fad.grad(lambda w: cost(Y0, w, events=STOP, adjoint=adjoint, method="ReversibleHeun"))(W)


@pytest.mark.parametrize("method", ["ReversibleHeun", "Leapfrog"])
def test_events_of_reversible_methods(method):
    f = lambda w: cost(Y0, w, events=KICK, method=method, step=0.01)
    np.testing.assert_allclose(f(W), cost(Y0, W, events=KICK), rtol=0.02)
    _, tangent = fad.jvp(f, (W,), (1.0,))
    np.testing.assert_allclose(fad.grad(f)(W), tangent, rtol=1e-10)


def test_events_where_the_right_hand_side_branches():
    def branched(t, y):
        return np.array([y[1], -9.81]) if y[1] < 0 else np.array([y[1], -9.81 - y[1]])

    floor = Event(lambda t, y: y[0], terminal=True)
    time = lambda v: fad.solve_ivp(branched, (0, 9), np.array([1.0, v]), events=floor, **TIGHT).t_events[0][0]
    up = lambda v: np.log(1 + v / 9.81), lambda v: 1 + v - 9.81 * np.log(1 + v / 9.81)  # to the top: time, height
    np.testing.assert_allclose(time(2.0), up[0](2.0) + np.sqrt(2 * up[1](2.0) / 9.81), rtol=1e-6)
    np.testing.assert_allclose(fad.grad(time)(2.0), (time(2.0 + 1e-4) - time(2.0 - 1e-4)) / 2e-4, rtol=1e-4)


def test_conditions_and_jumps_may_branch():
    """A floor that is there only for what falls, and takes more of a fast ball: with `if` as with `where`."""
    falling = lambda t, y, g, e: y[0] if y[1] < 0.0 else y[0] + 1.0
    slowed = lambda t, y, g, e: np.array([0.0, -e * y[1]]) if y[1] < -3.0 else np.array([0.0, -0.9 * e * y[1]])
    chosen = lambda t, y, g, e: np.array([0.0, -e * np.where(y[1] < -3.0, 1.0, 0.9) * y[1]])
    branches = Event(falling, slowed, direction=-1), Event(lambda t, y, g, e: y[0], chosen, direction=-1)

    def end(event, h, g, e):
        sol = fad.solve_ivp(fall, (0, 2.5), np.array([h, 0.0]), args=(g, e), events=event, max_step=0.05)
        return sol.y[0, -1] + sol.t_events[0][1]

    found, wanted = (lambda h, g, e, own=own: end(own, h, g, e) for own in branches)
    for of in (lambda f: f, lambda f: fad.grad(f, argnums=(0, 1, 2)), lambda f: fad.grad(fad.grad(f))):
        np.testing.assert_allclose(of(found)(*BALL), of(wanted)(*BALL), rtol=1e-9)
    heights = np.array([1.0, 1.3, 2.5])
    for f in (found, fad.grad(found)):
        lanes = fad.vmap(f, in_axes=(0, None, None))(heights, *BALL[1:])
        np.testing.assert_allclose(lanes, [f(h, *BALL[1:]) for h in heights], rtol=1e-12)


def test_tangents_where_more_happens_than_in_the_recording():
    tangent = fad.jit(lambda w: fad.jvp(lambda w: cost(Y0, w, span=(0, 60), events=KICK), (w,), (1.0,))[1])
    for w in (0.5, 400.0):
        np.testing.assert_allclose(tangent(w), fad.grad(lambda w: cost(Y0, w, span=(0, 60), events=KICK))(w), rtol=1e-6)


def test_fixed_steps_with_events_that_end_in_no_number():
    sol = fad.solve_ivp(lambda t, y: y * np.sqrt(0.55 - t), (0, 1), [1.0], step=0.1, events=lambda t, y: y[0])
    assert not sol.success and "not finite, at t = 0.6" in sol.message


def test_events_that_are_none_say_what_is_wanted():
    with pytest.raises(TypeError, match=r"a list of such .*test_ode_events.* not 3"):
        fad.solve_ivp(lambda t, y: -y, (0, 1), [1.0], events=3)


def test_whole_arrays_of_events_and_steps_are_results():
    """Known while it is recorded or not, under vmap where the lanes have equal numbers."""
    event = Event(lambda t, y, w: y[0])
    solve = lambda w: solved(Y0, w, span=(0, 4), events=event)
    wholes = [lambda w: solve(w).t_events[0], lambda w: solve(w).y_events, lambda w: solve(w).t, lambda w: solve(w).y]
    for whole in wholes:
        now, replayed, lanes = whole(4.0), fad.jit(whole)(4.0), fad.vmap(whole)(np.array([4.0, 4.01]))
        for a, b, c in zip(*(x if isinstance(x, list) else [x] for x in (now, replayed, lanes)), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(c[0], a, rtol=1e-12, atol=1e-15)
    with pytest.raises(fad.RecordingError, match=r"numbers of steps and events.*t_events\[0\]\[2\]"):
        fad.vmap(wholes[0])(np.array([4.0, 40.0]))


_NONE = lambda sol: sol.t_events[0][1], lambda sol: sol.y_events[0][1, 0], lambda sol: sol.t_events[0][-3]


@pytest.mark.parametrize("part", _NONE)
def test_what_did_not_happen_has_no_derivative(part):
    once = lambda t, y: y[0] - 0.5
    cost = lambda a: (part(fad.solve_ivp(lambda t, y: -a * y, (0, 5), [1.0], events=once)) - 3.0) ** 2
    for found in (*fad.value_and_grad(cost)(1.0), *fad.jvp(cost, (1.0,), (1.0,)), fad.hessian(cost)(1.0)):
        assert np.isnan(found)
    rates = np.array([0.01, 1.0])
    first = lambda a: fad.solve_ivp(lambda t, y: -a * y, (0, 5), [1.0], events=once).t_events[0][0]
    np.testing.assert_allclose(fad.vmap(fad.grad(first))(rates), [np.nan, -np.log(2)], rtol=1e-5)
