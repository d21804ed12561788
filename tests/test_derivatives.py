"""grad, value_and_grad, jvp, vjp, linearize, hvp: structures, kinds of arguments, errors, composition to any order."""

from collections import namedtuple

import numpy as np
import optree
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_tools import TIERS, central, each_tier, same

import fastad as fad

Params = namedtuple("Params", "w b")


def loss(p, x, power=2):
    return np.sum(np.tanh(x @ p["w"] + p["b"][0]) ** power)


def params(rng):
    return {"w": rng.normal(size=(3, 2)), "b": [rng.normal(size=2), None]}


# ── grad ──────────────────────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_structures_of_arguments(tier, rng):
    p, x = params(rng), rng.normal(size=(4, 3))
    value, gradient = fad.value_and_grad(loss, tier=tier)(p, x)
    same(value, loss(p, x))
    y = np.tanh(x @ p["w"] + p["b"][0])
    bar = 2 * y * (1 - y**2)
    same(gradient["w"], x.T @ bar)
    same(gradient["b"][0], bar.sum(0))
    assert gradient["b"][1] is None and type(gradient["b"]) is list
    g = fad.grad(lambda p: p.w * p.b, tier=tier)(Params(2.0, 3.0))
    assert type(g) is Params and (g.w, g.b) == (3.0, 2.0)


numbers = st.floats(-4, 4)
structures = st.recursive(
    st.one_of(numbers, numbers.map(np.float64), st.lists(numbers, max_size=3).map(np.array), st.none()),
    lambda parts: st.one_of(
        st.lists(parts, max_size=3), st.lists(parts, max_size=3).map(tuple), st.builds(Params, parts, parts),
        st.lists(st.tuples(st.sampled_from("abcd"), parts), max_size=3).map(dict),
    ), max_leaves=6,
)  # fmt: skip


def rebuilt(change, tree):
    """A structure with its leaves changed: what pytrees do, by types written out."""
    if isinstance(tree, dict):
        return {key: rebuilt(change, part) for key, part in tree.items()}
    if isinstance(tree, tuple) and type(tree) is not tuple:
        return type(tree)(*(rebuilt(change, part) for part in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(rebuilt(change, part) for part in tree)
    return None if tree is None else change(tree)


def has_none_alone(tree):
    """Whether there are leaves, but none to differentiate by: an error, not a gradient."""
    leaves = optree.tree_leaves(tree, none_is_leaf=True)
    return bool(leaves) and all(leaf is None for leaf in leaves)


@given(structures.filter(lambda tree: not has_none_alone(tree)))
def test_gradients_have_the_structure_of_their_argument(tree):
    """Types, lengths, names and the order of keys: those of the argument, with each derivative in its place."""

    def squares(tree):
        found = []
        rebuilt(lambda x: found.append(np.sum(x * x)), tree)
        return sum(found, np.float64(0.0))

    value, gradient = fad.value_and_grad(squares, tier="sweep")(tree)
    same(value, squares(tree))
    same(gradient, rebuilt(lambda x: np.float64(2 * x) if np.ndim(x) == 0 else 2 * x, tree))


@each_tier
def test_argnums(tier):
    def f(x, y, z):
        return x * y**2 * z

    for argnums, wanted in ((0, 36.0), (1, 48.0), (-1, 18.0), (np.int64(1), 48.0)):
        assert fad.grad(f, argnums, tier=tier)(2.0, 3.0, 4.0) == wanted
    assert fad.grad(f, (0, 2), tier=tier)(2.0, 3.0, 4.0) == (36.0, 18.0)
    assert fad.grad(f, [0, -1], tier=tier)(2.0, 3.0, 4.0) == (36.0, 18.0)
    assert fad.grad(f, (1,), tier=tier)(2.0, 3.0, 4.0) == (48.0,)
    with pytest.raises(fad.ShapeError, match="3 were given"):
        fad.grad(f, 3)(2.0, 3.0, 4.0)
    with pytest.raises(fad.ShapeError, match="0 were given"):
        fad.grad(lambda x: x)()


@each_tier
def test_integers_become_floats_where_one_differentiates_by_them(tier):
    g = fad.grad(lambda x, n: x**n, tier=tier)
    for x in (3, np.int64(3), np.array(3), 3.0):
        same(g(x, 2), np.float64(6.0))
    same(fad.grad(lambda x: np.sum(x * x), tier=tier)(np.arange(3)), np.array([0.0, 2.0, 4.0]))
    assert fad.grad(lambda x, i: x[i] ** 2)(np.arange(3.0), np.array(1)).tolist() == [0.0, 2.0, 0.0]
    with pytest.raises(fad.DerivativeError, match="str"):
        g("a", 2)


@each_tier
def test_numbers_beside_arrays_in_a_structure(tier):
    g = fad.grad(lambda p: p["a"] * np.sum(p["b"]), tier=tier)({"a": 2, "b": np.arange(3)})
    same(g, {"a": np.float64(3.0), "b": np.full(3, 2.0)})


@each_tier
def test_keyword_arguments_and_static_ones(tier, rng):
    g = fad.grad(lambda x, *, scale, mode: np.sum(x) * scale if mode == "sum" else np.prod(x) * scale, tier=tier)
    x = rng.normal(size=3)
    same(g(x, scale=2.0, mode="sum"), np.full(3, 2.0))
    same(g(x, scale=2.0, mode="prod"), 2 * np.prod(x) / x)
    same(g(x, mode="sum", scale=np.float64(3.0)), np.full(3, 3.0))


@each_tier
def test_unused_inputs_have_zero_gradients(tier):
    g = fad.grad(lambda x, y, z: x * 1.0, (0, 1, 2), tier=tier)
    same(
        g(1.0, np.ones((2, 3)), [2.0, np.ones(0)]), (np.float64(1.0), np.zeros((2, 3)), [np.float64(0.0), np.zeros(0)])
    )
    same(fad.grad(lambda x: 3.0, tier=tier)(np.ones(2)), np.zeros(2))
    same(fad.grad(lambda x: np.float64(3.0), tier=tier)(1.0), np.float64(0.0))
    same(fad.grad(lambda x: np.floor(x), tier=tier)(1.5), np.float64(0.0))


@each_tier
@pytest.mark.parametrize("with_value", [False, True])
def test_auxiliary_results(tier, with_value):
    def f(x):
        y = x * 2
        return np.sum(y**2), {"y": y, "text": "aux", "none": None, "n": x > 1, "k": 3, "first": y[0]}

    transform = fad.value_and_grad if with_value else fad.grad
    x = np.array([1.0, 2.0])
    for _ in range(3):
        found = transform(f, has_aux=True, tier=tier)(x)
        aux = {"y": 2 * x, "text": "aux", "none": None, "n": x > 1, "k": 3, "first": np.float64(2.0)}
        if with_value:
            (value, got), gradient = found
            assert value == 20.0
        else:
            gradient, got = found
        same(gradient, 8 * x)
        assert got["text"] == "aux" and got["none"] is None and got["k"] == 3
        same(got["y"], aux["y"]), same(got["n"], aux["n"]), same(got["first"], aux["first"])
    with pytest.raises(fad.DerivativeError, match="auxiliary"):
        transform(lambda x: x, has_aux=True)(1.0)
    same(fad.grad(lambda x: (x * x, None), has_aux=True, tier=tier)(3.0), (np.float64(6.0), None))
    same(fad.grad(lambda x: (x * x, x), has_aux=True, tier=tier)(3.0), (np.float64(6.0), np.float64(3.0)))


@pytest.mark.parametrize(
    ("f", "fix"),
    [
        (lambda x: x * 2, r"scalar.*fad\.jacobian"), (lambda x: (np.sum(x), 1.0), r"scalar.*fad\.jacobian"),
        (lambda x: [np.sum(x)], r"scalar.*fad\.jacobian"), (lambda x: None, "None.*`return`"),
        (lambda x: "a", "no number"),
    ],
)  # fmt: skip
def test_gradients_of_what_is_no_scalar_name_the_fix(f, fix):
    with pytest.raises(fad.DerivativeError, match=fix):
        fad.grad(f)(np.ones(2))


def test_gradients_of_integers_are_refused():
    with pytest.raises(fad.DerivativeError, match="integer"):
        fad.grad(lambda x: np.sum(x > 0))(np.ones(2))


@each_tier
@pytest.mark.parametrize("n", [3, 1000])
def test_single_precision(tier, n, rng):
    x = rng.normal(size=n).astype(np.float32)
    v = np.ones(n, np.float32)

    def f(x):
        return np.sum(np.sin(x) * x)

    wanted = np.cos(x) * x + np.sin(x)
    value, gradient = fad.value_and_grad(f, tier=tier)(x)
    assert value.dtype == gradient.dtype == np.float32
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-6)
    jitted = fad.jit(f, tier=tier)
    out, tangent = fad.jvp(jitted, (x,), (v,))
    assert out.dtype == tangent.dtype == np.float32
    out, tangent = fad.jvp(jitted, (x,), (v.astype(np.float64),))
    assert out.dtype == tangent.dtype == np.float32
    np.testing.assert_allclose(tangent, np.sum(wanted), rtol=1e-4)
    out, pull = fad.vjp(jitted, x)
    (bar,) = pull(np.float32(1.0))
    assert bar.dtype == np.float32
    assert pull(1.0)[0].dtype == np.float32
    small = x[:3]
    assert fad.jacfwd(np.sin, tier=tier)(small).dtype == np.float32
    assert fad.jacrev(np.sin, tier=tier)(small).dtype == np.float32
    assert fad.hessian(f, tier=tier)(small).dtype == np.float32
    assert fad.hvp(jitted, small, small).dtype == np.float32
    mixed = fad.grad(lambda x, y: np.sum(x * y), (0, 1), tier=tier)(small, small.astype(np.float64))
    assert mixed[0].dtype == np.float32 and mixed[1].dtype == np.float64


# ── jvp, vjp, linearize ───────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_jvp_and_vjp_are_adjoint_over_structures(tier, rng):
    def f(p, x):
        y = np.exp(x @ p["w"])
        return {"y": y, "s": [np.sum(y), p["b"][0] * 2]}

    f = fad.jit(f, tier=tier)
    p, x = params(rng), rng.normal(size=(4, 3))
    dp, dx = params(rng), rng.normal(size=(4, 3))
    out, tangent = fad.jvp(f, (p, x), (dp, dx))
    again, pull = fad.vjp(f, p, x)
    same(again, out)
    same(out, f.__wrapped__(p, x))
    u = {"y": rng.normal(size=(4, 2)), "s": [rng.normal(), rng.normal(size=2)]}
    for _ in range(3):
        bp, bx = pull(u)
        left = np.sum(u["y"] * tangent["y"]) + u["s"][0] * tangent["s"][0] + u["s"][1] @ tangent["s"][1]
        right = np.sum(bp["w"] * dp["w"]) + bp["b"][0] @ dp["b"][0] + np.sum(bx * dx)
        np.testing.assert_allclose(left, right, rtol=1e-12)
        assert bp["b"][1] is None
    line_out, line = fad.linearize(f, p, x)
    same(line_out, out)
    for scale in (1.0, -2.0):
        scaled = {"w": scale * dp["w"], "b": [scale * dp["b"][0], None]}
        same(line(scaled, scale * dx)["y"], scale * tangent["y"])


def test_pullbacks_keep_the_point_they_were_made_at():
    x = np.array([1.0, 2.0])
    _, pull = fad.vjp(lambda x: np.sum(x**2), x)
    _, push = fad.linearize(lambda x: np.sum(x**2), x)
    x[...] = 100.0
    same(pull(1.0), (np.array([2.0, 4.0]),))
    same(push(np.ones(2)), np.float64(6.0))


def test_integers_as_primals():
    out, pull = fad.vjp(lambda x, y: x * y, 3, 2.0)
    assert out == 6.0 and pull(1.0) == (2.0, 3.0)
    out, tangent = fad.jvp(lambda x: x**2, (3,), (1,))
    assert (out, tangent) == (9.0, 6.0)
    assert fad.linearize(lambda x: x**2, 3)[1](1) == 6.0


def test_wrong_tangents_and_seeds():
    f = lambda x: {"y": x * 2}
    x = np.ones(2)
    for tangents in ((), (np.ones(3),), ([np.ones(2)],), (np.ones(2), 1.0), (1.0,)):
        with pytest.raises(fad.ShapeError, match="tangent"):
            fad.jvp(f, (x,), tangents)
    with pytest.raises(fad.ShapeError, match="tangent"):
        fad.linearize(f, x)[1](np.ones((2, 1)))
    _, pull = fad.vjp(f, x)
    for seed in (np.ones(2), {"y": np.ones(3)}, {"z": np.ones(2)}, [np.ones(2)], None):
        with pytest.raises(fad.FastadError, match=r"cotangent|differentiate"):
            pull(seed)


def test_tangents_of_none_are_zero():
    out, tangent = fad.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, None))
    assert (out, tangent) == (6.0, 3.0)


@each_tier
def test_results_without_tangents(tier):
    f = fad.jit(lambda x: (x * 2, x > 1, "text", 3), tier=tier)
    out, tangent = fad.jvp(f, (2.0,), (1.0,))
    assert out == (4.0, True, "text", 3)
    assert tangent[0] == 2.0 and tangent[1] == 0.0
    out, pull = fad.vjp(lambda x: np.sum(x) * 2, np.zeros((0,)))
    same(pull(1.0)[0], np.zeros(0))


# ── composition ───────────────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_derivatives_of_any_order(tier):
    f = np.sin
    signs = [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]
    for order in range(5):
        np.testing.assert_allclose(f(0.7), signs[order](0.7), rtol=1e-13)
        f = fad.grad(f, tier=tier)


@each_tier
def test_forward_and_reverse_in_every_order(tier, rng):
    def f(x):
        return np.sum(np.exp(x) * x[::-1] ** 2)

    x, v, w = rng.normal(size=(3, 3))
    g = fad.grad(f, tier=tier)
    wanted = central(g, x, v) @ w
    forward_over_reverse = fad.jvp(g, (x,), (v,))[1] @ w
    reverse_over_forward = fad.grad(lambda x: fad.jvp(f, (x,), (v,))[1], tier=tier)(x) @ w
    reverse_over_reverse = fad.grad(lambda x: g(x) @ v, tier=tier)(x) @ w
    forward_over_forward = fad.jvp(lambda x: fad.jvp(f, (x,), (v,))[1], (x,), (w,))[1]
    by_vjp = fad.vjp(g, x)[1](v)[0] @ w
    by_hvp = fad.hvp(f, x, v) @ w
    by_hessian = v @ fad.hessian(f, tier=tier)(x) @ w
    jvp_of_vjp = fad.jvp(lambda x: fad.vjp(f, x)[1](1.0)[0], (x,), (v,))[1] @ w
    line = fad.linearize(lambda x: fad.linearize(f, x)[1](v), x)[1](w)
    for found in (
        forward_over_reverse, reverse_over_forward, reverse_over_reverse, forward_over_forward, by_vjp, by_hvp,
        by_hessian, jvp_of_vjp, line,
    ):  # fmt: skip
        np.testing.assert_allclose(found, forward_over_reverse, rtol=1e-12)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@each_tier
def test_perturbation_confusion(tier):
    d = lambda f: fad.grad(f, tier=tier)
    assert d(lambda x: x * d(lambda y: x + y)(1.0))(1.0) == 1.0
    assert d(lambda x: x * d(lambda y: x * y)(2.0))(3.0) == 6.0
    assert d(lambda x: x * d(lambda x: x * x)(x))(3.0) == 12.0
    assert d(lambda x: d(lambda y: x * y * y)(x))(3.0) == 12.0
    assert d(lambda x: d(lambda y: d(lambda z: x * y * z * z)(y))(x))(2.0) == 16.0  # 4 x y z at y = z = x, but y := x
    assert d(lambda x: d(lambda y: 3.0 * y)(x))(2.0) == 0.0

    def j(f, x):
        return fad.jvp(f, (x,), (1.0,))[1]

    assert j(lambda x: x * j(lambda y: x + y, 1.0), 1.0) == 1.0
    assert j(lambda x: x * j(lambda y: x * y, 2.0), 3.0) == 6.0
    assert d(lambda x: j(lambda y: x * y**3, x))(2.0) == 36.0
    assert j(lambda x: d(lambda y: x * y**3)(x), 2.0) == 36.0


@each_tier
def test_gradients_inside_recorded_functions_with_closures(tier, rng):
    def f(x, a):
        scaled = a * x
        inner = fad.grad(lambda y: np.sum(scaled * y**2) + np.sum(y) * x[0])(x + 1)
        return np.sum(inner * a)

    x, a = rng.normal(size=(2, 3))
    jitted = fad.jit(f, tier=tier)
    same(jitted(x, a), np.float64(np.sum((2 * a * x * (x + 1) + x[0]) * a)))
    g = fad.grad(f, tier=tier)
    wanted = 2 * a * a * (2 * x + 1) + np.sum(a) * np.array([1.0, 0, 0])
    same(g(x, a), wanted)
    same(g(2 * x, a), 2 * a * a * (4 * x + 1) + np.sum(a) * np.array([1.0, 0, 0]))


@each_tier
def test_pullbacks_inside_recorded_functions(tier, rng):
    def f(x):
        out, pull = fad.vjp(lambda y: np.sin(y) * x, x * 2)
        first, second = pull(np.ones(3))[0], pull(out)[0]
        return np.sum(first * second)

    def plain(x):
        c = np.cos(2 * x) * x
        return np.sum(c * c * np.sin(2 * x) * x)

    x, v = rng.normal(size=(2, 3))
    same(fad.jit(f, tier=tier)(x), plain(x))
    np.testing.assert_allclose(fad.grad(f, tier=tier)(x) @ v, central(plain, x, v), rtol=1e-6, atol=1e-8)


@each_tier
def test_hvp_inside_jit_and_of_a_jitted_function(tier, rng):
    f = fad.jit(lambda x: np.sum(x**3) * x[0], tier=tier)
    x, v = rng.normal(size=(2, 4))
    wanted = central(fad.grad(f), x, v)
    np.testing.assert_allclose(fad.hvp(f, x, v), wanted, rtol=1e-6)
    jitted = fad.jit(lambda x, v: fad.hvp(f, x, v), tier=tier)
    for _ in range(2):
        np.testing.assert_allclose(jitted(x, v), wanted, rtol=1e-6)
    same(
        fad.hvp(lambda p: p["a"] ** 2 * p["b"], {"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 0.0}),
        {"a": np.float64(6.0), "b": np.float64(4.0)},
    )


@each_tier
def test_branches_inside_inner_gradients(tier):
    def f(x):
        return fad.grad(lambda y: y**2 if y > x else y**3)(x + 1) * (1 if x > 0 else -1)

    g = fad.jit(f, tier=tier)
    h = fad.jit(lambda x, y: fad.grad(lambda z: z**2 if z > y else z**3)(x), tier=tier)
    for _ in range(2):
        assert g(1.0) == 4.0
        assert g(-1.0) == 0.0
        assert h(2.0, 1.0) == 4.0
        assert h(2.0, 3.0) == 12.0


def test_transformations_of_functions_that_are_not_recorded_yet_inside_others():
    @fad.jit
    def inner(x):
        return x**2 if x > 0 else -x

    @fad.jit
    def outer(x):
        return inner(x) + inner(-x)

    assert outer(2.0) == 6.0 and outer(-2.0) == 6.0
    assert fad.grad(outer)(2.0) == 5.0
    assert inner.stats()["recordings"] == 0


@pytest.mark.parametrize("tier", TIERS[:2])
def test_nan_and_inf_in_derivatives(tier):
    g = fad.grad(lambda x: np.sqrt(x), tier=tier)
    assert g(0.0) == np.inf and np.isnan(g(-1.0))
    assert fad.grad(lambda x: np.where(x > 0, x, 0.0) * 1.0, tier=tier)(np.nan) == 0.0
    assert np.isnan(fad.grad(lambda x: x * np.exp(x), tier=tier)(-np.inf))


def test_repeated_calls_of_jvp_and_hvp_replay():
    f = fad.jit(lambda x: np.sum(x**3))
    from fastad.transforms.derivatives import JvpFunction
    from fastad.transforms.public import remembered

    for k in range(5):
        fad.jvp(f, (np.full(2, float(k)),), (np.ones(2),))
    assert remembered(JvpFunction, f).stats()["recordings"] == 1


# ── sums of products ──────────────────────────────────────────────────────────────────────────────────────────
A = np.random.default_rng(6).normal(size=(2, 7, 3, 40))
CENTRED = {
    "rows": lambda c: np.sin((A[0, 0].T - c) @ A[1, 0]),
    "transposed": lambda c: np.sin(A[1, 0].T @ (A[0, 0].T - c).T),
    "columns": lambda c: np.sin(A[0, 0].T @ (A[1, 0] - c[:, None])),
    "of every matrix": lambda c: np.sin(np.matmul(A[0].transpose(0, 2, 1) - c, A[1])),
    "of every matrix, apart": lambda c: np.sin(
        np.matmul(np.stack([c * k for k in range(7)])[:, None] - A[0].transpose(0, 2, 1), A[1])
    ),
    "one matrix for all": lambda c: np.sin((A[0].transpose(0, 2, 1) - c) @ A[1, 0]),
}


@each_tier
@pytest.mark.parametrize("name", CENTRED)
def test_the_sum_of_a_product_is_a_product_of_sums(name, tier):
    """What all rows share gets the sum of their adjoints, for which no large product is formed."""
    c = np.array([0.3, -0.2, 0.5])

    def f(c):
        return np.sum(CENTRED[name](c))

    gradient = fad.grad(f, tier=tier)(c)
    same(gradient, np.array([central(f, c, v) for v in np.eye(3)]), 1e-7)
    products = fad.trace(f, c).cost()
    if name in ("rows", "of every matrix, apart"):
        assert products.adjoint.repeated(1).products < 1.2 * products.value.once.products
