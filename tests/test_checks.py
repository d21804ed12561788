"""Checks of derivatives: they pass for right derivatives, fail for wrong ones, and say why."""

import numpy as np
import pytest

import fastad as fad
from fastad.execution.observing import observing
from fastad.primitives import primitive
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.expression import parse, times
from fastad.recording.elementwise import elementwise
from fastad.recording.operands import is_recorded
from fastad.tables.passes import activity, contributions
from fastad.tables.reference import evaluate
from fastad.transforms.known import RECORDINGS


@pytest.fixture
def wrong_partial(monkeypatch):
    """A way to give a primitive a wrong partial; programs run by the reference interpreter, as derived from the row."""
    def spoil(name, *partials):
        row = primitive(name)
        monkeypatch.setitem(row.__dict__, "contribution_exprs", tuple(times(parse(p), "u") for p in partials))
        forget()

    def forget():  # the rules that were compiled of the rows
        contributions.rules.cache_clear()
        activity._differentiable.cache_clear()
        RECORDINGS.clear()

    with observing(lambda request, values: [x[()] for x in evaluate(request.table, values)]):
        yield spoil
    monkeypatch.undo()
    forget()


def smooth(x, y):
    return np.sum(np.sin(x) * np.exp(y)) / (1.0 + y * y)


POINT = (np.array([0.3, -1.2, 2.0]), 0.7)


# ── finite differences ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("method", "bound"), [("central", 1e-8), ("forward", 1e-2), ("complex", 1e-14)])
def test_differences_err_by_no_more_than_expected(method, bound):
    v = (np.array([1.0, -0.5, 2.0]), 0.25)
    found = fad.finite_difference(smooth, POINT, v, method)
    x, y = POINT
    w = np.exp(y) / (1 + y * y)
    exact = np.sum(np.cos(x) * v[0]) * w + np.sum(np.sin(x)) * w * (1 - 2 * y / (1 + y * y)) * v[1]
    assert abs(found.derivative - exact) <= 20 * found.expected_error + 1e-15
    assert found.expected_error < bound and found.method == method


def test_the_notes_forward_step():
    found = fad.finite_difference(np.square, 2.0, 1.0, "forward")
    assert found.step == 0.001
    assert found.derivative == pytest.approx(4.001, abs=1e-9) and found.expected_error == pytest.approx(1e-3, rel=0.1)
    assert fad.finite_difference(np.square, 2.0, 1.0, "forward", step=0.01).derivative == pytest.approx(4.01)


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1.0, 1e6, 1e100])
def test_the_step_follows_the_scale_of_the_argument(size):
    found = fad.finite_difference(np.log, size, size)  # along x: d log(x) = 1
    assert found.derivative == pytest.approx(1.0, abs=1e-8)


def test_every_element_gets_its_step():
    slow_and_fast = lambda x: np.array([np.sin(x), np.sin(1e4 * x)])
    found = fad.finite_difference(slow_and_fast, 0.3, 1.0)
    exact = np.array([np.cos(0.3), 1e4 * np.cos(3e3)])
    np.testing.assert_allclose(found.derivative, exact, rtol=1e-4)
    np.testing.assert_allclose(found.derivative[0], exact[0], rtol=1e-9)


def test_differences_keep_the_structure_of_the_result():
    f = lambda p, n: {"a": p["x"] * n, "b": [p["x"].sum(), 3], "name": "text"}
    found = fad.finite_difference(f, ({"x": np.ones(2)}, 4), ({"x": np.array([1.0, 2.0])}, 0))
    np.testing.assert_allclose(found.derivative["a"], [4, 8])
    assert found.derivative["b"][0] == pytest.approx(3) and found.derivative["b"][1] == 3
    assert found.derivative["name"] == "text"


def test_differences_say_where_they_do_not_apply():
    with pytest.raises(fad.CheckError, match="not finite"):
        fad.finite_difference(np.sqrt, 0.0, 1.0)
    with pytest.raises(fad.CheckError, match="imaginary"):
        fad.finite_difference(np.abs, 1.0, 1.0, "complex")
    with pytest.raises(ValueError, match="method"):
        fad.finite_difference(np.abs, 1.0, 1.0, "backward")
    with pytest.raises(fad.ShapeError, match="direction"):
        fad.finite_difference(np.sin, np.ones(3), np.ones(2))
    with pytest.raises(fad.DerivativeError, match=r"3\.0"):
        fad.finite_difference(np.sin, 3, 1.0)


# ── check_grads ───────────────────────────────────────────────────────────────────────────────────────────────
def test_right_derivatives_pass_to_third_order():
    report = fad.check_grads(smooth, POINT, order=3)
    assert report and report.ok
    seen = {(c.mode, c.order) for c in report.comparisons}
    assert {("fwd", 1), ("rev", 1), ("fwd over rev", 2), ("rev over fwd over rev", 3)} <= seen and len(seen) == 14
    assert {c.method for c in report.comparisons} == {"central", "complex"}
    for c in report.comparisons:
        assert c.error <= 1e-6 * max(abs(c.derivative), 1.0) and c.expected < 1e-5 and c.step > 0
        if c.method == "complex":
            assert c.error <= 1e-13 * max(abs(c.derivative), 1.0)


def test_expected_errors_are_those_of_central_differences():
    """ε^(2/3) of the derivative, within two orders of magnitude."""
    for c in fad.check_grads(smooth, POINT, order=1).comparisons:
        if c.method == "central":
            assert c.expected < 1e-8 * max(abs(c.derivative), 1) and c.error < 1e-8 * max(abs(c.derivative), 1)


def test_structures_of_arguments_and_results():
    f = lambda p, n, flag: {"s": np.tanh(p["A"] @ p["x"]) * n, "count": 3, "flag": flag}
    rng = np.random.default_rng(0)
    args = ({"A": rng.normal(size=(3, 2)), "x": rng.normal(size=2), "k": np.arange(3)}, 2, True)
    assert fad.check_grads(f, args).ok
    assert {c.along for c in fad.check_grads(f, args, order=1).comparisons} == {"all", "x0", "x1"}
    assert fad.check_grads(np.sin, np.array([1.0, 2.0]), order=1).ok  # one array stands for itself


def test_float32():
    x = np.array([0.5, 1.5], np.float32)
    assert fad.check_grads(lambda x: np.exp(x) * x, (x,)).ok
    assert fad.check_adjoint(lambda x: np.exp(x) * x, (x,)).ok


def test_modes_methods_and_steps():
    report = fad.check_grads(smooth, POINT, order=2, modes=("rev",))
    assert {c.mode for c in report.comparisons} == {"rev", "rev over rev"}
    forward = fad.check_grads(smooth, POINT, order=1, method="forward").comparisons
    assert all(c.step == 0.001 for c in forward if c.method == "forward")
    chosen = fad.check_grads(smooth, POINT, order=1, eps=1e-4).comparisons
    assert {c.step for c in chosen if c.method == "central"} == {1e-4}
    with pytest.raises(ValueError, match="modes"):
        fad.check_grads(smooth, POINT, modes=("reverse",))


@pytest.mark.parametrize(
    ("name", "partial", "f"),
    [("sin", "-cos(a)", np.sin), ("exp", "r * 1.0001", np.exp), ("tanh", "1 - r", np.tanh), ("sin", "0", np.sin)],
)
def test_a_wrong_partial_is_found(wrong_partial, name, partial, f):
    wrong_partial(name, partial)
    with pytest.raises(fad.CheckError) as failed:
        fad.check_grads(lambda x: f(x) * x, (np.array([0.4, 1.1]),), order=1)
    report = failed.value.report
    assert {c.mode for c in report.comparisons if not c.ok} == {"fwd", "rev"}
    worst = report.worst
    assert not worst.ok and worst.error > 100 * worst.expected and "differences give" in worst.note
    for text in ("comparisons disagree", "step", "error", "expected", " NO "):
        assert text in str(failed.value)


def test_a_wrong_partial_of_a_small_argument_is_found(wrong_partial):
    """Beside a large argument it would be lost in one joint direction."""
    wrong_partial("sin", "2 * cos(a)")
    with pytest.raises(fad.CheckError):
        fad.check_grads(lambda x, y: x + np.sin(y), (1e9, 1e-3), order=1)


def test_a_wrong_second_derivative_is_found(wrong_partial):
    wrong_partial("cos", "sin(a)")  # sin's own partial is right, that of its partial is not
    assert fad.check_grads(np.sin, (0.7,), order=1).ok
    with pytest.raises(fad.CheckError) as failed:
        fad.check_grads(np.sin, (0.7,), order=2)
    assert {c.order for c in failed.value.report.comparisons if not c.ok} == {2}


def test_a_wrong_rule_of_a_user_primitive_is_found():
    wrong = fad.primitive(lambda x: x**3, jvp=lambda primals, tangents: 2 * primals[0] ** 2 * tangents[0])
    with pytest.raises(fad.CheckError):
        fad.check_grads(wrong, (1.5,), order=1)


# ── functions of arguments of many sizes: no alarm without an error, and an alarm for every error ─────────────
WIDE = {
    "log": (lambda x: np.sum(np.log(x)), [1e-3, 1.0, 1e3]),
    "logs": (np.log, [1e-9, 1e-3, 1.0, 1e3, 1e12]),
    "reciprocal": (lambda x: 1 / x, [1e-6, 1e3]),
    "square root": (np.sqrt, [1e-10, 1.0]),
    "root of a sum": (lambda x: np.sqrt(np.sum(x)), [1e-8, 1.0]),
    "power": (lambda x: np.sum(x**-1.5), [1e-4, 0.3, 7e2]),
    "exp": (lambda x: np.exp(-x), [1e-8, 5.0, 200.0]),
    "tanh": (lambda x: np.tanh(x) * x, [1e-8, 5.0, 20.0]),
    "oscillation": (lambda x: np.sin(x), [1e-5, 1.0, 2e3]),
    "product": (np.prod, [1e-6, 2.0, 1e5]),
    "quotient": (lambda x: x[0] / x[1] + x[2], [1e-7, 1e-3, 1e4]),
    "logsumexp": (fad.special.logsumexp, [-300.0, 1.0, 0.9, 1e-3]),
    "zeros": (lambda x: np.sum(np.cos(x) * x), [0.0, 1e-6, 3.0]),
}


@pytest.mark.parametrize("name", WIDE)
def test_no_alarm_at_arguments_of_many_sizes(name):
    f, point = WIDE[name]
    assert fad.check_grads(f, (np.array(point),), order=3).ok


PLANTED = 1e-6  # relative error
UNARY = ["sin", "exp", "tanh", "log", "sqrt", "arctan", "log1p", "erf", "expit", "log_ndtr", "gammaln", "sinc", "cbrt"]


@pytest.mark.parametrize("name", UNARY)
def test_small_errors_of_partials_are_found(wrong_partial, name):
    row = primitive(name)
    rng = np.random.default_rng(sum(map(ord, name)))
    (low, high), *_ = DOMAINS[row.domain[0]]
    f = lambda x: np.sum(np.linspace(1.0, 2.0, 3) * (elementwise(name, x) if is_recorded(x) else row.numpy(x)))
    points = [(rng.uniform(low, high, 3),) for _ in range(6)]
    for point in points:
        assert fad.check_grads(f, point, order=1).ok
    wrong_partial(name, f"({row.partials[0]}) * (1 + {PLANTED})")
    for point in points:
        with pytest.raises(fad.CheckError):
            fad.check_grads(f, point, order=1)


WITH_PARTIALS = [
    (np.log, np.reciprocal), (np.sqrt, lambda x: 0.5 / np.sqrt(x)), (np.reciprocal, lambda x: -1 / (x * x)),
    (lambda x: x**1.5, lambda x: 1.5 * np.sqrt(x)),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_small_errors_at_one_element_of_many_sizes_are_found(seed):
    """Each element of a point that spans twelve decades in turn has a rule that is wrong by a millionth."""
    rng = np.random.default_rng(seed)
    f, partial = WITH_PARTIALS[seed % 4]
    x = 10.0 ** rng.uniform(-6, 6, 4)
    for k in (None, *range(4)):
        error = 1 + PLANTED * (np.arange(4) == k)
        rule = fad.primitive(f, jvp=lambda p, t, error=error: partial(p[0]) * t[0] * error)
        if k is None:
            assert fad.check_grads(rule, (x,), order=1).ok
        else:
            with pytest.raises(fad.CheckError):
                fad.check_grads(rule, (x,), order=1)


# ── kinks, edges, noise ───────────────────────────────────────────────────────────────────────────────────────
def test_a_kink_is_named():
    report = fad.check_grads(np.abs, (0.0,), order=1)
    assert report.ok and all("kink" in c.note for c in report.comparisons)
    assert any("no complex step" in note for note in report.notes)
    with pytest.raises(fad.CheckError, match="kink or jump"):
        fad.check_grads(np.abs, (0.0,), order=2)
    assert fad.check_grads(np.abs, (0.5,), order=2).ok
    with pytest.raises(fad.CheckError, match="kink or jump"):
        fad.check_grads(np.floor, (2.0,), order=1)


def test_edges_of_the_domain_are_named():
    with pytest.raises(fad.CheckError, match="value of log is not finite"):
        fad.check_grads(np.log, (-1.0,))
    with pytest.raises(fad.CheckError, match="at the edge of"):
        fad.check_grads(np.sqrt, (0.0,), order=1)
    with pytest.raises(fad.CheckError, match=r"derivative of root is not finite.*debug\.nans"):
        def root(x):
            return np.sqrt(x * x)

        fad.check_grads(root, (0.0,), order=2)


def test_vanishing_derivatives_and_large_offsets():
    assert fad.check_grads(lambda x: x**3, (0.0,), order=3).ok
    assert fad.check_grads(lambda x: x * 0.0, (1.0,)).ok
    assert fad.check_grads(lambda x: 1e10 + x, (1.0,), order=1).ok
    assert fad.check_grads(lambda x: np.zeros((0, 3)) + x, (1.0,), order=1).ok


# ── check_adjoint ─────────────────────────────────────────────────────────────────────────────────────────────
def test_adjoints_are_transposes():
    rng = np.random.default_rng(1)
    f = lambda A, B, c: (np.tanh(A @ B) * c, A.T)
    report = fad.check_adjoint(f, (rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), 2.0), trials=4)
    assert len(report.comparisons) == 4 and all(c.error <= 1e-12 for c in report.comparisons)
    assert "trial 4" in str(report) and "<table>" in report._repr_html_()


def test_rules_that_are_no_transposes_are_found():
    wrong = fad.primitive(
        lambda x: x**2,
        jvp=lambda primals, tangents: (primals[0] ** 2, 2 * primals[0] * tangents[0]),
        vjp=lambda primals, u: (3 * primals[0] * u,),
    )
    with pytest.raises(fad.CheckError, match="disagree"):
        fad.check_adjoint(wrong, (np.array([1.0, 2.0]),))


def test_arguments_are_not_changed():
    x = np.array([1.0, 2.0])
    before = x.copy()
    fad.check_grads(lambda x: x**2, (x,))
    np.testing.assert_array_equal(x, before)


def test_functions_that_only_run_recorded_are_checked_as_they_are_recorded():
    def weighed(x):
        return fad.fori_loop(0, 3, lambda k, s: s + x[k] ** 3, 0.0)

    x = np.array([1.0, -2.0, 0.5])
    fad.check_grads(weighed, (x,), order=2)
    fad.check_adjoint(weighed, (x,))

    def unrecordable(x):
        return fad.fori_loop(0, 3, lambda k, s: s + float(k) * x[0], 0.0)

    with pytest.raises(fad.RecordingError, match="float"):
        fad.check_grads(unrecordable, (x,))
