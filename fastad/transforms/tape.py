"""`Tape`: recording by hand in three phases, forward (values and graph), backward (adjoints) and reset."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastad.errors import DerivativeError, RecordingError, ShapeError
from fastad.execution.compiled import Compiled
from fastad.execution.composites.evaluating import run
from fastad.execution.request import Request
from fastad.execution.traced import traced
from fastad.recording.recorded import Recorded
from fastad.recording.recorder import Recorder, with_inputs
from fastad.tables.builder import Ref
from fastad.tables.columns import DTYPES
from fastad.tables.table import Table


class Variable(Recorded):
    """An input of a tape. `value` is its value, `grad` the adjoint that `Tape.backward` has accumulated."""

    __slots__ = ("grad",)
    __hash__ = object.__hash__

    def __init__(self, recorder: Recorder, ref: Ref) -> None:
        super().__init__(recorder, ref)
        self._locked = True
        self.grad: Any = _zeros(recorder, ref)


class Tape:
    """Records what is computed from its variables inside the `with` block, and then computes adjoints.

    1. Forward: inside the block, values are computed and the graph is recorded.
    2. Backward: `backward(y)` adds the adjoints of the variables to their `grad`.
    3. Reset: `zero_grad()` sets them to zero. Without it, the next `backward` adds to them.

    >>> import fastad as fad
    >>> with fad.Tape() as tape:
    ...     x0, x1 = tape.variable(2.0), tape.variable(1.0)
    ...     f = (2 * x0 + 5 * x1) * (3 * x0 * x1)
    >>> tape.backward(f)
    >>> float(f.value), float(x0.grad), float(x1.grad)
    (54.0, 39.0, 84.0)
    """

    def __init__(self, tier: str = "sweep") -> None:
        self._recorder = Recorder(run)
        self._variables: list[Variable] = []
        self._last: Ref | None = None
        self._tier = tier
        self._pulls: dict[Ref, Compiled] = {}

    def __enter__(self) -> "Tape":
        if self._variables:
            raise RecordingError("a tape records once; make a new one with fad.Tape()")
        self._recorder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._recorder.__exit__(*exc)

    def variable(self, value: Any) -> Variable:
        """A new variable with this value (a number, or an array, which is copied)."""
        if not self._recorder.open:
            raise RecordingError("variables must be made inside the `with fad.Tape() as tape:` block")
        x = np.array(value)
        x = x.astype(np.float64) if x.dtype.kind in "iub" else x
        variable = Variable(self._recorder, self._recorder.input(x[()]))
        self._variables.append(variable)
        return variable

    def backward(self, y: Recorded, seed: Any = 1.0) -> None:
        """Add seed · ∂y/∂x to `grad` of every variable x. seed has the shape of y; the default is for a scalar y."""
        if not isinstance(y, Recorded) or y._recorder is not self._recorder:
            raise DerivativeError("backward needs a value that was recorded by this tape: compute it inside its block")
        ref = y.ref
        given = np.asarray(seed, np.float64)
        if given.shape != y.shape:
            raise ShapeError(f"backward: y has shape {y.shape}; give a seed of this shape (got {given.shape})")
        pull = self._pulls.get(ref)
        if pull is None:
            pull = self._pulls[ref] = self._pull(ref)
        bars = pull([*self._inputs(), given, *(c.array for c in self._recorder.captures)])[1:]
        for x, bar in zip(self._variables, bars, strict=True):
            x.grad = x.grad + bar
        self._last = ref

    def zero_grad(self) -> None:
        """Set all adjoints to zero, so that the next `backward` does not add to old ones."""
        for x in self._variables:
            x.grad = _zeros(self._recorder, x.ref)

    def replay(self, values: Mapping[Variable, Any]) -> None:
        """Recompute all values for new values of some variables. The adjoints do not change.

        Raises `RecordingError` where another branch would be taken: then a new tape must be recorded.
        """
        recorder = self._recorder
        if recorder.open:
            raise RecordingError("replay must be called after the `with` block of the tape")
        if not isinstance(values, Mapping):
            raise ShapeError(f"replay takes a dict {{variable: new value}}, not {type(values).__name__}")
        fresh = {x.ref: self._checked(x, value) for x, value in values.items()}
        failed = recorder.replay(fresh)
        if failed is not None:
            line = self._table(()).line_of(failed)
            raise RecordingError(f"with these values another branch would be taken at {line}; record a new tape")

    @property
    def table(self) -> Table:
        """The op table. Its result is the value of the last call of `backward`, or the last row before any."""
        last = self._last if self._last is not None else len(self._recorder.builder) - 1
        return traced(self._table((last,) if last >= 0 else ()))

    def __repr__(self) -> str:
        return f"<fastad Tape: {len(self._variables)} variable(s), {len(self._recorder.builder)} rows>"

    def _repr_svg_(self) -> str:
        from fastad.tables.shown.drawing import to_svg

        values = [*self._inputs(), *(c.array for c in self._recorder.captures)]
        return to_svg(self.table, values, run=run)

    def _table(self, outputs: tuple[Ref, ...]) -> Table:
        return self._recorder.builder.table(outputs, [c.array for c in self._recorder.captures])

    def _inputs(self) -> list[Any]:
        return [x.value for x in self._variables]

    def _pull(self, ref: Ref) -> Compiled:
        order = [*(x.ref for x in self._variables), *(c.ref for c in self._recorder.captures)]
        table = with_inputs(self._recorder.builder, (ref,), order, {}, [c.array for c in self._recorder.captures])
        wrt = tuple(range(len(self._variables)))
        return Compiled(Request(table, "adjoint", wrt), self._tier)

    def _checked(self, x: Variable, value: Any) -> Any:
        if not isinstance(x, Variable) or x._recorder is not self._recorder:
            raise ShapeError("replay takes a dict {variable: new value} of variables of this tape")
        new = np.array(value, x.dtype)
        if new.shape != x.shape:
            raise ShapeError(f"replay: the variable has shape {x.shape}, the new value {new.shape}")
        return new[()]


def _zeros(recorder: Recorder, ref: Ref) -> Any:
    kind = recorder.builder.type(ref)
    return np.zeros(kind.shape, DTYPES[kind.dtype])[()]
