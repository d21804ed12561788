"""Actions of checkpoint schedules."""

from enum import IntEnum
from typing import NamedTuple

from fastad.kernels import plan_fields as f


class Code(IntEnum):
    """The kinds of actions; see `Action`. Step k leads from state k to state k + 1."""

    ADVANCE = f.ADVANCE
    STORE = f.STORE
    LOAD = f.LOAD
    DISCARD = f.DISCARD
    REVERSE = f.REVERSE
    RESTART = f.RESTART


class Action(NamedTuple):
    """One action of a schedule: four integers.

    | code | what happens |
    | --- | --- |
    | ADVANCE | run the steps start..stop−1. The current state, `start`, becomes `stop`. slot ≥ 0: before step k, store state k in slot + (k − start); slot = −1: store nothing |
    | STORE | copy the current state, `start`, into the slot |
    | LOAD | make the state in the slot, `start`, the current one |
    | DISCARD | the state in the slot is no longer needed. (A state is not needed after the adjoint of its step either) |
    | REVERSE | adjoints of the steps stop−1, …, start. slot ≥ 0: state k is in slot + (k − start); slot = −1: a single step, whose state is the current one. Afterwards no state is current |
    | RESTART | make the initial state, which the executor keeps, the current one |

    >>> Action(Code.ADVANCE, 0, 3, -1), Action(Code.REVERSE, 4, 6, 2), Action(Code.STORE, 3, 3, 1)
    (advance steps 0..2, reverse steps 5..4 from slots 3..2, store state 3 in slot 1)
    """  # noqa: E501 (a table)

    code: Code
    start: int
    stop: int
    slot: int

    def __repr__(self) -> str:
        name, start, last = self.code.name.lower(), self.start, self.stop - 1
        if self.code in (Code.STORE, Code.LOAD, Code.DISCARD, Code.RESTART):
            place = "" if self.slot < 0 else f" {_WORD[self.code]} slot {self.slot}"
            return f"{name} state {start}{place}"
        backwards = self.code == Code.REVERSE
        steps = _range("step", *((last, start) if backwards else (start, last)))
        if self.slot < 0:
            return f"{name} {steps}"
        end = self.slot + last - start
        slots = _range("slot", *((end, self.slot) if backwards else (self.slot, end)))
        return f"{name} {steps} {'from' if backwards else 'into'} {slots}"


_WORD = {Code.STORE: "in", Code.LOAD: "from", Code.DISCARD: "in"}


def _range(word: str, first: int, last: int) -> str:
    return f"{word} {first}" if first == last else f"{word}s {first}..{last}"
