"""Blocks of lanes over threads: each is run once, results and errors are those of one thread, bit for bit."""

import ctypes
import threading
import time

import numpy as np
import optree
import pytest

import fastad as fad
from fastad.errors import ConvergenceError, StepSizeError
from fastad.execution.composites.blocks import BLOCK, SAVED, BlocksKernel, threads_for
from fastad.execution.kernel import SIGNATURE
from fastad.tables.composites.choices import MOST_BLOCKS, Lanes

P = np.array([10.0, 28.0, 8.0 / 3.0])
LANES = 300
RNG = np.random.default_rng(3)
STATES = RNG.normal(size=(LANES, 3)) * [8.0, 8.0, 10.0] + [0.0, 0.0, 25.0]


# ── the kernel ────────────────────────────────────────────────────────────────────────────────────────────────
def run_blocks(blocks, threads, codes=None, pause=2e-3):
    """The code of a run, the numbers of the blocks that were run, and the threads that ran them."""
    ran, by, end = [], set(), time.monotonic() + 60

    def body(context, source, target, work):
        places = np.ctypeslib.as_array(ctypes.cast(work, ctypes.POINTER(ctypes.c_int64)), (2,))
        block = int(places[BLOCK])
        assert (context, source, target, int(places[SAVED])) == (11, 22, 33, 44)
        places[:] = -1  # the work is the kernel's own
        ran.append(block)
        by.add(threading.get_native_id())
        while block == blocks - 1 > 1 and threads > 1 and len(by) < 2 and time.monotonic() < end:
            time.sleep(1e-3)  # on a busy machine the other threads may be late
        if block not in (codes or {}):
            time.sleep(pause)
        return (codes or {}).get(block, 0)

    own = SIGNATURE(body)
    kernel = BlocksKernel(ctypes.cast(own, ctypes.c_void_p).value, 11, 0, blocks, threads)
    work = np.full(max(kernel.work_size, 2), 44, np.int64)
    code = SIGNATURE(kernel.address)(kernel.context, 22, 33, work.ctypes.data)
    return code, ran, by


@pytest.mark.parametrize("threads", (1, 2, 5))
@pytest.mark.parametrize("blocks", (0, 1, 2, 23))
def test_each_block_is_run_once(blocks, threads):
    code, ran, by = run_blocks(blocks, threads)
    assert code == 0 and sorted(ran) == list(range(blocks))
    assert len(by) <= threads and (blocks < 3 or threads == 1 or len(by) > 1)


@pytest.mark.parametrize("threads", (1, 2, 5))
def test_the_code_is_that_of_the_first_block_that_fails(threads):
    code, ran, _ = run_blocks(100, threads, {9: 2**31 - 1, 5: -7, 6: 3, 99: 1})
    assert code == -7 and set(ran) >= set(range(6)) and 99 not in ran
    assert run_blocks(40, threads, {9: 2**31 - 1})[0] == 2**31 - 1


# ── lanes ─────────────────────────────────────────────────────────────────────────────────────────────────────
def lorenz(t, y, p):
    return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])


def end(**options):
    return lambda y, p: np.sum(np.sin(fad.solve_ivp(lorenz, (0, 0.5), y, args=(p,), **options).y[:, -1]))


def cubic(y, p):
    return fad.root(lambda x, y, p: x**3 + p[0] * x - y, 0.0, (y[2], p)).x


def pair(y, p):
    residual = lambda x, p: np.array([p[0] * x[0] + x[1] ** 3 - y[0], x[0] - 2 * x[1] + y[1]])
    return np.sum(fad.root(residual, y[:2], (p,)).x)


def stepping(y, p):
    """A loop of as many steps as the lane says."""
    go_on = lambda s: s[1] < y[0] * y[0]
    return fad.while_loop(go_on, lambda s: (np.sin(0.05 * p[0] * s[0]) + y[1], s[1] + 1.0), (y[2], 0.0))[0]


def choosing(y, p):
    many = lambda z: fad.fori_loop(0, 200, lambda k, z: np.cos(z + p[1]), z)
    return fad.cond(y[0] > 0.0, many, lambda z: p[2] * z, y[1])


PROGRAMS = {
    "fixed": end(method="RK4", step=0.002), "adaptive": end(rtol=1e-8), "stiff": end(method="Rodas5P"),
    "revolve": end(step=0.01, method="RK4",
    checkpoint=fad.checkpoint.Revolve(5)), "one unknown": cubic, "two unknowns": pair, "loop": stepping,
    "branch": choosing,
}  # fmt: skip


def derived(f):
    many = fad.vmap(f, in_axes=(0, None))
    weights = np.arange(1.0, 1.0 + LANES)
    return many, fad.value_and_grad(lambda y, p: np.sum(many(y, p) * weights), argnums=(0, 1))


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("tier, counts", [("sweep", (1, 2, 3, 7)), ("native", (1, 3))])
def test_results_do_not_depend_on_the_threads(name, tier, counts):
    for f in derived(PROGRAMS[name]):
        wanted, *others = (fad.jit(f, tier=tier, threads=threads)(STATES, P) for threads in counts)
        for found in others:
            for a, b in zip(optree.tree_leaves(found), optree.tree_leaves(wanted), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_are_those_one_by_one(name):
    f = PROGRAMS[name]
    y_bar, p_bar = derived(f)[1](STATES, P)[1]
    one = fad.value_and_grad(f, argnums=(0, 1))
    for k in (0, 7, LANES - 1):
        np.testing.assert_allclose(y_bar[k], (k + 1.0) * one(STATES[k], P)[1][0], rtol=1e-8, atol=1e-9)
    direction = np.array([0.3, -0.2, 0.5])
    along = fad.jvp(lambda p: derived(f)[1](STATES, p)[0], (P,), (direction,))[1]
    np.testing.assert_allclose(along, p_bar @ direction, rtol=1e-8, atol=1e-8)


def test_an_error_in_one_lane_is_that_of_one_thread():
    blowing = lambda y: fad.solve_ivp(lambda t, y: y * y, (0.0, 1.0), np.reshape(y, (1,)), rtol=1e-8).y[0, -1]
    y0 = np.linspace(-1.0, 0.5, 150)
    assert np.all(np.isfinite(fad.jit(fad.vmap(fad.grad(blowing)), threads=4)(y0)))
    y0[100] = 2.0
    said = []
    for threads in (1, 4):
        with pytest.raises(StepSizeError) as caught:
            fad.jit(fad.vmap(fad.grad(blowing)), threads=threads)(y0)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_a_root_that_is_not_found_is_an_error():
    f = fad.vmap(fad.grad(lambda a: fad.root(lambda x, a: x * x + a, 0.7, (a,)).x))
    a = -np.linspace(1.0, 2.0, 1000)
    assert np.all(np.isfinite(fad.jit(f, threads=4)(a)))
    a[700] = 1.0
    with pytest.raises(ConvergenceError):
        fad.jit(f, threads=4)(a)


def test_python_is_called_by_one_thread():
    ran = set()

    @fad.primitive
    def twice(x):
        ran.add(threading.get_native_id())
        return 2.0 * np.frombuffer(np.asarray(x, float).tobytes())  # which cannot be recorded

    def f(y):
        return fad.while_loop(lambda s: s[1] < 3.0, lambda s: (twice(s[0]), s[1] + 1.0), (np.reshape(y, (1,)), 0.0))[0]

    y = np.arange(50.0)
    (lanes,) = [sub for sub in fad.trace(fad.vmap(f), y).subs if isinstance(sub, Lanes)]
    assert lanes.calls_python and threads_for(lanes, 4) == 1
    np.testing.assert_array_equal(fad.jit(fad.vmap(f), threads=4)(y)[:, 0], 8.0 * y)
    assert len(ran) == 1


@pytest.mark.parametrize("size", (0, 1, 2, MOST_BLOCKS, MOST_BLOCKS + 1, 1000))
def test_blocks_cover_all_lanes(size):
    lanes = Lanes.of(fad.trace(lambda x: fad.vmap(stepping, in_axes=(0, None))(x, P), STATES).subs[0].lane, size)
    assert (lanes.blocks - 1) * lanes.block < max(size, 1) <= max(lanes.blocks, 1) * lanes.block
    assert lanes.blocks <= MOST_BLOCKS
