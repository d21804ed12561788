"""Operators of numbers that change from call to call: among Python's numbers the result is a Python number, too."""

from typing import Any

from optree import tree_map

from fastad.recording.elementwise import elementwise
from fastad.recording.operators import BINARY, COMPARE, UNARY, array_function, array_ufunc
from fastad.recording.recorded import Recorded
from fastad.recording.recorded_numbers import NUMBERS, Number, Scalar

_PYTHON_NUMBERS = frozenset([Number, float, int, bool])
_DIVISIONS = ("truediv", "floordiv", "mod", "divmod")


_EXACT = 2**53  # tables hold integers as floats


def plain_number(x: Any) -> Any:
    return x.held() if type(x) in NUMBERS else x


def _of_numbers(name: str, divides: int = 0, compares: bool = False) -> Any:
    """An operator of Python numbers: among themselves the result is one, too. `divides`: the operand that must not
    be 0, as Python says (1: the second, -1: the first)."""
    operator: Any = getattr(Recorded, name)

    def by_value(self: Number, others: Any) -> Any:
        return getattr(self.held(), name)(*map(plain_number, others))

    def apply(self: Number, *others: Any) -> Any:
        if others and not _PYTHON_NUMBERS.issuperset(map(type, others)):
            return NotImplemented if isinstance(others[0], list | tuple | str) else operator(self, *others)
        if not self.is_live or len(others) > 1:
            return by_value(self, others)
        if compares:
            return bool(operator(self, *others))
        if divides and not (others[0] if divides > 0 else self):
            raise ZeroDivisionError("division by zero")
        power = (self, *others) if name == "__pow__" else (*others, self)
        if name in ("__pow__", "__rpow__") and not _is_natural(*power):
            return by_value(self, others)
        results = operator(self, *others)
        if isinstance(results, tuple):
            return tuple([Number(x.recorder, x.ref) for x in results])
        result = Number(results.recorder, results.ref)
        return result if _is_exact(result) else by_value(self, others)

    return apply


def _is_natural(base: Any, exponent: Any) -> bool:
    """Whether a power of Python numbers is what NumPy computes: the exponent is not negative, and the base is not where
    the exponent is a fraction."""
    whole = exponent.dtype.kind in "iu" if type(exponent) is Number else isinstance(exponent, int)
    return bool(exponent >= 0) and (whole or bool(base >= 0))


def _is_exact(x: Number) -> bool:
    """Whether an integer is small enough to be exact; a guard holds the outcome."""
    return x.dtype.kind not in "iu" or bool(elementwise("less", elementwise("absolute", x), _EXACT))


def _install_numbers() -> None:
    before = set(vars(Number))
    for short, _ in BINARY:
        division = short in _DIVISIONS
        Number.define(f"__{short}__", _of_numbers(f"__{short}__", int(division)))
        Number.define(f"__i{short}__", _of_numbers(f"__{short}__", int(division)))
        Number.define(f"__r{short}__", _of_numbers(f"__r{short}__", -int(division)))
    for short in ("and", "or", "xor", "lshift", "rshift"):  # bits are of the number itself
        for name in (f"__{short}__", f"__r{short}__"):
            Number.define(name, _by_value(name))
    for short, _ in UNARY:
        Number.define(f"__{short}__", _of_numbers(f"__{short}__"))
    Number.define("__invert__", _by_value("__invert__"))
    for short, _ in COMPARE:
        Number.define(f"__{short}__", _of_numbers(f"__{short}__", compares=True))
    for name in ("__floor__", "__ceil__", "__trunc__"):
        Number.define(name, _of_numbers(name))
    Number.define("__round__", _round_number)
    for name in (vars(Number).keys() - before) & vars(Recorded).keys():
        Scalar.define(name, _of_scalars(name))
    Number.define("__array_ufunc__", _where_live(array_ufunc, _plain_ufunc))
    Number.define("__array_function__", _where_live(array_function, _plain_function))


def _of_scalars(name: str) -> Any:
    """An operator of NumPy's floats: the result is a recorded value, as of other ones."""
    operator: Any = getattr(Recorded, name)

    def apply(self: Scalar, *others: Any) -> Any:
        return operator(self, *others) if self.is_live else getattr(self.held(), name)(*map(plain_number, others))

    return apply


def _by_value(name: str) -> Any:
    return lambda self, *others: getattr(self.held(), name)(*map(plain_number, others))


def _round_number(self: Number, digits: Any = None) -> Any:
    """Python rounds to digits of the decimal number, NumPy by a division."""
    return _of_numbers("__round__")(self) if digits is None else round(self.held(), digits)


def _where_live(recorded: Any, plain: Any) -> Any:
    return lambda self, *args, **kwargs: (recorded if self.is_live else plain)(self, *args, **kwargs)


def _plain_ufunc(self: Number, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    return getattr(ufunc, method)(*map(plain_number, inputs), **kwargs)


def _plain_function(self: Number, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    given: Any = (args, kwargs)
    args, kwargs = tree_map(plain_number, given, none_is_leaf=True)
    return function(*args, **kwargs)


_install_numbers()
