"""What the calls of LAPACK share (see `lapack_calls`).

LAPACK counts by columns, so matrices go to it and come back through transposes in scratch memory.
"""

from .flags import at, helper
from .memory import indices, view

LETTER_A, LETTER_L, LETTER_N, LETTER_S, LETTER_U, LETTER_V = 65, 76, 78, 83, 85, 86


@helper
def turn(target, source, n, m):
    """The transpose of an n × m matrix."""
    for i in range(n):
        for j in range(m):
            target[at(j * n + i)] = source[at(i * m + j)]


@helper
def all_finite(x):
    for i in range(len(x)):
        if not abs(x[at(i)]) < float("inf"):
            return False
    return True


@helper
def fill(x, value):
    for i in range(len(x)):
        x[at(i)] = value


@helper
def copy(target, source):
    for i in range(len(source)):
        target[at(i)] = source[at(i)]


@helper
def status(w, place):
    """What LAPACK has returned in a place of scratch memory."""
    return view(indices(w.ctypes.data + 8 * place), 1)[0]
