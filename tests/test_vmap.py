"""vmap: axes, structures, branches, and every array primitive compared with a Python loop over lanes."""

import numpy as np
import pytest
from transform_tools import central, each_tier, same

import fastad as fad


def loop(f, in_axes, *args):
    """f over the lanes, one after another; the results stacked along a new first axis."""
    sizes = [x.shape[a] for x, a in zip(args, in_axes, strict=True) if a is not None]
    lanes = [
        [x if a is None else np.take(x, k, a) for x, a in zip(args, in_axes, strict=True)] for k in range(sizes[0])
    ]
    results = [f(*lane) for lane in lanes]
    if isinstance(results[0], tuple):
        return tuple(np.stack(parts) for parts in zip(*results, strict=True))
    return np.stack(results)


# ── axes and structures ───────────────────────────────────────────────────────────────────────────────────────
@each_tier
@pytest.mark.parametrize("in_axes", [(0, 0), (1, 0), (-1, 1), (None, 0), (2, None), (0, -2)])
def test_axes_of_arguments(tier, in_axes, rng):
    def f(x, y):
        return np.sum(x) * np.sum(np.sin(y)) + x[0] * y[0]

    shapes = [[4, 5, 3], [4, 5]]
    for shape, axis in zip(shapes, in_axes, strict=True):
        if axis is None:
            shape[:] = [2, 3] if len(shape) == 3 else [3]
        else:
            shape[axis] = 6
    x, y = (rng.normal(size=s) for s in shapes)
    same(fad.vmap(f, in_axes, tier=tier)(x, y), loop(f, in_axes, x, y))


@each_tier
@pytest.mark.parametrize("out_axes", [0, 1, 2, -1, -2])
def test_axes_of_results(tier, out_axes, rng):
    x = rng.normal(size=(4, 2, 3))
    f = lambda x: np.exp(x)
    same(fad.vmap(f, 0, out_axes, tier=tier)(x), np.moveaxis(np.exp(x), 0, out_axes))


@each_tier
def test_structures(tier, rng):
    def f(p, x, *, scale):
        return {"y": p["w"] @ x * scale, "c": (np.ones(2), p["b"][0])}, None

    p = {"w": rng.normal(size=(5, 2, 3)), "b": [rng.normal(size=4)]}
    x, scale = rng.normal(size=(3, 5)), rng.normal(size=5)
    found = fad.vmap(f, in_axes=({"w": 0, "b": None}, 1), out_axes=({"y": 1, "c": (0, None)}, 0), tier=tier)(
        p, x, scale=scale
    )
    wanted = np.stack([p["w"][k] @ x[:, k] * scale[k] for k in range(5)], 1)
    same(found, ({"y": wanted, "c": (np.ones((5, 2)), p["b"][0])}, None))


@each_tier
def test_results_that_do_not_depend_on_the_lane(tier, rng):
    x = rng.normal(size=(4, 2))
    same(fad.vmap(lambda x: (np.ones(3), 2.0, x), tier=tier)(x), (np.ones((4, 3)), np.full(4, 2.0), x))
    same(fad.vmap(lambda x, y: y * 2, (0, None), None, tier=tier)(x, x), x * 2)
    with pytest.raises(fad.ShapeError, match="out_axes is None"):
        fad.vmap(lambda x: x, 0, None)(x)


def test_wrong_axes():
    x = np.ones((2, 3))
    with pytest.raises(fad.ShapeError, match="different sizes"):
        fad.vmap(np.add)(x, x.T)
    with pytest.raises(fad.ShapeError, match="has no axis 2"):
        fad.vmap(np.sin, 2)(x)
    with pytest.raises(fad.ShapeError, match="use None"):
        fad.vmap(np.add)(x, 1.0)
    with pytest.raises(fad.ShapeError, match="no argument has a mapped axis"):
        fad.vmap(np.sin, None)(x)
    with pytest.raises(fad.ShapeError, match="entries"):
        fad.vmap(np.add, (0,))(x, x)
    with pytest.raises(fad.ShapeError, match="match the structure"):
        fad.vmap(lambda p: p["a"], ({"b": 0},))({"a": x})
    with pytest.raises(fad.ShapeError, match="axis"):
        fad.vmap(np.sin, 0, 5)(x)


@each_tier
def test_static_and_integer_arguments(tier):
    x, i = np.arange(12.0).reshape(4, 3), np.array([0, 2, 1, -1])
    same(fad.vmap(lambda x, i: x[i] * 2, tier=tier)(x, i), x[np.arange(4), i] * 2)
    same(fad.vmap(lambda x, n, mode: x**n if mode == "power" else x, (0, None, None), tier=tier)(x, 2, "power"), x**2)
    same(fad.vmap(lambda i: i * 2 + 1, tier=tier)(i), i * 2 + 1)
    with pytest.raises(fad.IndexRangeError):
        fad.vmap(lambda x, i: x[i] * 2, tier=tier)(x, np.array([0, 2, 1, 3]))


@each_tier
@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_number_of_lanes(tier, size, rng):
    x, a = rng.normal(size=(size, 3)), rng.normal(size=(3, 3))
    f = lambda x, a: (np.tanh(a @ x), np.sum(x), x @ x)
    same(fad.vmap(f, (0, None), tier=tier)(x, a), loop(f, (0, None), x, a))


@each_tier
def test_lanes_that_take_different_branches_are_an_error(tier):
    f = fad.vmap(lambda x: x * 2 if x > 0 else -x, tier=tier)
    for _ in range(2):
        same(f(np.array([1.0, 2.0])), np.array([2.0, 4.0]))
        same(f(np.array([-1.0, -2.0])), np.array([1.0, 2.0]))
        for _ in range(2):
            with pytest.raises(fad.RecordingError, match=r"different branches.*test_vmap.*np\.where"):
                f(np.array([1.0, -2.0]))
    assert f.stats()["paths"] <= 3
    g = fad.jit(lambda x: np.sum(f(x)), tier=tier)
    assert g(np.array([1.0, 2.0])) == 6.0
    with pytest.raises(fad.RecordingError, match="different branches"):
        g(np.array([1.0, -2.0]))
    assert g(np.array([-1.0, -2.0])) == 3.0


# ── composition ───────────────────────────────────────────────────────────────────────────────────────────────
@each_tier
def test_composition_with_derivatives(tier, rng):
    def f(x, w):
        return np.sum(np.sin(x * w) ** 2)

    x, w = rng.normal(size=(5, 3)), rng.normal(size=3)
    g = fad.grad(f)
    same(fad.vmap(g, (0, None), tier=tier)(x, w), loop(g, (0, None), x, w), 1e-11)
    same(fad.jit(fad.vmap(g, (0, None)), tier=tier)(x, w), loop(g, (0, None), x, w), 1e-11)
    total = fad.grad(lambda w: np.sum(fad.vmap(f, (0, None))(x, w)), tier=tier)(w)
    same(total, sum(fad.grad(f, 1)(lane, w) for lane in x), 1e-11)
    h = fad.vmap(fad.hessian(f), (0, None), tier=tier)(x, w)
    same(h, np.stack([fad.hessian(f)(lane, w) for lane in x]), 1e-11)
    j = fad.jacfwd(lambda w: fad.vmap(f, (0, None))(x, w), tier=tier)(w)
    same(j, np.stack([fad.grad(f, 1)(lane, w) for lane in x]), 1e-11)
    v = rng.normal(size=(5, 3))
    same(fad.vmap(lambda x, v: fad.hvp(lambda x: f(x, w), x, v), tier=tier)(x, v), np.einsum("kij,kj->ki", h, v), 1e-11)


@each_tier
def test_vmap_of_vmap(tier, rng):
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    f = lambda x, y: np.exp(-np.sum((x - y) ** 2))
    pairs = fad.vmap(fad.vmap(f, (None, 0)), (0, None), tier=tier)
    same(pairs(x, y), np.exp(-np.sum((x[:, None] - y) ** 2, -1)))
    transposed = fad.vmap(fad.vmap(f, (None, 0)), (0, None), 1, tier=tier)
    same(transposed(x, y), pairs(x, y).T)
    gradient = fad.grad(lambda x: np.sum(pairs(x, y)), tier=tier)(x)
    np.testing.assert_allclose(np.sum(gradient * x), central(lambda x: np.sum(pairs(x, y)), x, x), rtol=1e-6)


@each_tier
def test_closures_over_recorded_values(tier, rng):
    def f(a, x):
        return np.sum(fad.vmap(lambda row: row @ a * np.sum(a))(x))

    a, x = rng.normal(size=3), rng.normal(size=(4, 3))
    same(fad.jit(f, tier=tier)(a, x), np.sum(x @ a) * np.sum(a))
    same(fad.grad(f, tier=tier)(a, x), x.sum(0) * np.sum(a) + np.sum(x @ a))


@each_tier
def test_conversions_keep_their_dtype(tier, rng):
    x = rng.normal(size=(3, 4))
    for f in (lambda x: (x > 0).astype(float), lambda x: x.astype(np.float32), lambda x: (10 * x).astype(int)):
        same(fad.vmap(f, tier=tier)(x), f(x))


@each_tier
def test_single_precision(tier, rng):
    x = rng.normal(size=(4, 3)).astype(np.float32)
    same(fad.vmap(lambda x: np.cumsum(x) * 2, tier=tier)(x), np.cumsum(x, 1) * 2)


# ── every primitive ───────────────────────────────────────────────────────────────────────────────────────────
def arrays(*shapes):
    return lambda rng: [rng.normal(size=s) for s in shapes]


def with_indices(shape, index_shape, n):
    return lambda rng: [rng.normal(size=shape), rng.integers(-n, n, size=index_shape)]


def updated(x, i):
    y = np.zeros_like(x)
    y[i] = x[i] * 2
    y[0] += 1
    return y


def added_at(x, i):
    y = np.zeros(6, like=x)
    np.add.at(y, i, x)
    return y


PRIMITIVES = [
    (lambda x, y: x * y + np.arctan2(x, y), arrays((3,), (3,))),
    (lambda x, y: x * y, arrays((3, 2), (2,))),
    (lambda x, y: x - y, arrays((), (3,))),
    (lambda x, y: np.where(x > 0, x, y), arrays((3,), ())),
    (lambda x, y: np.where(y > 0, x, 0.0), arrays((3,), (3,))),
    (lambda x, y: (np.sum(x, 0) * np.mean(y, 1), np.max(x), np.min(y, 0)), arrays((2, 3), (3, 2))),
    (lambda x, y: (np.argmax(x, 0), np.argmin(y)), arrays((2, 3), (4,))),
    (lambda x, y: (np.cumsum(x, 1), np.cumprod(y)), arrays((2, 3), (4,))),
    (lambda x, y: (np.sort(x, 0), np.argsort(y), np.sort(y)[::-1]), arrays((2, 3), (4,))),
    (lambda x, y: x @ y, arrays((3,), (3,))),
    (lambda x, y: x @ y, arrays((2, 3), (3,))),
    (lambda x, y: x @ y, arrays((3,), (3, 2))),
    (lambda x, y: x @ y, arrays((2, 3), (3, 4))),
    (lambda x, y: x.T @ y, arrays((3, 2), (3, 4))),
    (lambda x, y: x @ y.T, arrays((2, 3), (4, 3))),
    (lambda x, y: x.T @ y.T, arrays((3, 2), (4, 3))),
    (lambda x, y: x @ y, arrays((5, 2, 3), (5, 3, 4))),
    (lambda x, y: x @ y, arrays((5, 2, 3), (3, 4))),
    (lambda x, y: x @ y, arrays((2, 3), (5, 3, 4))),
    (lambda x, y: x @ y, arrays((5, 1, 2, 3), (4, 3, 2))),
    (lambda x, y: np.einsum("ij,kj->ik", x, y), arrays((2, 3), (4, 3))),
    (lambda x, y: (np.outer(x, y), np.kron(x, y), np.tensordot(x, y, 0)), arrays((2,), (3,))),
    (lambda x, i: x[i], with_indices((5,), (3,), 5)),
    (lambda x, i: x[i], with_indices((5, 2), (3,), 5)),
    (lambda x, i: x[:, i] * 2, with_indices((2, 5), (2, 2), 5)),
    (lambda x, i: x[i, i], with_indices((5, 5), (), 5)),
    (lambda x, i: x[i] * 2, with_indices((5,), (), 5)),
    (lambda x, i: np.take_along_axis(x, i, 0), with_indices((5, 2), (3, 2), 5)),
    (lambda x, i: updated(x, i), with_indices((5,), (), 5)),
    (lambda x, i: added_at(x, i), with_indices((4,), (4,), 6)),
    (lambda x, y: np.searchsorted(np.sort(x), y), arrays((4,), (3,))),
    (lambda x, y: np.searchsorted(np.sort(x), y, side="right"), arrays((4,), ())),
    (lambda x, y: np.interp(y, np.sort(x), x), arrays((4,), (3,))),
    (lambda x, y: (np.concatenate([x, y]), np.stack([x[:2], y])), arrays((3,), (2,))),
    (lambda x, y: np.array([x[0], y[0], 1.0]), arrays((3,), (2,))),
    (lambda x, y: (x.T, x.reshape(3, 2), x[::-1, 1:], np.roll(x, 1), np.flip(x)), arrays((2, 3), ())),
    (lambda x, y: (np.pad(x, 1), np.tile(x, 2), np.repeat(x, 2)), arrays((3,), ())),
    (lambda x, y: (np.diag(x), np.tril(np.outer(x, x))), arrays((3,), ())),
    (lambda x, y: (np.diff(x), np.gradient(x), np.trapezoid(x), np.convolve(x, y)), arrays((4,), (3,))),
    (lambda x, y: (np.linalg.norm(x), np.var(x), np.prod(x), np.ptp(x)), arrays((4,), ())),
    (lambda x, y: np.lib.stride_tricks.sliding_window_view(x, 2) @ y, arrays((4,), (2,))),
    (lambda x, y: np.broadcast_to(x, (2, 3)) * np.sum(y), arrays((3,), (2,))),
    (lambda x, y: np.any(x > y) * 1.0, arrays((3,), (3,))),
]  # fmt: skip


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("case", range(len(PRIMITIVES)))
def test_every_primitive_like_a_loop_over_lanes(tier, case, rng):
    f, make = PRIMITIVES[case]
    lanes = [make(rng) for _ in range(3)]
    single = lanes[0]
    stacked = [np.stack(parts) for parts in zip(*lanes, strict=True)]
    for in_axes in ((0, 0), (0, None), (None, 0)):
        args = [s if a == 0 else x for s, x, a in zip(stacked, single, in_axes, strict=True)]
        found = fad.vmap(f, in_axes, tier=tier)(*args)
        same(found, loop(f, in_axes, *args))
        check_derivatives(f, in_axes, args, tier, found)


def check_derivatives(f, in_axes, args, tier, out):
    """The gradient through vmap is that through a loop, written with stack."""
    weights = np.random.default_rng(1)

    def weighed(results):
        results = results if isinstance(results, tuple) else (results,)
        return sum(np.sum(r * weights.normal(size=r.shape)) for r in results if r.dtype.kind in "fO")

    moving = [k for k, x in enumerate(args) if x.dtype.kind == "f"]
    if not any(r.dtype.kind == "f" for r in (out if isinstance(out, tuple) else (out,))):
        return

    def batched(*args):
        nonlocal weights
        weights = np.random.default_rng(1)
        return weighed(fad.vmap(f, in_axes)(*args))

    def looped(*args):
        nonlocal weights
        weights = np.random.default_rng(1)
        return weighed(loop_by_stack(f, in_axes, args))

    found = fad.grad(batched, tuple(moving), tier=tier)(*args)
    same(found, fad.grad(looped, tuple(moving), tier="sweep")(*args), 1e-11)


def loop_by_stack(f, in_axes, args):
    results = [f(*(x if a is None else x[k] for x, a in zip(args, in_axes, strict=True))) for k in range(3)]
    if isinstance(results[0], tuple):
        return tuple(np.stack(parts) for parts in zip(*results, strict=True))
    return np.stack(results)


# ── no lanes ──────────────────────────────────────────────────────────────────────────────────────────────────
def no_lanes_cases():
    return [
        lambda x: np.sum(np.sin(x)),
        lambda x: (x[::-1], np.argmax(x)),
        lambda x: np.outer(x, x) @ x,
        lambda x: x if x[0] > 1 else -x,
        lambda x: np.cumsum(x)[np.argsort(x)],
        lambda x: fad.scan(lambda s, _: (np.sin(s), s[0]), x, length=4),
        lambda x: fad.cond(x[0] > 0, lambda x: x, lambda x: -x, x),
        lambda x: fad.vmap(np.cos)(x),
    ]


@each_tier
@pytest.mark.parametrize("f", no_lanes_cases())
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_an_axis_of_size_0(tier, f, axis):
    """Results and derivatives have the shapes for one lane, with size 0 on the axis."""
    none, one = np.zeros(np.insert([3], axis % 2, 0)), np.ones(np.insert([3], axis % 2, 1))
    leaves = lambda tree: list(tree) if isinstance(tree, tuple) else [tree]
    found = leaves(fad.vmap(f, axis, tier=tier)(none))
    for x, y in zip(found, leaves(fad.vmap(f, axis, tier=tier)(one)), strict=True):
        assert x.shape == (0, *y.shape[1:]) and x.dtype == y.dtype
    assert leaves(fad.vmap(f, axis, out_axes=-1)(none))[0].shape[-1] == 0
    total = lambda x: sum(np.sum(y) for y in leaves(fad.vmap(f, axis)(x)) if y.dtype.kind == "f")
    assert fad.grad(total, tier=tier)(none).shape == none.shape


def test_what_all_lanes_share_is_kept_without_lanes():
    y = np.array([1.0, 2.0])
    result = fad.vmap(lambda x, y: (x * y, y**2), (0, None), (0, None))(np.zeros((0, 2)), y)
    assert result[0].shape == (0, 2) and np.array_equal(result[1], y**2)
    with pytest.raises(fad.ShapeError, match="different sizes"):
        fad.vmap(np.add)(np.zeros(0), np.zeros(2))
