"""Compiled functions in threads and in other processes."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest
from transform_tools import each_tier_and_auto, same

import fastad as fad

X = np.arange(1.0, 4.0)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


def in_threads(count, work):
    """Run work(k) in `count` threads that start together; errors are raised here."""
    errors, barrier = [], threading.Barrier(count)

    def run(k):
        barrier.wait()
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


@each_tier_and_auto
@pytest.mark.parametrize("n", [3, 3000])
def test_threads_call_one_function(tier, n):
    f = fad.value_and_grad(lambda x, k: k * np.sum(np.sin(x)), tier=tier)  # first calls race, too

    def work(k):
        rng = np.random.default_rng(k)
        for _ in range(200):
            x, scale = rng.normal(size=n), float(k + 1)
            value, gradient = f(x, scale)
            np.testing.assert_allclose(value, scale * np.sum(np.sin(x)), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(gradient, scale * np.cos(x), rtol=1e-12, atol=1e-14)

    in_threads(8, work)
    assert f.stats()["recordings"] == 1


@each_tier_and_auto
def test_threads_and_branches(tier):
    f = fad.jit(lambda x: x * 2 if x > 0 else (x * 3 if x > -1 else -x), tier=tier)

    def work(k):
        rng = np.random.default_rng(k)
        for x in rng.uniform(-2, 2, 300).tolist():
            assert f(x) == (x * 2 if x > 0 else (x * 3 if x > -1 else -x))

    in_threads(8, work)
    assert f.stats()["recordings"] <= 6


def test_threads_record_different_functions_at_once():
    def work(k):
        for i in range(10):
            g = fad.grad(lambda x, i=i: np.sum(x ** (k + 2)) * (i + 1))
            same(g(X), (k + 2) * X ** (k + 1) * (i + 1))

    in_threads(8, work)


@each_tier_and_auto
def test_threads_with_callbacks_and_their_errors(tier):
    def f(x):
        if float(x) < 0:
            raise KeyError(float(x))
        return float(x) ** 2

    p = fad.primitive(f)
    g = fad.jit(lambda x: p(x) + 1, tier=tier)
    assert g(1.0) == 2.0

    def work(k):
        for i in range(100):
            assert g(float(i)) == i**2 + 1
            with pytest.raises(KeyError) as caught:
                g(-1000.0 * k - i - 1)
            assert caught.value.args == (-1000.0 * k - i - 1,)

    in_threads(8, work)


def test_a_recording_in_one_thread_does_not_disturb_others():
    started, done = threading.Event(), threading.Event()

    def slow(x):
        started.set()
        done.wait(10)
        return x * 2

    result = []
    thread = threading.Thread(target=lambda: result.append(fad.jit(slow)(3.0)))
    thread.start()
    started.wait(10)
    square = fad.jit(lambda x: x * x)
    assert square(4.0) == 16.0 and fad.grad(square)(4.0) == 8.0
    assert np.sin(0.0) == 0.0
    done.set()
    thread.join()
    assert result == [6.0]


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────
def loss(x):
    return np.sum(np.sin(x) * x) if x[0] > 0 else np.sum(x)


def call(data, x, out):
    f = pickle.loads(data)
    out.put((f(x), fad.grad(f)(x)))


def run_in(method, target, *args):
    context = multiprocessing.get_context(method)
    out = context.Queue()
    process = context.Process(target=target, args=(*args, out))
    process.start()
    try:
        result = out.get(timeout=120)
    finally:
        process.join(20)
    assert process.exitcode == 0
    return result


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=needs_fork)])
def test_pickled_functions_run_in_other_processes(method):
    f = fad.jit(loss)
    f(X), f(-X)
    for x in (X, -X):
        value, gradient = run_in(method, call, pickle.dumps(f), x)
        same(value, f(x))
        same(gradient, fad.grad(f)(x))


FUNCTIONS = {tier: fad.value_and_grad(loss, tier=tier) for tier in ("sweep", "native", "auto")}


def call_by_name(tier, xs, out):
    out.put([FUNCTIONS[tier](x) for x in xs])


@needs_fork
@each_tier_and_auto
def test_functions_go_on_working_after_a_fork(tier):
    f = FUNCTIONS[tier]
    large = np.linspace(0.1, 1.0, 400_000)
    xs = [X, -X, large, X[:2]]
    wanted = [f(x) for x in xs[:3]]
    found = run_in("fork", call_by_name, tier, xs)
    for (value, gradient), (v, g) in zip(found, [*wanted, f(xs[3])], strict=True):
        same(value, v, 1e-11)
        same(gradient, g)
    same(f(X), wanted[0])
