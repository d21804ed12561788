"""Stand-ins: functions of NumPy and of `math` that see recorded values while a function is being recorded.

`np.zeros(n)`, `np.array([a, b])` and `math.sin(x)` do not ask the types of their arguments, so NumPy's protocols cannot
record them. While any recording is in progress, objects of this module stand in the place of these functions in their
modules. They are taken away when the last recording ends. Threads that record nothing get the original's result.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from operator import is_, itemgetter
from types import CellType, FunctionType, MethodType
from typing import Any, NamedTuple

from fastad.locks import lock

WITH_ATTRIBUTES = (FunctionType, functools.partial)  # whose places are attributes, `__defaults__` and `args`
_HOLDERS = (dict, list, CellType, *WITH_ATTRIBUTES)
ABSENT = object()  # in the place of a value: the place is empty, as that of a built-in in a namespace


class StandIn:
    """Stands for a function. A subclass says in `__call__` which calls it records.

    It is equal to the original, so that it finds what others have registered for that: numba its own version, when it
    compiles a function during a recording.
    """

    __name__: str

    def __init__(self, original: Callable[..., Any]) -> None:
        functools.update_wrapper(self, original, updated=())
        self.original = original

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return self.original is (other.original if isinstance(other, StandIn) else other)

    def __hash__(self) -> int:
        return hash(self.original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["original"], name)

    def __reduce__(self) -> Any:
        return getattr, (sys.modules[self.original.__module__], self.__name__)

    def __repr__(self) -> str:
        return repr(self.original)


class _Module:
    """A module, and the stand-ins for some of its functions."""

    def __init__(self, name: str) -> None:
        self.namespace = vars(sys.modules[name])
        self.standins: dict[str, StandIn] = {}
        self.originals: dict[str, Any] = {}

    def put_in_place(self) -> None:
        self.namespace.update(self.standins)

    def take_away(self) -> None:
        if self._are_in_place():
            self.namespace.update(self.originals)
            return
        for name, standin in self.standins.items():
            if self.namespace.get(name) is standin:  # else someone has put something else there, which stays
                self.namespace[name] = standin.original

    def _are_in_place(self) -> bool:
        try:
            return self._found(self.namespace) == self._all
        except KeyError:
            return False

    @functools.cached_property
    def _found(self) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        return itemgetter("__name__", *self.standins)  # of one name alone it would give no tuple

    @functools.cached_property
    def _all(self) -> tuple[Any, ...]:
        return (self.namespace["__name__"], *self.standins.values())


class _Methods:
    """A class, and the functions that stand for some of its methods."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.standins: dict[str, Callable[..., Any]] = {}
        self.originals: dict[str, Any] = {}

    def put_in_place(self) -> None:
        for name, standin in self.standins.items():
            setattr(self.kind, name, standin)

    def take_away(self) -> None:
        for name, standin in self.standins.items():
            if vars(self.kind).get(name) is standin:
                setattr(self.kind, name, self.originals[name])


_modules: dict[str, _Module] = {}
_methods: dict[type, _Methods] = {}
_waiting: dict[str, list[Callable[[], None]]] = {}  # what registers stand-ins of modules that are not imported yet
_by_original: dict[int, Callable[..., Any]] = {}
_lock = lock()
_users = 0  # recordings in progress, in all threads


def stands_in(module: str, name: str, standin: StandIn) -> None:
    """Have this object stand in for a function of a module during recordings."""
    found = _modules.get(module) or _modules.setdefault(module, _Module(module))
    found.standins[name] = standin
    found.originals[name] = standin.original
    _by_original[id(standin.original)] = standin


def stands_in_for_method(kind: type, name: str, standin: Callable[..., Any]) -> None:
    """Have this function stand in for a method of a class during recordings."""
    found = _methods.get(kind) or _methods.setdefault(kind, _Methods(kind))
    found.standins[name], found.originals[name] = standin, vars(kind)[name]
    _by_original[id(found.originals[name])] = standin


def standin_for(function: Any) -> Any:
    """What stands for a function, for a bound method, or for a tuple that holds some, during recordings: itself, if
    nothing does."""
    if type(function) is tuple:
        found = tuple(map(standin_for, function))
        return function if all(map(is_, found, function)) else found
    if type(function) is MethodType:
        standin = _by_original.get(id(function.__func__))
        return function if standin is None else MethodType(standin, function.__self__)
    return _by_original.get(id(function), function)


def when_imported(module: str, register: Callable[[], None]) -> None:
    """Have stand-ins registered before the first recording after the module was imported."""
    _waiting.setdefault(module, []).append(register)


def _register_imported() -> None:
    for name in [*_waiting]:
        spec = getattr(sys.modules.get(name), "__spec__", None)
        if spec is not None and not getattr(spec, "_initializing", False):
            for register in _waiting.pop(name):
                register()


def has_standins(kind: type) -> bool:
    """Whether methods of a class, or of one that it inherits from, have stand-ins during recordings."""
    if _waiting:
        with _lock:
            _register_imported()
    return not _methods.keys().isdisjoint(kind.__mro__)


def _all_places() -> tuple[_Module | _Methods, ...]:
    return (*_modules.values(), *_methods.values())


def put_in_place() -> None:
    """A recording begins."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _register_imported()
            for place in _all_places():
                place.put_in_place()


def take_away() -> None:
    """A recording has ended."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            for place in _all_places():
                place.take_away()


class _Place(NamedTuple):
    """A place where a user's code has bound something that has a stand-in now."""

    holder: Any
    original: Any
    standin: Any
    wanted: int  # by how many recordings
    before: "_Place | None"  # what the stand-in is in the place of, if that is one itself


_bound: dict[tuple[int, Any], _Place] = {}
placing = lock()  # of the thread that puts stand-ins in place which are for its recording alone


def bound_names(places: Iterable[tuple[Any, Any, Any]]) -> AbstractContextManager[None]:
    """Within, stand-ins also take the places (cell, None, value) and (namespace, name, value) where the user's code
    has bound their originals, as by `from numpy import zeros`."""
    if _waiting:
        with _lock:
            _register_imported()
    unique = {(id(holder), name): (holder, name, value) for holder, name, value in places}
    found = [(*place, standin_for(place[2])) for place in unique.values()]
    return placed([place for place in found if place[3] is not place[2]])


@contextmanager
def placed(changes: Iterable[tuple[Any, Any, Any, Any]]) -> Iterator[None]:
    """Within, (holder, name, value, stand-in): the stand-in is where the value was, if it can be put there. A value
    that is `ABSENT` leaves an empty place behind."""
    changes = [change for change in changes if takes_standins(change[0])]
    with _lock:
        for change in changes:
            _bind(*change)
    try:
        yield
    finally:
        with _lock:
            for holder, name, *_ in changes:
                _release(holder, name)


def takes_standins(holder: Any) -> bool:
    """Whether stand-ins can be put into the places of this object."""
    return isinstance(holder, _HOLDERS)


def as_bound(holder: Any, name: Any, value: Any) -> Any:
    """What the user has put in a place, given what is there now."""
    place = _bound.get((id(holder), name)) if _bound else None
    return place.original if place is not None and value is place.standin else value


def all_bound(holder: Any, names: Iterable[Any], values: Iterable[Any]) -> tuple[Any, ...]:
    """`as_bound` of all values in a container."""
    return tuple([as_bound(holder, *item) for item in zip(names, values, strict=False)] if _bound else values)


def _bind(holder: Any, name: Any, value: Any, standin: Any) -> None:
    place = _bound.get((id(holder), name))
    if place is None or place.standin is not standin:
        place = _Place(holder, value if place is None else place.original, standin, 0, place)
    _bound[id(holder), name] = place._replace(wanted=place.wanted + 1)
    put(holder, name, standin)


def _release(holder: Any, name: Any) -> None:
    place = _bound.pop((id(holder), name))
    before = place._replace(wanted=place.wanted - 1) if place.wanted > 1 else place.before
    if before is not None:
        _bound[id(holder), name] = before
    if place.wanted == 1 and held(holder, name) is place.standin:  # and not what the code has put there meanwhile
        put(holder, name, place.original if before is None else before.standin)


def put(holder: Any, name: Any, value: Any) -> None:
    """Put a value into a place."""
    if value is ABSENT:
        holder.pop(name, None)
    elif isinstance(holder, CellType):
        holder.cell_contents = value
    elif isinstance(holder, FunctionType):
        setattr(holder, name, value)
    elif isinstance(holder, functools.partial):
        parts = {"func": holder.func, "args": holder.args, name: value}
        holder.__setstate__((parts["func"], parts["args"], holder.keywords, vars(holder)))  # type: ignore[attr-defined]
    else:
        holder[name] = value


def held(holder: Any, name: Any, missing: Any = None) -> Any:
    """What is in a place now: (cell, None), (namespace, name), or an attribute of a function or a partial function."""
    try:
        if isinstance(holder, CellType):
            return holder.cell_contents
        return getattr(holder, name) if isinstance(holder, WITH_ATTRIBUTES) else holder[name]
    except (ValueError, LookupError):
        return missing
