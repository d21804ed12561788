"""Lanes of many steps and of few, and more lanes than a device has room for."""

import numpy as np
import pytest
from device_double import HostDevice

import fastad as fad
from fastad.errors import DeviceMemoryError, StepSizeError
from fastad.execution.cuda import lanes
from fastad.execution.cuda.device import using
from fastad.execution.cuda.executors import order_of

LANES = 128
SPEEDS = np.random.default_rng(0).permutation(np.geomspace(1.0, 300.0, LANES))


@pytest.fixture(autouse=True)
def device():
    """The device that calls go to."""
    with using(found := HostDevice()):
        yield found


def oscillator(speed):
    """Takes as many steps as the speed says."""
    rhs = lambda t, y: np.stack([speed * y[1], -speed * y[0]])
    return fad.solve_ivp(rhs, (0.0, 1.0), np.array([1.0, 0.0]) + 0 * speed, method="Tsit5", rtol=1e-3).y[0, -1]


@pytest.mark.parametrize("make", [lambda f: f, fad.grad], ids=["solves", "gradients"])
def test_lanes_stand_in_the_order_of_their_steps(device, make):
    """Of the run before: that of the first changes nothing, those after it are in order, and none changes a result."""
    run, wanted = fad.vmap(make(oscillator), device="cuda", tier="native"), fad.vmap(make(oscillator))(SPEEDS)
    found = [run(SPEEDS) for _ in range(3)]
    assert device.orders[0] is None
    for order in device.orders[1:]:
        assert sorted(order) == list(range(LANES))
        steps = np.log(SPEEDS[order])
        assert np.corrcoef(steps, np.arange(LANES))[0, 1] > 0.95
    for x in found:
        np.testing.assert_allclose(x, wanted, rtol=1e-8, atol=1e-8)


def test_a_prepared_call_learns_too(device):
    run = fad.vmap(oscillator, device="cuda", tier="native").prepare(SPEEDS)
    first = np.array(run())
    second = np.array(run())
    assert device.orders[0] is None and device.orders[1] is not None
    np.testing.assert_array_equal(first, second)


def test_an_order_that_saves_little_is_left_alone():
    rng = np.random.default_rng(1)
    assert order_of(np.full(1000, 7)) is None and order_of(np.arange(20)) is None
    assert order_of(np.sort(rng.integers(1, 500, 1000))) is None
    order = order_of(rng.integers(1, 10**6, 1000).astype(np.int32))
    assert sorted(order) == list(range(1000)) and order.dtype == np.int32


# ── states of unknown number ──────────────────────────────────────────────────────────────────────────────────
def test_a_lane_of_more_steps_than_are_kept_gets_code_for_more(device):
    speeds = np.array([1.0, 3000.0])
    found = fad.vmap(fad.grad(oscillator), device="cuda", tier="native")(speeds)
    assert [kind for kind, *_ in device.launches] == ["compiled"] * 2
    np.testing.assert_allclose(found, fad.vmap(fad.grad(oscillator))(speeds), rtol=1e-7)


def test_a_lane_of_more_steps_than_there_is_memory_for_says_so():
    run = fad.vmap(fad.grad(oscillator), device="cuda", tier="native")
    with pytest.raises(DeviceMemoryError, match=r"more than [\d,]+ steps .*Online") as caught:
        run(np.array([1.0, 3e4]))
    assert any("in lane 1 of 2" in note for note in caught.value.__notes__)


def test_a_solve_that_fails_is_not_taken_for_one_of_too_many_steps(device):
    def explodes(x):
        rhs = lambda t, y: y**2
        return fad.solve_ivp(rhs, (0.0, 1.0), np.array([1.0]) * x, method="Tsit5").y[0, -1]

    run = fad.vmap(fad.grad(explodes), device="cuda", tier="native")
    with pytest.raises(StepSizeError, match=r"t = 0\.5") as caught:
        run(np.array([0.5, 2.0]))
    assert any("in lane 1 of 2" in note for note in caught.value.__notes__)
    assert len(device.launches) == 1


# ── more lanes than there is room for ─────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_calls_of_too_many_lanes_run_in_parts(monkeypatch, tier):
    """Arrays of the processor go there and come back part by part, along any axis."""
    monkeypatch.setattr(lanes, "_FEW_BYTES", 0)
    rng = np.random.default_rng(2)
    x, a = rng.normal(size=(3, 1000)), rng.normal(size=3)

    def f(x, a):
        return x * a, np.sum(x), np.sum(a)

    options = {"in_axes": (1, None), "out_axes": (-1, 0, None)}
    with using(small := HostDevice(total=40_000)):
        run = fad.vmap(f, device="cuda", tier=tier, **options)
        found = run(x, a)
        first = small.launches.copy()
        small.launches.clear()
        again = run(x, a)
    sizes = [count for name, count, _ in first if name.startswith(("compiled", "values"))]
    assert 2 < len(sizes) < 20 and sum(sizes) == 1000
    assert len(small.launches) < 1.2 * len(first)  # what is kept takes no room away
    for own, other, wanted in zip(found, again, fad.vmap(f, **options)(x, a), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-14)
        np.testing.assert_array_equal(own, other)


def test_the_lane_that_fails_has_its_number_among_all(monkeypatch):
    monkeypatch.setattr(lanes, "_FEW_BYTES", 0)
    x, k = np.ones((1000, 3)), np.zeros(1000, int)
    k[777] = 5
    with using(HostDevice(total=40_000)), pytest.raises(IndexError) as caught:
        fad.vmap(lambda x, k: x[k], device="cuda", tier="native")(x, k)
    assert "in lane 777 of 1,000" in caught.value.__notes__[0]
