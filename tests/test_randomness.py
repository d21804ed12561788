"""Random numbers drawn by a recorded function are constants of the recording, and one warning says so."""

import random
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest

import fastad as fad

generator = np.random.default_rng(3)
python = random.Random(3)


def with_global_state(x):
    return np.sum(x * np.random.normal(size=3))  # noqa: NPY002


def with_generator(x):
    return np.sum(x) * generator.normal()


DRAWING = [
    with_global_state, with_generator, lambda x: generator.random() + x.sum(), lambda x: python.random() + x.sum(),
    lambda x: random.gauss(0, 1) + x.sum(),
]  # fmt: skip


@pytest.mark.parametrize("f", DRAWING)
@pytest.mark.parametrize("transform", [fad.jit, fad.grad])
def test_draws_are_warned_of_once(f, transform):
    g = transform(f)
    with pytest.warns(RuntimeWarning, match=rf"{f.__code__.co_firstlineno}\) drew random numbers.*argument") as found:
        first = g(np.ones(3))
        g(np.ones(4)) if f is not with_global_state else g(np.ones((2, 3)))
    assert len([w for w in found if "random" in str(w.message)]) == 1
    assert np.array_equal(g(np.ones(3)), first)  # the same numbers, as the warning says


def test_functions_that_draw_nothing_are_left_alone():
    noise = generator.normal(size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fad.grad(lambda x: np.sum(x * noise))(np.ones(3)).tolist() == noise.tolist()


@pytest.fixture
def another_thread_that_draws():
    over, begun = threading.Event(), threading.Event()

    def draw():
        while not over.is_set():
            random.random()
            begun.set()
            time.sleep(1e-5)

    thread = threading.Thread(target=draw)
    thread.start()
    begun.wait()
    yield
    over.set()
    thread.join()


def through_a_library(x):
    return x.sum() * random.choice([1.0, 2.0]) + random.betavariate(1, 2)


@pytest.mark.usefixtures("another_thread_that_draws")
def test_what_another_thread_draws_is_not_the_functions():
    def slow(x):
        before = random.getstate()
        while random.getstate() == before:
            time.sleep(1e-4)
        return np.sum(x * x)

    def innocent(x):
        random.getstate()
        return np.sum(x * x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fad.grad(innocent)(np.ones(3)).tolist() == [2.0, 2.0, 2.0]
        for _ in range(3):
            assert fad.grad(lambda x: (time.sleep(0.01), np.sum(x * x))[1])(np.ones(3)).tolist() == [2.0, 2.0, 2.0]
    gauss = lambda x: (slow(x), random.gauss(0, 1))[1] + x.sum()
    for draws in (gauss, through_a_library, lambda x: with_generator(x) + 1.0):
        with pytest.warns(RuntimeWarning, match="drew random numbers"):
            fad.jit(draws)(np.ones(3))


def test_a_generator_that_is_an_argument():
    with pytest.warns(RuntimeWarning, match="drew random numbers"):
        fad.jit(lambda x, rng: x * rng.normal())(1.0, np.random.default_rng(1))


@pytest.mark.parametrize(("body", "draws"), [
    ("import random, numpy.random", False), ("import random; random.random()", True), ("np.random.normal()", True),
])  # fmt: skip
def test_generators_that_are_imported_while_recording(body, draws):
    """In a process that has not used them yet: to import a generator is not to draw from it."""
    code = f"""
import sys, warnings
import numpy as np, fastad as fad
assert "numpy.random" not in sys.modules
sys.modules.pop("random", None)
def f(x):
    {body}
    return x * x
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    fad.grad(f)(3.0)
print(any("drew random" in str(w.message) for w in found))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(draws)]
