"""The primitive table: every fact about a primitive stands in its row, everything else loops over the rows."""

from fastad.primitives import elementwise as _elementwise
from fastad.primitives import equations as _equations
from fastad.primitives import factorisations as _factorisations
from fastad.primitives import fourier as _fourier
from fastad.primitives import linear as _linear
from fastad.primitives import sparse as _sparse
from fastad.primitives import writing as _writing
from fastad.primitives.arrays import ASSEMBLE, CALL, CONST, GATHER, GUARD, INPUT, SCATTER_ADD, STRIDED
from fastad.primitives.row import (
    PRIMITIVES,
    ArrayPrimitive,
    Elementwise,
    Form,
    Primitive,
    array_rows,
    elementwise_rows,
    opcode,
    primitive,
)

__all__ = [
    "ASSEMBLE", "CALL", "CONST", "GATHER", "GUARD", "INPUT", "PRIMITIVES", "SCATTER_ADD", "STRIDED", "ArrayPrimitive",
    "Elementwise", "Form", "Primitive", "array_rows", "elementwise_rows", "opcode", "primitive",
]  # fmt: skip

_ = (_elementwise, _equations, _factorisations, _fourier, _linear, _sparse, _writing)
