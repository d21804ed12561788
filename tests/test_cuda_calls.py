"""device="cuda": the whole way of a call, on a device of the tests that runs the same kernels on the processor."""

import subprocess
import sys
import time

import numpy as np
import pytest
from device_double import HostDevice

import fastad as fad
from fastad.errors import CompileError, DeviceError, DeviceMemoryError, RecordingError, ShapeError
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.device import using, what_is_missing
from fastad.execution.machine import background

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 3)), RNG.normal(size=5)
TIERS = ["sweep", "native", "auto"]


@pytest.fixture(autouse=True)
def device():
    """The device that calls go to."""
    with using(found := HostDevice()):
        yield found


def f(x, y):
    return np.sum(np.sin(x) * np.exp(-y * x**2))


def close(a, b, rtol=1e-12):
    for x, y in zip(a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=rtol)


# ── every transformation ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("inner", [
    lambda f, **o: f, lambda f, **o: fad.grad(f, (0, 1), **o), lambda f, **o: fad.value_and_grad(f, **o),
    lambda f, **o: fad.hessian(f, **o), lambda f, **o: fad.jacfwd(f, **o), lambda f, **o: fad.vmap(f, (0, None), **o),
    lambda f, **o: fad.grad(lambda x, y: fad.hvp(lambda z: f(z, y), x, x) @ x, **o),
], ids=["f", "grad", "value_and_grad", "hessian", "jacfwd", "vmap", "third order"])  # fmt: skip
def test_lanes(inner, tier):
    run, wanted = fad.vmap(inner(f), device="cuda", tier=tier), fad.vmap(inner(f))
    close(run(X, Y), wanted(X, Y), 1e-10)
    close(run(X + 1, Y), wanted(X + 1, Y), 1e-10)
    if tier != "auto":
        assert run.stats()["tables"][0]["tier"] == tier


def test_one_lane():
    close(fad.jit(f, device="cuda")(X[0], 2.0), f(X[0], 2.0))
    close(fad.hessian(f, device="cuda")(X[0], 2.0), fad.hessian(f)(X[0], 2.0))
    own = fad.jit(f, device="cuda")
    close(fad.jvp(own, (X[0], 2.0), (X[1], 1.0)), fad.jvp(f, (X[0], 2.0), (X[1], 1.0)))
    value, pullback = fad.vjp(own, X[0], 2.0)
    close((value, *pullback(1.0)), (f(X[0], 2.0), *fad.grad(f, (0, 1))(X[0], 2.0)))


def test_the_option_is_inherited_and_checked():
    assert fad.vmap(fad.grad(f, device="cuda")).device == "cuda"
    assert fad.jit(f, device="cpu").device is None
    with pytest.raises(ValueError, match='"cpu" or "cuda"'):
        fad.jit(f, device="gpu")
    close(fad.grad(lambda x: np.sum(fad.vmap(f, device="cuda")(x, Y)))(X), fad.vmap(fad.grad(f))(X, Y))  # recorded


def test_axes(device):
    scaled = lambda a, x: a * x
    for tier in TIERS:
        run = fad.vmap(scaled, in_axes=(None, 1), out_axes=1, device="cuda", tier=tier)
        close(run(2.0, X), 2.0 * X)
        close(run(2.0, fad.cuda.array(X)), 2.0 * X)
    middle = fad.vmap(lambda x: x * 2, in_axes=1, device="cuda")
    close(middle(np.ones((2, 3, 4))), np.full((3, 2, 4), 2.0))
    x = RNG.normal(size=(2, 3, 4))
    for axis in (-1, -2, -3, 1):
        own = {"in_axes": axis, "out_axes": axis}
        close(fad.vmap(lambda x: x * 2, device="cuda", **own)(x), x * 2)
    with pytest.raises(ShapeError, match="first or the last axis"):
        middle(fad.cuda.array(np.ones((2, 3, 4))))
    with pytest.raises(ShapeError, match="differs between lanes"):
        fad.vmap(lambda x: x, out_axes=None, device="cuda")(Y)
    close(fad.vmap(lambda x, a: a + 1, in_axes=(0, None), out_axes=None, device="cuda")(Y, 1.0), 2.0)
    assert fad.vmap(f, device="cuda")(X[:0], Y[:0]).shape == (0,)


def test_more_arrays_than_a_kernel_has_parameters_for():
    parts = list(RNG.normal(size=(200, 4)))
    g = lambda parts: sum(np.sin(x) * k for k, x in enumerate(parts))
    close(fad.vmap(fad.grad(g), device="cuda", tier="native")(parts), fad.vmap(fad.grad(g))(parts))


# ── loops, solves, linear algebra: compiled kernels ───────────────────────────────────────────────────────────
def lorenz(y0):
    def rhs(t, y):
        return np.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])

    return fad.solve_ivp(rhs, (0.0, 0.5), y0, method="Tsit5", rtol=1e-4, atol=1e-6).y[:, -1]


def solved(x):
    return np.linalg.solve(np.outer(x, x) + np.eye(3, dtype=x.dtype), x)


def scanned(x):
    return fad.scan(lambda c, _: (c + 0.1 * np.sin(c), None), x, None, length=20)[0]


@pytest.mark.parametrize("g", [lorenz, solved, scanned])
@pytest.mark.parametrize("kind, rtol", [("d", 1e-9), ("f", 2e-2)])
def test_composite_rows(g, kind, rtol):
    loss = lambda x: np.sum(g(x) ** 2)
    x = X.astype(kind)
    for run, wanted in ((g, g), (fad.grad(loss), fad.grad(loss))):
        found = fad.vmap(run, device="cuda")(x)
        assert found.dtype == x.dtype
        np.testing.assert_allclose(found, fad.vmap(wanted)(X), rtol=rtol, atol=rtol * 10)


def test_auto_interprets_until_there_is_a_kernel(monkeypatch):
    monkeypatch.setenv("FASTAD_BACKGROUND", "1")
    if not background.is_on():
        pytest.skip("LLVM runs in this process here")
    own = time.time()  # no program is like this one
    g = lambda x: np.sum(np.sin(x) * own)
    fad.vmap(g, device="cuda", tier="sweep")(X)  # the interpreter is there
    run = fad.vmap(g, device="cuda")
    close(run(X), fad.vmap(run.__wrapped__)(X))
    first = run.stats()["tables"][0]["tier"]
    for _ in range(200):
        if run.stats()["tables"][0]["tier"] == "native":
            break
        time.sleep(0.05)
        close(run(X), fad.vmap(run.__wrapped__)(X))
    assert (first, run.stats()["tables"][0]["tier"]) == ("sweep", "native")
    again = fad.vmap(lambda x: g(x), device="cuda")
    again(X)
    assert again.stats()["tables"][0]["tier"] == "native"  # kept


def test_the_interpreter_says_what_it_cannot_do():
    with pytest.raises(CompileError, match="compiled kernels"):
        fad.vmap(scanned, device="cuda", tier="sweep")(X)


# ── arrays on the device ──────────────────────────────────────────────────────────────────────────────────────
class Foreign:
    """An array of another library."""

    def __init__(self, array, strides=None):
        self.array, self.strides = array, strides

    @property
    def __cuda_array_interface__(self):
        return {**self.array.__cuda_array_interface__, "strides": self.strides}


class Packed:
    """An array of a library that has DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("other", [lambda x: x, Foreign, Packed], ids=["own", "interface", "dlpack"])
def test_arrays_on_the_device_stay_there(other, tier):
    run = fad.vmap(fad.grad(f, (0, 1)), device="cuda", tier=tier)
    x, y = fad.cuda.array(X), fad.cuda.array(Y)
    found = run(other(x), other(y))
    assert all(isinstance(a, DeviceArray) for a in found)
    close(found, fad.vmap(fad.grad(f, (0, 1)))(X, Y))
    x.copy_from_host(X + 1)  # the same memory
    close(run(other(x), Y), fad.vmap(fad.grad(f, (0, 1)))(X + 1, Y))


def test_strided_arrays_are_refused():
    with pytest.raises(ValueError, match="make it contiguous"):
        fad.vmap(f, device="cuda")(Foreign(fad.cuda.array(X), strides=(8, 40)), Y)


def test_device_arrays():
    a = fad.cuda.array(np.arange(6.0).reshape(2, 3))
    assert (a.shape, a.ndim, a.size, a.nbytes, len(a)) == ((2, 3), 2, 6, 48, 2) and "float64[2, 3]" in repr(a)
    close(a, np.arange(6.0).reshape(2, 3))
    close(a.reshape(3, -1), np.arange(6.0).reshape(3, 2))
    assert np.asarray(a, np.float32).dtype == np.float32 and float(fad.cuda.array(2.5)) == 2.5
    with pytest.raises(ValueError, match="no shape"):
        a.reshape(4, 2)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(a, copy=False)


def test_dlpack_frees_what_nobody_uses(device):
    from fastad.execution.cuda import dlpack

    before = device.used
    a = fad.cuda.array(np.zeros(1000))
    capsule = a.__dlpack__()
    del a
    assert device.used > before
    del capsule
    assert device.used == before and not dlpack._held
    b = fad.cuda.array(Packed(fad.cuda.array(np.ones(10))))
    close(b, np.ones(10))
    del b
    assert device.used == before and not dlpack._held


@pytest.mark.parametrize("tier", TIERS)
def test_dtypes(tier):
    picked = fad.vmap(lambda x, k, b: np.where(b, x[k], -x[k]), device="cuda", tier=tier)
    k, b = np.array([0, 2, 1, -1, 0]), np.array([True, False, True, True, False])
    close(picked(X, k, b), fad.vmap(lambda x, k, b: np.where(b, x[k], -x[k]))(X, k, b))
    counted = fad.vmap(lambda x: (x > 0, np.argmax(x)), device="cuda", tier=tier)
    signs, where = counted(X)
    assert signs.dtype == bool and where.dtype == np.int64
    np.testing.assert_array_equal(signs, X > 0)
    np.testing.assert_array_equal(where, np.argmax(X, axis=1))
    small = fad.vmap(fad.grad(f), device="cuda", tier=tier)(X.astype(np.float32), Y.astype(np.float32))
    assert small.dtype == np.float32
    close(small, fad.vmap(fad.grad(f))(X, Y), 1e-5)


def test_float32_is_computed_in_float32(device):
    fad.vmap(f, device="cuda", tier="sweep")(X.astype(np.float32), Y.astype(np.float32))
    assert {name for name, *_ in device.launches} == {"load_f_f", "values_arrays_f", "store_f_f"}


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("tier", TIERS)
def test_a_lane_that_fails_is_named(tier):
    run = fad.vmap(lambda x, k: x[k], in_axes=(None, 0), device="cuda", tier=tier)
    close(run(Y, np.array([0, 3])), Y[[0, 3]])
    with pytest.raises(IndexError) as found:
        run(Y, np.array([0, 9]))
    assert "in lane 1 of 2" in found.value.__notes__[0] and "test_cuda_calls.py" in str(found.value)


@pytest.mark.parametrize("tier", TIERS)
def test_branches(tier):
    run = fad.vmap(lambda x: x * 2 if x > 0 else -x, device="cuda", tier=tier)
    positive = np.abs(Y) + 0.1
    close(run(positive), 2 * positive)
    close(run(-positive), positive)  # recorded again
    close(run(fad.cuda.array(-positive)), positive)
    with pytest.raises(RecordingError, match="different branches"):
        run(Y)


def test_memory_is_asked_for_in_batches(device):
    run = fad.vmap(fad.grad(f), device="cuda", tier="sweep")
    x, y = RNG.normal(size=(400, 3)), RNG.normal(size=400)
    wanted = fad.vmap(fad.grad(f))(x, y)
    close(run(x, y), wanted)
    whole = len([1 for name, *_ in device.launches if name.startswith("adjoints")])
    device.total = device.used + 60_000
    device.launches.clear()
    small = fad.vmap(fad.grad(lambda x, y: f(x, y) + 0.0), device="cuda", tier="sweep")
    close(small(x, y), wanted)
    assert len([1 for name, *_ in device.launches if name.startswith("adjoints")]) > whole == 1
    device.total = device.used + 100
    with pytest.raises(DeviceMemoryError, match=r"bytes.* free"):
        small(x, y)


def test_what_is_missing_is_said():
    if what_is_missing() is None:
        pytest.skip("there is a GPU")
    lines = ["import fastad as fad, numpy as np", "assert not fad.cuda.is_available()"]
    program = "\n".join([*lines, "fad.jit(np.sin, device='cuda')(1.0)"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert "DeviceError" in done.stderr and ("driver" in done.stderr or "cuda-bindings" in done.stderr)
    assert str(fad.cuda.missing()) in done.stderr
    assert issubclass(DeviceError, RuntimeError) and issubclass(DeviceMemoryError, MemoryError)


# ── prepared calls and streams ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("tier", TIERS)
def test_prepared_calls_keep_their_buffers(device, tier):
    run = fad.vmap(fad.grad(f, (0, 1)), device="cuda", tier=tier).prepare(X, Y)
    first = run()
    close(first, fad.vmap(fad.grad(f, (0, 1)))(X, Y))
    run.inputs[0].copy_from_host(X + 1)
    used = device.used
    assert run.run(stream=7) is first and device.launches[-1][2] == 7
    close(first, fad.vmap(fad.grad(f, (0, 1)))(X + 1, Y))
    assert device.used <= used + 64
    own = fad.cuda.array(X)
    shared = fad.vmap(fad.grad(f), device="cuda").prepare(own, Y)
    assert shared.inputs[0].address == own.address and "on a double" in repr(shared)


def test_prepared_calls_follow_branches_and_what_they_refer_to():
    scale = np.array(2.0)
    run = fad.vmap(lambda x: x * scale if x > 0 else -x, device="cuda").prepare(np.abs(Y))
    close(run(), 2 * np.abs(Y))
    run.inputs[0].copy_from_host(-np.abs(Y))
    close(run(), np.abs(Y))
    scale[...] = 3.0
    run.inputs[0].copy_from_host(np.abs(Y))
    close(run(), 3 * np.abs(Y))


def test_streams(device):
    class Stream:
        ptr = 5

    with fad.cuda.stream(Stream()):
        fad.vmap(f, device="cuda", tier="sweep")(X, Y)
        found = fad.vmap(f, device="cuda", tier="sweep")(fad.cuda.array(X), Y)
    assert {stream for *_, stream in device.launches} == {5}
    assert found.__cuda_array_interface__["stream"] == 5
    assert fad.cuda.array(X).__cuda_array_interface__["stream"] == 1
    fad.cuda.synchronize()
    assert fad.cuda.memory()[1] == device.total


def test_captured_arrays_are_read_anew():
    weights = RNG.normal(size=3)
    run = fad.vmap(lambda x: np.sum(weights * x), device="cuda")
    close(run(X), X @ weights)
    prepared = run.prepare(X)
    weights *= 2
    close(run(X), X @ weights)
    close(prepared(), X @ weights)


def test_functions_on_a_device_are_not_saved(tmp_path):
    run = fad.vmap(f, device="cuda")
    run(X, Y)
    with pytest.raises(fad.TableError, match="without the device"):
        run.save(tmp_path / "f.npz")


# ── profiles ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_profiles_of_checkpoint_schedules():
    def fall(x):
        return np.sum(fad.fori_loop(0, 60, lambda k, y: y + 0.01 * np.sin(y), x))

    schedules = [fad.checkpoint.StoreAll(), fad.checkpoint.Revolve(10), fad.checkpoint.Revolve(3)]
    found = fad.checkpoint.profile(fall, np.ones(64), schedules=schedules, device="cuda", lanes=5, seconds=0.01)
    assert [x.steps for x in found] == [None] * 3 and all(x.measured.calls >= 4 for x in found)
    sizes = [found.memory(x) for x in found]
    assert sizes[0] > sizes[1] > sizes[2]
    for k in (1, 2):  # an adjoint step has numbers of its own, the same under every schedule
        stored = found[0].predicted_bytes - found[k].predicted_bytes
        assert abs(sizes[0] - sizes[k] - stored) < 0.05 * stored
    assert "Revolve(snapshots=10)" in str(found)


def test_the_command_says_what_is_missing(capsys):
    from fastad.__main__ import main

    if what_is_missing() is not None:
        assert main(["profile-checkpoints", "--device", "cuda"]) == 1
        assert "No GPU can be used" in capsys.readouterr().err
    assert main(["info"]) == 0
    assert "CUDA" in capsys.readouterr().out
