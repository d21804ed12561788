"""The one place for numba's flags.

Contraction (fused multiply-add) is the only liberty taken with floating point: sums keep their order, and
NaN, infinity and signed zero keep their meaning.
"""

import hashlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.types import unliteral
from numba.extending import overload

_COMMON = {
    "cache": True,
    "nogil": True,
    "boundscheck": False,
    "error_model": "numpy",
    "fastmath": {"contract"},
}

# What a C entry point is compiled with.
ENTRY: dict[str, Any] = {**_COMMON, "nopython": True}
del ENTRY["nogil"]

# Counting references to arrays, with atomic instructions, at every call costs more than moving a short row does.
# A kernel only borrows its arrays, so it need not count them.
BORROWING = {**_COMMON, "_nrt": False}

# Compiled code holds the kernels that it calls, wherever they stand.
_SOURCES = hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()


def _stamped(dispatcher):
    """Let numba keep its code by the text of all kernels. By itself it looks at the function's own file only, and
    would go on using code that holds what another file has said before."""
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(index, "_source_stamp"):
        index._source_stamp = (index._source_stamp, _SOURCES)
    return dispatcher


def kernel(function):
    """Compile a function that Python may call as well as other kernels."""
    return _stamped(numba.njit(no_cfunc_wrapper=True, **BORROWING)(function))


def helper(function):
    """Compile a function that only kernels call, for each list of argument types once.

    Without the wrappers for Python it compiles faster. And numba would compile it again for every constant
    that it is called with, as its own type; here constants count as plain numbers, which halves the time to
    compile everything and costs nothing, since LLVM sees the constants when it inlines.
    """
    return _helper(function, BORROWING)


def inlined(function):
    """A helper whose text stands in its callers. Only so it may return records: numba returns copies of them."""
    return _stamped(numba.njit(inline="always", **BORROWING)(function))


def exact_helper(function):
    """A helper without contraction: what cancels exactly when every operation is rounded is 0 then."""
    return _helper(function, {**BORROWING, "fastmath": False})


def choose_by_field(hook, marker, own):
    """Let kernels call `own` by the name `hook` where the record that is the first of the four arguments has the field
    `marker`."""

    @overload(hook, inline="always", jit_options={"cache": False})
    def choose(loop, given, k, space):
        return (lambda loop, given, k, space: own(loop, given, k, space)) if marker in loop.fields else None


def _helper(function, flags):
    dispatcher = _stamped(numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **flags)(function))
    lookup = dispatcher.get_call_template

    def lookup_plain(args, kws):
        return lookup(tuple(map(unliteral, args)), {k: unliteral(v) for k, v in kws.items()})

    dispatcher.get_call_template = lookup_plain
    return dispatcher


# Index through `at(i)`: numba adds a test for negative (from the end) to a signed index, which costs time
# and can stop a loop from being vectorised; an unsigned one needs none.
at = np.uintp
