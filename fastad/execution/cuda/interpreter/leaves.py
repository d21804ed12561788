"""C functions of the leaves, and what they are called in libdevice, NVIDIA's library of mathematics for GPUs.

The names: CUDA C++ Programming Guide, "Mathematical Functions"; each has a variant for float32 with an f at its end.
"""

import functools

from fastad.primitives import elementwise_rows

# Of SciPy's functions, those that libdevice has and numba calls. Names of C are the same there.
_OTHERS = {
    "fastad_erfinv": "erfinv", "fastad_erfcinv": "erfcinv", "fastad_erfcx": "erfcx", "fastad_ndtri": "normcdfinv",
    "fastad_j0": "j0", "fastad_j1": "j1", "fastad_y0": "y0", "fastad_y1": "y1",
}  # fmt: skip


@functools.cache
def leaf_symbols() -> dict[str, int]:
    """C functions of all leaves, and how many arguments they take."""
    return {str(row.symbol): row.arity for row in elementwise_rows() if row.is_leaf and row.symbol}


def device_name(symbol: str) -> str | None:
    """The function of libdevice for float64 that computes a leaf's C function; None if there is none."""
    return _OTHERS.get(symbol, None if symbol.startswith("fastad_") else symbol)
