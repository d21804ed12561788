"""Python integers among the arguments, and numbers that a function reads from outside: a constant while there has been
only one value, an input afterwards.

Most programs need a number for its value alone (that of an iteration, in a learning rate), and one recording serves all
of them. Where Python needs the number itself (`range(n)`, a shape, an index into plain data) the recording holds a
guard of its value. Such a number is a part of the key again, so that every value finds its recording at once.
"""

import functools
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from fastad.primitives import Form
from fastad.recording.capture import OutsideState
from fastad.tables.columns import CONST, GUARD
from fastad.tables.table import Table
from fastad.transforms.call import Call, ChangingInt

_MOST = 4096  # structures of calls that are remembered
_LARGEST = 2**53  # tables hold integers as floats
_CHANGING, _NEEDED = object(), object()  # what is known of a number, after its first value


class Renumbered(Exception):
    """The program needs the values of some numbers: the call must be looked up again."""


class _Seen:
    """What has been seen of numbers: for every structure that holds some, of each of them by its place there."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, dict[int, Any]] = OrderedDict()

    def of(self, key: Any) -> dict[int, Any]:
        """Of the numbers of a structure: the first value, `_CHANGING` or `_NEEDED`."""
        found = self._known.setdefault(key, {})
        try:
            self._known.move_to_end(key)
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        except KeyError:  # another thread has just dropped it
            pass
        return found


def _changes(known: dict[int, Any], number: int, value: Any) -> bool:
    """Whether a number is an input, after this value."""
    if known.setdefault(number, value) is not _NEEDED and known[number] != value:
        known[number] = _CHANGING
    return known[number] is _CHANGING and abs(value) < _LARGEST


class _Integers:
    """What is known of the integers in the calls of all functions."""

    def __init__(self) -> None:
        self._seen = _Seen()

    def applied(self, function: Any, call: Call) -> Call:
        """The call with those integers as inputs that have been seen to change. `function` stands for its code."""
        places = [k for k, x in enumerate(call.leaves) if type(x) is int]
        if not places:
            return call
        known = self._of(function, call, places)
        return call.changing([k for k in places if _changes(known, k, call.leaves[k])])

    def need_values(self, function: Any, call: Call, table: Table, sources: tuple[int, ...]) -> bool:
        """Whether guards of the program hold integers of the call to their values: these are no inputs any more."""
        inputs = [k for k, d in enumerate(call.dynamic) if d]
        if not any(type(call.leaves[k]) is ChangingInt for k in inputs):
            return False
        held = {inputs[sources[i]] for i in _held_inputs(table) if i < len(sources) and sources[i] >= 0}
        held = {k for k in held if type(call.leaves[k]) is ChangingInt}
        self._need(function, call, held)
        return bool(held)

    def need_all(self, function: Any, call: Call) -> bool:
        """Make constants of all integers of the call that are inputs. Returns whether there are any."""
        held = {k for k, x in enumerate(call.leaves) if type(x) is ChangingInt}
        self._need(function, call, held)
        return bool(held)

    def _need(self, function: Any, call: Call, held: set[int]) -> None:
        places = [k for k, x in enumerate(call.leaves) if isinstance(x, int) and not isinstance(x, bool)]
        self._of(function, call, places).update(dict.fromkeys(held, _NEEDED))

    def _of(self, function: Any, call: Call, places: list[int]) -> dict[int, Any]:
        key = list(call.key)
        for k in places:
            key[k + 1] = int
        return self._seen.of((function, *key))


class _OutsideNumbers:
    """What is known of the numbers that functions read from outside."""

    def __init__(self) -> None:
        self._seen = _Seen()

    def applied(self, kind: Any, state: OutsideState) -> OutsideState:
        """The state with those numbers as inputs that have been seen to change. `kind` stands for the transformations.
        What is called after the recording does not find them in their places any more."""
        if not state.numbers or state.has_late_readers:
            return state
        known = self._seen.of((kind, state.structure))
        values = [place.value for place in state.numbers]
        return state.with_changing(frozenset([k for k, value in enumerate(values) if _changes(known, k, value)]))

    def need(self, kind: Any, state: OutsideState, numbers: Iterable[int]) -> None:
        """Make constants of these numbers of a state."""
        self._seen.of((kind, state.structure)).update(dict.fromkeys(numbers, _NEEDED))

    def need_values(self, kind: Any, state: OutsideState, table: Table) -> bool:
        """Whether guards of the program hold numbers to their values: these are no inputs any more."""
        if not state.changing:
            return False
        held = _held_inputs(table)
        arrays = [a for k, a in enumerate(table.captured, table.explicit_inputs) if k in held]
        found = [x.number for x in state.changing if any(a is x.array for a in arrays)]
        self.need(kind, state, found)
        return bool(found)

    def need_all(self, kind: Any, state: OutsideState) -> bool:
        """Make constants of all numbers that are inputs. Returns whether there are any."""
        self.need(kind, state, [x.number for x in state.changing])
        return bool(state.changing)

    def need_written(self, kind: Any, state: OutsideState) -> bool:
        """Make constants of the numbers that the function itself has changed while it was recorded: a replay would
        not. Returns whether an input was among them; these have their old values again."""
        written = state.written() if state.numbers else []
        if not written:
            return False
        self.need(kind, state, written)
        found = {x.number for x in state.changing}.intersection(written)
        for k in written:
            if k in found:
                state.numbers[k].put_back()
            else:
                state.numbers[k].make_plain()
        return bool(found)


INTEGERS = _Integers()
OUTSIDE_NUMBERS = _OutsideNumbers()


def _held_inputs(table: Table) -> set[int]:
    """Inputs of a table whose values guards hold: an input itself, or what has another value for each of the input's.
    Of a remainder, say, there are few values, and the guard leads from one to the other."""
    guards = (i for i in table.guards if table.columns["op"][i] == GUARD)
    found = {_source(table, table.row(i).operands[0]) for i in guards}
    return {number for number in found if number is not None}


def _source(table: Table, ref: int) -> int | None:
    """The input that a value is a one-to-one function of: by sums with constants, products and changes of sign."""
    while table.type_of(ref).dtype != "b":
        row = table.row(ref)
        if row.form is Form.INPUT:
            return int(table.columns["a"][ref])
        operator = getattr(row.primitive, "operator", None)
        moving = [x for x in row.operands if table.columns["op"][x] != CONST]
        one_to_one = row.form is Form.VIEW or (operator is not None and operator.kind in ("arithmetic", "negation"))
        if len(moving) != 1 or not one_to_one:
            return None
        ref = moving[0]
    return None


def code_of(function: Callable[..., Any], depth: int = 3) -> Any:
    """What functions that are made anew have in common: their code, and that of the functions that they refer to."""
    if isinstance(function, functools.partial):
        return code_of(function.func)
    if isinstance(function, types.MethodType):
        return code_of(function.__func__)
    if not isinstance(function, types.FunctionType):
        wrapped = getattr(function, "__wrapped__", None)
        return type(function) if wrapped is None or not depth else code_of(wrapped, depth - 1)
    inner = (_contents(cell) for cell in function.__closure__ or () if depth)
    return function.__code__, *[code_of(x, depth - 1) for x in inner if callable(x)]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None
