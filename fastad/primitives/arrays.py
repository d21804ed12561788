"""The array rows: a small core, closed under derivation, to which every other NumPy function is reduced.

Most are linear, and each one's transpose is in the table too: strided reads and strided additions, gathers and
scattered additions, sums and broadcasts, matrix products. Operands are flat, C-contiguous arrays; all geometry is
in the static integers, so a kernel needs no shapes.
"""

import math
from typing import Any

import numpy as np

from fastad.primitives import checks, elements, patterns, rules, values
from fastad.primitives.row import INDEX_ERROR, ArrayPrimitive, Form, register

# Values on which the laws of array rows are tested.
DOMAINS = {
    "R": "all reals",
    "index": "places in the first operand",
    "sorted": "reals in ascending order",
    "regular": "square matrices that are far from singular",
    "definite": "symmetric positive definite matrices",
    "pivots": "exchanges of rows",
    "symmetric": "symmetric matrices",
    "zeros": "0",
    "roots": "cosines and sines of the n-th parts of a circle",
    "low": "numbers between 0 and 1",
    "high": "numbers between 2 and 3",
    "factors": "the value of the row whose first result is called so, for the matrices before",
    "band factors": "the same",
    "eigenvalues": "the same",
    "u": "the same",
}


def array(name: str, numpy: Any, arity: int, statics: str = "", **options: Any) -> ArrayPrimitive:
    """Register an array primitive; one that is linear in operands has a tangent without saying more."""
    if options.get("linear") and "tangent" not in options:
        options["tangent"] = rules.tangent_multilinear
    row = ArrayPrimitive(name, numpy, arity, tuple(statics.split()), **options)
    register(row, DOMAINS)
    return row


# ── counts of operations ──────────────────────────────────────────────────────────────────────────────────────
def _moves(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"moves": size}


def _add_all(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"additions": sizes[0]}


def _add_up(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"additions": max(sizes[0] - size, 0)}


def _running_sum(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"additions": max(sizes[0] - s[0] * s[2], 0)}


def _multiply_add(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"additions": sizes[0], "multiplications": sizes[0]}


def _product(s: Any, size: int, sizes: Any) -> dict[str, int]:
    count = math.prod(s[:4])
    return {"additions": count, "multiplications": count, "products": count}


def _compare(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"comparisons": sizes[0]}


def _sort(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"comparisons": size * max(s[1] - 1, 1).bit_length()}


def _search(s: Any, size: int, sizes: Any) -> dict[str, int]:
    return {"comparisons": size * max(sizes[0] - 1, 1).bit_length()}


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
_MIDDLE = "outer n inner"
_REGION = "offset shape... strides..."
_SCANNED = {"unrolls": lambda s, size: s[1] > 0}
_REDUCED: dict[str, Any] = {"form": Form.REDUCTION, "check": checks.middle(True), "batch": rules.batch_middle,
                            "sparsity": patterns.middle}
_EXTREME: dict[str, Any] = _REDUCED | {
    "tangent": rules.tangent_extremum, "adjoint": rules.adjoint_extremum, "result": "same", "operations": _compare
}  # fmt: skip
_PLACE: dict[str, Any] = {"check": checks.middle(True), "batch": rules.batch_middle, "result": "int"}
_on_axis = lambda s, size, sizes: (0, s[1] - 1)  # places along an axis
_UNROLLED = 128  # multiplications of a matrix product that is written out

# fmt: off
STRIDED = array("strided", values.strided, 1, _REGION, form=Form.VIEW, check=checks.strided, operations=_moves,
                linear=(0,), elements=elements.strided, adjoint=rules.adjoint_strided, batch=rules.batch_strided,
                result="same")
array("strided_add", values.strided_add, 1, _REGION, check=checks.strided_add, operations=_add_all, keeps_zero=True,
      linear=(0,), elements=elements.strided_add, adjoint=rules.adjoint_strided_add, batch=rules.batch_strided_add,
      sparsity=patterns.strided_add, result="same")
array("sum", values.reduce(np.sum), 1, _MIDDLE, **_REDUCED, combine="add", neutral=-0.0, operations=_add_up,
      linear=(0,), adjoint=rules.adjoint_sum, result="total")
array("amax", values.reduce(np.max), 1, _MIDDLE, **_EXTREME, combine="maximum", neutral=-math.inf, of_nothing=-math.inf)
array("amin", values.reduce(np.min), 1, _MIDDLE, **_EXTREME, combine="minimum", neutral=math.inf, of_nothing=math.inf)
array("argmax", values.reduce(np.argmax), 1, _MIDDLE, **_PLACE, operations=_compare, bounds=_on_axis)
array("argmin", values.reduce(np.argmin), 1, _MIDDLE, **_PLACE, operations=_compare, bounds=_on_axis)
array("argsort", values.argsort, 1, _MIDDLE, check=checks.middle(False), operations=_sort,
      work=lambda s, size, sizes: 4 * s[1], batch=rules.batch_middle, bounds=_on_axis, result="int")
array("cumsum", values.cumsum, 1, _MIDDLE + " reverse", check=checks.middle(False, reverse=True), **_SCANNED,
      operations=_running_sum, keeps_zero=True,
      linear=(0,), adjoint=rules.adjoint_cumsum, batch=rules.batch_middle, sparsity=patterns.cumsum, result="total")
array("linrec", values.linrec, 2, _MIDDLE + " reverse", check=checks.middle(False, 2, reverse=True), **_SCANNED,
      operations=_multiply_add, linear=(1,),
      tangent=rules.tangent_linrec, adjoint=rules.adjoint_linrec, batch=rules.batch_middle,
      sparsity=patterns.linrec, result="same")
array("matmul", values.matmul, 2, "batch m k n ta tb sx sy", check=checks.matmul, operations=_product,
      symbols=("dgemm", "dgemv"), tangent_work=lambda s, size, sizes: size, sign="@",
      unrolls=lambda s, size: size * s[2] <= _UNROLLED,
      linear=(0, 1), elements=elements.matmul, adjoint=rules.adjoint_matmul, batch=rules.batch_matmul,
      sparsity=patterns.matmul, result="total")
GATHER = array("gather", values.gather, 2, "inner", check=checks.gather, operations=_moves, keeps_zero=True,
               **INDEX_ERROR, unrolls=lambda s, size: s[0] == 1, addressed=(0,),
               linear=(0,), adjoint=rules.adjoint_gather, batch=rules.batch_gather, sparsity=patterns.gather,
               result="first", domain=("R", "index"))
SCATTER_ADD = array("scatter_add", values.scatter_add, 2, "inner", check=checks.scatter, operations=_add_all,
                    keeps_zero=True, **INDEX_ERROR, linear=(0,), adjoint=rules.adjoint_scatter_add,
                    batch=rules.batch_scatter_add, sparsity=patterns.scatter_add, result="total",
                    domain=("R", "index"))
array("wrap_index", values.wrap_index, 1, "n", check=checks.wrap, operations=_compare, kept=True, **INDEX_ERROR,
      unrolls=lambda s, size: True, batch=rules.batch_same, bounds=lambda s, size, sizes: (0, s[0] - 1),
      result="int", domain=("index",))
array("searchsorted", values.searchsorted, 2, "right", check=checks.search, operations=_search,
      batch=rules.batch_searchsorted, bounds=lambda s, size, sizes: (0, sizes[0]), result="int",
      domain=("sorted", "R"))
ASSEMBLE = array("assemble", values.assemble, -1, "(nd offset shape... strides...)...", form=Form.PIECES,
                 check=checks.assemble, operations=_moves, linear=(0,), elements=elements.assemble,
                 tangent=rules.tangent_assemble, adjoint=rules.adjoint_assemble, batch=rules.batch_assemble,
                 result="same")

# ── rows that are not functions of values alone ───────────────────────────────────────────────────────────────
# A composite row: the static integer is the number of a sub-program of the table (see `fastad.tables.composites.sub`).
# The second operand are the states saved for this adjoint, which may overwrite them; without, the first one again.
CALL = array("call", None, 2, "sub", form=Form.COMPOSITE,
             check=lambda s, size, sizes: None if len(s) == 1 else "one sub-program is needed",
             adjoint=rules.adjoint_call, batch=rules.batch_call)
INPUT = array("input", None, 0, form=Form.INPUT, pure=False, kept=True)  # column a: the number of the input
CONST = array("const", None, 0, form=Form.CONSTANT)  # column a: offset in the pool of constants
GUARD = array("guard", None, 2, form=Form.GUARD, check=checks.guard, operations=_compare, kept=True, pure=False,
              unrolls=lambda s, size: True, batch=rules.batch_guard)
# fmt: on
