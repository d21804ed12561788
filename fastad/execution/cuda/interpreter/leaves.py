"""C functions of the leaves, and what they are called in libdevice, NVIDIA's library of mathematics for GPUs.

The names: libdevice User's Guide, part 3; each has a variant for float32 with an f at its end.
"""

import functools

from fastad.primitives import elementwise_rows

_NOT_IN_NUMBA = ("cyl_bessel_i0", "cyl_bessel_i1")  # which has no names for these


@functools.cache
def leaf_symbols() -> dict[str, int]:
    """C functions of all leaves, and how many arguments they take."""
    return {str(row.symbol): row.arity for row in elementwise_rows() if row.is_leaf and row.symbol}


@functools.cache
def _device_names() -> dict[str, str]:
    leaves = [row for row in elementwise_rows() if row.is_leaf and row.symbol and row.on_device]
    names = {str(row.symbol): row.libdevice or str(row.symbol) for row in leaves}
    return {symbol: name for symbol, name in names.items() if name not in _NOT_IN_NUMBA}


def device_name(symbol: str) -> str | None:
    """The function of libdevice for float64 that computes a leaf's C function; None if there is none."""
    return _device_names().get(symbol)
