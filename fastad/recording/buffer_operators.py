"""NumPy's protocols, indexing and the methods of buffers: on the twin where there is one, else NumPy's own."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import clip as numpy_clip

from fastad.recording.alternatives import plain_array_error
from fastad.recording.buffers import Buffer, as_buffer, as_view, plain, takes_guards, target_of, twin_of
from fastad.recording.operands import as_recorded, is_recorded, path_value, recorder_of
from fastad.recording.operators import call_function, call_ufunc
from fastad.recording.outside_arrays import owner_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import recording_error
from fastad.recording.watched import unwatched

# NumPy's functions that write into their first argument, and the methods that write into the array.
WRITING = frozenset([np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis])
_WRITING_METHODS = frozenset(["fill", "put"])
# What NumPy does here is right with a twin too: it reads no elements.
_GEOMETRY = "base device dtype flags itemsize nbytes ndim setflags shape size strides"
_FIXES = {
    "resize": "Make a new array: np.resize(y, shape), or np.concatenate([y, ...]).",
    **dict.fromkeys(["ctypes", "data", "tobytes", "tofile", "dump", "dumps"], "Return the array, and use the result."),
}


# ── protocols ─────────────────────────────────────────────────────────────────────────────────────────────────
def _array_ufunc(self: Buffer, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
    given = [plain(x) for x in inputs]
    if method == "__call__" and out is None and not options and all(map(_is_simple, inputs, given)):
        if any(type(x) is Recorded for x in given):
            return call_ufunc(ufunc, method, given)
        found = ufunc(*given)
        return as_buffer(found) if type(found) is np.ndarray else made(found, inputs)
    options = plain(options)
    function = getattr(ufunc, method)
    recorded = is_recorded((*given, *options.values()))
    if method == "at" and recorded and takes_guards(inputs[0]):
        return function(given[0], *[_held(x, ufunc) if is_recorded(x) else x for x in given[1:]])
    if method == "at" and (recorded or isinstance(given[0], Recorded)):
        return function(target_of(inputs[0], f"np.{ufunc.__name__}.at of a recorded value"), *given[1:])
    if recorded and out is not None:
        return call_ufunc(ufunc, method, given, out=out, **options)
    if recorded and not any(isinstance(x, np.ndarray) and x.dtype == object for x in given):
        return call_ufunc(ufunc, method, given, **options)  # lists hold what NumPy's protocol does not see
    if out is None:
        return made(function(*given, **options), inputs)
    kept = options.get("where", True) if method == "__call__" else True
    return _into(out, lambda targets: function(*given, out=targets, **options), kept)


def _is_simple(x: Any, given: Any) -> bool:
    """Whether what is given for an operand is a number, a recorded value or an array that hides nothing recorded."""
    kind = type(given)
    if kind is np.ndarray:
        return given.dtype.char == "d" and (type(x) is Buffer or x.base is None)
    return kind is Recorded or kind is float or kind is int or kind is np.float64


def _held(x: Any, ufunc: Any) -> np.ndarray:
    """Recorded integers or truth values as plain ones with a guard, for an array of integers."""
    found = as_recorded(x)
    if found.dtype.kind == "f":
        raise plain_array_error(f"np.{ufunc.__name__}.at of recorded floats into an array of integers")
    return path_value(found, found.recorder)


def _into(out: Any, function: Callable[[Any], Any], where: Any = True) -> Any:
    """The result of a function of plain values, written into `out`, some of which may have a twin. `where`: the
    elements that it writes."""
    targets = out if isinstance(out, tuple) else (out,)
    twins = [plain(x) for x in targets]
    memory = tuple(np.zeros(x.shape, x.dtype) if isinstance(x, Recorded) else x for x in twins)
    function(memory if isinstance(out, tuple) else memory[0])
    for twin, values in zip(twins, memory, strict=True):
        if isinstance(twin, Recorded):
            twin[...] = values if where is True else np.where(where, values, twin)
    return out if not isinstance(out, tuple) or len(out) > 1 else out[0]


def _array_function(self: Buffer, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    given, options = plain(args), plain({k: v for k, v in kwargs.items() if k != "out"})
    recorded = is_recorded((*given, *options.values()))
    if function in WRITING:
        target = args[0] if args else next(iter(kwargs.values()))
        if recorded:
            target = target_of(target, f"np.{function.__name__} of a recorded value")
        else:
            target = plain(target)
        return function(target, *given[1:], **(options if args else dict(list(options.items())[1:])))
    out = kwargs.get("out")
    if out is None:
        return made(function(*given, **options), (args, kwargs))
    if recorded:
        return call_function(function, given, {**options, "out": out})
    kept = options.get("where", True) if function is numpy_clip else True
    return _into(out, lambda target: function(*given, out=target, **options), kept)


def made(result: Any, sources: Any) -> Any:
    """The result of a NumPy function with its arrays as buffers, apart from views of arrays from outside."""
    if type(result) is np.ndarray:
        if type(owner_of(result)) is Buffer:
            return result.view(Buffer)
        if not _shares(result, sources):
            return as_buffer(result)
        view = as_view(result, _arrays_in(sources))
        return result if view is None else view
    if type(result) is tuple or type(result) is list:
        return type(result)([made(x, sources) for x in result])
    return result


def _shares(result: np.ndarray, sources: Any) -> bool:
    """Whether an array is a view of one of these, or of one in lists of them."""
    return any(np.may_share_memory(result, np.ndarray.view(x, np.ndarray)) for x in _arrays_in(sources))


def _arrays_in(sources: Any) -> Iterator[np.ndarray]:
    """The arrays in arguments of a function."""
    if isinstance(sources, dict | list | tuple):
        for x in sources.values() if isinstance(sources, dict) else sources:
            yield from _arrays_in(x)
    elif isinstance(sources, np.ndarray):
        yield unwatched(sources)


def _view(self: Buffer, *args: Any, **kwargs: Any) -> Any:
    """As a plain array it is still a buffer: views see each other's writes."""
    found = np.ndarray.view(self, *args, **kwargs)
    return np.ndarray.view(found, Buffer) if type(found) is np.ndarray else found


# ── indexing ──────────────────────────────────────────────────────────────────────────────────────────────────
def _getitem(self: Buffer, key: Any) -> Any:
    twin = twin_of(self)
    if _is_slices(key):
        return np.ndarray.__getitem__(self, key) if twin is None else twin[key]
    if twin is not None or _is_traced(key):
        x = twin if twin is not None else as_recorded(self, recorder_of((key,)))
        return x[plain(key)]
    found = np.ndarray.__getitem__(self, plain(key))
    if type(found) is not Buffer or type(owner_of(found)) is Buffer or owner_of(found) is owner_of(self):
        return found
    return as_buffer(found)  # a copy, which NumPy makes a view of a temporary array


def _is_slices(key: Any) -> bool:
    """Whether an index consists of Python integers and slices."""
    kind = type(key)
    return _SLICES.issuperset(map(type, key)) if kind is tuple else kind in _SLICES


_SLICES = frozenset([int, slice])


def _is_traced(key: Any) -> bool:
    """Whether an index is, or holds, recorded values."""
    return any(isinstance(k, Recorded) for k in key) if type(key) is tuple else isinstance(key, Recorded)


def _setitem(self: Buffer, key: Any, value: Any) -> None:
    twin = twin_of(self)
    if twin is None and self.dtype.kind in "fc" and (is_recorded(value) or _is_traced(key)):
        twin = target_of(self, "writing a recorded value")
    if twin is not None:
        _writable(self)
        twin[key if _is_slices(key) else plain(key)] = value
        return
    np.ndarray.__setitem__(self, plain(key), plain(value))


def _writable(self: Buffer) -> None:
    if not self.flags.writeable:
        raise ValueError("assignment destination is read-only")


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────
def _method(name: str) -> Callable[..., Any]:
    own = getattr(np.ndarray, name)

    def call(self: Buffer, *args: Any, **kwargs: Any) -> Any:
        twin = twin_of(self)
        args, kwargs = plain(args), plain(kwargs)
        if twin is None and is_recorded((*args, *kwargs.values())):
            writes = name in _WRITING_METHODS
            twin = target_of(self, f"{name} of a recorded value") if writes else _recorded(self, (args, kwargs))
        if twin is not None:
            return _of_twin(twin, name)(*args, **kwargs)
        return own(self, *args, **kwargs)

    call.__name__ = name
    return call


def _recorded(self: Buffer, others: Any) -> Recorded:
    return as_recorded(self, recorder_of(others))


def _of_twin(twin: Recorded, name: str) -> Any:
    found = getattr(twin, name, None)
    if found is None:
        raise recording_error(
            f".{name} of an array that recorded values were written into is not supported",
            _FIXES.get(name, "Write it with NumPy's functions."),
        )
    return found


def _attribute(name: str) -> property:
    own = getattr(np.ndarray, name)

    def get(self: Buffer) -> Any:
        twin = twin_of(self)
        return own.__get__(self) if twin is None else _of_twin(twin, name)

    def put(self: Buffer, value: Any) -> None:
        if twin_of(self) is None and is_recorded(value):
            target_of(self, f"writing a recorded value into .{name}")
        get(self)[...] = value

    return property(get, put if name in ("real", "imag") else None)


_CONVERSIONS = (
    "__bool__ __int__ __float__ __complex__ __index__ __format__ __repr__ __str__ __contains__ __copy__ __deepcopy__"
)


def _imatmul(self: Buffer, other: Any) -> Buffer:
    self[...] = self @ other  # NumPy would call the ufunc with axes=
    return self


def _reduce(self: Buffer, protocol: Any) -> Any:
    """Pickled as the plain array that it is."""
    if twin_of(self) is not None:
        raise recording_error("a recorded value cannot be pickled", "Return it from the function instead.")
    return np.ndarray.view(self, np.ndarray).__reduce_ex__(protocol)


def _install() -> None:
    for name in dir(np.ndarray):
        if name.startswith("_") or name == "flat" or name in _GEOMETRY.split():
            continue
        member = getattr(np.ndarray, name)
        Buffer.define(name, _method(name) if callable(member) else _attribute(name))
    for name in _CONVERSIONS.split():
        Buffer.define(name, _method(name))
    installed: dict[str, Any] = {
        "__array_ufunc__": _array_ufunc, "__array_function__": _array_function, "__getitem__": _getitem,
        "__setitem__": _setitem, "__imatmul__": _imatmul, "__reduce_ex__": _reduce, "view": _view,
    }  # fmt: skip
    for name, value in installed.items():
        Buffer.define(name, value)


_install()
