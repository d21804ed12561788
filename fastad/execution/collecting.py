"""The cyclic garbage collector, which stands aside while long programs are made."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: it would walk the millions of objects that recording and compiling a long
    program make again and again, and finds nothing. Not around code of the user's, which may make cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
