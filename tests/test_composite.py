"""checkpoint and user-defined primitives: the same derivatives as plain code, and rules of the user's own."""

import math

import numpy as np
import pytest
from transform_tools import central, each_tier, same

import fastad as fad


# ── checkpoint ────────────────────────────────────────────────────────────────────────────────────────────────
def layer(p, x):
    return np.tanh(p["w"] @ x + p["b"])


def network(layer):
    def f(params, x):
        for p in params:
            x = layer(p, x)
        return np.sum(x**2)

    return f


def parameters(rng, count=4, n=3):
    return [{"w": rng.normal(size=(n, n)) / 2, "b": rng.normal(size=n)} for _ in range(count)]


@each_tier
def test_checkpoint_equals_plain(tier, rng):
    params, x = parameters(rng), rng.normal(size=3)
    plain, checked = network(layer), network(fad.checkpoint(layer))
    same(fad.jit(checked, tier=tier)(params, x), np.float64(plain(params, x)), 1e-14)
    for argnums in (0, 1):
        same(fad.grad(checked, argnums, tier=tier)(params, x), fad.grad(plain, argnums, tier=tier)(params, x), 1e-14)
    same(fad.hessian(checked, 1, tier=tier)(params, x), fad.hessian(plain, 1, tier=tier)(params, x), 1e-13)
    v = rng.normal(size=3)
    found = fad.jvp(fad.jit(lambda x: checked(params, x), tier=tier), (x,), (v,))[1]
    same(found, fad.jvp(lambda x: plain(params, x), (x,), (v,))[1], 1e-14)
    xs = rng.normal(size=(5, 3))
    same(
        fad.vmap(fad.grad(checked, 1), (None, 0), tier=tier)(params, xs),
        np.stack([fad.grad(plain, 1)(params, x) for x in xs]), 1e-13,
    )  # fmt: skip


@each_tier
def test_checkpoint_by_itself(tier, rng):
    f = fad.checkpoint(lambda x, k: {"y": np.sin(x) * k, "s": (np.sum(x), None, "text")})
    x = rng.normal(size=3)
    same(f(x, 2), {"y": np.sin(x) * 2, "s": (np.sum(x), None, "text")})
    g = fad.jit(lambda x: f(x * 2, 3), tier=tier)
    same(g(x), {"y": np.sin(2 * x) * 3, "s": (np.sum(2 * x), None, "text")})
    same(fad.grad(fad.checkpoint(lambda x: np.sum(x**3)), tier=tier)(x), 3 * x**2)
    same(fad.checkpoint(fad.grad(lambda x: np.sum(x**3)))(x), 3 * x**2)
    same(fad.jit(lambda x: fad.checkpoint(fad.grad(lambda x: np.sum(x**3)))(x), tier=tier)(x), 3 * x**2)


def test_recomputation_shows_in_the_cost():
    x = np.ones(1000)

    def f(block, x):
        for _ in range(16):
            x = block(x)
        return np.sum(x)

    def block(x):
        for _ in range(4):
            x = np.sin(np.exp(np.cos(np.tanh(x))))
        return x

    plain = fad.trace(fad.jit(lambda x: f(block, x), roll=False), x).cost()
    checked = fad.trace(fad.jit(lambda x: f(fad.checkpoint(block), x), roll=False), x).cost()
    assert checked.adjoint.bytes < 0.4 * plain.adjoint.bytes
    assert 1.2 < checked.adjoint.repeated(1).total / plain.adjoint.repeated(1).total < 2


@each_tier
def test_branches_and_captured_values_in_checkpoints(tier):
    k, a = 2.0, np.array([1.0, 2.0])

    @fad.checkpoint
    def block(x):
        return x * a * k if x[0] > 0 else -x * a

    g = fad.grad(lambda x: np.sum(block(x) * x), tier=tier)
    for _ in range(2):
        for x in (np.array([1.0, 2.0]), np.array([-1.0, 2.0])):
            same(g(x), 2 * x * a * k if x[0] > 0 else -2 * x * a)
    k = 3.0
    a[0] = 5.0
    x = np.array([1.0, 2.0])
    same(g(x), 2 * x * a * k)


@each_tier
def test_checkpoints_inside_checkpoints_and_closures(tier, rng):
    x = rng.normal(size=3)

    def f(x):
        inner = fad.checkpoint(lambda y: np.sin(y) * x)
        outer = fad.checkpoint(lambda y: inner(y) * inner(y * 2))
        return np.sum(outer(x))

    def plain(x):
        return np.sum(np.sin(x) * x * np.sin(2 * x) * x)

    same(fad.jit(f, tier=tier)(x), plain(x))
    same(fad.grad(f, tier=tier)(x), fad.grad(plain, tier=tier)(x))


# ── primitives ────────────────────────────────────────────────────────────────────────────────────────────────
def opaque_sin(x):
    return np.array([math.sin(float(v)) for v in np.ravel(x)]).reshape(np.shape(x))


def jvp_rule(primals, tangents):
    return np.cos(primals[0]) * tangents[0]


def vjp_rule(primals, u):
    return (np.cos(primals[0]) * u,)


RULES = {
    "jvp": {"jvp": jvp_rule}, "vjp": {"vjp": vjp_rule}, "both": {"jvp": jvp_rule, "vjp": vjp_rule},
    "result": {"vjp": lambda primals, result, u: (np.cos(primals[0]) * u + 0 * result,)},
    "pair": {"jvp": lambda primals, tangents: (np.sin(primals[0]), np.cos(primals[0]) * tangents[0])},
}  # fmt: skip


@each_tier
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("f", [np.sin, opaque_sin])
def test_rules(tier, rules, f, rng):
    p = fad.primitive(f, **RULES[rules])
    x, v = rng.normal(size=(2, 3))
    same(p(x), np.sin(x))
    same(fad.jit(lambda x: p(x) * 2, tier=tier)(x), np.sin(x) * 2)
    same(fad.grad(lambda x: np.sum(p(x * 2)), tier=tier)(x), 2 * np.cos(2 * x))
    same(fad.jvp(fad.jit(lambda x: p(x) * x, tier=tier), (x,), (v,))[1], (np.cos(x) * x + np.sin(x)) * v)
    same(fad.jacfwd(p, tier=tier)(x), np.diag(np.cos(x)))
    same(fad.jacrev(p, tier=tier)(x), np.diag(np.cos(x)))
    same(fad.hessian(lambda x: np.sum(p(x)), tier=tier)(x), np.diag(-np.sin(x)), 1e-13)
    third = fad.grad(lambda x: np.sum(fad.grad(lambda y: np.sum(fad.grad(lambda z: np.sum(p(z)))(y)))(x)), tier=tier)
    same(third(x), -np.cos(x))
    xs = rng.normal(size=(4, 3))
    same(fad.vmap(p, tier=tier)(xs), np.sin(xs))
    same(fad.vmap(fad.grad(lambda x: np.sum(p(x))), tier=tier)(xs), np.cos(xs))
    fad.check_primitive(p, (x,))


@each_tier
def test_the_rules_are_used(tier):
    p = fad.primitive(np.sin, vjp=lambda primals, u: (7.0 * u,))
    assert fad.grad(p, tier=tier)(0.3) == 7.0
    assert fad.jvp(p, (0.3,), (1.0,))[1] == 7.0
    p = fad.primitive(np.sin, jvp=lambda primals, tangents: 7.0 * tangents[0])
    assert fad.grad(p, tier=tier)(0.3) == 7.0


@each_tier
def test_no_rules(tier, rng):
    x = rng.normal(size=3)
    p = fad.primitive(lambda x: np.sin(x) * x)
    same(fad.grad(lambda x: np.sum(p(x)), tier=tier)(x), np.cos(x) * x + np.sin(x))
    opaque = fad.primitive(opaque_sin)
    same(fad.jit(lambda x: opaque(x) + 1, tier=tier)(x), np.sin(x) + 1)
    with pytest.raises(fad.DerivativeError, match=r"opaque_sin has no derivative rule.*jvp= or vjp="):
        fad.grad(lambda x: np.sum(opaque(x)), tier=tier)(x)


@each_tier
def test_several_arguments_and_results(tier, rng):
    def f(p, y, n):
        return {"a": p["u"] * y**n, "b": (np.sum(y), p["v"])}

    def vjp(primals, u):
        p, y, n = primals
        bar_y = u["a"] * p["u"] * n * y ** (n - 1) + u["b"][0]
        return {"u": np.sum(u["a"] * y**n), "v": u["b"][1]}, bar_y, None

    plain = lambda p, y: np.sum(f(p, y, 3)["a"]) * f(p, y, 3)["b"][0] * np.sum(p["v"])
    p = fad.primitive(f, vjp=vjp)

    def g(q, y):
        out = p(q, y, 3)
        return np.sum(out["a"]) * out["b"][0] * np.sum(out["b"][1])

    q, y = {"u": 2.0, "v": rng.normal(size=2)}, rng.normal(size=4)
    same(fad.grad(g, (0, 1), tier=tier)(q, y), fad.grad(plain, (0, 1), tier=tier)(q, y), 1e-13)
    same(fad.hessian(g, 1, tier=tier)(q, y), fad.hessian(plain, 1, tier=tier)(q, y), 1e-12)


@each_tier
@pytest.mark.parametrize("which", ["f", "jvp", "vjp"])
def test_errors_of_rules_are_the_users_own(tier, which):
    class Mine(Exception):
        pass

    def fails(*args):
        if float(np.sum(np.asarray(args[0], float))) != 0.0:
            raise Mine("from the rule")
        return args[0]

    def opaque(x):
        return fails(x) if which == "f" else np.float64(math.sin(float(x)))

    def jvp(primals, tangents):
        return fails(float(primals[0])) if which == "jvp" else tangents[0]

    def vjp(primals, u):
        return (fails(float(primals[0])),) if which == "vjp" else (u,)

    p = fad.primitive(opaque, jvp=jvp, vjp=vjp)
    jitted = fad.jit(lambda x: p(x) * 2, tier=tier)
    gradient = fad.grad(lambda x: p(x) * 2, tier=tier)
    if which == "f":
        assert jitted(0.0) == 0.0
        for _ in range(3):
            with pytest.raises(Mine, match="from the rule"):
                jitted(1.0)
        assert jitted(0.0) == 0.0
    elif which == "vjp":
        gradient(0.0)
        for _ in range(3):
            with pytest.raises(Mine, match="from the rule"):
                gradient(1.0)
        gradient(0.0)
    else:
        tangent = fad.jit(lambda x: fad.jvp(p, (x,), (1.0,))[1], tier=tier)
        tangent(0.0)
        for _ in range(3):
            with pytest.raises(Mine, match="from the rule"):
                tangent(1.0)


@each_tier
def test_rules_of_wrong_shapes(tier):
    x = np.ones(3)
    with pytest.raises(fad.DerivativeError, match=r"vjp rule of sin must return one adjoint an argument.*\(3,\)"):
        fad.grad(lambda x: np.sum(fad.primitive(np.sin, vjp=lambda primals, u: (1.0,))(x)), tier=tier)(x)
    with pytest.raises(fad.DerivativeError, match="jvp rule of sin must return the tangent"):
        fad.jvp(fad.primitive(np.sin, jvp=lambda primals, tangents: np.sum(tangents[0])), (x,), (x,))
    with pytest.raises(fad.DerivativeError, match="vjp rule"):
        fad.grad(lambda x: np.sum(fad.primitive(np.multiply, vjp=lambda p, u: (u,))(x, x)), tier=tier)(x)


@each_tier
def test_branches_in_primitives_and_their_rules(tier):
    def f(x):
        return x**2 if x > 0 else -x

    def vjp(primals, u):
        (x,) = primals
        return (2 * x * u,) if x > 0 else (-u,)

    p = fad.primitive(f, vjp=vjp)
    jitted, gradient = fad.jit(lambda x: p(x) + 1, tier=tier), fad.grad(lambda x: p(x) + 1, tier=tier)
    for _ in range(3):
        for x in (2.0, -3.0, 4.0):
            assert jitted(x) == f(x) + 1
            assert gradient(x) == (2 * x if x > 0 else -1.0)
    only_rule = fad.grad(fad.primitive(np.square, vjp=vjp), tier=tier)
    for _ in range(2):
        assert only_rule(2.0) == 4.0 and only_rule(-2.0) == -1.0


@each_tier
def test_captured_values_in_primitives(tier):
    k, a = 2.0, np.array([1.0, 2.0])
    p = fad.primitive(lambda x: x * k * a, vjp=lambda primals, u: (u * k * a,))
    jitted, gradient = fad.jit(lambda x: p(x) + 0, tier=tier), fad.grad(lambda x: np.sum(p(x)), tier=tier)
    x = np.array([1.0, 3.0])
    for change in (lambda: None, lambda: a.__setitem__(0, 7.0), lambda: a.fill(2.0)):
        change()
        same(jitted(x), x * k * a)
        same(gradient(x), k * a)
    k = 5.0
    same(jitted(x), x * k * a)
    same(gradient(x), k * a)


@each_tier
def test_single_precision(tier):
    x = np.array([0.5, 1.5], np.float32)
    for f in (np.sin, lambda x: np.sin(np.asarray(x, x.dtype)) if isinstance(x, np.ndarray) else np.sin(x)):
        p = fad.primitive(f, vjp=vjp_rule)
        assert fad.jit(lambda x, p=p: p(x), tier=tier)(x).dtype == np.float32
        assert fad.grad(lambda x, p=p: np.sum(p(x)), tier=tier)(x).dtype == np.float32


def test_check_primitive_catches_wrong_rules():
    x = np.array([0.3, 0.7])
    fad.check_primitive(fad.primitive(np.sin, jvp=jvp_rule, vjp=vjp_rule), (x,))
    with pytest.raises(fad.CheckError, match="central differences"):
        fad.check_primitive(fad.primitive(np.sin, jvp=lambda p, t: np.sin(p[0]) * t[0]), (x,))
    with pytest.raises(fad.CheckError, match="central differences"):
        fad.check_primitive(fad.primitive(np.sin, vjp=lambda p, u: (1.01 * np.cos(p[0]) * u,)), (x,))
    with pytest.raises(fad.CheckError, match="disagree"):
        fad.check_primitive(fad.primitive(np.sin, jvp=jvp_rule, vjp=lambda p, u: (1.01 * np.cos(p[0]) * u,)), (x,))
    with pytest.raises(fad.CheckError):
        fad.check_primitive(fad.primitive(np.sin, jvp=lambda p, t: np.nan * t[0]), (x,))


@each_tier
def test_primitives_that_call_other_libraries(tier, rng):
    from scipy import linalg

    def solve(a, b):
        return linalg.solve(np.asarray(a, float), np.asarray(b, float))

    def vjp(primals, x, u):
        a, _ = primals
        r = p(a.T, u)
        return -np.outer(r, x), r

    p = fad.primitive(solve, vjp=vjp)
    a, b, v = rng.normal(size=(3, 3)) + 3 * np.eye(3), rng.normal(size=3), rng.normal(size=3)
    same(fad.jit(p, tier=tier)(a, b), np.linalg.solve(a, b))
    g = fad.grad(lambda a, b: np.sum(p(a, b) ** 2), 1, tier=tier)
    wanted = 2 * np.linalg.solve(a.T, np.linalg.solve(a, b))
    same(g(a, b), wanted)
    gradient = fad.grad(lambda b: np.sum(p(a, b) ** 2) * b[0], tier=tier)(b)
    np.testing.assert_allclose(gradient @ v, central(lambda b: np.sum(solve(a, b) ** 2) * b[0], b, v), rtol=1e-6)


@pytest.mark.parametrize("rule", ["jvp", "vjp"])
def test_rules_that_call_each_other_are_derived_in_both_modes(rule):
    """The sine and the cosine, each by the other, as Bessel functions are: a transpose does not derive by the point."""
    rules = {
        "sin": {"jvp": lambda p, t: cos(p[0]) * t[0], "vjp": lambda p, u: (cos(p[0]) * u,)},
        "cos": {"jvp": lambda p, t: -sin(p[0]) * t[0], "vjp": lambda p, u: (-sin(p[0]) * u,)},
    }
    sin, cos = (fad.primitive(lambda x, f=f: f(x), **{rule: rules[f.__name__][rule]}) for f in (np.sin, np.cos))
    x = np.array([0.3, -1.2])
    fad.check_primitive(sin, (x,))
    np.testing.assert_allclose(fad.jacrev(sin)(x), np.diag(np.cos(x)))
    np.testing.assert_allclose(fad.jacfwd(sin)(x), np.diag(np.cos(x)))
    np.testing.assert_allclose(fad.hessian(lambda x: np.sum(sin(x)))(x), np.diag(-np.sin(x)))
    third = fad.grad(fad.grad(fad.grad(sin)))
    np.testing.assert_allclose(third(0.3), -np.cos(0.3))
    np.testing.assert_allclose(fad.vmap(third)(x), -np.cos(x))
