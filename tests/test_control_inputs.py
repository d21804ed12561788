"""What states, elements and results of loops may be, what bodies may refer to, and what is refused."""

import pickle
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
from control_tools import both_tiers, equal_derivatives
from transform_tools import same

import fastad as fad

C = fad.checkpoint
Pair = namedtuple("Pair", "u v")


# ── structures and dtypes ─────────────────────────────────────────────────────────────────────────────────────
def by_python(f, init, xs, length):
    """`scan` for any pytrees: each step on plain arrays; results stacked leaf by leaf."""
    import optree

    rows = []
    for i in range(length):
        init, y = f(init, None if xs is None else optree.tree_map(lambda x, i=i: x[i], xs))
        rows.append(y)
    return init, optree.tree_map(lambda *ys: np.stack(ys), *rows)


def shuffle(c, x):
    new = {"a": c["a"] * x.u + x.v[0], "b": (c["b"][0] + 1, None), "p": Pair(c["p"].v, c["p"].u), "e": ()}
    return new, Pair({"k": new["a"], "n": None}, [new["b"][0], x.v[0] > 1])


SHUFFLED = (
    {"a": np.ones(2), "b": (np.int64(0), None), "p": Pair(np.float64(1.5), np.float64(2)), "e": ()},
    Pair(np.arange(6.0).reshape(3, 2), [np.arange(3)]),
)


@both_tiers
def test_pytrees(tier):
    wanted = by_python(shuffle, *SHUFFLED, 3)
    same(fad.scan(shuffle, *SHUFFLED), wanted)
    same(fad.jit(lambda c, x: fad.scan(shuffle, c, x), tier=tier)(*SHUFFLED), wanted)
    for state in ((), None, {}, [None, ()]):
        same(fad.scan(lambda c, x: (c, x * 2), state, np.ones(3)), (state, 2 * np.ones(3)))
        same(fad.fori_loop(0, 3, lambda i, s: s, state), state)
    for y in (None, (), {"n": None}):
        same(fad.scan(lambda c, x, y=y: (c + x, y), 0.0, np.ones(3)), (np.float64(3.0), y))


DTYPES = {
    "int": (np.int64(1), np.arange(3), lambda c, x: (c + x, c * 2)),
    "bool": (np.bool_(False), np.array([False, True, False]), lambda c, x: (np.logical_or(c, x), np.logical_not(c))),
    "single": (np.float32(1.5), np.full(3, 1.1, np.float32), lambda c, x: (c * x, np.sin(c))),
    "singles": (np.ones((2, 1), np.float32), np.ones((3, 2, 1), np.float32), lambda c, x: (c / 3 + x, c)),
    "mixed": (np.ones(2), np.arange(3), lambda c, x: (c * x, x * 2)),
    "booleans of floats": (np.ones(2), np.arange(3.0), lambda c, x: (c * x, c > x)),
    "integers of floats": (np.ones(2), np.arange(3.0), lambda c, x: (c * x, np.argmax(c))),
}


@both_tiers
@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_are_those_of_the_python_loop(name, tier):
    init, xs, f = DTYPES[name]
    wanted = by_python(f, init, xs, 3)
    same(fad.scan(f, init, xs), wanted)
    same(fad.jit(lambda c, x: fad.scan(f, c, x), tier=tier)(init, xs), wanted)
    if np.asarray(init).dtype.kind == "f":
        found = fad.grad(lambda c: np.sum(fad.scan(f, c, xs)[0]), tier=tier)(init)
        assert found.dtype == np.asarray(init).dtype and np.shape(found) == np.shape(init)


def test_states_are_promoted_as_the_body_promotes_them():
    same(fad.scan(lambda c, x: (c + x, c), 0, np.ones(3)), (np.float64(3.0), np.array([0.0, 1.0, 2.0])))
    same(fad.fori_loop(0, 2, lambda i, s: s / 2, 1), np.float64(0.25))
    same(fad.fori_loop(0, 3, lambda i, s: s + i, True), np.int64(4))
    same(fad.scan(lambda c, x: (c * x, c), np.float32(2), np.ones(2))[0], np.float64(2.0))
    same(fad.while_loop(lambda s: s < 5, lambda s: s * 1.5, 1), np.float64(1.5**4))
    chain = fad.scan(lambda c, x: ((c[1], c[2], c[2] + x), c[0]), (1, 2, 3), np.full(3, 0.5))  # one leaf after another
    same(chain, ((np.float64(3.5), np.float64(4.0), np.float64(4.5)), np.array([1.0, 2.0, 3.0])))


@both_tiers
def test_no_steps_and_no_numbers(tier):
    f = lambda c, x: (c * x, {"a": c, "b": np.stack([c, c])})
    wanted = np.float64(1.5), {"a": np.zeros(0), "b": np.zeros((0, 2))}
    same(fad.scan(f, 1.5, np.ones(0)), wanted)
    same(fad.jit(lambda x: fad.scan(f, x, np.ones(0)), tier=tier)(1.5), wanted)
    assert fad.grad(lambda x: fad.scan(f, x, np.ones(0))[0], tier=tier)(2.0) == 1.0
    assert fad.grad(lambda x: fad.scan(f, 3.0, x)[0], tier=tier)(np.ones(0)).shape == (0,)
    for schedule in (C.StoreNone(), C.Revolve(2), C.Online(2), C.Multistage(1, 1)):
        assert fad.grad(lambda x, s=schedule: fad.scan(f, x, np.ones(0), checkpoint=s)[0], tier=tier)(2.0) == 1.0
    empty = np.ones((0, 2))
    same(fad.scan(lambda c, x: (c + x, c), empty, np.ones((3, 0, 2))), (empty, np.ones((3, 0, 2))))
    same(
        fad.grad(lambda c: np.sum(fad.scan(lambda c, x: (c + x, c), c, np.ones((3, 0, 2)))[0]), tier=tier)(empty), empty
    )
    same(fad.vmap(lambda c: fad.scan(f, c, np.ones(0))[0], tier=tier)(np.ones(3)), np.ones(3))


def test_strides_and_aliases():
    x = np.arange(24.0).reshape(4, 6)[:, ::2].T[::-1] / 10
    before = x.copy()
    f = lambda c, row: (np.sin(c + row), (c * row, c * row))
    same(fad.scan(f, x[0], x), by_python(f, x[0], x, 3))
    same(x, before)

    def both(x, scan=fad.scan):
        c, (a, b) = scan(lambda c, v: (c * v, (c, c)), x[0], x)
        return np.sum(a) + np.sum(b * c) + np.sum(x)

    equal_derivatives(both, lambda x: both(x, by_python_pairs), np.array([0.5, -1.2, 2.0]))
    same(fad.grad(lambda x: np.sum(fad.scan(lambda c, v: (c, c), x, np.stack([x, x]))[1]))(np.ones(3)), 2 * np.ones(3))
    unused = lambda x, y: fad.scan(lambda c, v: ((c[0] * 2, c[1]), 1.0), (x, y), y)[0][0]
    same(fad.grad(unused, (0, 1))(3.0, np.ones(2)), (np.float64(4.0), np.zeros(2)))


def by_python_pairs(f, c, xs):
    """`scan` for two results a step."""
    rows = []
    for x in xs:
        c, y = f(c, x)
        rows.append(y)
    return c, tuple(np.stack(column) for column in zip(*rows, strict=True))


def test_values_that_are_not_finite():
    f = lambda c, x: (c * x, c)
    xs = np.array([1.0, np.inf, 0.0, 2.0])
    same(fad.scan(f, 2.0, xs), by_python(f, np.float64(2.0), xs, 4))
    assert np.isnan(fad.grad(lambda c: fad.scan(f, c, xs)[0])(2.0))
    slope = fad.grad(lambda c: fad.scan(lambda c, x: (np.where(x > 0, c * 2, c), None), c, xs)[0])
    assert slope(1.0) == 8.0


# ── what bodies refer to ──────────────────────────────────────────────────────────────────────────────────────
LOOPS = {
    "scan": lambda f, x: fad.scan(lambda c, _: (f(c), None), x, None, 2)[0],
    "fori_loop": lambda f, x: fad.fori_loop(0, 2, lambda i, s: f(s), x),
    "while_loop": lambda f, x: fad.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, f(s[1])), (0, x))[1],
}


@both_tiers
@pytest.mark.parametrize("name", LOOPS)
def test_values_from_outside_are_never_stale(name, tier):
    loop, k, a = LOOPS[name], 2.0, np.array([3.0, 1.0])
    body = lambda s: s * a[0] * k
    value = fad.jit(lambda x: loop(body, x), tier=tier)
    slope = fad.grad(lambda x: loop(body, x), tier=tier)
    constant = fad.jit(lambda x: x * loop(body, 1.0), tier=tier)
    for new, own in ((3.0, 2.0), (5.0, 2.0), (5.0, -1.0), (3.0, 2.0), (4.0, 2.0)):
        a[0], k = new, own
        for f in (value, slope, constant, partial(loop, body)):
            assert f(1.0) == (new * own) ** 2
    if name != "while_loop":
        a = np.array([2.0, 9.0])
        assert value(1.0) == slope(1.0) == loop(body, 1.0) == 16.0


class Scaled:
    """A callable object, equal to all of its kind."""

    def __init__(self, k):
        self.k = k

    def __eq__(self, other):
        return True

    def __call__(self, c, x):
        return c * self.k, x


class Hashed(Scaled):
    def __hash__(self):
        return 1


@pytest.mark.parametrize("kind", [Scaled, Hashed])
def test_callable_objects_are_told_apart(kind):
    found = [fad.scan(kind(k), 1.0, np.ones(2))[0] for k in (2.0, 3.0)]
    assert found == [4.0, 9.0]
    own = kind(5.0)
    assert fad.scan(own.__call__, 1.0, np.ones(2))[0] == 25.0
    own.k = 7.0
    assert fad.scan(own.__call__, 1.0, np.ones(2))[0] == fad.scan(own, 1.0, np.ones(2))[0] == 49.0


def test_recorded_values_of_several_levels():
    def f(a, b, loop=fad.fori_loop, scan=fad.scan):
        def outer(c, x):
            return loop(0, 2, lambda i, s: np.sin(s * a + x * b + c + i), c), a * b

        c, ys = scan(outer, b * 1.0, np.arange(2.0))
        return c * a + np.sum(ys)

    def python_loop(lower, upper, body, s):
        for i in range(lower, upper):
            s = body(i, s)
        return s

    plain = lambda a, b: f(a, b, python_loop, lambda f, c, xs: by_python_rows(f, c, xs))
    equal_derivatives(f, plain, 0.3, 0.7)
    inner = lambda h: lambda a: fad.grad(lambda b: h(a, b) ** 2)(a * 2)
    same(fad.grad(inner(f))(0.3), fad.grad(inner(plain))(0.3), 1e-11)


def by_python_rows(f, c, xs):
    rows = []
    for x in xs:
        c, y = f(c, x)
        rows.append(y)
    return c, np.stack(rows)


def test_tables_do_not_grow_with_the_number_of_steps():
    for loop in (
        lambda x, n: fad.scan(lambda c, _: (np.sin(c * x), None), x, None, n)[0],
        lambda x, n: fad.fori_loop(0, n, lambda i, s: np.sin(s * x) + i, x),
        lambda x, n: fad.while_loop(lambda s: s < n, lambda s: s + np.exp(-s * x), x, n),
    ):
        for trace in (loop, lambda x, n, f=loop: fad.grad(f)(x, n), lambda x, n, f=loop: fad.hessian(f)(x, n)):
            sizes = {len(fad.trace(trace, 0.5, n)) for n in (2, 1000)}
            assert len(sizes) == 1 and max(sizes) < 500


def test_paths_are_counted_and_a_function_with_ever_new_ones_is_told_once():
    """A length of `scan` is a number that Python needs; the bounds of `fori_loop` may be inputs."""
    f = fad.jit(lambda x, n: fad.scan(lambda s, _: (s * x, None), 1.0, length=n)[0])
    with pytest.warns(RuntimeWarning, match=r"was recorded \d+ times.*a number of turns") as found:
        for n in range(70):
            assert f(2.0, n) == 2.0**n
    assert len(found) == 1 and f.stats()["recordings"] == f.stats()["paths"] == 70
    g = fad.jit(lambda x, n: fad.fori_loop(0, n, lambda i, s: s * x, 1.0))
    for n in range(70):
        assert g(2.0, np.int64(n)) == 2.0**n
    assert g.stats()["recordings"] == g.stats()["paths"] == 1 and g.stats()["calls"] >= 70
    for n in range(70):
        assert g(2.0, n) == 2.0**n
    assert g.stats()["recordings"] <= 3


# ── what is refused ───────────────────────────────────────────────────────────────────────────────────────────
ONES = np.ones(3)
WRONG = {
    "state of another shape": (lambda x: fad.scan(lambda c, v: (np.stack([c, c]), v), x, ONES), "got float64, and"),
    "state of another structure": (lambda x: fad.scan(lambda c, v: ((c, c), v), x, ONES), "returned .float64, float64"),
    "no state": (lambda x: fad.scan(lambda c, v: (None, v), x, ONES), "returned None"),
    "no pair": (lambda x: fad.scan(lambda c, v: c, x, ONES), "must return .carry, y."),
    "no steps": (lambda x: fad.scan(lambda c, v: (c, v), x), "needs xs or length"),
    "unequal lengths": (lambda x: fad.scan(lambda c, v: (c, v[0]), x, (ONES, np.ones(4))), r"\[3, 4\]"),
    "another length": (lambda x: fad.scan(lambda c, v: (c, v), x, ONES, length=4), r"\[3, 4\]"),
    "negative length": (lambda x: fad.scan(lambda c, v: (c, v), x, None, -1), r"\[-1\]"),
    "length of no integer": (lambda x: fad.scan(lambda c, v: (c, v), x, None, 2.5), "length must be an integer"),
    "elements of no axis": (lambda x: fad.scan(lambda c, v: (c, v), x, 3.0), "holds a number"),
    "text as elements": (lambda x: fad.scan(lambda c, v: (c, v), x, "abc"), "holds 'abc' of type str"),
    "text in a state": (lambda x: fad.scan(lambda c, v: (c, v), (x, "abc"), ONES), "holds 'abc' of type str"),
    "objects as elements": (lambda x: fad.scan(lambda c, v: (c, v), x, np.array([None])), "dtype object"),
    "inverse of another structure": (
        lambda x: fad.scan(lambda c, v: (c * v, c), x, ONES, inverse=lambda c, v: (c, c)), "the inverse of scan"
    ),
    "a Python branch that changes": (
        lambda x: fad.scan(lambda c, v: (c * int(v), c), x, np.arange(4)), "another path in a later"
    ),
    "paths of other shapes": (
        lambda x: fad.scan(lambda c, v: (c, v if v < 2 else ONES), x, np.arange(4.0)), "paths of a Python branch"
    ),
    "one of several arrays, by the step": (
        lambda x: fad.fori_loop(0, 3, lambda i, s: s + [x, 2 * x, 3 * x][i], x), "another path in a later"
    ),
    "a float of a state": (lambda x: fad.fori_loop(0, 3, lambda i, s: float(s), x), "float.. of a recorded value"),
    "bounds of no integers": (lambda x: fad.fori_loop(0, 3.5, lambda i, s: s, x), "upper must be an integer"),
    "a list that becomes a tuple": (lambda x: fad.fori_loop(0, 3, lambda i, s: (s[0], s[1]), [x, 1]), "body_fun"),
    "a condition of several": (
        lambda x: fad.while_loop(lambda s: s > 0, lambda s: s - 1, np.stack([x, x])), "must return one number"
    ),
    "a condition in a tuple": (lambda x: fad.while_loop(lambda s: (s > 0,), lambda s: s - 1, x), "return one number"),
    "no condition": (lambda x: fad.while_loop(lambda s: None, lambda s: s - 1, x), "must return one number"),
    "negative max_steps": (lambda x: fad.while_loop(lambda s: s > 0, lambda s: s - 1, x, -5), "not -5"),
    "max_steps of no integer": (lambda x: fad.while_loop(lambda s: s > 0, lambda s: s, x, 5.5), "max_steps must be"),
    "a while state of another shape": (
        lambda x: fad.while_loop(lambda s: s > 0, lambda s: np.stack([s, s]), x), "body_fun of while_loop"
    ),
    "a number as a schedule": (lambda x: fad.scan(lambda c, v: (c, v), x, ONES, checkpoint=3), "not 3"),
    "a class as a schedule": (
        lambda x: fad.fori_loop(0, 3, lambda i, s: s, x, checkpoint=C.Revolve), "checkpoint must be a schedule"
    ),
    "a schedule for a bounded length": (
        lambda x: fad.while_loop(lambda s: s < 9, lambda s: s * 2, x, checkpoint=C.Periodic(2)), "give max_steps"
    ),
}  # fmt: skip
WRONG_BRANCHES = {
    "array predicate": (lambda x: fad.cond(np.stack([x, x]) > 0, np.sin, np.cos, x), "np.where"),
    "predicate in a list": (lambda x: fad.cond([x > 0, x > 0], np.sin, np.cos, x), "np.where"),
    "structures": (lambda x: fad.cond(x > 0, lambda x: (x, x), lambda x: x, x), "true_fun returns"),
    "shapes": (lambda x: fad.cond(x > 0, lambda x: np.stack([x, x]), lambda x: x, x), "false_fun"),
    "none": (lambda x: fad.cond(x > 0, lambda x: None, lambda x: x, x), "true_fun returns None"),
    "other text": (lambda x: fad.cond(x > 0, lambda x: (x, "a"), lambda x: (x, "b"), x), "same structure"),
    "text as an operand": (lambda x: fad.cond(x > 0, lambda x, t: x, lambda x, t: x, x, "t"), "an operand of cond"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*WRONG, *WRONG_BRANCHES])
def test_errors_name_the_line_and_the_fix(name):
    """Outside of any recording, and inside one."""
    call, text = (WRONG | WRONG_BRANCHES)[name]
    for f in (fad.jit(call), fad.grad(call), *([call] if name in WRONG else [])):
        with pytest.raises(fad.FastadError, match=text) as found:
            f(1.0)
        assert "test_control_inputs.py" in str(found.value)


def test_errors_of_bodies_are_the_users_own():
    for loop in LOOPS.values():
        with pytest.raises(ZeroDivisionError):
            fad.jit(lambda x, loop=loop: loop(lambda s: s * (1 / 0), x))(1.0)
        assert loop(lambda s: s * 2, 1.0) == 4.0


def test_failing_indices_in_bodies():
    a = np.arange(3.0)
    f = fad.jit(lambda x, n: fad.fori_loop(0, n, lambda i, s: s + np.asarray(a, like=i)[i], x))
    assert f(1.0, np.int64(3)) == 4.0
    with pytest.raises(IndexError):
        f(1.0, np.int64(4))
    assert f(1.0, np.int64(2)) == 2.0


def test_schedules_pickle_and_compare():
    for schedule in (C.Revolve(3), C.Online(2), C.Periodic(4), C.Auto(100), C.Multistage(1, 2), C.StoreAll()):
        assert pickle.loads(pickle.dumps(schedule)) == schedule


def test_saved_and_pickled_functions_differentiate(tmp_path):
    def f(x):
        c, _ = fad.scan(lambda c, v: (np.sin(c * v) + x[0], c**2), x[1], np.arange(4.0), checkpoint=C.Revolve(2))
        start = fad.cond(x[0] > 0, np.exp, np.cos, x[1])
        return c + fad.while_loop(lambda s: s < 5 + x[0], lambda s: s * 1.5, start)

    x, many = np.array([0.3, 0.7]), np.array([[0.3, 0.7], [-0.4, 1.2]])
    g = fad.jit(f)
    value = g(x)
    g.save(tmp_path / "f.npz")
    for again in (pickle.loads(pickle.dumps(g)), fad.load(tmp_path / "f.npz")):
        assert again(x) == value
        same(fad.grad(again)(x), fad.grad(f)(x))
        same(fad.hessian(again)(x), fad.hessian(f)(x))
        same(fad.vmap(fad.grad(again))(many), fad.vmap(fad.grad(f))(many))
