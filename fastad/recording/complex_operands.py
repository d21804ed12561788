"""Complex operands: how recording learns of them, and where it then goes.

Recorded values are real, and all code for them refuses complex operands by `ComplexOperand`. Where an operation begins,
the error is caught, and the operation goes to `fastad.recording.complex`, which is imported then.
"""

import sys
from types import ModuleType
from typing import Any

from fastad.errors import RecordingError

_PACKAGE = f"{__package__}.complex"


class ComplexOperand(RecordingError):
    """An operand is complex."""


def complex_package() -> ModuleType:
    """The package for complex values."""
    import importlib

    return sys.modules.get(_PACKAGE) or importlib.import_module(_PACKAGE)


def is_complex_result(tree: Any) -> bool:
    """Whether a result, without its values, is a complex number or array."""
    found = sys.modules.get(_PACKAGE)
    return found is not None and type(tree) is found.Parts


def has_complex(leaves: Any) -> bool:
    """Whether there is a complex recorded value among these."""
    found = sys.modules.get(_PACKAGE)
    return found is not None and found.RecordedComplex in set(map(type, leaves))
