"""What operators, ufuncs and functions of NumPy do where an operand is complex."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.recording.complex import arithmetic, elementary
from fastad.recording.dispatch import FIXES, Function
from fastad.recording.recorder import recording_error

_ORDER = "greater greater_equal less less_equal maximum minimum fmax fmin floor_divide remainder fmod"
_UFUNCS: dict[str, Callable[..., Any]] = {
    name: getattr(module, name)
    for module, names in (
        (arithmetic, "add subtract multiply divide square reciprocal negative positive conjugate"),
        (
            elementary,
            "absolute sign exp expm1 exp2 log log2 log10 log1p sqrt power sin cos sinh cosh tanh tan arctan arctanh "
            "equal not_equal isnan isinf isfinite",
        ),
    )
    for name in names.split()
} | {
    "float_power": elementary.power,
}  # fmt: skip
COMPLEX_FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # by identity, as `dispatch.FUNCTIONS`
_METHODS: dict[str, Callable[..., Any]] = {}  # of ufuncs, such as "add.reduce"


def implements(*functions: Any) -> Callable[[Function], Function]:
    """Register what functions of NumPy do where an operand is complex. Names are those that not every release has."""

    def register(implementation: Function) -> Function:
        found = [getattr(np, f, None) if isinstance(f, str) else f for f in functions]
        COMPLEX_FUNCTIONS.update({f: implementation for f in found if f is not None})
        return implementation

    return register


def implements_method(*names: str) -> Callable[[Function], Function]:
    """Register a method of a ufunc, such as "add.reduce"; or a ufunc."""

    def register(implementation: Function) -> Function:
        for name in names:
            (_METHODS if "." in name else _UFUNCS)[name] = implementation
        return implementation

    return register


@implements_method(np.logical_not.__name__)
def _not(x: Any) -> Any:
    return elementary.equal(x, 0.0)


def _of_truth(ufunc: Any) -> None:
    """Register a ufunc of truth values."""
    implements_method(ufunc.__name__)(lambda x, y: ufunc(elementary.is_nonzero(x), elementary.is_nonzero(y)))


for _ufunc in (np.logical_and, np.logical_or, np.logical_xor):
    _of_truth(_ufunc)


def call_ufunc(ufunc: Any, method: str, inputs: Any, out: Any = None, **options: Any) -> Any:
    """NumPy's protocol for ufuncs."""
    from fastad.recording.operators import _delivered

    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    found = (_UFUNCS if method == "__call__" else _METHODS).get(name)
    if found is None:
        raise recording_error(f"np.{name} is not supported on complex recorded values", _fix_of(name))
    where, dtype = options.pop("where", True), options.pop("dtype", None)
    casting = options.pop("casting", "same_kind")
    if method == "__call__" and options:
        option = f"{sorted(options)[0]}="
        raise recording_error(f"np.{name} with {option} is not supported on recorded values", "Leave it out.")
    result = found(*inputs, **options)
    result = result if dtype is None else result.astype(dtype)
    return _delivered(result, out, where, name, casting)


def _fix_of(name: str) -> str:
    if name in _ORDER.split():
        return "Complex numbers have no order: use the real part, z.real, or the absolute value, np.abs(z)."
    return "Write it with np.exp, np.log, np.sqrt and arithmetic, or with the parts z.real and z.imag."


def call_operator(name: str, *operands: Any) -> Any:
    """An operator of Python, by the name of its ufunc."""
    return call_ufunc(getattr(np, name), "__call__", operands)


def call_function(function: Any, args: Any, kwargs: Any) -> Any:
    """Another function of NumPy or SciPy."""
    from fastad.recording.operators import _delivered, _name_of

    implementation = COMPLEX_FUNCTIONS.get(function)
    if implementation is None:
        name = f"{getattr(function, '__module__', 'numpy')}.{_name_of(function)}"
        fix = "Write it with the parts, z.real and z.imag, or with np.abs(z) and np.angle(z)."
        raise recording_error(f"{name} is not supported on complex recorded values", FIXES.get(function, fix))
    out = kwargs.get("out")
    result = implementation(*args, **{k: v for k, v in kwargs.items() if k != "out"})
    return result if out is None else _delivered(result, out, True, _name_of(function))


