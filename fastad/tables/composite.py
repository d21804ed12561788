"""Composite rows that numba drivers run; here those that choose among branches, and those that run several lanes.

Each derives to the same kind: a tangent of a choice is a choice among tangents. Loops are in `fastad.tables.loops`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fastad.tables.blocks import Block, to_blocks, to_lanes
from fastad.tables.builder import Builder, Ref
from fastad.tables.inline import compact
from fastad.tables.sub import Sub, emit_joint_inline, packed, slices

# How drivers are run, set by `fastad.execution.drivers`; without it their definition in NumPy is.
runner: "Callable[[Driver, np.ndarray, Any], np.ndarray] | None" = None


class Driver(Sub):
    """A sub-program that a driver runs; `parts` are the sub-programs that it calls."""

    @property
    def parts(self) -> tuple[Sub, ...]:
        raise NotImplementedError

    @property
    def has_guards(self) -> bool:
        return any(part.has_guards for part in self.parts)

    @property
    def fails(self) -> bool:
        return any(part.fails for part in self.parts)

    def evaluate(self, x: Any, kept: Any = None) -> np.ndarray:
        flat = np.ascontiguousarray(x, np.float64).reshape(-1)
        return self.reference(flat) if runner is None else runner(self, flat, kept if self.n_kept else None)

    def reference(self, x: np.ndarray) -> np.ndarray:
        """What the driver computes, step by step in Python."""
        raise NotImplementedError

    @property
    def keeps(self) -> bool:
        """Whether a forward pass can keep something for the adjoint."""
        return False

    def _differentiable(self) -> Sub:
        """A table that has the driver as its only row."""
        b = Builder()
        return Sub(self.n_in, self.n_out, self.name, b.table([b.call(self.by_itself, b.input((self.n_in,)))]))


def made(name: str, n_in: int, emit: Callable[[Builder, Ref], Ref]) -> Sub:
    """The sub-program whose rows `emit` writes."""
    b = Builder()
    out = emit(b, b.input((n_in,)))
    flat = b.reshape(out, (b.size(out),))
    return Sub(n_in, b.size(out), name, compact(b.table([flat])))


# ── choices ───────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Branch(Driver):
    """[number | operands] to the result of that branch; numbers outside of the range count as the nearest one."""

    branches: tuple[Sub, ...] = ()

    @staticmethod
    def of(branches: Sequence[Sub], name: str) -> "Branch":
        """The choice among sub-programs of the same sizes."""
        return Branch(1 + branches[0].n_in, branches[0].n_out, name, branches=tuple(branches))

    @property
    def parts(self) -> tuple[Sub, ...]:
        return self.branches

    @cached_property
    def key(self) -> str:
        return f"branch {[part.key for part in self.branches]}"

    def reference(self, x: np.ndarray) -> np.ndarray:
        number = 0 if np.isnan(x[0]) else int(np.clip(x[0], 0, len(self.branches) - 1))
        return self.branches[number].evaluate(x[1:])

    @cached_property
    def _joint(self) -> "Branch":
        return Branch.of([joint_sub(part) for part in self.branches], f"tangent of {self.name}")

    @cached_property
    def _adjoint(self) -> "Branch":
        return Branch.of([part.adjoint for part in self.branches], f"adjoint of {self.name}")

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        moving = slices(b, dx, (1, self.n_in - 1))[1]
        y, dy = slices(b, b.call(self._joint, packed(b, [x, moving])), (self.n_out, self.n_out))
        return y, dy

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, kept: Ref | None) -> Ref:
        return packed(b, [b.zeros((1,)), b.call(self._adjoint, packed(b, [x, u]))])

    def batched(self, size: int) -> Sub:
        return Lanes.of(self, size)


# ── lanes ─────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Lanes(Driver):
    """One sub-program on each of several lanes, lane after lane in memory: each goes its own way through branches
    and loops."""

    sub: Sub | None = None
    size: int = 0

    @staticmethod
    def of(sub: Sub, size: int) -> "Lanes":
        """The sub-program over `size` lanes."""
        name = f"{sub.name} over {size} lanes"
        return Lanes(size * sub.n_in, size * sub.n_out, name, sub=sub, size=size)

    @property
    def parts(self) -> tuple[Sub, ...]:
        assert self.sub is not None
        return (self.sub,)

    @property
    def n_kept(self) -> int:
        return self.size * self.parts[0].n_kept

    @property
    def by_itself(self) -> Sub:
        return Lanes.of(self.parts[0].by_itself, self.size)

    @property
    def fills_kept(self) -> bool:
        return self.parts[0].fills_kept

    @property
    def changes_kept(self) -> bool:
        return self.parts[0].changes_kept

    @cached_property
    def key(self) -> str:
        return f"{self.size} lanes of {self.parts[0].key}"

    def reference(self, x: np.ndarray) -> np.ndarray:
        (sub,) = self.parts
        return np.concatenate([sub.evaluate(lane) for lane in x.reshape(self.size, sub.n_in)])

    @cached_property
    def _joint(self) -> "Lanes":
        return Lanes.of(joint_sub(self.parts[0].by_itself), self.size)

    @cached_property
    def _adjoint(self) -> "Lanes":
        return Lanes.of(self.parts[0].by_itself.adjoint, self.size)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        (sub,), size = self.parts, self.size
        operands = to_lanes(b, packed(b, [x, dx]), size, [Block(1, sub.n_in), Block(1, sub.n_in)])
        results = to_blocks(b, b.call(self._joint, operands), size, [Block(1, sub.n_out), Block(1, sub.n_out)])
        y, dy = slices(b, results, (self.n_out, self.n_out))
        return y, dy

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, kept: Ref | None) -> Ref:
        (sub,), size = self.parts, self.size
        return b.call(self._adjoint, to_lanes(b, packed(b, [x, u]), size, [Block(1, sub.n_in), Block(1, sub.n_out)]))

    def batched(self, size: int) -> Sub:
        return Lanes.of(self.parts[0], size * self.size)


def joint_sub(sub: Sub) -> Sub:
    """(x, dx) to (y, dy) of a sub-program."""

    def emit(b: Builder, v: Ref) -> Ref:
        return packed(b, emit_joint_inline(b, sub, *slices(b, v, (sub.n_in, sub.n_in))))

    return made(f"tangent of {sub.name}", 2 * sub.n_in, emit)
