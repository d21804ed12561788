"""The forward kernels as C functions, for code that calls them by address:

    int64 f(double *out, int64 n_out, const double *x, int64 nx, const double *y, int64 ny, const int64 *s,
    int64 ns)

`entry_address(name)` compiles one when it is first asked for, or loads it from numba's cache on disk. One
function per kernel is written out, because numba caches on disk only what stands in a file.
"""
import numba
from numba import carray, types

from . import indexing, moving, reducing, scanning, sorting
from .flags import ENTRY

_DOUBLES = types.CPointer(types.float64)
_INTEGERS = types.CPointer(types.int64)
SIGNATURE = types.int64(_DOUBLES, types.int64, _DOUBLES, types.int64, _DOUBLES, types.int64, _INTEGERS,
types.int64)


def _gather(out, no, x, nx, y, ny, s, ns):
    return indexing.gather_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _guard(out, no, x, nx, y, ny, s, ns):
    return indexing.guard_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _scatter_add(out, no, x, nx, y, ny, s, ns):
    return indexing.scatter_add_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _wrap_index(out, no, x, nx, y, ny, s, ns):
    return indexing.wrap_index_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _assemble(out, no, x, nx, y, ny, s, ns):
    return moving.assemble_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _strided(out, no, x, nx, y, ny, s, ns):
    return moving.strided_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _strided_add(out, no, x, nx, y, ny, s, ns):
    return moving.strided_add_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _amax(out, no, x, nx, y, ny, s, ns):
    return reducing.amax_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _amin(out, no, x, nx, y, ny, s, ns):
    return reducing.amin_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _argmax(out, no, x, nx, y, ny, s, ns):
    return reducing.argmax_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _argmin(out, no, x, nx, y, ny, s, ns):
    return reducing.argmin_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _sum(out, no, x, nx, y, ny, s, ns):
    return reducing.sum_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _cumsum(out, no, x, nx, y, ny, s, ns):
    return scanning.cumsum_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _linrec(out, no, x, nx, y, ny, s, ns):
    return scanning.linrec_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _argsort(out, no, x, nx, y, ny, s, ns):
    return sorting.argsort_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _searchsorted(out, no, x, nx, y, ny, s, ns):
    return sorting.searchsorted_forward(carray(out, no), carray(x, nx), carray(y, ny), carray(s, ns))


def _matmul():
    """The entry of matmul stands with its kernel, in a file that loads SciPy."""
    from .products import matmul_entry

    return matmul_entry


_WRAPPERS = {
    "amax": lambda: _amax,
    "amin": lambda: _amin,
    "argmax": lambda: _argmax,
    "argmin": lambda: _argmin,
    "argsort": lambda: _argsort,
    "assemble": lambda: _assemble,
    "cumsum": lambda: _cumsum,
    "gather": lambda: _gather,
    "guard": lambda: _guard,
    "linrec": lambda: _linrec,
    "scatter_add": lambda: _scatter_add,
    "searchsorted": lambda: _searchsorted,
    "strided": lambda: _strided,
    "strided_add": lambda: _strided_add,
    "sum": lambda: _sum,
    "wrap_index": lambda: _wrap_index,
    "matmul": _matmul,
}

# Compiled entries are kept for the life of the process: their addresses are in use in native code.
_entries = {}


def entry_names():
    """Names of the kernels that have a C entry point."""
    return tuple(sorted(_WRAPPERS))


def entry_address(name):
    """Address of the C function of the forward kernel `name`; it stays valid as long as the process lives."""
    if name not in _entries:
        _entries[name] = numba.cfunc(SIGNATURE, **ENTRY)(_WRAPPERS[name]())
    return _entries[name].address
