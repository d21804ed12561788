"""`cond`: the branch that is taken, in value and all derivatives, as a Python `if` has it."""

import numpy as np
import pytest
from control_tools import both_tiers, equal_derivatives, over_lanes
from transform_tools import same

import fastad as fad

BOTH_SIDES = np.array([-1.5, -0.3, 0.2, 2.0])


def by_parts(x):
    """Each branch has no derivative, or no value, where the other one is taken."""
    return fad.cond(x > 0, lambda x: np.log(x) * np.sqrt(x), lambda x: np.sqrt(-x) - x**2, x)


def by_parts_plain(x):
    return np.log(x) * np.sqrt(x) if x > 0 else np.sqrt(-x) - x**2


def closing(x):
    """The same from values outside of the branches."""
    y = x * 1.0
    return fad.cond(x > 0, lambda: np.log(y) * np.sqrt(y), lambda: np.sqrt(-y) - y**2)


def mixed(x):
    """An operand and a value from outside."""
    return fad.cond(x > 0, lambda c: np.log(x) * c, lambda c: np.sqrt(-x) - x * c, fad.cond(x > 0, np.sqrt, np.copy, x))


@both_tiers
@pytest.mark.parametrize("f", [by_parts, closing, mixed])
def test_only_the_branch_that_is_taken_counts(f, tier):
    for derivative in (lambda h: h, fad.grad, fad.hessian):
        wanted = np.stack([derivative(by_parts_plain)(x) for x in BOTH_SIDES])
        same(fad.vmap(derivative(f), tier=tier)(BOTH_SIDES), wanted)
        one = derivative(f) if derivative(f) is not f else fad.jit(f, tier=tier)
        same(np.stack([one(x) for x in BOTH_SIDES]), wanted)
    if tier == "sweep":
        equal_derivatives(f, by_parts_plain, BOTH_SIDES[0])
        total = lambda f: lambda xs: np.sum(fad.vmap(f)(xs) ** 2)
        wanted = np.diag([fad.hessian(lambda x: by_parts_plain(x) ** 2)(x) for x in BOTH_SIDES])
        same(fad.hessian(total(f))(BOTH_SIDES), wanted)


@both_tiers
def test_one_recording_serves_both_branches(tier):
    f, g = fad.jit(mixed, tier=tier), fad.grad(mixed, tier=tier)
    for x in (*BOTH_SIDES, *BOTH_SIDES):
        f(x), g(x)
    assert f.stats()["recordings"] == g.stats()["recordings"] == 1


def test_a_branch_not_taken_is_not_run():
    calls = []

    def counted(x):
        calls.append(float(x))
        return np.asarray(x, float)

    p = fad.primitive(counted, jvp=lambda primals, tangents: tangents[0])
    f = fad.jit(lambda x: fad.cond(x > 0, lambda: p(x * 2), lambda: x))
    f(1.0)
    calls.clear()
    assert f(-1.0) == -1.0 and calls == []
    assert f(3.0) == 6.0 and calls == [6.0]


def test_closures_over_several_recordings():
    """Branches that refer to values of the recordings around them: of a loop's body, a gradient, a function."""

    def f(a, xs, cond=fad.cond):
        def step(c, x):
            slope = lambda z: cond(x > 0, lambda: np.log(x) * z * a + c, lambda: np.sqrt(-x) * z**2 - a)
            return c * 0.5 + fad.grad(slope)(c), cond(c > 0, lambda s: s * np.sqrt(c) + x, lambda s: -s * c, a)

        if cond is fad.cond:
            c, ys = fad.scan(step, a, xs)
        else:
            c, rows = a, []
            for x in xs:
                c, y = step(c, x)
                rows.append(y)
            ys = np.stack(rows)
        return c**2 + np.sum(np.sin(ys))

    python = lambda pred, yes, no, *operands: yes(*operands) if pred else no(*operands)
    plain = lambda a, xs: f(a, xs, python)
    equal_derivatives(f, plain, 0.7, np.array([0.5, -0.4, 1.5]), argnums=(1,))
    rng = np.random.default_rng(1)
    many, a = rng.normal(size=(3, 3)), rng.normal(size=3) + 2
    same(fad.vmap(fad.grad(f, 1))(a, many), over_lanes(fad.grad(plain, 1), 0, (a, many)))


@both_tiers
def test_structures_and_dtypes(tier):
    def f(x, k):
        return fad.cond(
            k > 1, lambda p: {"a": p["x"] * 2, "b": (p["k"], None), "c": "kept"},
            lambda p: {"a": np.zeros_like(p["x"]), "b": (0.5, None), "c": "kept"}, {"x": x, "k": k},
        )  # fmt: skip

    x = np.ones(2, np.float32)
    g = fad.jit(f, tier=tier)
    same(g(x, np.int64(2)), {"a": 2 * x, "b": (np.float64(2), None), "c": "kept"})
    same(g(x, np.int64(1)), {"a": 0 * x, "b": (np.float64(0.5), None), "c": "kept"})
    h = fad.jit(lambda p, x: fad.cond(p, lambda x: x > 0, lambda x: x == 0, x), tier=tier)
    for p in (0, 1, np.nan, np.array([2.0]), np.array([[0.0]])):
        same(h(p, x), x > 0 if bool(np.reshape(p, ())) else x == 0)
    assert fad.grad(lambda x: np.sum(f(x, np.int64(2))["a"]), tier=tier)(x).dtype == np.float32


@both_tiers
def test_a_python_branch_inside_of_a_branch_is_a_path(tier):
    def f(x):
        return fad.cond(x > 0, lambda x: x**2 if x > 1 else x**3, lambda x: -x, x)

    plain = lambda x: (x**2 if x > 1 else x**3) if x > 0 else -x
    value, slope = fad.jit(f, tier=tier), fad.grad(f, tier=tier)
    for x in (2.0, -1.0, 0.5, 3.0, -2.0, 0.7):
        same(value(x), np.float64(plain(x)))
        same(slope(x), fad.grad(plain)(x))
    assert value.stats()["recordings"] > 1


def test_arrays_from_outside_are_read_anew():
    a = np.array([2.0, 3.0])
    f = fad.jit(lambda x: fad.cond(x > 0, lambda x: x * a[0], lambda x: np.sum(a) * x, x))
    for new in (2.0, 5.0, -1.0):
        a[0] = new
        assert f(1.0) == new and f(-1.0) == -(new + 3)


def test_without_a_recording_it_is_an_if():
    assert fad.cond(True, lambda x: "yes", lambda x: "no", object()) == "yes"
    assert fad.cond(np.array([0]), lambda x: "yes", lambda x: "no", object()) == "no"


def test_branches_of_the_same_program_and_unused_operands():
    f = lambda x, y: fad.cond(x > 0, lambda x, y: x * 2, lambda x, y: x * 2, x, y)
    same(fad.grad(f, (0, 1))(1.0, np.ones(3)), (np.float64(2.0), np.zeros(3)))
    same(fad.grad(lambda x: fad.cond(x > 0, lambda x: 1.5, lambda x: 2.5, x))(1.0), np.float64(0.0))
    assert fad.jit(lambda x: fad.cond(x > 0, lambda x: (), lambda x: (), x))(1.0) == ()


def test_arrays_from_outside_by_a_number_of_a_loop_or_branch():
    """x[k], where x is recorded outside and k inside: rows are gathered, and their adjoints added up."""

    def rows(x, loop):
        double = lambda k, s: s + x[k] ** 2 * x[-1 - k, ::-1] + x[1:3, k % 2].sum()
        if loop:
            return np.sum(fad.fori_loop(0, 4, double, np.zeros_like(x[0])))
        return np.sum(sum(double(k, np.zeros_like(x[0])) for k in range(4)))

    x = np.random.default_rng(1).normal(size=(4, 2))
    for derivative in (fad.jit, fad.grad, fad.hessian):
        found, wanted = (derivative(lambda x, loop=loop: rows(x, loop))(x) for loop in (True, False))
        assert np.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    fad.check_grads(lambda x: rows(x, True), (x,), order=2)
    k = np.array([2, 0])
    picked = lambda x: fad.cond(x[0, 0] > 9, lambda k: x[k] * x[k, 1:], lambda k: x[k, 0] * 2.0 * np.ones((2, 2)), k)
    assert np.allclose(fad.jit(picked)(x), np.outer(np.ones(2), 2 * x[k, 0]))
