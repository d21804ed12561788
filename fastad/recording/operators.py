"""Python's operators, NumPy's protocols and the methods of arrays, on recorded values."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from inspect import signature
from itertools import takewhile
from typing import Any

import numpy as np
from numpy import transpose as numpy_transpose

from fastad.recording import indexing
from fastad.recording.alternatives import no_attribute, no_elements, of_library
from fastad.recording.buffers import plain, takes_guards, target_of
from fastad.recording.casting import require_cast
from fastad.recording.complex_operands import ComplexOperand, complex_package, has_complex
from fastad.recording.dispatch import CREATORS, FIXES, FUNCTIONS, UFUNC_METHODS, UFUNCS, VIEWS
from fastad.recording.geometry import reframe
from fastad.recording.operands import as_recorded, is_recorded, recorder_of
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import Number
from fastad.recording.recorder import recording_error
from fastad.recording.repeated import repeated
from fastad.recording.rolling import OPERATORS
from fastad.recording.sparse import is_scipy, scipy_operator
from fastad.tables.builder import dtype_char

# Functions to which an array is nothing but an operand: no shape, index or order is taken from its elements.
OF_VALUES = frozenset([
    np.concatenate, np.stack, np.vstack, np.hstack, np.column_stack, np.dot, np.matmul, np.inner, np.outer, np.vdot,
    np.where,
])  # fmt: skip
_PYTHON = frozenset("O->")  # the loops of a ufunc that calls a Python function
_known_ufuncs: dict[Any, Callable[..., Any]] = {}  # by identity: `ufunc.__name__` makes a new string at every call
_FIX = (
    "Write it with supported functions, or wrap it as a user-defined primitive with fad.primitive(f, jvp=..., vjp=...)."
)


def call_ufunc(ufunc: Any, method: str, inputs: Any, **options: Any) -> Any:
    """A ufunc of operands of which one is recorded, as NumPy would dispatch it."""
    if has_complex(inputs):
        return complex_package().call_ufunc(ufunc, method, inputs, **options)
    return array_ufunc(inputs[0], ufunc, method, *inputs, **options)


def array_ufunc(self: Recorded, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
    """NumPy's protocol for ufuncs."""
    try:
        if method == "__call__" and out is None and not options:
            known = _known_ufuncs.get(ufunc)
            if known is None and ufunc.__name__ in UFUNCS:
                known = _known_ufuncs[ufunc] = UFUNCS[ufunc.__name__]
            if known is not None:
                return known(*inputs)
        return _other_ufunc(ufunc, method, inputs, out, options)
    except ComplexOperand:
        return complex_package().call_ufunc(ufunc, method, inputs, out, **options)


def _other_ufunc(ufunc: Any, method: str, inputs: Any, out: Any, options: dict[str, Any]) -> Any:
    """A call of a ufunc with options, or of one of its methods."""
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    implementation = (UFUNCS if method == "__call__" else UFUNC_METHODS).get(name)
    if implementation is None:
        if method == "__call__" and out is None and not options and all(set(t) <= _PYTHON for t in ufunc.types):
            return _by_elements(ufunc, inputs)
        raise recording_error(f"{_package(ufunc)}.{name} is not supported on recorded values", _FIX)
    inputs = _with_recorder(inputs, out)
    if method == "__call__":
        return _call_with_options(ufunc, implementation, inputs, out, **options)
    if method == "at":
        return implementation(*inputs, **options)
    return _delivered(repeated(name, implementation, inputs, options), out, True, name)


def _by_elements(ufunc: Any, inputs: Any) -> Any:
    """What np.frompyfunc has made calls a Python function of elements: they are recorded numbers."""
    found = ufunc(*(np.asanyarray(x, dtype=object) if isinstance(x, Recorded) else x for x in inputs))
    results = found if isinstance(found, tuple) else (found,)
    recorded = tuple(as_recorded(x) if is_recorded(x) else x for x in results)
    return recorded if isinstance(found, tuple) else recorded[0]


def _call_with_options(
    ufunc: Any, implementation: Any, inputs: Any, out: Any, where: Any = True, casting: str = "same_kind",
    dtype: Any = None, **others: Any,
) -> Any:  # fmt: skip
    name = ufunc.__name__
    if others:
        option = f"{sorted(others)[0]}="
        raise recording_error(f"np.{name} with {option} is not supported on recorded values", "Leave it out.")
    if dtype is None:
        return _delivered(implementation(*inputs), out, where, name, casting)
    # NumPy converts the operands to the dtype, and then computes.
    given = (*map(_promoted, inputs), *(None,) * ufunc.nout)
    of_loop = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    loop = ufunc.resolve_dtypes(given, signature=of_loop, casting=casting)
    recorder = recorder_of(inputs)
    converted = [as_recorded(x, recorder).astype(kind) for x, kind in zip(inputs, loop, strict=False)]
    return _delivered(implementation(*converted), out, where, name, casting)


def _promoted(x: Any) -> Any:
    """What NumPy's promotion looks at: the type of a Python number, else the dtype."""
    return type(x) if type(x) in (float, int) else getattr(x, "dtype", None) or np.asarray(x).dtype


def _with_recorder(inputs: Any, out: Any) -> Any:
    """The operands of a function, the first of them as a recorded value if only `out=` is recorded."""
    target = out[0] if isinstance(out, tuple) else out
    if not isinstance(target, Recorded) or is_recorded(inputs):
        return inputs
    at = sum(1 for _ in takewhile(lambda x: isinstance(x, str), inputs))  # the subscripts of einsum come first
    lists = isinstance(inputs[at], list | tuple)
    first = [as_recorded(x, target.recorder) for x in (inputs[at] if lists else [inputs[at]])]
    return (*inputs[:at], first if lists else first[0], *inputs[at + 1 :])


def _delivered(result: Any, out: Any, where: Any, name: str, casting: str = "same_kind") -> Any:
    """Write into `out=`, under a mask if `where=` is given."""
    if isinstance(result, tuple) and isinstance(out, tuple):
        return tuple(_delivered(x, target, where, name, casting) for x, target in zip(result, out, strict=True))
    target = out[0] if isinstance(out, tuple) else out
    if target is None:
        if where is not True:
            raise recording_error(
                f"np.{name} with where= but without out= would leave elements undefined", "Use np.where, or give out=."
            )
        return result
    if takes_guards(target):
        require_cast(result.dtype, target.dtype, casting, f"the result of '{name}'")
        target[...] = result if where is True else np.where(where, result, target)
        return target
    recorded = target_of(target, f"np.{name} with out=")
    require_cast(result.dtype, recorded.dtype, casting, f"the result of '{name}'")
    if result.ndim > recorded.ndim:
        raise ValueError(f"out= of shape {recorded.shape} does not fit the result of '{name}', of shape {result.shape}")
    recorded[...] = result if where is True else np.where(where, result, recorded)
    return target


def array_function(self: Recorded, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's protocol for its other functions."""
    if len(types) > 1:  # buffers, perhaps
        out = kwargs.get("out")
        args, kwargs = plain(args), plain(kwargs)
        kwargs = kwargs if out is None else kwargs | {"out": out}
    if function in CREATORS:
        return create(function, self.recorder, args, kwargs)
    return call_function(function, args, kwargs)


def create(function: Any, recorder: Any, args: Any, kwargs: Any) -> Any:
    """A constructor of arrays."""
    try:
        return CREATORS[function](recorder, *args, **kwargs)
    except ComplexOperand:
        return complex_package().call_function(function, args, kwargs)


def _package(ufunc: Any) -> str:
    return "np" if getattr(np, ufunc.__name__, None) is ufunc else "scipy.special"


def call_function(function: Any, args: Any, kwargs: Any) -> Any:
    """A NumPy function on recorded values."""
    if has_complex(args):
        return complex_package().call_function(function, args, kwargs)
    try:
        return _of_reals(function, args, kwargs)
    except ComplexOperand:
        return complex_package().call_function(function, args, kwargs)


def _of_reals(function: Any, args: Any, kwargs: Any) -> Any:
    implementation = FUNCTIONS.get(function)
    if implementation is None:
        name = f"{getattr(function, '__module__', 'numpy')}.{_name_of(function)}"
        raise recording_error(f"{name} is not supported on recorded values", FIXES.get(function, _FIX))
    place, names = _from_out(function)
    if len(args) > place:
        args, kwargs = args[:place], {**dict(zip(names, args[place:], strict=False)), **kwargs}
    if function in VIEWS:
        return implementation(*args, **kwargs)
    if "out" not in kwargs:
        return repeated(function, implementation, args, kwargs, function in OF_VALUES)
    options = {k: v for k, v in kwargs.items() if k != "out"}
    result = implementation(*_with_recorder(args, kwargs["out"]), **options)
    return _delivered(result, kwargs["out"], True, _name_of(function), options.get("casting", "same_kind"))


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", str(function))


@cache
def _from_out(function: Any) -> tuple[int, Sequence[str]]:
    """The place of `out` among a function's positional arguments, and the names of those from it on."""
    try:
        names = [x.name for x in signature(function).parameters.values() if x.kind <= x.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        names = []
    return (names.index("out"), names[names.index("out") :]) if "out" in names else (sys.maxsize, ())


def array_namespace(self: Recorded, api_version: str | None = None) -> Any:
    """The namespace by the array API standard: NumPy itself."""
    return np


# ── operators ─────────────────────────────────────────────────────────────────────────────────────────────────
def _binary(name: str) -> tuple[Any, Any]:
    def forward(self: Recorded, other: Any) -> Any:
        try:
            if type(other) in _COMMON or isinstance(other, _OPERANDS):
                return UFUNCS[name](self, other)
        except ComplexOperand:
            return complex_package().call_operator(name, self, other)
        return scipy_operator(name, self, other) if is_scipy(other) else _refused(other)

    def reflected(self: Recorded, other: Any) -> Any:
        try:
            if type(other) in _COMMON or isinstance(other, _OPERANDS):
                return UFUNCS[name](other, self)
        except ComplexOperand:
            return complex_package().call_operator(name, other, self)
        return scipy_operator(name, other, self) if is_scipy(other) else _refused(other)

    return forward, reflected


def _refused(other: Any) -> Any:
    """NotImplemented, or the error for an operand that has no place in a recording."""
    kind = type(other)
    fix = of_library(kind)
    if fix is not None:
        raise recording_error(f"an operand is a {kind.__name__} of {kind.__module__.partition('.')[0]}", fix)
    return NotImplemented


_COMMON = frozenset([Recorded, Number, float, int])
_OPERANDS = (Recorded, float, int, np.ndarray, np.generic, list, tuple, complex)


def _in_place(name: str) -> Any:
    def update(self: Recorded, other: Any) -> Any:
        try:
            result = UFUNCS[name](self, other)
        except ComplexOperand:
            result = complex_package().call_operator(name, self, other)
        return written_back(self, result, name, is_number=not self.shape and self._base is None)

    return update


def written_back(array: Any, result: Any, name: str, is_number: bool) -> Any:
    """What `array += other` is, and so on by the name, of which the result is known: a number becomes another one."""
    if is_number:
        return result
    if result.shape != array.shape:
        raise ValueError(f"in-place {name}: the result has shape {result.shape}, the array {array.shape}")
    require_cast(result.dtype, array.dtype, "same_kind", f"the result of '{name}'")
    array[...] = result
    return array


def _compare(name: str) -> Any:
    def compare(self: Recorded, other: Any) -> Any:
        if other is None or isinstance(other, str):
            return NotImplemented
        try:
            return UFUNCS[name](self, other)
        except ComplexOperand:
            return complex_package().call_operator(name, self, other)

    return compare


# Python's operators and NumPy's ufuncs.
BINARY = (
    ("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"), ("floordiv", "floor_divide"),
    ("mod", "remainder"), ("pow", "power"), ("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"),
    ("matmul", "matmul"), ("divmod", "divmod"), ("lshift", "left_shift"), ("rshift", "right_shift"),
)  # fmt: skip
COMPARE = (
    ("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal"), ("eq", "equal"),
    ("ne", "not_equal"),
)  # fmt: skip
UNARY = (
    ("neg", "negative"), ("pos", "positive"), ("abs", "absolute"), ("invert", "invert"),
)  # fmt: skip


def _install_operators() -> None:
    for short, name in BINARY:
        forward, reflected = _binary(name)
        Recorded.define(f"__{short}__", forward)
        Recorded.define(f"__r{short}__", reflected)
        Recorded.define(f"__i{short}__", _in_place(name))
    for short, name in COMPARE:
        Recorded.define(f"__{short}__", _compare(name))
    for short, name in UNARY:
        Recorded.define(f"__{short}__", lambda self, _name=name: UFUNCS[_name](self))
    Recorded.define("__round__", _round)
    for name in ("floor", "ceil", "trunc"):  # of `math`, whose results are integers
        Recorded.define(f"__{name}__", lambda self, _name=name: _integer(UFUNCS[_name](self)))


def _integer(x: Recorded) -> Recorded:
    return x if x.dtype.kind in "iub" else astype(x, int)


def _round(self: Recorded, digits: Any = None) -> Recorded:
    rounded = FUNCTIONS[np.round](self, digits or 0)
    return _integer(rounded) if digits is None and not self.shape else rounded


def _iterate(self: Recorded) -> Iterator[Recorded]:
    if not self.shape:
        raise no_elements("iteration")
    return (self[i] for i in range(self.shape[0]))


def _pythonic(self: Recorded, other: Any) -> bool:
    raise recording_error("`in` is not supported on a recorded array", "Use np.any(x == value).")


# ── methods of arrays ─────────────────────────────────────────────────────────────────────────────────────────
def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_METHODS = _words(
    "sum prod mean var std max min argmax argmin argsort cumsum cumprod dot reshape transpose ravel swapaxes squeeze "
    "repeat take clip trace diagonal round any all nonzero searchsorted "
    "argpartition choose"
)
# NumPy's ufuncs on an object array of recorded scalars call the elements' methods of the same name.
_UFUNC_METHODS_OF_SCALARS = _words(
    "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh exp exp2 expm1 log log2 log10 log1p sqrt "
    "cbrt square reciprocal sign floor ceil trunc rint fabs absolute hypot arctan2 logical_not isnan isinf isfinite "
    "deg2rad rad2deg degrees radians conjugate"
)


def _method(name: str) -> Any:
    function = getattr(np, {"max": "amax", "min": "amin"}.get(name, name))

    def call(self: Recorded, *args: Any, **kwargs: Any) -> Any:
        if name in ("reshape", "transpose") and len(args) != 1:
            args = (args,) if args else ()
        return call_function(function, (self, *args), kwargs)

    call.__name__ = name
    return call


def astype(self: Recorded, dtype: Any, **options: Any) -> Recorded:
    """A copy of another dtype. float32 rounds, with derivative one; integers truncate, with derivative zero."""
    target = np.dtype(dtype)
    if target.kind == "c":
        return complex_package().call_operator("add", self, np.zeros((), target)[()])
    if target.kind not in "biuf":
        raise recording_error(
            f"astype({target}) of a recorded value is not supported",
            "Use float64, float32, complex, an integer dtype or bool.",
        )
    char = dtype_char(target if target.kind != "f" or target.itemsize > 4 else np.dtype(np.float32))
    return Recorded(self.recorder, self.recorder.convert(self.ref, char))


def _transposed(self: Recorded) -> Recorded:
    return reframe(self, numpy_transpose)


def _copy(self: Recorded, *args: Any, **kwargs: Any) -> Recorded:
    return self.frozen()


def _fill(self: Recorded, value: Any) -> None:
    self[...] = value


def _sort(self: Recorded, axis: int = -1, **options: Any) -> None:
    self[...] = FUNCTIONS[np.sort](self, axis)


def _missing(self: Recorded, name: str) -> Any:
    raise no_attribute(name)


def _install_methods() -> None:
    for name in _METHODS:
        Recorded.define(name, _method(name))
    for name in _UFUNC_METHODS_OF_SCALARS:
        Recorded.define(name, lambda self, *others, _name=name: UFUNCS[_name](self, *others))
    installed: dict[str, Any] = {
        "__array_ufunc__": array_ufunc, "__array_function__": array_function, "__array_namespace__": array_namespace,
        "__getitem__": indexing.getitem, "__setitem__": indexing.setitem, "__iter__": _iterate,
        "__contains__": _pythonic, "__getattr__": _missing, "astype": astype, "copy": _copy, "__copy__": _copy,
        "__deepcopy__": _copy,
        "flatten": lambda self, order="C": _copy(FUNCTIONS[np.ravel](self, order)), "fill": _fill,
        "sort": _sort, "partition": lambda self, kth, axis=-1, **options: _sort(self, axis),
        "put": lambda self, *args, **kwargs: FUNCTIONS[np.put](self, *args, **kwargs),
        "compress": lambda self, condition, axis=None: FUNCTIONS[np.compress](condition, self, axis),
        "mT": property(lambda self: FUNCTIONS[np.matrix_transpose](self)),
        "strides": property(lambda self: tuple(n * self.itemsize for n in self.frame()[2])),
        "T": property(_transposed), "real": property(lambda self: self),
        "imag": property(lambda self: FUNCTIONS[np.imag](self)), "conj": lambda self: self,
    }  # fmt: skip
    for name, value in installed.items():
        Recorded.define(name, value)


_install_operators()
_install_methods()
OPERATORS.update(
    function.__code__ for function in (array_ufunc, *_binary("add"), _in_place("add"), _compare("less"))
)
