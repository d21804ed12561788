"""The primitive table: every fact about a primitive stands in its row, everything else loops over the rows."""

from fastad.primitives import arrays as _arrays
from fastad.primitives import elementwise as _elementwise
from fastad.primitives.row import PRIMITIVES, ArrayPrimitive, Elementwise, Primitive, opcode, primitive

__all__ = ["PRIMITIVES", "ArrayPrimitive", "Elementwise", "Primitive", "opcode", "primitive"]

_ = (_elementwise, _arrays)
