"""The concrete values of a recording's rows, computed when something asks for them."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import array, asarray  # NumPy's own, whatever stands for them during a recording

from fastad.errors import FastadError
from fastad.primitives import PRIMITIVES, Elementwise, Form, array_rows
from fastad.recording.forgetting import FORGOTTEN, Forgetting, operands_of, recall
from fastad.recording.source import at_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import CALL, CONST, DTYPES, GUARD, ValueType
from fastad.tables.reference import Runner

# Rows that may raise an error, by their values. Indices beside an array have been through `wrap_index`.
_CHECKED = frozenset(row.code for row in array_rows() if "index" in row.domain[1:])
FAILING = frozenset(row.code for row in array_rows() if row.error is not None) - _CHECKED
FAILING_NAMES = frozenset(PRIMITIVES[code].name for code in FAILING)
# Arithmetic on two NumPy scalars, which their own operators do in a tenth of the time that ufuncs take.
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv
}  # fmt: skip
_SCALARS = {char: dtype.type for char, dtype in DTYPES.items()}


def _scalar_function(row: Any) -> Callable[..., Any]:
    """What evaluates a primitive on NumPy scalars."""
    sign = getattr(row, "operator", None)
    return _ARITHMETIC[sign.sign] if sign is not None and sign.kind == "arithmetic" else row.numpy


_SCALAR_FUNCTIONS = [_scalar_function(row) for row in PRIMITIVES]


class ConcreteValues:
    """Values of the rows of a builder for given inputs; those that nobody has asked for are not computed.

    `run` runs the drivers of composite rows. `tentative`: the rows may not run, and one that fails has the value NaN.
    """

    def __init__(self, builder: Builder, given: dict[Ref, Any], run: Runner | None, tentative: bool) -> None:
        self.builder, self.given, self._run, self._tentative = builder, given, run, tentative
        self._values: list[Any] = []  # of the first rows
        self._settled = 0  # rows that are known not to fail
        self._forgetting = Forgetting()

    def of(self, recorder: Any, ref: Ref) -> Any:
        """The value of a row."""
        values = self._values
        if ref >= len(values):
            with np.errstate(all="ignore"):
                for i in range(len(values), ref + 1):
                    if self._forgetting.count:
                        for x in operands_of(self.builder, i):
                            if values[x] is FORGOTTEN:
                                recall(self.builder, values, x, self._evaluate)
                    values.append(self._evaluate(i))
            found = values[ref]
            self._forgetting.look(recorder, values)
            return found
        if values[ref] is FORGOTTEN:
            with np.errstate(all="ignore"):
                recall(self.builder, values, ref, self._evaluate)
        return values[ref]

    def settle(self, recorder: Any) -> None:
        """Evaluate the new rows that may raise an error, and of the others what these need."""
        values, first = self._values, max(self._settled, len(self._values))
        failing = [i for i, op in enumerate(self.builder.columns["op"][first:], first) if self._may_fail(i, op)]
        self._settled = len(self.builder)
        if not failing:
            return
        self._forgetting.skip(recorder, values, len(self.builder))
        try:
            with np.errstate(all="ignore"):
                for i in failing:
                    recall(self.builder, values, i, self._evaluate_and_count)
        except BaseException:
            del values[failing[0] :]
            self._settled = failing[0]
            raise
        self._forgetting.look(recorder, values)

    def failed_guard(self, recorder: Any) -> Ref | None:
        """The first guard that does not hold; all values up to it are computed."""
        col = self.builder.columns
        for i, op in enumerate(col["op"]):
            self.of(recorder, i)
            if op == GUARD and not _same(*[self.of(recorder, col[c][i]) for c in "ab"]):
                return i
        return None

    def moved(self, recorder: Any, to: np.ndarray) -> "ConcreteValues":
        """These values in the recorder's new builder, where the rows that are still of use stand elsewhere: see
        `Recorder.go_on_in`."""
        found = ConcreteValues(recorder.builder, recorder.given, self._run, self._tentative)
        found._settled = len(found.builder)
        found._forgetting.skip(recorder, found._values, found._settled)
        for value, ref in zip(self._values, to.tolist(), strict=False):
            if value is not FORGOTTEN and ref >= 0:
                found._values[ref] = value
        return found

    def _may_fail(self, i: Ref, op: int) -> bool:
        if op != CALL:
            return op in FAILING
        return bool(self.builder.subs[self.builder.statics_at(self.builder.columns["c"][i])[0]].fails)

    def _evaluate_and_count(self, i: Ref) -> Any:
        found = self._evaluate(i)
        self._forgetting.add(found)
        return found

    def _evaluate(self, i: int) -> Any:
        """The concrete value of row i, those before it given."""
        b, values = self.builder, self._values
        col = b.columns
        code = col["op"][i]
        row = PRIMITIVES[code]
        kind = b.type_list[col["type"][i]]
        if isinstance(row, Elementwise):
            operands = [values[col[c][i]] for c in "abc"[: row.arity]]
            if not kind.shape:
                x = _SCALAR_FUNCTIONS[code](*operands)
                if type(x) is _SCALARS[kind.dtype]:
                    return x
            return _evaluate_elementwise(row, [_wide(x) for x in operands], kind)
        if code == CONST:
            start = col["a"][i]
            x = array(b.constants[start : start + kind.size]).reshape(kind.shape)
            return x.astype(DTYPES[kind.dtype])[()]
        return self._evaluate_array(row, i, kind)

    def _evaluate_array(self, row: Any, i: int, kind: ValueType) -> Any:
        col, values = self.builder.columns, self._values
        a, b, c = col["a"][i], col["b"][i], col["c"][i]
        operands = self.builder.operands[a : a + b] if row.is_pooled else (a, b)[: row.arity]
        if row.form is Form.GUARD:
            return values[a]
        if row.form is Form.INPUT:
            return self.given[i]
        statics = self.builder.statics_at(c) if c >= 0 else ()
        if row.form is Form.COMPOSITE:
            return self.builder.subs[statics[0]].evaluate(values[a], values[b], self._run)
        try:
            x = row.numpy(statics, kind.shape, *(_wide(values[o]) for o in operands))
        except FastadError as error:
            if not self._tentative:
                raise type(error)(f"{error}{at_line()}") from None
            x = np.full(kind.shape, np.nan)
        return asarray(x).astype(DTYPES[kind.dtype], copy=False).reshape(kind.shape)[()]


def _same(x: Any, y: Any) -> bool:
    return np.array_equal(x, y, equal_nan=True)


def _wide(x: Any) -> Any:
    """Narrow integers as int64: rows compute with numbers, which have no range to leave."""
    return x.astype(np.int64) if x.dtype.kind in "iu" and x.dtype != np.int64 else x


def _evaluate_elementwise(row: Elementwise, operands: list[Any], kind: ValueType) -> Any:
    x = row.numpy(*operands)
    if np.shape(x) != kind.shape:
        aligned = [np.reshape(o, kind.shape) if np.size(o) == kind.size else np.reshape(o, ()) for o in operands]
        x = np.broadcast_to(row.numpy(*aligned), kind.shape)
    dtype = DTYPES[kind.dtype]
    return x if getattr(x, "dtype", None) == dtype else asarray(x, dtype)[()]
