"""Prepared calls: the same buffers at every run, other paths, captured arrays, every dtype and size."""

import numpy as np
import pytest
from transform_tools import each_tier, same

import fastad as fad


@each_tier
@pytest.mark.parametrize("n", [2, 256, 257, 5000])
def test_the_same_buffers_at_every_run(tier, n, rng):
    f = fad.value_and_grad(lambda x, k: k * np.sum(x**2), tier=tier)
    x = rng.normal(size=n)
    run = f.prepare(x, 3.0)
    value, gradient = run()
    same((np.asarray(value)[()], gradient), (np.float64(3 * np.sum(x**2)), 6 * x), 1e-11)
    for _ in range(3):
        run.inputs[0][:] = rng.normal(size=n)
        run.inputs[1][...] = 2.0
        again = run.run()
        assert again[0] is value and again[1] is gradient
        same(gradient, 4 * run.inputs[0])
    assert not np.shares_memory(run.inputs[0], x) and not np.shares_memory(gradient, run.inputs[0])


@each_tier
def test_structures_keywords_and_static_arguments(tier):
    f = fad.jit(lambda p, n, *, scale: {"y": p["x"] * scale * n, "c": ("text", None)}, tier=tier)
    run = f.prepare({"x": np.ones(3)}, 2, scale=np.array(2.0))
    out = run()
    same(out["y"], np.full(3, 4.0))
    assert out["c"] == ("text", None)
    assert run.inputs[1] == 2
    run.inputs[0]["x"][:] = 2.0
    run.keyword_inputs["scale"][...] = 5.0
    assert run() is out or run()["y"] is out["y"]
    same(out["y"], np.full(3, 20.0))


@each_tier
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.float64])
@pytest.mark.parametrize("n", [3, 1000])
def test_dtypes(tier, dtype, n):
    f = fad.jit(lambda x: (x * 2, x, np.sum(x), x > 1), tier=tier)
    run = f.prepare(np.ones(n, dtype))
    assert run.inputs[0].dtype == dtype
    for value in (1, 0, 1):
        run.inputs[0][:] = value
        out = run()
        for found, wanted in zip(out, f(np.full(n, value, dtype)), strict=True):
            assert np.asarray(found).dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)


@each_tier
def test_another_path(tier):
    f = fad.grad(lambda x: np.sum(x**2) if x[0] > 0 else np.sum(x**3), tier=tier)
    run = f.prepare(np.array([1.0, 2.0]))
    for values in ([1.0, 2.0], [-1.0, 2.0], [3.0, 1.0], [-2.0, 2.0], [-3.0, 1.0]):
        run.inputs[0][:] = values
        x = np.array(values)
        same(run(), 2 * x if x[0] > 0 else 3 * x**2)
    assert f.stats()["recordings"] == 2


@each_tier
@pytest.mark.parametrize("n", [3, 1000])
def test_captured_arrays_are_read_anew(tier, n):
    a = np.arange(float(n))
    for view in (a, a[::-1]):
        run = fad.jit(lambda x, view=view: x * view, tier=tier).prepare(np.ones(n))
        a[:] = np.arange(float(n))
        same(run(), view)
        a[:] = 7.0
        same(run(), np.full(n, 7.0))


@each_tier
def test_results_that_are_arguments_constants_or_each_other(tier):
    run = fad.jit(lambda x: (x, x, np.ones(2), 3.0, x[::-1]), tier=tier).prepare(np.array([1.0, 2.0]))
    run()
    run.inputs[0][:] = [5.0, 6.0]
    out = run()
    assert out[0].tolist() == out[1].tolist() == [5.0, 6.0]
    assert out[2].tolist() == [1.0, 1.0] and out[3] == 3.0 and out[4].tolist() == [6.0, 5.0]


@each_tier
def test_errors(tier):
    run = fad.jit(lambda x, i: x[i], tier=tier).prepare(np.arange(3.0), np.array([0, 1]))
    run.inputs[1][:] = [0, 5]
    for _ in range(2):
        with pytest.raises(fad.IndexRangeError, match="test_prepared"):
            run()
    run.inputs[1][:] = [2, -1]
    assert run().tolist() == [2.0, 2.0]


@each_tier
def test_every_transformation_prepares(tier, rng):
    x = rng.normal(size=3)
    f = lambda x: np.sum(np.sin(x))
    same(fad.jacfwd(np.sin, tier=tier).prepare(x)(), np.diag(np.cos(x)))
    same(fad.hessian(f, tier=tier).prepare(x)(), np.diag(-np.sin(x)))
    same(fad.vmap(f, tier=tier).prepare(np.stack([x, x]))(), np.full(2, f(x)))
    same(fad.checkpoint(np.sin).prepare(x)(), np.sin(x))
    same(fad.jit(lambda x: fad.checkpoint(np.sin)(x) * 2, tier=tier).prepare(x)(), np.sin(x) * 2)
    p = fad.primitive(lambda x: float(x) ** 2, vjp=lambda primals, u: (2 * primals[0] * u,))
    assert fad.grad(p, tier=tier).prepare(3.0)() == 6.0
    same(fad.grad(f, tier=tier).prepare(np.arange(3))(), np.cos(np.arange(3)))


def test_prepared_calls_of_one_function_do_not_disturb_each_other():
    f = fad.jit(lambda x: x * 2)
    runs = [f.prepare(np.full(2, float(k))) for k in range(3)]
    outs = [run() for run in runs]
    for k, out in enumerate(outs):
        assert out.tolist() == [2.0 * k] * 2
    assert f(np.ones(2)).tolist() == [2.0, 2.0]


def test_prepared_calls_follow_what_the_function_takes_from_outside():
    rates, scale = np.ones(2), 2.0

    def f(x):
        return scale * np.sum(x * np.exp(rates))  # exp(rates) is computed by NumPy while recording

    run = fad.jit(f).prepare(np.array([1.0, 2.0]))
    assert float(run()) == pytest.approx(6 * np.e)
    rates[:] = 2.0
    assert float(run()) == pytest.approx(6 * np.exp(2.0))
    scale = 3.0
    assert float(run()) == float(run()) == pytest.approx(9 * np.exp(2.0))
