"""The interpreter for a real GPU: numba.cuda's compiler and NVIDIA's assembler, once a machine and architecture.

The kernel's arguments are those of numba's calling convention: an array is seven words and more (two of memory
management, which are 0; its number of elements; the size of one; its address; its shape; its strides in bytes).
"""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastad.errors import CompileError
from fastad.execution.cuda.arrays import DeviceArray
from fastad.execution.cuda.interpreter.building import Source, thread
from fastad.execution.cuda.interpreter.leaves import device_name, leaf_symbols
from fastad.execution.cuda.ptx import assembled as machine_code
from fastad.execution.machine import cache

_SEPARATOR = b"\0"


def words(threads: int, arguments: Sequence[DeviceArray | int]) -> list[int]:
    """The arguments of a kernel, the number of threads first."""
    found = [threads]
    for x in arguments:
        if isinstance(x, int):
            found.append(x)
            continue
        strides = [x.dtype.itemsize * int(np.prod(x.shape[k + 1 :], dtype=np.int64)) for k in range(x.ndim)]
        found += [0, 0, x.size, x.dtype.itemsize, x.address, *x.shape, *strides]
    return found


def assembled(source: Source, arch: str) -> tuple[bytes, str]:
    """Machine code of a source for an architecture as "sm_90", from the disk cache if it was made before, and the
    name of its kernel."""
    import numba.cuda

    version = getattr(numba.cuda, "__version__", "") or numba.__version__
    parts = ("cuda interpreter", source.text, repr(source.arguments), source.real, arch, version)
    kept = cache.cached(parts, lambda: _made(source, arch))
    name, _, image = kept.partition(_SEPARATOR)
    return image, name.decode()


def _made(source: Source, arch: str) -> bytes:
    text = ptx(source, arch)
    return entry_name(text).encode() + _SEPARATOR + machine_code(text.encode(), arch).data


def entry_name(text: str) -> str:
    """The name of the kernel in an assembler text."""
    found = re.search(r"\.visible\s+\.entry\s+(\w+)", text)
    if found is None:
        raise CompileError("numba.cuda has made no kernel of the interpreter")
    return found.group(1)


def ptx(source: Source, arch: str) -> str:
    """Assembler text (PTX) of a source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's, of its own target
        from numba import cuda, types

        entry = kernel(source, _decorate)
        kinds = [types.int64, *(_type(types, dtype, ndim) for dtype, ndim in source.types)]
        number = int(arch.removeprefix("sm_"))
        try:
            text, _ = cuda.compile_ptx(entry, tuple(kinds), device=False, cc=divmod(number, 10))
        except Exception as error:  # of numba, of NVIDIA's compiler, of the loader of its libraries
            raise CompileError(f"numba-cuda cannot compile the interpreter for {arch}: {error}") from error
    return str(text)


def _decorate(function: Any) -> Any:
    from numba import cuda

    return cuda.jit(device=True)(function)


def kernel(source: Source, decorate: Any, leaves: dict[str, Any] | None = None) -> Any:
    """The function that numba.cuda compiles, or simulates: thread i of so many."""
    from numba import cuda

    run = thread(source, decorate, _libdevice(source.real) if leaves is None else leaves)
    names = ", ".join(f"x{k}" for k in range(len(source.arguments)))
    space = {"cuda": cuda, "run": run}
    exec(f"def entry(n, {names}):\n    i = cuda.grid(1)\n    if i < n:\n        run(i, {names})\n", space)
    return space["entry"]


def _libdevice(real: str) -> dict[str, Any]:
    from numba.cuda import libdevice

    suffix = "f" if real == "f" else ""
    names = {symbol: device_name(symbol) for symbol in leaf_symbols()}
    return {symbol: getattr(libdevice, f"{name}{suffix}") for symbol, name in names.items() if name is not None}


def _type(types: Any, dtype: np.dtype[Any], ndim: int) -> Any:
    from numba import from_dtype

    return types.Array(from_dtype(dtype), ndim, "C") if ndim else types.int64
