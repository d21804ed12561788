"""SciPy's users: its calls, its results, its errors, its own tests."""

import warnings

import numpy as np
import pytest
import scipy.integrate

import fastad as fad
from fastad.execution.composites import callbacks

NAMES = ("RK23", "RK45", "DOP853")


def decay(t, y):
    return -y


def rational(t, y):
    return np.array([y[1] / t, y[1] * (y[0] + 2 * y[1] - 1) / (t * (y[0] - 1))])


def rational_solution(t):
    return np.asarray((t / (t + 10), 10 * t / (t + 10) ** 2))


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("span", [(5, 9), (5, 1)])
@pytest.mark.parametrize("options", [{}, {"max_step": 0.5}, {"max_step": 0.5, "first_step": 0.1}])
def test_solutions_are_as_good_as_scipys(method, span, options):
    sol = fad.solve_ivp(rational, span, [1 / 3, 2 / 9], method, rtol=1e-3, atol=1e-6, dense_output=True, **options)
    assert sol.success and sol.status == 0 and (sol.t[0], sol.t[-1]) == span
    assert sol.t_events is None and sol.y_events is None and (sol.njev, sol.nlu) == (0, 0)
    assert np.all(np.abs(np.diff(sol.t)) <= options.get("max_step", np.inf) + 1e-14)
    assert "first_step" not in options or np.isclose(abs(sol.t[1] - 5), 0.1)
    np.testing.assert_allclose(sol.sol(sol.t), sol.y, rtol=1e-15)
    for t in (sol.t, np.linspace(*span), np.mean(span)):
        y = rational_solution(t)
        error = (sol.sol(t) - y) / (1e-6 + 1e-3 * np.abs(y))
        assert np.all(np.linalg.norm(error, axis=0) < 5 * np.sqrt(2))


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("span", [(5, 9), (5, 1)])
def test_solutions_take_no_more_work_than_scipys(method, span):
    own, theirs = (
        solve(rational, span, [1 / 3, 2 / 9], method=method, rtol=1e-3, atol=1e-6, dense_output=True)
        for solve in (fad.solve_ivp, scipy.integrate.solve_ivp)
    )
    assert own.nfev <= 1.25 * theirs.nfev


@pytest.mark.parametrize("end", [np.inf, -np.inf])
@pytest.mark.parametrize("start", [0.0, 7.0])
def test_a_span_may_be_infinite_where_an_event_ends_the_solve(end, start):
    sign = np.sign(end)

    def fall(t, y, g):
        return [sign * y[1], -sign * g]

    def ground(t, y, g):
        return y[0]

    ground.terminal, points = True, start + sign * np.array([0.0, 0.25, 1.0, 9.0])

    def arrival(g, end, **options):
        sol = fad.solve_ivp(fall, (start, end), [1.0, 2.0], args=(g,), events=ground, t_eval=points, **options)
        return sol.t_events[0][0]

    sol = fad.solve_ivp(fall, (start, end), [1.0, 2.0], args=(9.81,), events=ground, t_eval=points)
    assert sol.status == 1 and len(sol.t) == 2
    taken = lambda g: (2.0 + np.sqrt(4.0 + 2.0 * g)) / g
    for options in ({}, {"max_step": 0.1}, {"step": 0.1}):
        value, derivative = fad.value_and_grad(lambda g, options=options: arrival(g, end, **options))(9.81)
        np.testing.assert_allclose(value, start + sign * taken(9.81), rtol=1e-12)
        np.testing.assert_allclose(derivative, sign * fad.grad(taken)(9.81), rtol=1e-10)
    rest = fad.solve_ivp(lambda t, y: np.zeros(0), (start, end), [], dense_output=True)
    assert rest.success and rest.sol(3.0).shape == (0,)


def test_bars_of_adaptive_solves_show_the_part_of_the_span(monkeypatch):
    shown = []

    class Bar:
        def __init__(self, total, **options):
            self.n, self.total = 0, total

        def __enter__(self):
            return self

        def __exit__(self, *error):
            shown.append((self.n, self.total))

        def set_postfix_str(self, text, refresh):
            assert text.endswith(" steps ")

        def update(self, more):
            assert 0 <= self.n <= self.n + more <= self.total + 1e-9
            self.n += more

    monkeypatch.setattr(callbacks, "progress_bars", lambda: Bar)
    monkeypatch.setattr(callbacks, "_PERIOD", 1e-3)
    jump = fad.ode.Event(lambda t, y: y[0] - 0.5, lambda t, y: 1.0 * y)
    turning, start = lambda t, y: [y[1], -y[0]], np.array([1.0, 0.0])
    for events in ((), jump):
        solve = lambda y, e=events: fad.solve_ivp(turning, (0, 1e3), y, progress=True, max_step=0.1, events=e).y[0, -1]
        shown.clear()
        solve(start)
        assert shown == [(pytest.approx(1.0), 1.0)]
        fad.grad(solve)(start)
        assert len(shown) >= 3 and shown[-1] == (pytest.approx(1.0), 1.0)


@pytest.mark.parametrize("method", NAMES)
def test_the_class_of_scipy_stands_for_its_name(method):
    by_class = fad.solve_ivp(decay, (0, 1), [1.0], getattr(scipy.integrate, method))
    assert np.array_equal(by_class.y, fad.solve_ivp(decay, (0, 1), [1.0], method).y)


@pytest.mark.parametrize(
    "fun",
    [
        lambda t, y: [-y[0], 2.0], lambda t, y: (-y[0], 2), lambda t, y: [[-y[0]], [2.0]],
        lambda t, y: [-y[:1], np.array([2.0])], lambda t, y: np.array([-y[0], 2.0]),
        lambda t, y: np.stack([-y[0], 2.0]),
    ],
)  # fmt: skip
def test_right_hand_sides_return_what_scipy_takes(fun):
    y = fad.solve_ivp(fun, (0, 1), [1, 0], rtol=1e-8).y
    assert y.dtype == float
    np.testing.assert_allclose(y[:, -1], [np.exp(-1), 2.0], rtol=1e-6)


def test_one_component_may_be_a_number():
    np.testing.assert_allclose(fad.solve_ivp(lambda t, y: -y[0], (0, 1), [1]).y[0, -1], np.exp(-1), rtol=1e-4)
    np.testing.assert_allclose(fad.solve_ivp(lambda t, y: 2.0, (0, 1), [1]).y[0, -1], 3.0)


def test_vectorized_functions_get_columns():
    sol = fad.solve_ivp(lambda t, y: np.vstack([-y[0], y[1]]), (0, 1), [1.0, 1.0], vectorized=True, rtol=1e-8)
    np.testing.assert_allclose(sol.y[:, -1], [np.exp(-1), np.exp(1)], rtol=1e-6)


@pytest.mark.parametrize("method", NAMES)
def test_empty_systems(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sol = fad.solve_ivp(lambda t, y: np.zeros(0), (0, 10), np.zeros(0), method, dense_output=True)
    assert sol.success and sol.sol(10).shape == (0,) and sol.sol([1, 2, 3]).shape == (0, 3)
    assert fad.grad(lambda y: np.sum(fad.solve_ivp(decay, (0, 1), y, method).y[:, -1]))(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("method", NAMES)
def test_spans_of_length_zero(method):
    sol = fad.solve_ivp(lambda t, y: 2 * y, (1, 1), [3.0], method, dense_output=True)
    assert sol.success and sol.y[0, -1] == 3 and np.array_equal(sol.sol([0, 1, 2]), [[3.0, 3.0, 3.0]])
    assert fad.grad(lambda y: fad.solve_ivp(lambda t, y: 2 * y, (1, 1), [y], method).y[0, -1])(3.0) == 1


def test_points_to_which_nothing_belongs_give_lists_as_scipys_do():
    for solve in (fad.solve_ivp, scipy.integrate.solve_ivp):
        sol = solve(decay, (0, 1), [1.0], t_eval=[])
        assert not sol.t and not sol.y and sol.success


@pytest.mark.parametrize("method", NAMES)
@pytest.mark.parametrize("span", [(0, 1), (1, 0)])
def test_interpolants_are_scipys(method, span):
    own, other = (
        solve(lambda t, y: [np.cos(t), -y[1]], span, [0.0, 1.0], method=method, dense_output=True, max_step=0.25).sol
        for solve in (fad.solve_ivp, scipy.integrate.solve_ivp)
    )
    assert (own.t_min, own.t_max) == (other.t_min, other.t_max) and own.n_segments == len(own.interpolants)
    for t in (0.3, [0.3], [0.9, 0.1], [0.0, 1.0, 0.5]):
        assert np.shape(own(t)) == np.shape(other(t))
        np.testing.assert_allclose(own(t), other(t), rtol=1e-3, atol=1e-4)
    first = own.interpolants[0]
    assert (first.t_old, first.t) == (own.ts[0], own.ts[1])
    np.testing.assert_allclose(first(own.ts[1]), own(own.ts[1]))
    with pytest.raises(ValueError, match="1-D"):
        own([[0.5]])


def test_results_are_mappings():
    sol, theirs = (solve(decay, (0, 1), [1.0]) for solve in (fad.solve_ivp, scipy.integrate.solve_ivp))
    assert set(theirs) <= set(sol) and sol["t"] is sol.t and sol.get("nothing") is None and "y" in sol
    with pytest.raises(KeyError):
        sol["nothing"]
    with pytest.raises(AttributeError, match="its fields are"):
        _ = sol.nothing
    assert [line.partition(":")[0].strip() for line in str(sol).splitlines() if ": " in line][:4] == list(sol)[:4]
    assert "<table>" in sol._repr_html_() and sol.message == theirs.message


ERRORS = {
    "unsorted": ({"t_eval": [0.5, 0.2]}, ValueError, "not properly sorted"),
    "backward": ({"t_span": (1, 0), "t_eval": [0.2, 0.5]}, ValueError, "not properly sorted"),
    "twice": ({"t_eval": [0.5, 0.5]}, ValueError, "not properly sorted"),
    "outside": ({"t_eval": [0.5, 1.5]}, ValueError, "not within `t_span`"),
    "matrix": ({"t_eval": [[0.5]]}, ValueError, "`t_eval` must be 1-dimensional"),
    "state": ({"y0": [[1.0]]}, ValueError, "`y0` must be 1-dimensional"),
    "scalar": ({"y0": 1.0}, ValueError, "`y0` must be 1-dimensional"),
    "nan": ({"y0": [np.nan]}, ValueError, "All components of the initial state `y0` must be finite"),
    "complex": ({"fun": lambda t, y: 1j * y}, ValueError, "give a complex y0"),
    "args": ({"args": 2}, TypeError, "Supplied 'args' cannot be unpacked"),
    "max_step": ({"max_step": -1}, ValueError, "`max_step` must be positive"),
    "first_step": ({"first_step": -1}, ValueError, "`first_step` must be positive"),
    "long": ({"first_step": 5}, ValueError, "`first_step` exceeds bounds"),
    "atol": ({"atol": -1}, ValueError, "`atol` must be positive"),
    "sizes": ({"atol": [1, 2]}, ValueError, "atol has shape"),
    "rtol": ({"rtol": np.nan}, ValueError, "rtol"),
    "method": ({"method": "Foo"}, ValueError, "method must be one of"),
    "infinite": ({"t_span": (np.inf, 0)}, ValueError, "must start at a finite time"),
    "endless": ({"t_span": (0, np.inf), "method": "RK4", "step": 0.1}, ValueError, "fixed steps need a finite t_span"),
    "mass": ({"mass": np.eye(1)}, ValueError, "mass"),
    "size": ({"fun": lambda t, y: [1.0, 2.0]}, ValueError, "y has 1 component"),
    "nothing": ({"fun": lambda t, y: None}, ValueError, "fun returned None"),
    "text": ({"fun": lambda t, y: "a"}, ValueError, "fun returned 'a'"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_scipys_kinds_and_name_the_users_line(name):
    given, kind, message = ERRORS[name]
    arguments = {"fun": decay, "t_span": (0, 1), "y0": [1.0]} | given
    with pytest.raises(kind, match=message) as found:
        fad.solve_ivp(**arguments)
    assert "test_ode_scipy.py" in str(found.value)


@pytest.mark.parametrize("points", [[np.nan], [0.5, 2.0], [0.7, 0.5]], ids=str)
def test_points_that_have_derivatives_are_checked_where_they_are_recorded(points):
    total = lambda points, end=1.0: np.sum(fad.solve_ivp(decay, (0, end), [1.0], t_eval=points).y)
    for f in (fad.grad(total), fad.jit(total), lambda points: fad.grad(lambda end: total(points, end))(1.0)):
        with pytest.raises(ValueError, match=r"Values in `t_eval` are not .*test_ode_scipy"):
            f(np.array(points))
    np.testing.assert_allclose(fad.grad(total)(np.array([0.5, 0.5, 0.5])), -np.exp(-0.5), rtol=1e-5)
    later = fad.grad(lambda end: total(np.linspace(0.0, 1.0, 4) * end, end))
    assert np.isfinite([later(end) for end in (0.1, 0.7, 1.3)]).all()


def test_warnings_are_scipys():
    with pytest.warns(UserWarning, match="At least one element of `rtol` is too small"):
        fad.solve_ivp(decay, (0, 1), [1.0, 2.0], rtol=[1e-1, 1e-16])
    with pytest.warns(UserWarning, match="have no effect for a chosen solver: `jac`"):
        fad.solve_ivp(decay, (0, 1), [1.0], jac=lambda t, y: -np.eye(1))


def test_pictures_show_steps_components_and_failures(tmp_path):
    pytest.importorskip("matplotlib")
    sol = fad.solve_ivp(lambda t, y: [y[1], -y[0]], (0, 6), [1.0, 0.0], dense_output=True)
    axes = sol.plot(labels=["x", "v"])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["x", "v"] and axes.get_xlabel() == "t"
    assert sol.plot(axes) is axes
    with pytest.raises(ValueError, match="1 labels for 2 components"):
        sol.plot(labels=["x"])
    blown = fad.solve_ivp(lambda t, y: y**2, (0, 3), [1.0]).plot()
    assert "step size" in blown.get_title(loc="left")
    blown.figure.savefig(tmp_path / "blown.png")


def test_statistics_foresee_what_a_gradient_takes():
    online = fad.checkpoint.Online(3)
    for options in ({"checkpoint": online}, {"checkpoint": fad.checkpoint.Revolve(3), "method": "RK4", "step": 0.1}):
        sol = fad.solve_ivp(decay, (0, 10), [1.0], **options)
        n, again = sol.stats["accepted"], sol.stats["recomputed"]
        assert n == len(sol.t) - 1 and again == options["checkpoint"].predicted_steps(n) - (n - 1)
        assert sol.nfev == sol.stats["evaluations"] >= n
    assert fad.solve_ivp(decay, (0, 10), [1.0]).stats["recomputed"] == 0
