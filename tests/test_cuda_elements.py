"""Array programs on a device: elements are lanes, sums are made by lanes."""

import numpy as np
import pytest
from device_double import HostDevice

import fastad as fad
from fastad.execution.cuda.device import using
from fastad.execution.cuda.elements import ElementProgram, plan_of

N = 1500
X, Y = np.random.default_rng(0).normal(size=(2, N))


@pytest.fixture(autouse=True)
def device():
    """The device that calls go to."""
    with using(found := HostDevice()):
        yield found


def gaussian(x):
    return np.sum(np.sin(x) * np.exp(-(x**2)))


def softmax(x, y):
    e = np.exp(x - np.sum(x) / x.size)
    return np.sum(e / np.sum(e) * y) ** 2


def normalised(x, y):
    z = x - np.sum(x) / x.size
    return z / np.sqrt(np.sum(z * z)), 3.0 * np.sum(y)


def matrices(x, y):
    return np.sum(x.reshape(30, 50) * np.cos(y.reshape(30, 50)))


PROGRAMS = [
    lambda x, y: gaussian(x), softmax, normalised, matrices, lambda x, y: np.sum(x), lambda x, y: (x, 2.0, x > y),
    lambda x, y: np.where(x > 0, x * y, np.sum(y)), lambda x, y: x * np.sum(x * np.sum(x * y)),
    lambda x, y: np.mean((x - np.mean(x)) ** 2),
]  # fmt: skip


def close(a, b, tolerance=1e-11):
    for x, y in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("tier", ["sweep", "native"])
@pytest.mark.parametrize("k", range(len(PROGRAMS)))
def test_values_and_gradients(k, tier, device):
    g = PROGRAMS[k]
    run = fad.jit(g, device="cuda", tier=tier)
    close(run(X, Y), fad.jit(g)(X, Y))
    assert isinstance(run.all_paths()[0].compiled, ElementProgram)
    assert run.stats()["tables"][0]["tier"] in (tier, "none")
    assert all(threads >= 1 for _, threads, _ in device.launches)
    if not isinstance(g(X, Y), tuple) and np.ndim(g(X, Y)) == 0:
        for transform in (lambda g, **o: fad.grad(g, (0, 1), **o), lambda g, **o: fad.value_and_grad(g, **o)):
            close(transform(g, device="cuda", tier=tier)(X, Y), transform(g)(X, Y))


def test_tangents_and_second_order():
    own = fad.jit(gaussian, device="cuda")
    close(fad.jvp(own, (X,), (Y,)), fad.jvp(gaussian, (X,), (Y,)))
    close(fad.jit(lambda x, v: fad.hvp(gaussian, x, v), device="cuda")(X, Y), fad.hvp(gaussian, X, Y))


def test_arrays_stay_on_the_device(device):
    x = fad.cuda.array(X)
    found = fad.grad(gaussian, device="cuda")(x)
    assert isinstance(found, fad.cuda.DeviceArray)
    close(found, fad.grad(gaussian)(X))
    run = fad.grad(gaussian, device="cuda").prepare(x)
    close(run(), fad.grad(gaussian)(X))
    x.copy_from_host(Y)
    close(run(), fad.grad(gaussian)(Y))


def test_single_precision():
    found = fad.grad(gaussian, device="cuda")(X.astype(np.float32))
    close(found, fad.grad(gaussian)(X.astype(np.float32)), 1e-5)


def test_a_gradient_reads_and_writes_once(device):
    """No launch but that over the elements: sums that only the value needs are not made."""
    run = fad.grad(gaussian, device="cuda", tier="native")
    run(X)
    device.launches.clear()
    run(X)
    assert [threads for _, threads, _ in device.launches] == [N]


def test_stages():
    plan = plan_of(fad.trace(softmax, X, Y))
    assert [stage.count for stage in plan.stages] == [N, N, 1] or [stage.count for stage in plan.stages][-1] == 1
    assert plan_of(fad.trace(lambda x: np.cumsum(x), X)) is None
    assert plan_of(fad.trace(lambda x: np.sum(x[1:] * x[:-1]), X)) is None
    assert plan_of(fad.trace(gaussian, X[:5])) is None


def test_other_programs_are_warned_of():
    with pytest.warns(RuntimeWarning, match="one thread"):
        found = fad.jit(lambda x: np.cumsum(x), device="cuda", tier="native")(X)
    close(found, np.cumsum(X))
