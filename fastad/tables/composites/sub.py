"""Sub-programs: what a composite row runs. A sub-program maps one vector to one vector, whatever it computes.

`call` rows run a sub-program once. The derivative of a call is a call of the derived sub-program, so composite rows
derive to composite rows; inside the derived program the values are computed anew, which is what recomputation
instead of storage means (checkpointing of one piece of a program, Griewank & Walther, Evaluating Derivatives, 2008,
chapter 12).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from fastad.errors import DerivativeError, FastadError
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.inline import compact, inline
from fastad.tables.passes.kinks import with_limits
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner, evaluate
from fastad.tables.table import Table

_numbers = itertools.count()


@dataclass(frozen=True, eq=False)
class Sub:
    """A vector function: a table with one input and one output, both vectors, or a Python `callback`.

    `rules` give the sub-programs of (x, dx) to dy and of (x, u) to Jᵀu, both operands concatenated (see
    `fastad.tables.composites.sub_rules`); without them the table is derived. `name` is for people.
    """

    n_in: int
    n_out: int
    name: str
    table: Table | None = None
    callback: Callable[[np.ndarray], np.ndarray] | None = None
    rules: Any = None
    reason: str = ""  # why a callback could not be recorded
    _number: int = field(default_factory=lambda: next(_numbers))

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # addresses of kernels belong to this process

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"_number": next(_numbers)})

    @lazy
    def key(self) -> str:
        """Equal for sub-programs that compute the same; only tables can be compared."""
        rules = "" if self.rules is None else self.rules.key
        return f"sub {self._number}" if self.table is None or rules is None else f"table {self.table.hash}{rules}"

    # ── what others ask of a composite row ───────────────────────────────────────────────────────────────────────
    @property
    def named_parts(self) -> "Mapping[str, Sub]":
        """The sub-programs that it calls, by what each is to it, if a driver runs it (see `Driver`)."""
        return {}

    @property
    def parts(self) -> "tuple[Sub, ...]":
        """The sub-programs that it calls."""
        return tuple(self.named_parts.values())

    @property
    def kind_text(self) -> str:
        """What it is, in words."""
        return "sub-program" if self.table is not None else "Python function"

    def check(self) -> str | None:
        """What is wrong with it; None if nothing is."""
        return None

    def calls(self, x: np.ndarray, run: Runner | None = None) -> "Iterator[tuple[str, Sub, np.ndarray]]":
        """The calls of its parts in a run, in order: where ("step 3 of scan"), the part, its argument. `run`: see
        `evaluate`."""
        return iter(())

    def failure(self, x: np.ndarray, run: "Runner") -> Exception | None:
        """The error that a run for this vector ends in, told from the part that fails; None if none does."""
        try:
            for _, part, argument in self.calls(x, run):
                part.standalone.evaluate(argument, run=run)
        except FastadError as error:
            return error
        return None

    def numbers(self, value: np.ndarray) -> np.ndarray:
        """The part of its result that are numbers of the user's: saved states may be anything."""
        return value

    def operations(self, of: "Callable[[Sub], Operations]") -> Operations:
        """Operations of a run, if it has no table of its own; `of` gives those of its parts."""
        return Operations(functions=self.n_out)

    def work_bytes(self, of: "Callable[[Sub], int]") -> int:
        """Bytes that a run needs besides operands and results; `of` gives those of its parts."""
        return max((of(part) for part in self.parts), default=0)

    @property
    def repetitions(self) -> int | None:
        """How often a run calls its parts, about; None where that is not known, and may be often."""
        return 1

    @property
    def loop_size(self) -> tuple[int, int] | None:
        """Steps of a loop whose schedule can be chosen (see `scheduled`), and bytes of its state; None: it is none."""
        return None

    @property
    def open_size(self) -> int | None:
        """Bytes of the state of a loop whose schedule can be chosen, but whose steps are known only after they were
        made (see `limited`); None: it is none."""
        return None

    @property
    def counted(self) -> tuple[int, ...]:
        """Places among the results whose sum is the number of steps that a run has made; none if there are no such."""
        return ()

    def limited(self, steps: int) -> "Sub":
        """The same with at most so many steps, for those with an `open_size`."""
        raise NotImplementedError

    def scheduled(self, schedule: Any, *, progress: bool = False) -> "Sub":
        """The same with another schedule, and with a progress bar, for those with a `loop_size` or an `open_size`."""
        raise NotImplementedError

    @property
    def has_guards(self) -> bool:
        return self.table is not None and bool(self.table.guards)

    @property
    def fails(self) -> bool:
        """Whether a run may end in an error of the user's own, or on another path."""
        return self.has_guards or self.callback is not None

    @lazy
    def calls_python(self) -> bool:
        """Whether a run may call Python, as only the thread that was called from there may."""
        if self.callback is not None or self.calls_back or any(part.calls_python for part in self.parts):
            return True
        return self.table is not None and (
            any(getattr(row, "calls_python", False) for row in self.table.primitives)
            or any(inner.calls_python for inner in self.table.subs)
        )

    @property
    def calls_back(self) -> bool:
        """Whether its own driver calls Python."""
        return False

    @property
    def failures(self) -> Sequence[tuple[type[Exception], str]]:
        """Errors that a run may end in by itself, besides those of its rows and parts."""
        return ()

    @lazy
    def tangent(self) -> "Sub":
        """(x, dx) to dy."""
        if self.rules is not None:
            return self.rules.tangent(self)
        return derived_tangent(self._differentiable())

    @lazy
    def adjoint(self) -> "Sub":
        """(x, u) to Jᵀu."""
        if self.rules is not None:
            return self.rules.adjoint(self)
        return derived_adjoint(self._differentiable())

    # ── sparsity ─────────────────────────────────────────────────────────────────────────────────────────────────
    @lazy
    def structure(self) -> Any:
        """The pattern of its Jacobian, for all arguments (`fastad.tables.sparsity.sets.Structure`)."""
        from fastad.tables.sparsity.parts import structure_of

        return structure_of(self)

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        """For each element of the result, the set of what it depends on, given those of the argument (see
        `fastad.tables.sparsity.sets`)."""
        return sets.through(self.structure, x)

    # ── states that a forward pass saves for an adjoint ──────────────────────────────────────────────────────────
    @property
    def n_saved(self) -> int:
        """Length of the saved states that this adjoint takes as its second operand; 0: it takes none."""
        return 0

    @property
    def standalone(self) -> "Sub":
        """What computes the same from its argument alone, without saved states."""
        return self

    @property
    def result_is_overwritten(self) -> bool:
        """Whether an adjoint may overwrite the result, which holds saved states."""
        return False

    @property
    def overwrites_saved(self) -> bool:
        """Whether a run overwrites the saved states that it takes."""
        return False

    @property
    def can_save(self) -> bool:
        """Whether the forward pass can save states for the adjoint, by `emit_saving`."""
        return False

    def emit_saving(self, b: Any, x: Ref) -> tuple[Ref, Ref]:
        """The result, and the saved states."""
        raise NotImplementedError

    # ── as a row: what derivation and batching emit for a call ───────────────────────────────────────────────────
    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        """The result and its tangent."""
        if self.rules is not None:
            return self.rules.emit_joint(self, b, x, dx)
        return b.call(self, x), b.call(self.tangent, packed(b, [x, dx]))

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        """Jᵀu; `saved` are the states that the forward pass saved, if it did."""
        if self.rules is not None:
            return self.rules.emit_adjoint(self, b, x, u)
        return b.call(self.adjoint, packed(b, [x, u]))

    def emit_adjoint_where(self, b: Any, x: Ref, u: Ref, saved: Ref | None, wanted: Callable[[], np.ndarray]) -> Ref:
        """`emit_adjoint`, where elements of Jᵀu for which `wanted` is false may be zeros instead."""
        return self.emit_adjoint(b, x, u, saved)

    def emit_batched(self, b: Any, x: Ref, size: int, saved: Ref | None = None) -> Ref:
        """The results of `size` lanes, of operands (and saved states) lane after lane."""
        if self.rules is not None:
            return self.rules.emit_batched(self, b, x, size)
        return b.call(self.batched(size), x)

    def emit_elements(self, b: Any, x: Sequence[Ref], lanes: int) -> list[Ref] | None:
        """The elements of the result over lanes, each of shape (lanes,), of those of the operand, which are (lanes,) or
        the same for all; None: it does not come apart into elements (see `fastad.tables.passes.lanes`)."""
        return None

    def _differentiable(self) -> "Sub":
        if self.table is None:
            raise DerivativeError(
                f"{self.name} has no derivative rule, and its source cannot be recorded; give jvp= or vjp="
            )
        return self

    def batched(self, size: int) -> "Sub":
        """The sub-program over `size` lanes, one lane after another in memory."""
        name, rules = f"{self.name} over {size} lanes", self.rules and self.rules.over_lanes(self, size)
        if self.table is None:
            return Sub(size * self.n_in, size * self.n_out, name, callback=_in_lanes(self, size), rules=rules)
        from fastad.tables.passes.batch import batch_table

        table, (flag,) = batch_table(self.table, [True], size)
        b = Builder()
        x = b.input((size * self.n_in,))
        out = inline(b, table, [b.reshape(x, (size, self.n_in))])[table.outputs[0]]
        full = out if flag else b.broadcast(out, (size, self.n_out))
        flat = compact(b.table([b.reshape(full, (size * self.n_out,))]))
        return Sub(size * self.n_in, size * self.n_out, name, flat, rules=rules)

    def evaluate(self, x: Any, saved: Any = None, run: Runner | None = None) -> np.ndarray:
        """The result for a vector, by NumPy; `saved` are the saved states, for those that take them. `run` runs the
        drivers; without it their definitions in Python are."""
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        if self.table is None:
            assert self.callback is not None
            return np.asarray(self.callback(flat), np.float64).reshape(self.n_out)
        return evaluate(self.table, [flat], run)[0]


def flat_sub(table: Table, name: str) -> Sub:
    """A table with any inputs and results as a sub-program of one vector (captured arrays become inputs too)."""
    b = Builder()
    x = b.input((sum(kind.size for kind in table.inputs),))
    refs = inline(b, table, unpacked(b, x, table.inputs))
    out = packed(b, [refs[i] for i in table.outputs])
    return Sub(b.size(x), b.size(out), name, compact(b.table([out])))


def packed(b: Any, refs: Sequence[Ref]) -> Ref:
    """Values one after another, as one vector."""
    if len(refs) == 1:
        return b.reshape(refs[0], (b.size(refs[0]),))
    ends = np.cumsum([b.size(x) for x in refs]).tolist()
    regions = [region(end - b.size(x), (b.size(x),), (1,)) for x, end in zip(refs, ends, strict=True)]
    return b.assemble(refs, regions, (ends[-1] if ends else 0,))


def made(name: str, n_in: int, emit: Callable[[Builder, Ref], Ref]) -> Sub:
    """The sub-program whose rows `emit` writes."""
    b = Builder()
    out = emit(b, b.input((n_in,)))
    flat = b.reshape(out, (b.size(out),))
    return Sub(n_in, b.size(out), name, compact(b.table([flat])))


def unpacked(b: Any, x: Ref, kinds: Sequence[ValueType]) -> list[Ref]:
    """The values that `packed` put into a vector."""
    refs, start = [], 0
    for kind in kinds:
        refs.append(b.region(x, (start, kind.size, 1), kind.shape, kind.dtype))
        start += kind.size
    return refs


def slices(b: Any, x: Ref, sizes: Sequence[int]) -> list[Ref]:
    """A vector cut into vectors of these sizes."""
    return unpacked(b, x, [ValueType((n,), "d") for n in sizes])


def derived_tangent(sub: Sub) -> Sub:
    """The tangent sub-program of a table."""
    from fastad.tables.passes.derive import tangent_table

    assert sub.table is not None
    derived = tangent_table(with_limits(sub.table), [0])
    return _select(derived, (sub.n_in, sub.n_in), sub.n_out, f"tangent of {sub.name}")


def derived_adjoint(sub: Sub) -> Sub:
    """The adjoint sub-program of a table: values are computed anew, then adjoints."""
    from fastad.tables.passes.derive import adjoint_table

    assert sub.table is not None
    derived = adjoint_table(with_limits(sub.table), [0])
    return _select(derived, (sub.n_in, sub.n_out), sub.n_in, f"adjoint of {sub.name}")


def transposed(sub: Sub, n: int, name: str) -> Sub:
    """From (x, v) to L(x) v, linear in v, the sub-program of (x, u) to L(x)ᵀ u; x has n elements."""
    from fastad.tables.passes.derive import adjoint_table

    if sub.table is None:
        raise DerivativeError(
            f"{name}: a rule that cannot be recorded ({sub.reason}) cannot be transposed; give both jvp= and vjp="
        )
    parts = Builder()  # with x and v apart, so that nothing is derived by x: a rule may call its own primitive on x
    x, v = parts.input((n,)), parts.input((sub.n_in - n,))
    split = parts.table([inline(parts, sub.table, [packed(parts, [x, v])])[sub.table.outputs[0]]])
    derived = adjoint_table(compact(split), [1])
    b = Builder()
    x, u = unpacked(b, b.input((n + sub.n_out,)), [ValueType((n,), "d"), ValueType((sub.n_out,), "d")])
    out = inline(b, derived, [x, b.zeros((sub.n_in - n,)), u])[derived.outputs[1]]
    return Sub(n + sub.n_out, sub.n_in - n, name, compact(b.table([out])))


def _select(table: Table, sizes: tuple[int, int], n_out: int, name: str) -> Sub:
    """A derived table of two vectors as a sub-program of one, with its last result only."""
    b = Builder()
    v = b.input((sum(sizes),))
    inputs = unpacked(b, v, [ValueType((n,), "d") for n in sizes])
    out = inline(b, table, inputs)[table.outputs[-1]]
    return Sub(sum(sizes), n_out, name, compact(b.table([out])))


def _in_lanes(sub: Sub, size: int) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        return np.concatenate([sub.evaluate(lane) for lane in x.reshape(size, sub.n_in)])

    return run


def emit_inline(b: Any, sub: Sub, x: Ref) -> Ref:
    """The rows of a sub-program of its own table, or a call of another one."""
    if sub.table is None:
        return b.call(sub, x)
    return inline(b, sub.table, [x])[sub.table.outputs[0]]


def emit_joint_inline(b: Any, sub: Sub, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
    """Result and tangent of a sub-program, by the rows of its table where it has no rules of its own."""
    if sub.table is None or sub.rules is not None:
        return sub.emit_joint(b, x, dx)
    from fastad.tables.passes.derive import tangent_table

    derived = tangent_table(with_limits(sub.table), [0])
    refs = inline(b, derived, [x, dx])
    return refs[derived.outputs[0]], refs[derived.outputs[1]]
