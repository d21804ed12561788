"""jacfwd, jacrev, jacobian, hessian: structures, shapes, modes, single precision, composition."""

import numpy as np
import pytest
from transform_tools import central, each_tier, same

import fastad as fad


def numerical(f, x, step=1e-6):
    """Jacobian by central differences, of shape (*result, *x.shape)."""
    columns = [central(f, x, e.reshape(x.shape), step) for e in np.eye(x.size)]
    return np.stack(columns, -1).reshape((*np.shape(columns[0]), *x.shape))


CASES = [
    (lambda x: np.sin(x) * x[::-1], (3,)),
    (lambda x: x @ x.T, (2, 3)),
    (lambda x: np.sum(x**3), (2, 2)),
    (lambda x: x.reshape(-1)[0], (2, 2)),
    (lambda x: np.outer(x, np.exp(x)), (3,)),
    (lambda x: np.cumsum(x)[1:], (4,)),
    (lambda x: np.sort(x) * x, (4,)),
    (lambda x: np.max(x, axis=0), (3, 2)),
    (lambda x: np.linalg.norm(x) * x, (3,)),
    (lambda x: x * 2.0, ()),
    (lambda x: np.stack([x, x**2]), ()),
    (lambda x: x[np.array([0, 0, 2])] ** 2, (3,)),
    (lambda x: np.where(x > 0, x**2, -x), (4,)),
    (lambda x: np.concatenate([x, np.ones(2)]), (2,)),
    (lambda x: np.einsum("ij,jk,k->i", x, x, x[0]), (3, 3)),
    (lambda x: np.prod(x) * np.cumprod(x), (3,)),
    (lambda x: np.convolve(x, x), (3,)),
    (lambda x: np.ones(3), (2,)),
    (lambda x: np.var(x, axis=0), (3, 2)),
]


@each_tier
@pytest.mark.parametrize("case", range(len(CASES)))
def test_modes_agree_with_differences(tier, case, rng):
    f, shape = CASES[case]
    x = rng.normal(size=shape)[()] if shape else float(rng.normal())
    wanted = numerical(f, np.asarray(x))
    found = [fad.jacfwd(f, tier=tier)(x), fad.jacrev(f, tier=tier)(x), fad.jacobian(f, tier=tier)(x)]
    for jacobian in found:
        assert jacobian.shape == wanted.shape
        np.testing.assert_allclose(jacobian, wanted, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(jacobian, found[0], rtol=1e-13, atol=1e-15)


@each_tier
def test_structures(tier, rng):
    def f(p, x):
        return {"y": p["w"] @ x, "s": (np.sum(p["b"] * x), x)}

    p = {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=3)}
    x = rng.normal(size=3)
    for transform in (fad.jacfwd, fad.jacrev, fad.jacobian):
        j = transform(f, (0, 1), tier=tier)(p, x)
        same(j["y"][1], p["w"])
        same(j["y"][0]["w"], np.einsum("ik,j->ikj", np.eye(2), x))
        same(j["y"][0]["b"], np.zeros((2, 3)))
        same(j["s"][0][0]["b"], x)
        same(j["s"][0][1], p["b"])
        same(j["s"][1][1], np.eye(3))
        same(j["s"][1][0]["w"], np.zeros((3, 2, 3)))
        k = transform(f, 1, tier=tier)(p, x)
        same(k["y"], p["w"])
        same(transform(lambda x, y: x * y, (1,), tier=tier)(2.0, 3.0), (np.float64(2.0),))


@each_tier
def test_second_derivatives_by_all_compositions(tier, rng):
    def f(x):
        return np.sum(np.sin(x) * x[::-1] ** 2) + np.prod(x)

    x = rng.normal(size=3)
    wanted = numerical(fad.grad(f), x)
    for outer in (fad.jacfwd, fad.jacrev, fad.jacobian):
        for inner in (fad.jacfwd, fad.jacrev, fad.grad):
            np.testing.assert_allclose(outer(inner(f), tier=tier)(x), wanted, rtol=1e-6, atol=1e-8)
    h = fad.hessian(f, tier=tier)(x)
    np.testing.assert_allclose(h, wanted, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(h, h.T, rtol=1e-13, atol=1e-15)
    third = fad.jacfwd(fad.hessian(f), tier=tier)(x)
    np.testing.assert_allclose(third, numerical(fad.hessian(f), x), rtol=1e-5, atol=1e-7)


@each_tier
def test_hessians_of_structures(tier):
    h = fad.hessian(lambda p: p["a"] ** 2 * p["b"][0], tier=tier)({"a": 2.0, "b": np.array([3.0, 1.0])})
    assert h["a"]["a"] == 6.0
    same(h["a"]["b"], np.array([4.0, 0.0]))
    same(h["b"]["a"], np.array([4.0, 0.0]))
    same(h["b"]["b"], np.zeros((2, 2)))
    h = fad.hessian(lambda x, y: x**2 * y**3, (0, 1), tier=tier)(2.0, 3.0)
    same(h, ((np.float64(54.0), np.float64(108.0)), (np.float64(108.0), np.float64(72.0))))


@each_tier
def test_single_precision_and_integers(tier):
    x = np.array([1, 2], np.float32)
    for transform in (fad.jacfwd, fad.jacrev, fad.jacobian):
        j = transform(lambda x: np.exp(x) * x, tier=tier)(x)
        assert j.dtype == np.float32
        np.testing.assert_allclose(j, np.diag(np.exp(x) * (1 + x)), rtol=1e-6)
        same(transform(lambda x: x * x, tier=tier)(np.arange(3)), np.diag([0.0, 2.0, 4.0]))
        same(transform(lambda x: x * x, tier=tier)(3), np.float64(6.0))


@each_tier
def test_empty_arguments_and_results(tier):
    for transform in (fad.jacfwd, fad.jacrev, fad.jacobian):
        assert transform(lambda x: x * 2, tier=tier)(np.zeros(0)).shape == (0, 0)
        assert transform(lambda x: np.sum(x) * np.ones(3), tier=tier)(np.zeros((0, 2))).shape == (3, 0, 2)
        assert transform(lambda x: x[:0], tier=tier)(np.ones(2)).shape == (0, 2)


@each_tier
def test_branches(tier):
    j = fad.jacfwd(lambda x: x**2 if x[0] > 0 else -x, tier=tier)
    for _ in range(2):
        same(j(np.array([1.0, 2.0])), np.diag([2.0, 4.0]))
        same(j(np.array([-1.0, 2.0])), -np.eye(2))


@each_tier
def test_inside_recorded_functions(tier, rng):
    def f(x):
        j = fad.jacfwd(lambda y: np.sin(y) * x[0])(x)
        return np.sum(j @ fad.jacrev(lambda y: y**2)(x))

    def plain(x):
        return np.sum(np.cos(x) * x[0] * 2 * x)

    x, v = rng.normal(size=(2, 3))
    same(fad.jit(f, tier=tier)(x), plain(x))
    np.testing.assert_allclose(fad.grad(f, tier=tier)(x) @ v, central(plain, x, v), rtol=1e-6)


def layered(weights, x):
    for w in weights:
        x = np.tanh(w @ x)
    return x


def test_the_mode_is_chosen_by_cost(rng):
    """One result of a layered model is cheaper in reverse mode; many results of few inputs are cheaper forward."""
    from fastad.tables.passes.cost import cost
    from fastad.transforms.jacobians import cheaper_mode

    weights = [rng.normal(size=(10, 10)) / 3 for _ in range(6)]
    many_to_one = fad.trace(lambda x: layered([*weights, np.ones((1, 10))], x), np.ones(10))
    few_to_many = fad.trace(lambda x: layered([np.ones((10, 1)), *weights], x), np.ones(1))
    assert cheaper_mode(many_to_one, [0]) == "rev"
    assert cheaper_mode(few_to_many, [0]) == "fwd"
    assert cost(many_to_one).jacobian_reverse.total < cost(many_to_one).jacobian_forward.total
    assert cost(few_to_many).jacobian_forward.total < cost(few_to_many).jacobian_reverse.total
    with pytest.raises(ValueError, match="mode"):
        fad.jacobian(np.sin, mode="reverse")


def test_results_without_jacobians():
    with pytest.raises(fad.DerivativeError, match="integers"):
        fad.jacobian(lambda x: x > 0)(np.ones(2))
    j = fad.jacobian(lambda x: (x, "text", None))(np.ones(2))
    same(j[0], np.eye(2))
    assert j[1:] == ("text", None)
