"""Saved functions: what `.save(path)` of a transformed function wrote, as a function again."""

from typing import Any

from fastad.transforms import saved
from fastad.transforms.base import Transformed
from fastad.transforms.call import Call
from fastad.transforms.program import Program


class Loaded(Transformed):
    """A saved function. It is callable and differentiable without its source, for the structures it was saved with."""

    is_shared = False

    def __init__(self, name: str, entries: list[saved.Entry]) -> None:
        super().__init__(_no_source)
        self.__name__ = name
        self._entries = entries
        self._kind = (object(),)  # like no other's

    def with_inputs(self, call: Call) -> Call:
        """The integers are inputs that were inputs when the function was saved."""
        return saved.with_inputs(self._entries, call)

    def program(self, call: Call) -> Program:
        return saved.program_for(self.__name__, self._entries, call)

    def save(self, path: Any) -> None:
        """As of any function; one that was not called yet is saved as it was loaded."""
        if self.memory.paths:
            super().save(path)
        else:
            saved.save(self.__name__, self._entries, path)


def _no_source() -> None:
    """Stands for the source of a loaded function, which there is not."""


def load(path: Any) -> Loaded:
    """A function saved by `.save(path)`: callable and differentiable without its source.

    Raises `TableError` if the file is not a saved function. Nothing is unpickled.

    >>> import os, tempfile, numpy as np, fastad as fad
    >>> f = fad.jit(lambda x: np.sum(x**2))
    >>> _ = f(np.ones(3))
    >>> path = os.path.join(tempfile.mkdtemp(), "f.npz")
    >>> f.save(path)
    >>> fad.grad(fad.load(path))(np.ones(3))
    array([2., 2., 2.])
    """
    return Loaded(*saved.load(path))


def restore(data: bytes, tier: str, threads: int | None) -> Loaded:
    """The function that was pickled as these bytes."""
    loaded = saved.from_bytes(data, load)
    loaded.tier, loaded.threads = tier, threads
    return loaded
