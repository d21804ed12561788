"""The driver of a program of which several paths are known: it takes the first one whose guards hold."""

from .branching import kernel_at
from .flags import kernel
from .memory import call_kernel, doubles, record_at
from .records import KERNEL, PATHS

paths_at = record_at(PATHS)
FIRST, NEXT = PATHS.itemsize, KERNEL.itemsize  # bytes


@kernel
def run_paths(context, source, target, work):
    """The result of the first path that does not stop at a guard. If all do, the point is noted."""
    p = paths_at(context)
    code = 0
    for k in range(p.count):
        path = kernel_at(context + FIRST + NEXT * k)
        code = call_kernel(path.address, path.context, source, target, work)
        if code <= 0:
            return code
    note, x = doubles(p.note), doubles(source)
    for i in range(p.point):
        note[1 + i] = x[i]
    note[0] = 1.0
    return code
