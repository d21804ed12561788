"""Keys under which recordings are found."""

from collections.abc import Hashable


class Key:
    """A long key whose hash is computed once."""

    __slots__ = ("_hash", "_parts")

    def __init__(self, *parts: Hashable) -> None:
        self._parts, self._hash = parts, hash(parts)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Key) and self._hash == other._hash and self._parts == other._parts
        )  # fmt: skip


def compares_by_identity(kind: type) -> bool:
    """Whether objects of a class are equal to themselves only. Others may be equal and compute different things."""
    compare: object = getattr(kind, "__eq__")  # noqa: B009 - mypy knows better what it is
    return compare is object.__eq__
