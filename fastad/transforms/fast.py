"""The shortest way from NumPy arrays through a kernel and back, for a call like the last one.

A call of a small function takes longer in Python than in its kernel. So once a path is known, the check of the
arguments, the copies in and out and the call are generated as straight-line Python for the arguments at hand.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.execution.marshalling import Binding, Passed
from fastad.execution.observing import observers
from fastad.recording.complex_operands import joined
from fastad.recording.recorder import open_recorders
from fastad.transforms.paths import Path

MISS = object()  # returned for a call that has to go the long way
_MOST = 16  # inputs or results: more are better served by loops


def fast_call(args: tuple[Any, ...], path: Path) -> Callable[[tuple[Any, ...]], Any] | None:
    """A function of the arguments that returns the result, or `MISS` if it is not made for them.

    None where arguments are of other kinds than float and complex arrays and floats. May raise GuardFailed.
    """
    kinds = tuple([_kind(x) for x in args])
    if None in kinds:
        return None
    key = (kinds, path.compiled.is_settled)
    known = path.fast.get(key)
    if known is None:
        known = path.fast[key] = _make(kinds, path)
    return known


def _kind(x: Any) -> Any:
    if type(x) is np.ndarray and x.dtype.char in "dfDF":
        return x.shape, x.dtype
    return float if type(x) is float else None


def _make(kinds: tuple[Any, ...], path: Path) -> Callable[[tuple[Any, ...]], Any]:
    names = [f"x{k}" for k in range(len(kinds))]
    space: dict[str, Any] = {
        "MISS": MISS, "array": np.ndarray, "recorders": open_recorders, "observers": observers, "path": path,
        "compiled": path.compiled, "changed": path.outside.comparison(), "joined": joined,
    }  # fmt: skip
    lines = ["def fast(args):", "    if recorders or observers:", "        return MISS"]
    lines += ["    try:", f"        [{', '.join(names)}] = args", "    except ValueError:", "        return MISS"]
    values = []
    for name, kind in zip(names, kinds, strict=True):
        lines += _check(name, kind, space)
        is_complex = kind is not float and kind[1].kind == "c"
        values += [f"{name}.real", f"{name}.imag"] if is_complex else [name]
    lines += ["    if changed():", "        return MISS"]
    if path.recording.elements.needed:
        lines += ["    if not path.is_current():", "        return MISS"]
    lines += _short(values, path, space) or _long(values, path)
    exec(compile("\n".join(lines), f"{__file__}<fast>", "exec"), space)  # no line of the user's
    return space["fast"]


def _check(name: str, kind: Any, space: dict[str, Any]) -> list[str]:
    if kind is float:
        return [f"    if type({name}) is not float:", "        return MISS"]
    space[f"shape_{name}"], space[f"dtype_{name}"] = kind
    own = f"{name}.dtype is not dtype_{name} and {name}.dtype != dtype_{name}"  # pickle makes new objects of dtypes
    return [f"    if type({name}) is not array or {name}.shape != shape_{name} or ({own}):", "        return MISS"]


def _long(values: list[str], path: Path) -> list[str]:
    """By way of `Path.run`; as long as the executor may be replaced, look whether it has been."""
    lines = [] if path.compiled.is_settled else ["    if compiled.is_settled:", "        return MISS"]
    return [*lines, f"    return path.run([{', '.join(values)}])"]


def _short(values: list[str], path: Path, space: dict[str, Any]) -> list[str] | None:
    """Straight-line copies, where values are few, all inline and float64."""
    compiled = path.compiled
    if not compiled.is_settled or not path.recording.is_plain or len(values) > _MOST:
        return None
    binding = compiled.binding()
    form = binding.form
    if len(form.outputs) > _MOST or not all(passed.is_plain for passed in (*form.inputs, *form.outputs)):
        return None
    space |= {"count": path.count, "free": [_fields(binding)], "bind": lambda: _fields(compiled.binding())}
    ins = [f"i{k}" for k in range(len(form.inputs))]
    outs = [f"o{k}" for k in range(len(form.outputs))]
    reads = form.choose([_read(o, passed) for o, passed in zip(outs, form.outputs, strict=True)])
    result = path.recording.program.result_text(reads)
    if result is None:
        return None
    return [
        "    count[0] += 1",
        "    try:",  # another thread may take the last one between a test and the pop
        "        fields = free.pop()",
        "    except IndexError:",
        "        fields = bind()",
        f"    {', '.join([*ins, *outs])}, call, fail, _ = fields",
        *(f"    {i}[...] = {x}" for i, x in zip(ins, values, strict=True)),
        "    code = call()",
        "    if code:",
        "        free.append(fields)",
        "        fail(code)",
        f"    results = {result}",
        "    free.append(fields)",
        "    return results",
    ]  # fmt: skip


def _read(name: str, passed: Passed) -> str:
    """A result from its buffer: a scalar is read as a NumPy scalar, an array is copied."""
    return f"{name}.copy()" if passed.shape else f"{name}[()]"


def _fields(binding: Binding) -> tuple[Any, ...]:
    return (*binding.views_in, *binding.views_out, binding.invoke, binding.fail, binding)
