"""The array rows: a small core, closed under derivation, to which every other NumPy function is reduced.

Most are linear, and each one's transpose is in the table too: strided reads and strided additions, gathers and
scattered additions, sums and broadcasts, matrix products. Operands are flat, C-contiguous arrays; all geometry is
in the static integers, so a kernel needs no shapes.
"""

import math
from typing import Any

import numpy as np

from fastad.primitives import rules
from fastad.primitives.row import ArrayPrimitive, register

Statics = tuple[int, ...]
Shape = tuple[int, ...]


def _region(statics: Statics) -> tuple[int, Shape, Shape]:
    nd = (len(statics) - 1) // 2
    return statics[0], statics[1 : 1 + nd], statics[1 + nd :]


def strided_view(flat: np.ndarray, statics: Statics) -> np.ndarray:
    """View of a flat array with the offset, shape and strides (in elements) of the statics."""
    offset, shape, strides = _region(statics)
    if 0 in shape:
        return np.empty(shape)
    step = flat.itemsize
    return np.ndarray(shape, flat.dtype, flat, offset * step, [s * step for s in strides])


def _flat(x: Any) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1)


# ── evaluation on concrete values ─────────────────────────────────────────────────────────────────────────────
def _strided(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    return strided_view(_flat(x), s).reshape(shape)


def _strided_add(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    out = np.zeros(math.prod(shape), dtype=np.result_type(x))
    index = strided_view(np.arange(out.size), s)
    np.add.at(out, index.reshape(-1).astype(np.intp), _flat(x))
    return out.reshape(shape)


def _middle(s: Statics, x: Any) -> np.ndarray:
    return np.reshape(x, s[:3])


def _reduce(function: Any) -> Any:
    return lambda s, shape, x: function(_middle(s, x), axis=1).reshape(shape)


def _cumsum(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    step = -1 if s[3] else 1
    return np.cumsum(_middle(s, x)[:, ::step], axis=1)[:, ::step].reshape(shape)


def _linrec(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    a, b = _middle(s, x), _middle(s, y)
    out = np.zeros(s[:3], dtype=np.result_type(a, b))
    state: Any = None
    for k in range(s[1])[:: -1 if s[3] else 1]:
        # The first element is y's, whatever x is: no inf * 0.
        state = b[:, k] if state is None else a[:, k] * state + b[:, k]
        out[:, k] = state
    return out.reshape(shape)


def _matmul(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    batch, m, k, n, ta, tb, sx, sy = s
    a = np.reshape(x, (batch if sx else 1, *((k, m) if ta else (m, k))))
    b = np.reshape(y, (batch if sy else 1, *((n, k) if tb else (k, n))))
    a = a.swapaxes(1, 2) if ta else a
    b = b.swapaxes(1, 2) if tb else b
    return np.broadcast_to(np.matmul(a, b), (batch, m, n)).reshape(shape)


def _gather(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    return np.reshape(x, (-1, s[0]))[_flat(y).astype(np.intp)].reshape(shape)


def _scatter_add(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    out = np.zeros((math.prod(shape) // s[0], s[0]), dtype=np.result_type(x))
    np.add.at(out, _flat(y).astype(np.intp), np.reshape(x, (-1, s[0])))
    return out.reshape(shape)


def _wrap_index(s: Statics, shape: Shape, x: Any) -> np.ndarray:
    index = np.asarray(x)
    if np.any((index < -s[0]) | (index >= s[0])):
        raise IndexError(f"index out of bounds for an axis of size {s[0]}")
    return np.where(index < 0, index + s[0], index)


def _searchsorted(s: Statics, shape: Shape, x: Any, y: Any) -> np.ndarray:
    return np.searchsorted(_flat(x), np.reshape(y, shape), side="right" if s[0] else "left")


def pieces(statics: Statics) -> list[Statics]:
    """Split the statics of `assemble` into one region (offset, shape, strides) a piece."""
    found, at = [], 0
    while at < len(statics):
        size = 2 + 2 * statics[at]
        found.append(statics[at + 1 : at + size])
        at += size
    return found


def _assemble(s: Statics, shape: Shape, *operands: Any) -> np.ndarray:
    out = np.zeros(math.prod(shape), dtype=np.result_type(*operands) if operands else float)
    for region, x in zip(pieces(s), operands, strict=True):
        view = strided_view(out, region)
        view[...] = np.reshape(x, view.shape)
    return out.reshape(shape)


# ── safety: what a kernel relies on ───────────────────────────────────────────────────────────────────────────
_EMPTY_LOOPS = 2**31  # how often loops around nothing may turn: their bounds appear in no size


def _loops(dims: Statics, size: int) -> bool:
    """Whether nested loops of these lengths end: a zero hides the other lengths from all comparisons of sizes."""
    return 0 not in dims or math.prod(max(n, 1) for n in dims) <= max(size, _EMPTY_LOOPS)


def _inside(statics: Statics, size: int) -> bool:
    if len(statics) % 2 == 0 or any(n < 0 for n in _region(statics)[1]):
        return False
    offset, shape, strides = _region(statics)
    if 0 in shape:
        return _loops(shape, size)
    spans = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    low, high = offset + sum(x for x in spans if x < 0), offset + sum(x for x in spans if x > 0)
    return low >= 0 and high < size


def _check_strided(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = _inside(s, sizes[0]) and math.prod(_region(s)[1]) == size
    return None if fits else "a strided region outside of its operand"


def _check_strided_add(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = _inside(s, size) and math.prod(_region(s)[1]) == sizes[0]
    return None if fits else "a strided region outside of its result"


def _check_middle(reduced: bool, operands: int = 1, reverse: bool = False) -> Any:
    def check(s: Statics, size: int, sizes: list[int]) -> str | None:
        if len(s) != 3 + reverse or min(s) < 0:
            return "static integers that are not outer, n, inner"
        total = s[0] * s[1] * s[2]
        fits = size == (s[0] * s[2] if reduced else total) and all(n == total for n in sizes[:operands])
        fits = fits and _loops(s[:3], size)
        return None if fits else "outer, n, inner that do not fit the operand"

    return check


def _check_matmul(s: Statics, size: int, sizes: list[int]) -> str | None:
    if len(s) != 8 or min(s) < 0 or max(s[4:]) > 1:
        return "static integers that are not batch, m, k, n, ta, tb, sx, sy"
    batch, m, k, n, _, _, sx, sy = s
    fits = (size, *sizes) == (batch * m * n, (batch if sx else 1) * m * k, (batch if sy else 1) * k * n)
    return None if fits and _loops(s[:4], size) else "matrix sizes that do not fit the operands"


def _check_gather(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = len(s) == 1 and s[0] > 0 and size == sizes[1] * s[0] and sizes[0] % s[0] == 0
    return None if fits else "blocks that do not fit the operands"


def _check_scatter(s: Statics, size: int, sizes: list[int]) -> str | None:
    fits = len(s) == 1 and s[0] > 0 and sizes[0] == sizes[1] * s[0] and size % s[0] == 0
    return None if fits else "blocks that do not fit the operands"


def _check_assemble(s: Statics, size: int, sizes: list[int]) -> str | None:
    at, seen = 0, 0
    while at < len(s):
        width = 2 + 2 * s[at] if 0 <= s[at] <= 64 else 0
        region = s[at + 1 : at + width]
        if not width or len(region) != width - 1 or seen >= len(sizes) or not _inside(region, size):
            return "a piece outside of the result"
        if math.prod(_region(region)[1]) != sizes[seen]:
            return "a piece of another size than its region"
        at, seen = at + width, seen + 1
    return None if seen == len(sizes) else "regions for some pieces only"


def _check_wrap(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if len(s) == 1 and s[0] >= 0 and sizes == [size] else "a length or an operand that does not fit"


def _check_search(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if len(s) == 1 and size == sizes[1] else "one index is needed for each value"


def _check_guard(s: Statics, size: int, sizes: list[int]) -> str | None:
    return None if sizes == [size, size] else "a guard compares equal sizes"


def _array(name: str, numpy: Any, arity: int, statics: str = "", **options: Any) -> None:
    register(ArrayPrimitive(name, numpy, arity, tuple(statics.split()), **options))


# ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────
_LINEAR = rules.tangent_linear
_MIDDLE = "outer n inner"

# fmt: off
_array("strided", _strided, 1, "offset shape... strides...", check=_check_strided,
       tangent=_LINEAR, adjoint=rules.adjoint_strided, batch=rules.batch_strided, result="same")
_array("strided_add", _strided_add, 1, "offset shape... strides...", check=_check_strided_add,
       tangent=_LINEAR, adjoint=rules.adjoint_strided_add, batch=rules.batch_strided_add, result="same")
_array("sum", _reduce(np.sum), 1, _MIDDLE, check=_check_middle(True),
       tangent=_LINEAR, adjoint=rules.adjoint_sum, batch=rules.batch_middle, result="total")
_array("amax", _reduce(np.max), 1, _MIDDLE, check=_check_middle(True),
       tangent=rules.tangent_extremum, adjoint=rules.adjoint_extremum, batch=rules.batch_middle, result="same")
_array("amin", _reduce(np.min), 1, _MIDDLE, check=_check_middle(True),
       tangent=rules.tangent_extremum, adjoint=rules.adjoint_extremum, batch=rules.batch_middle, result="same")
_array("argmax", _reduce(np.argmax), 1, _MIDDLE, check=_check_middle(True), batch=rules.batch_middle, result="int")
_array("argmin", _reduce(np.argmin), 1, _MIDDLE, check=_check_middle(True), batch=rules.batch_middle, result="int")
_array("argsort", lambda s, shape, x: np.argsort(_middle(s, x), axis=1, kind="stable").reshape(shape), 1, _MIDDLE,
       check=_check_middle(False), batch=rules.batch_middle, result="int")
_array("cumsum", _cumsum, 1, _MIDDLE + " reverse", check=_check_middle(False, reverse=True),
       tangent=_LINEAR, adjoint=rules.adjoint_cumsum, batch=rules.batch_middle, result="total")
_array("linrec", _linrec, 2, _MIDDLE + " reverse", check=_check_middle(False, 2, reverse=True),
       tangent=rules.tangent_linrec, adjoint=rules.adjoint_linrec, batch=rules.batch_middle, result="same")
_array("matmul", _matmul, 2, "batch m k n ta tb sx sy", check=_check_matmul,
       tangent=rules.tangent_bilinear, adjoint=rules.adjoint_matmul, batch=rules.batch_matmul, result="total")
_array("gather", _gather, 2, "inner", check=_check_gather,
       tangent=rules.tangent_first, adjoint=rules.adjoint_gather, batch=rules.batch_gather, result="first")
_array("scatter_add", _scatter_add, 2, "inner", check=_check_scatter,
       tangent=rules.tangent_first, adjoint=rules.adjoint_scatter_add, batch=rules.batch_scatter_add, result="first")
_array("wrap_index", _wrap_index, 1, "n", check=_check_wrap, batch=rules.batch_same, result="int")
_array("searchsorted", _searchsorted, 2, "right", check=_check_search, batch=rules.batch_searchsorted, result="int")
_array("assemble", _assemble, -1, "(nd offset shape... strides...)...", check=_check_assemble,
       tangent=rules.tangent_assemble, adjoint=rules.adjoint_assemble, batch=rules.batch_assemble, result="same")

# A composite row: the static integer is the number of a sub-program of the table (see `fastad.tables.sub`). The second
# operand are the states saved for this adjoint, which may overwrite them; without, it is the first one again.
_array("call", None, 2, "sub", check=lambda s, size, sizes: None if len(s) == 1 else "one sub-program is needed",
       adjoint=rules.adjoint_call, batch=rules.batch_call)

# ── rows that are not functions of values alone ───────────────────────────────────────────────────────────────
_array("input", None, 0, pure=False)  # column a: the number of the input
_array("const", None, 0)  # column a: offset in the pool of constants
_array("guard", None, 2, check=_check_guard, batch=rules.batch_guard, pure=False)
# fmt: on
