"""Relaxed operators: comparisons, logic, branches and loops that are smooth in their operands and in sigma.

The derivative of an exact decision with respect to its condition is 0. These operators return truth values in [0, 1]
instead, and tend to the exact ones as sigma → 0. They work on recorded values, NumPy arrays and Python numbers.
`hardness` switches all of them to the exact operators without a change of the code.

>>> import fastad as fad
>>> float(fad.grad(lambda x: fad.soft.where(fad.soft.greater(x, 1.0), 10.0, 0.0))(1.0))
2.5
"""

from fastad.soft.branches import cond, where
from fastad.soft.comparisons import equal, greater, greater_equal, less, less_equal, not_equal
from fastad.soft.hardness import hardness
from fastad.soft.logic import all, any, logical_and, logical_not, logical_or
from fastad.soft.loops import while_loop
from fastad.soft.selection import argmax, argmin, max, min

__all__ = [
    "all", "any", "argmax", "argmin", "cond", "equal", "greater", "greater_equal", "hardness", "less", "less_equal",
    "logical_and", "logical_not", "logical_or", "max", "min", "not_equal", "where",
    "while_loop",
]  # fmt: skip
