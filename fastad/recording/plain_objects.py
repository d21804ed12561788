"""Which objects hold nothing but attributes, and the names of those in slots."""

import functools
import types

_HEAP_TYPE = 1 << 9  # the bit of `type.__flags__` of classes that were made at run time


@functools.lru_cache(maxsize=4096)
def is_plain(kind: type) -> bool:
    """Whether instances of a class hold nothing but attributes: all else is a state in C, which takes room."""
    if kind is types.SimpleNamespace:
        return True
    fields = sum(len(slot_names(base)) for base in kind.__mro__)
    fields += sum(bool(offset) for offset in (kind.__dictoffset__, kind.__weakrefoffset__))
    heap = all(base.__flags__ & _HEAP_TYPE for base in kind.__mro__[:-1])
    return heap and not kind.__itemsize__ and kind.__basicsize__ <= object.__basicsize__ + 8 * fields


def slot_names(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    found = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(_mangled(kind, name) for name in found if name not in ("__dict__", "__weakref__"))


def _mangled(kind: type, name: str) -> str:
    """The name that Python gives a private attribute of a class."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name
