"""fastad's contenders: NumPy in and out, prepared, and the sweeps."""
from functools import cache, partial

import numpy as np

from bench import functions
from bench.registry import contender
from bench.workloads import BY_NAME, Workload

EVERY = tuple(BY_NAME)


@cache
def our_functions():
    import fastad as fad

    return functions.functions_with(np, fad.scan)


def transformed(work: Workload, what: str, tier: str):
    import fastad as fad

    return getattr(fad, "jit" if what == "primal" else what)(work.function(our_functions()), tier=tier)


@contender("fastad", EVERY)
def native(work, what):
    """NumPy in and out at every call, native code."""
    return partial(transformed(work, what, "native"), *work.args)


@contender("fastad-prepared", EVERY, package="fastad")
def prepared(work, what):
    """Buffers bound once; native code."""
    return transformed(work, what, "native").prepare(*work.args)


SCALAR = tuple(name for name, work in BY_NAME.items() if work.rows or name == "determinant")


@contender("fastad-sweep", SCALAR, package="fastad")
def swept(work, what):
    """The numba sweeps over the op table."""
    return transformed(work, what, "sweep").prepare(*work.args)
