"""Compiled functions inside the user's own numba code: a generated @njit wrapper around the kernel's address."""

import ctypes
import functools
from typing import Any

import numpy as np

from fastad.errors import RecordingError
from fastad.execution.kernel import failure_lines
from fastad.execution.marshalling import Passed
from fastad.locks import lock
from fastad.tables.columns import DTYPES
from fastad.transforms.paths import Path

_one_at_a_time = lock()
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def numba_function(path: Path, name: str) -> Any:
    """An `@njit` function of a path's array and number arguments (pytrees flattened, static ones left out).

    It runs the path that was recorded first, so call or `.prepare` the function once with arguments of the wanted
    shapes. It returns the results as a flat tuple (or the only result), and raises ValueError when a shape differs,
    RuntimeError when the arguments lead to another path, IndexError when an index is out of bounds. Arrays that the
    function refers to are read anew at every call; numbers, and what plain NumPy computed from such arrays, are
    those of the recording. No Python runs in between.

    >>> import numba, numpy as np, fastad as fad
    >>> f = fad.value_and_grad(lambda x: np.sum(x**2))
    >>> _ = f(np.zeros(2))
    >>> g = f.numba_function
    >>> @numba.njit
    ... def descend(x):
    ...     for _ in range(100):
    ...         value, gradient = g(x)
    ...         x = x - 0.1 * gradient
    ...     return x
    >>> bool(np.all(np.abs(descend(np.ones(2))) < 1e-8))
    True
    """
    if path.numba_function is None:
        made = _make(path, name)
        with _one_at_a_time:  # all threads get the same one, which is compiled once
            path.numba_function = path.numba_function or made
    return path.numba_function


def _make(path: Path, name: str) -> Any:
    import numba

    binding = path.compiled.binding()
    form, kernel, captured = binding.form, binding.kernel, path.captured
    arguments = [f"x{k}" for k in range(len(form.inputs) - len(captured))]
    lines = [
        f"vin = aligned({kernel.layout.in_size})",
        f"vout = aligned({kernel.layout.out_size})",
        f"work = aligned({kernel.work_size})",
    ]
    namespace: dict[str, Any] = {"np": np, "kernel": _SIGNATURE(kernel.address), **_helpers()}
    for name_in, passed in zip(arguments, form.inputs, strict=False):
        lines += _input_lines(name_in, passed)
    for k, array in enumerate(captured):
        lines += _captured_lines(f"a{k}", form.inputs[len(arguments) + k], array)
    places = [_output_lines(lines, k, passed) for k, passed in enumerate(form.outputs)]
    failures, errors = failure_lines(name, kernel.rows)
    lines += [
        f"code = kernel({kernel.context or 0}, vin.ctypes.data, vout.ctypes.data, work.ctypes.data)",
        f"alive = ({''.join(f'{name}, ' for name in _copies(lines))}vin)",  # numba frees what is not used any more
        *failures,
    ]
    namespace |= errors
    chosen = form.choose(places)
    lines += [f"return {chosen[0]}" if len(chosen) == 1 else f"return ({', '.join(chosen)},)"]
    exec(f"def call({', '.join(arguments)}):\n    " + "\n    ".join(lines), namespace)
    compiled = numba.njit(namespace["call"])
    compiled._fastad_keeps = (binding, captured)  # the kernel's code and the captured data live as long as this
    return compiled


@functools.cache
def _helpers() -> dict[str, Any]:
    """What the generated code calls: vectors that start on a cache line, memory at an address as an array."""
    import numba
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    @numba.njit
    def aligned(size):
        raw = np.empty(size + 8)
        shift = (-(raw.ctypes.data // 8)) % 8
        return raw[shift : shift + size]

    @intrinsic
    def pointer(context, address):
        def generate(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return types.voidptr(types.int64), generate

    return {"aligned": aligned, "pointer": pointer, "carray": numba.carray}


def _input_lines(value: str, passed: Passed) -> list[str]:
    """Lines that check an argument and place it, or its address."""
    slot, kind = passed.slot, passed.kind
    if not kind.shape:
        return [f"vin[{slot.offset}] = {value}"]
    lines = [
        f"if {value}.shape != {kind.shape}:",
        f"    raise ValueError('argument {value}: expected shape {kind.shape}')",
    ]
    if slot.by_reference:
        return [
            *lines,
            f"c{value} = np.asarray(np.ascontiguousarray({value}), np.float64)",
            f"vin.view(np.int64)[{slot.offset}] = c{value}.ctypes.data",
        ]
    return [
        *lines,
        f"vin[{slot.offset}:{slot.offset + slot.size}] = np.ascontiguousarray({value}).reshape({slot.size})",
    ]


def _captured_lines(value: str, passed: Passed, array: np.ndarray) -> list[str]:
    """Lines that place the address of a captured array, or its elements as they are at the call."""
    slot = passed.slot
    if slot.by_reference and array.dtype == np.float64 and array.flags.c_contiguous:
        return [f"vin.view(np.int64)[{slot.offset}] = {array.ctypes.data}"]
    if array.size == 0:
        return []
    step = array.itemsize
    if any(s % step for s in array.strides):
        raise RecordingError(
            ".numba_function cannot read a field of a structured array; copy it to an array of its own"
        )
    low = sum(min(0, s * (n - 1)) for n, s in zip(array.shape, array.strides, strict=True))
    span = 1 + sum(abs(s) * (n - 1) for n, s in zip(array.shape, array.strides, strict=True)) // step
    start = array.ctypes.data + low
    lines = [f"{value} = carray(pointer({start}), ({span},), np.{array.dtype.name.replace('bool', 'bool_')})"]
    target, first = "vin", slot.offset
    if slot.by_reference:
        target, first = f"c{value}", 0
        lines += [f"{target} = aligned({slot.size})", f"vin.view(np.int64)[{slot.offset}] = {target}.ctypes.data"]
    lines += [f"k{value} = {first}"]
    indent = ""
    for d, n in enumerate(array.shape):
        lines += [f"{indent}for i{d} in range({n}):"]
        indent += "    "
    index = " + ".join([str(-low // step), *(f"i{d} * {s // step}" for d, s in enumerate(array.strides))])
    return [*lines, f"{indent}{target}[k{value}] = {value}[{index}]", f"{indent}k{value} += 1"]


def _copies(lines: list[str]) -> list[str]:
    """The arrays whose addresses the kernel gets."""
    return [line.split(" = ")[0] for line in lines if line.startswith("c") and " = " in line]


def _output_lines(lines: list[str], k: int, passed: Passed) -> str:
    """The expression for a result; lines that give it a place are added."""
    slot, kind = passed.slot, passed.kind
    place = f"vout[{slot.offset}]"
    if slot.by_reference:
        lines += [f"out{k} = np.empty({kind.shape})", f"vout.view(np.int64)[{slot.offset}] = out{k}.ctypes.data"]
        place = f"out{k}"
    elif kind.shape:
        place = f"vout[{slot.offset}:{slot.offset + slot.size}].copy().reshape({kind.shape})"
    if kind.dtype == "d":
        return place
    if kind.dtype == "b":
        return f"({place} != 0)"
    dtype = f"np.{DTYPES[kind.dtype].name}"
    return f"{place}.astype({dtype})" if kind.shape else f"{dtype}({place})"
