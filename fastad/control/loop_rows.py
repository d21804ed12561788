"""The rows of loops: functions recorded for all the paths that a run takes, and the operands and results of a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.parts import (
    Shared,
    any_recorded,
    branch_error,
    cast,
    check_schedule,
    concrete,
    emit,
    kind_of,
    operand_refs,
    structure_error,
)
from fastad.control.paths import Recordings, known, parts_of
from fastad.execution.composites.evaluating import run
from fastad.primitives.regions import region
from fastad.recording.recorded import Recorded
from fastad.tables.columns import DTYPES, ValueType
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.sub import packed, slices, unpacked
from fastad.tables.reference import Stopped
from fastad.transforms.call import unflatten


@dataclass(frozen=True)
class Settled:
    """The functions of a loop, the step first, and the first state with dtypes that the step does not change."""

    functions: list[Recordings]
    leaves: list[Any]

    @property
    def kinds(self) -> list[ValueType]:
        """Types of the state."""
        return [kind_of(x) for x in self.leaves]


def settled(record: Callable[[list[Any]], Recordings], state: Sequence[Any], what: str, tree: Any) -> Settled:
    """The recorded step, and the first state converted to dtypes that the step does not change."""
    leaves = list(state)
    while True:
        own = Settled([record(concrete(leaves))], leaves)
        before, after = own.kinds, own.functions[0].results[: len(leaves)]
        if [k.shape for k in before] != [k.shape for k in after]:
            raise structure_error(what, unflatten(tree, leaves), unflatten(tree, [np.zeros(k.shape) for k in after]))
        leaves = _widened(own)
        if leaves is own.leaves:
            return own


def _widened(own: Settled) -> list[Any]:
    """The first state with dtypes that the step does not change; the same list where they are that already."""
    after = own.functions[0].results[: len(own.leaves)]
    wider = [np.result_type(DTYPES[a.dtype], DTYPES[b.dtype]) for a, b in zip(own.kinds, after, strict=True)]
    if all(DTYPES[k.dtype] == d for k, d in zip(own.kinds, wider, strict=True)):
        return own.leaves
    return [x.astype(d) for x, d in zip(own.leaves, wider, strict=True)]


def run_of(
    state: Sequence[Any], recorded: Callable[[list[Any]], Settled],
    loop_of: Callable[[Settled, Shared], tuple[Loop, list[ValueType]]], elements: Sequence[Any] = (),
) -> tuple[Settled, list[Any]]:  # fmt: skip
    """The functions of a loop, and the leaves of its last state and of its stacked results. `loop_of` makes the loop
    and says the types of these."""
    own = recorded(list(state))
    while True:
        shared = Shared(parts_of(own.functions))
        loop, outputs = loop_of(own, shared)
        check_schedule(loop)
        values = [*own.leaves, *shared.values]
        if known(loop, [_flat(loop, values, elements)], own.functions):
            return own, _emitted(loop, values, elements, outputs, own)
        leaves = _widened(own)
        own = own if leaves is own.leaves else recorded(leaves)


def total(kinds: Sequence[ValueType]) -> int:
    """Size of values of these types."""
    return sum(kind.size for kind in kinds)


def _emitted(
    loop: Loop, values: Sequence[Any], elements: Sequence[Any], outputs: Sequence[ValueType], own: Settled
) -> list[Any]:
    """Emit the loop's row. Returns the leaves of its last state and of its stacked results, of the types `outputs`."""
    count, steps = len(own.leaves), max(loop.length, 0) if loop.condition is None else 0
    if not any_recorded([*values, *elements]):  # there is nothing to record: run it now
        return _on_numbers(loop, _flat(loop, values, elements), count, outputs, parts_of(own.functions))
    recorder, refs = operand_refs([*values, *elements])

    def rows(b: Any) -> list[int]:
        s = loop.sizes
        each = _interleaved(b, refs[len(values) :], steps, s.element)
        state, rest = slices(b, b.call(loop, packed(b, [*refs[: len(values)], each])), (s.state, steps * s.result))
        return [*unpacked(b, state, outputs[:count]), *_stacked(b, rest, outputs[count:], steps, s.result)]

    return list(emit(recorder, rows, parts_of(own.functions)))


def _flat(loop: Loop, values: Sequence[Any], elements: Sequence[Any]) -> np.ndarray:
    """The operands of a loop as one vector of numbers."""
    lead, each = (
        [np.asarray(x.value if isinstance(x, Recorded) else x, float) for x in own] for own in (values, elements)
    )
    rows = [np.reshape(x, (loop.length, -1)) for x in each if x.size]
    return np.concatenate([np.ravel(x) for x in (*lead, np.concatenate(rows, axis=1) if rows else np.zeros(0))])


def _on_numbers(loop: Loop, flat: np.ndarray, count: int, outputs: Any, parts: Any) -> list[Any]:
    """The results of a loop that is run now, on plain arrays."""
    try:
        out = run(loop, flat)
    except Stopped:
        raise branch_error(parts) from None
    found, at = [], 0
    for kind in outputs[:count]:
        found.append(out[at : at + kind.size].reshape(kind.shape).astype(DTYPES[kind.dtype]))
        at += kind.size
    each = out[at:].reshape(max(loop.length, 0), -1) if outputs[count:] else None
    at = 0
    for kind in outputs[count:]:
        assert each is not None
        own = each[:, at : at + kind.size].reshape(loop.length, *kind.shape)
        found.append(own.astype(DTYPES[kind.dtype]))
        at += kind.size
    return found


def _interleaved(b: Any, refs: Sequence[int], steps: int, width: int) -> int:
    """The elements of all steps as one vector: step by step, and for each step leaf by leaf."""
    pieces, places, at = [], [], 0
    for ref in refs:
        own = b.size(ref) // max(steps, 1)
        if b.size(ref):
            pieces.append(ref)
            places.append(region(at, (steps, own), (width, 1)))
        at += own
    return b.assemble(pieces, places, (steps * width,)) if pieces else b.zeros((0,))


def _stacked(b: Any, rest: int, kinds: Sequence[ValueType], steps: int, width: int) -> list[int]:
    """The stacked results of all steps, one array for each leaf."""
    found, at = [], 0
    for kind in kinds:
        shape = (steps, *kind.shape)
        if steps * kind.size:
            place = region(at, (steps, kind.size), (width, 1))
            found.append(b.region(rest, place, shape, kind.dtype))
        else:
            found.append(cast(b, b.zeros(shape), ValueType(shape, kind.dtype)))
        at += kind.size
    return found
