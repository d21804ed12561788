"""What is made when it is first needed, by whichever thread comes first."""

import ctypes
import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from fastad import locks

P = ParamSpec("P")
T = TypeVar("T")


def once(make: Callable[P, T]) -> Callable[P, T]:
    """Decorator: the function runs once for the same (positional) arguments, and its result is kept for good.

    For everything whose address is used. `functools.cache` lets two threads in at a time and forgets one of the two
    results, and at the end of the process, when other threads may still run, it forgets all.
    """
    made: dict[Any, T] = {}
    lock = locks.lock()

    @functools.wraps(make)
    def get(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return made[args]
        except KeyError:
            with lock:
                if args not in made:
                    result = make(*args, **kwargs)
                    ctypes.pythonapi.Py_IncRef(ctypes.py_object(result))  # it outlives this module
                    made[args] = result
                return made[args]

    return get


class lazy(Generic[T]):
    """Decorator: an attribute that is made at its first use. All threads see the same one.

    Unlike `functools.cached_property` of Python 3.11, this has no lock that all objects of a class share: with one, two
    threads that derive a loop in a branch and a branch in a loop wait for each other for ever.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        made: T = vars(instance).setdefault(self._name, self._make(instance))
        return made
