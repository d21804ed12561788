"""Arrays that are recorded only when they are asked for."""

from typing import Any


class Late:
    """Stands for an array, `array`, that is recorded when it is asked for. Results of functions and operands of
    transformations and loops ask for it."""

    array: Any


def arrived(leaves: list[Any]) -> list[Any]:
    """Leaves of a pytree with the arrays that some of them stand for."""
    if any(issubclass(kind, Late) for kind in set(map(type, leaves))):
        return [x.array if issubclass(type(x), Late) else x for x in leaves]
    return leaves
