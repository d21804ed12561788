"""Compiled functions inside the user's own numba code: a generated @njit wrapper around the kernel's address."""

import ctypes
from typing import Any

import numpy as np

from fastad.errors import RecordingError
from fastad.tables.table import ValueType
from fastad.transforms.base import Path, Transformed

_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


def numba_function(function: Transformed) -> Any:
    """An `@njit` function of the array and number arguments (pytrees flattened, static ones left out).

    It runs the path that was recorded first, so call or `.prepare` the function once with arguments of the wanted
    shapes. It returns the results as a flat tuple (or the only result), and raises ValueError when a shape differs
    and RuntimeError when the arguments lead to another path. No Python runs in between.

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
    paths = function.all_paths()
    if not paths:
        raise RecordingError(f"call {function.__name__} once (or .prepare it) before using .numba_function: it is recorded then")
    return _make(paths[0], function.__name__)


def _make(path: Path, name: str) -> Any:
    import numba

    binding = path.compiled.binding()
    table = path.program.table
    captured = [np.ascontiguousarray(a, np.float64) for a in table.captured]
    arguments = [f"x{k}" for k in range(table.explicit_inputs)]
    body = [f"def call({', '.join(arguments)}):"]
    body += [f"    vin = np.empty({binding.kernel.layout.in_size})", f"    vout = np.empty({binding.kernel.layout.out_size})"]
    body += [f"    work = np.empty({binding.kernel.work_size + 8})"]
    namespace: dict[str, Any] = {"np": np, "kernel": _kernel(binding), "njit": numba.njit}
    for k, (kind, slot) in enumerate(zip(table.inputs, binding.kernel.layout.inputs, strict=True)):
        value = f"x{k}"
        if k >= table.explicit_inputs:
            value = f"captured{k}"
            namespace[value] = captured[k - table.explicit_inputs].ctypes.data
            body += _captured_lines(value, slot, kind)
        else:
            body += _input_lines(value, slot, kind)
    places = [_output_lines(body, k, slot, kind) for k, (slot, kind) in enumerate(_results(binding))]
    body += [f"    code = kernel({binding.kernel.context or 0}, vin.ctypes.data, vout.ctypes.data, work.ctypes.data)"]
    body += ["    if code > 0:", f"        raise RuntimeError('{name}: the arguments lead to a path that was not recorded')"]
    body += ["    if code < 0:", f"        raise IndexError('{name}: index out of bounds')"]
    chosen = places if binding.chosen is None else [places[i] for i in binding.chosen]
    body += [f"    return {chosen[0]}" if len(chosen) == 1 else f"    return ({', '.join(chosen)},)"]
    exec("\n".join(body), namespace)
    compiled = numba.njit(namespace["call"])
    compiled._fastad_keeps = (binding, captured)  # the kernel's code and the captured data live as long as this
    return compiled


def _kernel(binding: Any) -> Any:
    return _SIGNATURE(binding.kernel.address)


def _results(binding: Any) -> list[tuple[Any, ValueType]]:
    return list(zip(binding.kernel.layout.outputs, binding.result_types, strict=True))


def _input_lines(value: str, slot: Any, kind: ValueType) -> list[str]:
    if not kind.shape:
        return [f"    vin[{slot.offset}] = {value}"]
    lines = [f"    if {value}.shape != {kind.shape}:", f"        raise ValueError('argument {value}: expected shape {kind.shape}')"]
    if slot.by_reference:
        return [*lines, f"    c{value} = np.ascontiguousarray({value}).astype(np.float64)", f"    vin.view(np.int64)[{slot.offset}] = c{value}.ctypes.data"]
    return [*lines, f"    vin[{slot.offset}:{slot.offset + slot.size}] = np.ascontiguousarray({value}).reshape({slot.size})"]


def _captured_lines(value: str, slot: Any, kind: ValueType) -> list[str]:
    if slot.by_reference:
        return [f"    vin.view(np.int64)[{slot.offset}] = {value}"]
    return []


def _output_lines(body: list[str], k: int, slot: Any, kind: ValueType) -> str:
    place = f"vout[{slot.offset}]" if not kind.shape else f"vout[{slot.offset}:{slot.offset + slot.size}].copy().reshape({kind.shape})"
    if slot.by_reference:
        body += [f"    out{k} = np.empty({kind.shape})", f"    vout.view(np.int64)[{slot.offset}] = out{k}.ctypes.data"]
        place = f"out{k}"
    return {"b": f"({place} != 0)", "i": f"np.int64({place})" if not kind.shape else f"{place}.astype(np.int64)"}.get(kind.dtype, place)
