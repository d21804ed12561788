"""Concrete values of a recording that are let go: those of large arrays that the function does not hold any more.

A recording of a thousand steps would otherwise hold what all of them computed, where NumPy holds one step. Values are
dropped rarely, when many bytes have come together. Where one is wanted after all (an equal row was there already), it
is computed again from those that are held.
"""

import gc
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import numpy as np

from fastad.primitives import CALL, INPUT
from fastad.primitives.operands import OPERAND_COUNT, POOLED
from fastad.tables.builder import Builder, Ref

FORGOTTEN: Any = type("Forgotten", (), {})()
_BYTES = 48 << 20  # of new values after which it is worth looking at all objects of the process
_LARGE = 2048  # bytes of a value
_OPERANDS = np.where(POOLED, -1, OPERAND_COUNT).tolist()
_KEPT = frozenset([CALL.code, INPUT.code])  # what is not computed twice: it may call Python


HOLDERS: set[type] = set()  # the classes of recorded values; each adds itself


class Forgetting:
    """Lets values of a recorder go. `count` are those that have been since the beginning, or were never computed."""

    def __init__(self) -> None:
        self.count = 0
        self._until, self._seen = _BYTES, 0

    def look(self, recorder: Any, values: list[Any]) -> None:
        """Drop what nobody holds if enough has come together since the last time."""
        new, self._seen = values[self._seen :], len(values)
        self._until -= sum(x.nbytes for x in new if type(x) is np.ndarray)
        if self._until <= 0:
            left = self._drop(recorder, values)
            self._until = max(_BYTES, left)

    def skip(self, recorder: Any, values: list[Any], end: int) -> None:
        """The values of further rows, up to `end`, are computed where they are needed."""
        self.look(recorder, values)
        self.count += end - len(values)
        values += [FORGOTTEN] * (end - len(values))
        self._seen = end

    def add(self, value: Any) -> None:
        """One of those that were skipped has been computed."""
        self._until -= value.nbytes if type(value) is np.ndarray else 0

    def _drop(self, recorder: Any, values: list[Any]) -> int:
        held, left, op = _held(recorder), 0, recorder.builder.columns["op"]
        for i, x in enumerate(values):
            if type(x) is np.ndarray and x.nbytes > _LARGE:
                if i in held or op[i] in _KEPT:
                    left += x.nbytes
                else:
                    values[i] = FORGOTTEN
                    self.count += 1
        return left


def _held(recorder: Any) -> set[Ref]:
    """The rows that recorded values refer to, anywhere in the process."""
    return {ref for x in values_of(recorder) or () for ref in (x._ref, *x._pending.values())}


def values_of(recorder: Any) -> list[Any] | None:
    """All recorded values of a recorder, anywhere in the process; None where gc.freeze() may have hidden some. It hides
    all that is there, so also the recorder, which is older than its values. (To count the hidden takes long, too.) No
    Python code runs for the objects of other types, of which there may be millions."""
    kinds = {type(recorder), *HOLDERS}
    for kind in HOLDERS:
        kinds.update(_derived(kind))
    objects: list[Any] = gc.get_objects()
    found: list[Any] = list(compress(objects, map(kinds.__contains__, map(type, objects))))
    if not any(x is recorder for x in found):
        return None
    return [x for x in found if type(x) is not type(recorder) and x._recorder is recorder]


def _derived(kind: type) -> list[type]:
    """The classes that are derived from a class, and from these."""
    direct: list[type] = kind.__subclasses__()
    return [x for own in direct for x in (own, *_derived(own))]


def recall(b: Builder, values: list[Any], ref: Ref, evaluate: Callable[[Ref], Any]) -> None:
    """Compute a value that was dropped again, and those of its operands that were."""
    todo = [ref]
    while todo:
        missing = [x for x in operands_of(b, todo[-1]) if values[x] is FORGOTTEN]
        todo += missing
        if not missing:
            i = todo.pop()
            if values[i] is FORGOTTEN:
                values[i] = evaluate(i)


def operands_of(b: Builder, i: Ref) -> Sequence[Ref]:
    """The rows that row i reads."""
    code, a, second, third = b.definition(i)
    count = _OPERANDS[code]
    return b.operands[a : a + second] if count < 0 else (a, second, third)[:count]
