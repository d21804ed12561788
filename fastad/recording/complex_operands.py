"""Complex operands: how recording learns of them, and where it then goes.

Recorded values are real, and all code for them refuses complex operands by `ComplexOperand`. Where an operation begins,
the error is caught, and the operation goes to `fastad.recording.complex`, which is imported then.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import optree

from fastad.errors import RecordingError

_PLAIN = (np.ndarray, np.generic, float)
_PACKAGE = f"{__package__}.complex"


class ComplexOperand(RecordingError):
    """An operand is complex."""


def complex_package() -> ModuleType:
    """The package for complex values. Where another thread imports it now, this one waits for that."""
    return importlib.import_module(_PACKAGE)


# ── as a part of arguments, results and states: two real leaves ───────────────────────────────────────────────
class Parts:
    """What stands for a complex value in a pytree: its parts, which may be dtypes, numbers of inputs and the like."""

    def __init__(self, real: Any, imag: Any) -> None:
        self.real, self.imag = real, imag

    def __repr__(self) -> str:
        return f"complex({self.real}, {self.imag})"


def joined(re: Any, im: Any) -> Any:
    """The complex value of two parts: a recorded one of recorded parts, an array of plain ones, else `Parts`."""
    if isinstance(re, _PLAIN) and isinstance(im, _PLAIN):
        if np.shape(re) != np.shape(im):
            re, im = np.broadcast_arrays(re, im)
        kinds = [getattr(x, "dtype", np.float64) for x in (re, im)]
        out = np.empty(np.shape(re), np.result_type(*kinds, np.complex64))
        out.real, out.imag = re, im
        return out[()]
    return complex_package().of_parts(re, im)


_register: Any = optree.register_pytree_node
_register(Parts, lambda z: ((z.real, z.imag), None), lambda _, parts: joined(*parts), namespace="fastad")


def is_complex_result(tree: Any) -> bool:
    """Whether a result, without its values, is a complex number or array."""
    return type(tree) is Parts


def is_complex_leaf(x: Any) -> bool:
    """Whether x is a complex number or array, recorded or plain."""
    kind = type(x)
    if kind is np.ndarray or isinstance(x, np.ndarray | np.generic):
        return x.dtype.char in "FD"
    return kind is complex or (kind is not float and has_complex((x,)))


def has_complex(leaves: Any) -> bool:
    """Whether there is a complex recorded value among these."""
    found = getattr(sys.modules.get(_PACKAGE), "RecordedComplex", None)  # None while it is imported, by another thread
    return found is not None and found in set(map(type, leaves))
