"""Python integers among the arguments: a constant while there has been only one value, an input afterwards.

Most programs need an integer for its value alone (the number of an iteration, in a learning rate), and one recording
serves all of them. Where Python needs the number itself (`range(n)`, a shape, an index into plain data) the recording
holds a guard of its value. Such an integer is a part of the key again, so that every value finds its recording at once.
"""

import functools
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from fastad.primitives import Form
from fastad.tables.columns import CONST, GUARD
from fastad.tables.table import Table
from fastad.transforms.call import Call, ChangingInt

_MOST = 4096  # structures of calls that are remembered
_LARGEST = 2**53  # tables hold integers as floats
_CHANGING, _NEEDED = object(), object()  # what is known of an integer, after its first value


class Renumbered(Exception):
    """The program needs the values of some integers: the call must be looked up again."""


class _Integers:
    """What is known of the integers in the calls of all functions."""

    def __init__(self) -> None:
        self._known: OrderedDict[Any, dict[int, Any]] = OrderedDict()

    def applied(self, function: Any, call: Call) -> Call:
        """The call with those integers as inputs that have been seen to change. `function` stands for its code."""
        places = [k for k, x in enumerate(call.leaves) if type(x) is int]
        if not places:
            return call
        known = self._of(function, call, places)
        for k in places:
            if known.setdefault(k, call.leaves[k]) is not _NEEDED and known[k] != call.leaves[k]:
                known[k] = _CHANGING
        return call.changing([k for k in places if known[k] is _CHANGING and abs(call.leaves[k]) < _LARGEST])

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
        whole = (function, *key)
        found = self._known.setdefault(whole, {})
        self._known.move_to_end(whole)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found


INTEGERS = _Integers()


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
