"""The columns and pools of an op table, and what they refer to: value types, source lines, dtypes."""

import math
from typing import Any, NamedTuple

import numpy as np

from fastad import primitives

Shape = tuple[int, ...]
# Columns a, b, c are operand rows (-1: none), except:
# array rows: c is the offset of the row's static integers;
# rows of more than two operands: a and b are offset and length of the list in `operands`;
# const: a is an offset in `constants`; input: a is the number of the input.
COLUMNS = {"op": np.uint16, "type": np.uint16, "line": np.uint16, "a": np.int32, "b": np.int32, "c": np.int32}
POOLS = {"operands": np.int32, "statics": np.int64, "constants": np.float64}
INPUT, CONST = primitives.INPUT.code, primitives.CONST.code
GUARD, CALL = primitives.GUARD.code, primitives.CALL.code
DTYPES: dict[str, np.dtype[Any]] = {
    "d": np.dtype(np.float64),
    "f": np.dtype(np.float32),
    "i": np.dtype(np.int64),
    "b": np.dtype(np.bool_),
    # Integers that float32 holds exactly, so that NumPy's results with it are float32.
    "a": np.dtype(np.int8),
    "B": np.dtype(np.uint8),
    "h": np.dtype(np.int16),
    "H": np.dtype(np.uint16),
}
NARROW = "aBhH"


class ValueType(NamedTuple):
    """Shape and dtype character of a value. In memory every value is float64."""

    shape: Shape
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __str__(self) -> str:
        dims = ",".join(map(str, self.shape))
        return f"{DTYPES[self.dtype].name}[{dims}]" if self.shape else DTYPES[self.dtype].name


class Line(NamedTuple):
    """A line of the user's source. `role` says what a row computes for it: "" the value, or e.g. "adjoint"."""

    file: str
    number: int
    function: str
    role: str = ""

    def derived(self, role: str) -> "Line":
        """The line for rows of a derivative, with the role "tangent", "adjoint", "tangent of adjoint", …"""
        return Line(*self[:3], f"{role} of {self.role}" if self.role else role)

    def __str__(self) -> str:
        return f"{self.file}:{self.number} in {self.function}" if self.number else "(no source line)"
