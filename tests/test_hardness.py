"""The hardness switch: exact operators, straight-through derivatives, and no replay of another mode's recording."""

import threading

import numpy as np
import pytest
from transform_tools import each_tier, same

import fastad as fad
from fastad import soft

MODES = ("soft", "hard", "straight_through")
X, Y = np.array([-1.0, 0.0, 0.5, 2.0]), np.array([0.0, 0.0, 0.75, 1.0])
P, Q = np.array([0.1, 0.5, 0.9, 1.0]), np.array([0.7, 0.2, 0.8, 0.0])
A, B = np.array([1.0, -2.0, 3.0, 4.0]), np.array([5.0, 6.0, np.pi, -1.0])
M = np.array([[1.0, 3.0, 3.0], [2.0, -1.0, 0.0]])


def one_hot(x, index, axis):
    return np.moveaxis(np.eye(x.shape[axis])[index], -1, axis)


# Operator on its arguments, and the exact result.
CASES = {
    "greater_equal": (soft.greater_equal, (X, Y), np.greater_equal(X, Y)),
    "less_equal": (soft.less_equal, (X, Y), np.less_equal(X, Y)),
    "greater": (soft.greater, (X, Y), np.greater(X, Y)),
    "less": (soft.less, (X, Y), np.less(X, Y)),
    "equal": (soft.equal, (X, Y), np.equal(X, Y)),
    "not_equal": (lambda x, y: soft.not_equal(x, y, 0.5, "sech"), (X, Y), np.not_equal(X, Y)),
    "sigma": (lambda x, y, s: soft.less(x, y, s[:, None]), (X, Y, np.array([0.1, 2.0])), [X < Y, X < Y]),
    "logical_and": (soft.logical_and, (P, Q), (P >= 0.5) & (Q >= 0.5)),
    "logical_or": (soft.logical_or, (P, Q), (P >= 0.5) | (Q >= 0.5)),
    "logical_not": (soft.logical_not, (P,), P < 0.5),
    "all": (lambda p: soft.all(p.reshape(2, 2), axis=0), (P,), [False, True]),
    "any": (lambda p: soft.any(p.reshape(2, 2), axis=1, keepdims=True), (Q,), [[True], [True]]),
    "where": (soft.where, (P, A, B), np.where(P >= 0.5, A, B)),
    "cond": (lambda p, a: soft.cond(p[0], np.sin, np.cos, a), (P, A), np.cos(A)),
    "argmax": (lambda x: soft.argmax(x, axis=1), (M,), one_hot(M, np.argmax(M, 1), 1)),
    "argmin": (lambda x: soft.argmin(x, axis=0, sigma=2.0), (M,), one_hot(M, np.argmin(M, 0), 0)),
    "argmax of all": (soft.argmax, (M,), [[0, 1, 0], [0, 0, 0]]),
    "max": (lambda x: soft.max(x, axis=-1, keepdims=True), (M,), np.max(M, -1, keepdims=True)),
    "min": (lambda x: soft.min(x, sigma=0.5), (M,), np.min(M)),
}  # fmt: skip
cases = pytest.mark.parametrize("name", CASES)


def weighed(f):
    """A scalar function that depends on every element of f's result with a different weight."""
    return lambda *args: np.sum(f(*args) * np.cos(np.arange(np.size(f(*args)))).reshape(np.shape(f(*args))))


@each_tier
@cases
def test_hard_is_exact(tier, name):
    f, args, wanted = CASES[name]
    with soft.hardness("hard"):
        for g in (f, fad.jit(f, tier=tier)):
            found = g(*args)
            same(np.asarray(found), np.asarray(wanted, float), 1e-15)
        if name not in ("where", "cond", "max", "min"):
            assert not any(np.any(g) for g in fad.grad(weighed(f), tuple(range(len(args))), tier=tier)(*args))


@each_tier
@cases
def test_straight_through_has_the_exact_value_and_the_relaxed_derivative(tier, name):
    f, args, wanted = CASES[name]
    g = fad.value_and_grad(weighed(f), tuple(range(len(args))), tier=tier)
    relaxed = g(*args)[1]
    with soft.hardness("straight_through"):
        np.testing.assert_array_equal(f(*args), wanted)
        value, gradients = g(*args)
        same(fad.jit(f, tier=tier)(*args), np.asarray(wanted, float), 1e-15)  # native cos may differ in its last bit
    same(gradients, relaxed)
    same(value, np.float64(np.sum(wanted * np.cos(np.arange(np.size(wanted))).reshape(np.shape(wanted)))), 1e-14)


def test_straight_through_at_infinities():
    with soft.hardness("straight_through"):
        assert soft.where(1.0, np.inf, 0.0) == np.inf
        assert soft.where(0.9, 1.0, np.inf) == 1.0


# ── a replay never uses another mode's recording ──────────────────────────────────────────────────────────────
def of_mode(x):
    return soft.greater(x, 0.0) + 10.0 * x


def wanted(x, mode):
    with soft.hardness(mode):
        return of_mode(x)


@each_tier
def test_one_recording_for_each_mode(tier):
    f = fad.jit(of_mode, tier=tier)
    for x in (-0.5, 0.0, 0.5):
        for mode in (*MODES, *reversed(MODES)):
            with soft.hardness(mode):
                for _ in range(3):
                    same(f(x), wanted(x, mode))
        same(f(x), wanted(x, "soft"))
    assert f.stats()["recordings"] == f.stats()["paths"] == 3


def test_the_mode_is_that_of_the_innermost_block():
    with soft.hardness("hard"):
        with soft.hardness("soft"):
            assert soft.greater(0.0, 0.0) == 0.5
        assert soft.greater(0.0, 0.0) == 0.0
        with pytest.raises(ZeroDivisionError), soft.hardness("soft"):
            raise ZeroDivisionError
        assert soft.greater(0.0, 0.0) == 0.0
    assert soft.greater(0.0, 0.0) == 0.5


def test_a_function_may_choose_its_own_mode():
    @fad.jit
    def f(x):
        with soft.hardness("hard"):
            return soft.greater(x, 0.0) + fad.jit(of_mode)(x)

    for mode in MODES:
        with soft.hardness(mode):
            assert f(1.0) == 12.0


@each_tier
def test_functions_inside_functions(tier):
    inner = fad.jit(of_mode)
    block = fad.checkpoint(of_mode)
    for g in (inner, block, lambda x: fad.grad(inner)(x), lambda x: fad.vmap(inner)(np.stack([x, x]))[1]):
        f = fad.jit(lambda x, g=g: 2.0 * g(x), tier=tier)
        for mode in (*MODES, *MODES):
            with soft.hardness(mode):
                same(f(0.25), 2.0 * g(0.25))
        assert f(0.25) == 2.0 * g(0.25)


def test_a_mode_that_only_plain_numbers_depend_on():
    """The operator sees no recorded value, so its result is a constant of the recording."""
    f = fad.jit(lambda x: x * soft.greater(0.0, 0.0))
    assert f(1.0) == 0.5
    with soft.hardness("hard"):
        assert f(1.0) == 0.0
    assert f(1.0) == 0.5


@each_tier
def test_a_branch_that_reads_the_mode_after_one_that_does_not(tier):
    f = fad.jit(lambda x: of_mode(x) if x > 0 else x, tier=tier)
    assert f(-1.0) == -1.0
    for mode in (*MODES, *MODES):
        with soft.hardness(mode):
            for x in (0.5, -1.0, 0.25):
                same(f(x), wanted(x, mode) if x > 0 else np.float64(x))
    assert f.stats()["paths"] <= 6


@each_tier
def test_prepared_calls(tier):
    run = fad.value_and_grad(of_mode, tier=tier).prepare(0.25)
    branching = fad.jit(lambda x: of_mode(x) if x > 0 else x, tier=tier).prepare(-1.0)
    assert branching() == -1.0
    branching.inputs[0][...] = 0.25
    for mode in (*MODES, *MODES):
        with soft.hardness(mode):
            same([float(v) for v in run()], [float(v) for v in fad.value_and_grad(of_mode)(0.25)])
            same(float(branching()), float(wanted(0.25, mode)))


def test_rules_of_user_primitives():
    """A rule is recorded when a derivative is first asked for, and may read the mode then."""
    for rules in (
        {"jvp": lambda primals, tangents: soft.greater(primals[0], 0.0) * tangents[0]},
        {"vjp": lambda primals, u: (soft.greater(primals[0], 0.0) * u,)},
    ):
        f = fad.grad(fad.primitive(lambda x: 3.0 * x, **rules))
        for _ in range(2):
            assert f(0.0) == 0.5
            with soft.hardness("hard"):
                assert f(0.0) == 0.0
    g = fad.jit(fad.primitive(of_mode))
    for mode in (*MODES, *MODES):
        with soft.hardness(mode):
            same(g(0.25), wanted(0.25, mode))


def test_pullbacks_keep_the_mode_of_their_call():
    with soft.hardness("straight_through"):
        out, pull = fad.vjp(of_mode, 0.25)
        value, push = fad.linearize(of_mode, 0.25)
        slope = fad.grad(of_mode)(0.25)
    assert out == value == 3.5
    with soft.hardness("hard"):
        assert pull(1.0)[0] == push(1.0) == slope != 10.0
    assert pull(1.0)[0] == push(1.0) == slope
    assert fad.vjp(of_mode, 0.25)[0] != out


def test_threads_have_their_own_mode():
    f = fad.jit(of_mode)
    failures = []
    start = threading.Barrier(len(MODES))

    def work(mode):
        start.wait()
        with soft.hardness(mode):
            expected = float(wanted(0.25, mode))
            failures.extend(mode for _ in range(300) if float(f(0.25)) != expected)

    with soft.hardness("hard"):
        threads = [threading.Thread(target=work, args=(mode,)) for mode in MODES]
        outside = threading.Thread(target=lambda: failures.extend(["new"] if soft.greater(0.0, 0.0) != 0.5 else []))
        for t in (*threads, outside):
            t.start()
        for t in (*threads, outside):
            t.join()
    assert not failures


def test_saving_and_exporting_take_the_present_mode(tmp_path):
    f = fad.jit(of_mode)
    f(0.25)
    with soft.hardness("hard"):
        f(0.25)
        f.save(tmp_path / "hard.npz")
    f.save(tmp_path / "soft.npz")
    assert fad.load(tmp_path / "hard.npz")(0.25) == 3.5
    assert fad.load(tmp_path / "soft.npz")(0.25) == of_mode(0.25)


def test_functions_that_read_no_setting_are_recorded_once():
    f = fad.jit(lambda x: np.sin(x) * 2.0)
    for mode in MODES:
        with soft.hardness(mode):
            f(1.0)
    assert f.stats()["recordings"] == 1


def test_unknown_modes():
    with pytest.raises(ValueError, match="'soft', 'hard', 'straight_through', not 'medium'"):
        soft.hardness("medium")
