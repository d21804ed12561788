"""Which tier runs loops, kernels that loops share, and loops in prepared calls and in numba code."""

import numba
import numpy as np

import fastad as fad
from fastad.execution.composites.calling import kernel_of
from fastad.execution.executors import NATIVE, SWEEP, compile_seconds, policy
from fastad.execution.request import Request
from fastad.tables.composites.loop_adjoint import LoopAdjoint

X = np.linspace(0.3, 1.2, 5)


def scanned(x, length=5):
    return fad.scan(lambda y, _: (np.sin(y * x[0]) + x[1], None), x[2], length=length)[0]


def loop_of(table):
    (sub,) = (row.sub for row in table.rows() if row.sub is not None)
    return sub


def test_long_loops_are_native_at_once():
    assert policy("auto").start(Request(fad.trace(lambda x: scanned(x, 10**7), X)), threads=1) is NATIVE


def test_rows_of_parts_count_when_compiling():
    def long(y, _):
        for _ in range(300):
            y = np.sin(y)
        return y, None

    few, many = (
        fad.trace(lambda x, f=f: fad.scan(f, x, length=3)[0], 1.0) for f in (lambda y, _: (np.sin(y), None), long)
    )
    assert compile_seconds(Request(many)) > 2 * compile_seconds(Request(few)) - 0.02
    assert compile_seconds(Request(many, "adjoint", (0,))) > compile_seconds(Request(many))


def test_loops_share_the_kernel_of_their_body():
    loop = loop_of(fad.trace(scanned, X))
    kernels = [kernel_of(sub, SWEEP.part) for sub in (loop, loop.saving, LoopAdjoint.of(loop.saving))]
    bodies = {id(kernel._held[0]) for kernel in kernels}
    assert len(bodies) == 1
    assert kernel_of(loop.body, SWEEP.part) is kernels[0]._held[0]


def test_prepared_calls_and_numba_functions():
    f = fad.grad(scanned)
    expected = f(X)
    run = f.prepare(X)
    np.testing.assert_allclose(run(), expected, rtol=1e-12)
    function = f.numba_function
    f(X)

    @numba.njit
    def twice(x):
        return function(x) + function(x)

    np.testing.assert_allclose(twice(X), 2 * expected, rtol=1e-12)
