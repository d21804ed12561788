"""Where rows keep their operands, by opcode."""

import numpy as np

from fastad.primitives.row import PRIMITIVES, ArrayPrimitive

# Operands in columns a, b, c of a row (pooled rows keep theirs in a pool).
POOLED = np.array([isinstance(row, ArrayPrimitive) and row.is_pooled for row in PRIMITIVES])
OPERAND_COUNT = np.array([0 if pooled else row.arity for row, pooled in zip(PRIMITIVES, POOLED, strict=True)])  # type: ignore[attr-defined]
