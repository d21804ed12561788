"""What native code is made for. Everything in planning and emission that depends on it asks here.

The text for a GPU is that for the CPU with vectors of one number: a thread has one instance of the program, and what
SIMD lanes, packed calls, threads and prefetches do on a CPU, there the instances do.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    `simd`: loops run in the CPU's vectors, and equal functions of several numbers are called as one vector function.
    `threads`: long loops are cut into blocks that threads share. `fetches`: long straight-line code fetches itself
    ahead. `little`: operations on single numbers that are optimised with the loops beside them; `small`: those that get
    the better instruction selector; `chunks`: operations of one function of small and of larger programs, since time
    grows faster than its length. `calls_by_name`: a composite row calls the function `CALLEE` and its number, with work
    memory behind the program's own; else `fastad_call`, which allocates that, by the address of a callee. `blas`: large
    products go to BLAS. `is_single`: numbers will be float32.
    """

    simd: bool = True
    threads: bool = True
    fetches: bool = True
    little: int = 300
    small: int = 2000
    chunks: tuple[int, int] = (1000, 300)
    calls_by_name: bool = False
    blas: bool = True
    is_single: bool = False


CPU = Target()
# More operations in one function take ptxas longer than linearly, and registers spill anyway.
GPU = Target(
    simd=False, threads=False, fetches=False, little=600, small=600, chunks=(600, 300), calls_by_name=True, blas=False
)

_current: ContextVar[Target] = ContextVar("fastad_target", default=CPU)


def target() -> Target:
    """The kind of machine that code is being made for."""
    return _current.get()


@contextlib.contextmanager
def making_for(own: Target) -> Iterator[None]:
    """Within the context, code is made for this kind of machine."""
    token = _current.set(own)
    try:
        yield
    finally:
        _current.reset(token)
