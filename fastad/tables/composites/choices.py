"""Composite rows that choose among branches, and those that run several lanes.

Each derives to the same kind: a tangent of a choice is a choice among tangents. Loops are in `loops`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from fastad.errors import TableError
from fastad.kernels.records import BRANCH, KERNEL, LANES, record
from fastad.once import lazy
from fastad.tables.builder import Builder, Ref
from fastad.tables.composites.driver import Data, Driver, Parameters, filled
from fastad.tables.composites.spans import Span, to_lanes, to_spans
from fastad.tables.composites.sub import Sub, emit_joint_inline, made, packed, slices
from fastad.tables.passes.operations import Operations
from fastad.tables.reference import Runner

MOST_BLOCKS = 256  # of lanes: enough for many threads to end at about the same time


# ── choices ───────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Branch(Driver, kind="branch"):
    """[number | operands] to the result of that branch; numbers outside of the range count as the nearest one."""

    branches: tuple[Sub, ...] = ()
    kernel = "fastad.kernels.branching.run_branch"

    @staticmethod
    def of(branches: Sequence[Sub], name: str) -> "Branch":
        """The choice among sub-programs of the same sizes."""
        return Branch(1 + branches[0].n_in, branches[0].n_out, name, branches=tuple(branches))

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {f"branch {number}": part for number, part in enumerate(self.branches)}

    @lazy
    def key(self) -> str:
        return f"branch {[part.key for part in self.branches]}"

    @property
    def kind_text(self) -> str:
        return f"choice among {len(self.branches)} branches"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    def parameters(self) -> Parameters:
        count = len(self.branches)
        dtype = record(*((name, BRANCH[name]) for name in BRANCH.names or ()), ("branches", KERNEL, (count,)))
        return Parameters(filled(dtype, count=count), {"branches": self.branches})

    def _chosen(self, x: np.ndarray) -> int:
        return 0 if np.isnan(x[0]) else int(np.clip(x[0], 0, len(self.branches) - 1))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self.branches[self._chosen(x)].evaluate(x[1:])

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        number = self._chosen(x)
        yield f"branch {number} of {self.name}", self.branches[number], x[1:]

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        return max((of(part) for part in self.branches), key=lambda own: own.total)

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        return reduce(sets.either, (part.dependencies(sets, x[1:]) for part in self.branches))

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        if not self.branches:
            return "a choice without branches"
        if any(part.n_saved for part in self.branches):
            return "a branch that needs saved states"
        same = {(part.n_in + 1, part.n_out) for part in self.branches} == {(self.n_in, self.n_out)}
        return None if same else "branches of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"branches": [write(part) for part in self.branches]}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Branch":
        branches = [read(part) for part in data.of("branches", list)]
        if not branches:
            raise TableError(f"{name}: a choice without branches")
        return Branch.of(branches, name)

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    @lazy
    def _joint(self) -> "Branch":
        return Branch.of([joint_sub(part) for part in self.branches], f"tangent of {self.name}")

    @lazy
    def _adjoint(self) -> "Branch":
        return Branch.of([part.adjoint for part in self.branches], f"adjoint of {self.name}")

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        moving = slices(b, dx, (1, self.n_in - 1))[1]
        y, dy = slices(b, b.call(self._joint, packed(b, [x, moving])), (self.n_out, self.n_out))
        return y, dy

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        return packed(b, [b.zeros((1,)), b.call(self._adjoint, packed(b, [x, u]))])

    def batched(self, size: int) -> Sub:
        return Lanes.of(self, size)


# ── lanes ─────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Lanes(Driver, kind="lanes"):
    """One sub-program on each of several lanes, lane after lane in memory. Each lane takes its own branches, and as
    many steps as it needs."""

    sub: Sub | None = None
    size: int = 0
    kernel = "fastad.kernels.branching.run_lanes"

    @staticmethod
    def of(sub: Sub, size: int) -> "Lanes":
        """The sub-program over `size` lanes."""
        name = f"{sub.name} over {size} lanes"
        return Lanes(size * sub.n_in, size * sub.n_out, name, sub=sub, size=size)

    @property
    def lane(self) -> Sub:
        """The sub-program of one lane."""
        assert self.sub is not None
        return self.sub

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {"of each lane": self.lane}

    @lazy
    def key(self) -> str:
        return f"{self.size} lanes of {self.lane.key}"

    @property
    def kind_text(self) -> str:
        return f"{self.size:,} lanes"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def block(self) -> int:
        """Lanes of a block."""
        return max(-(-self.size // MOST_BLOCKS), 1)

    @property
    def blocks(self) -> int:
        return -(-self.size // self.block)

    def parameters(self) -> Parameters:
        lane, n = self.lane, self.size
        p = filled(LANES, count=n, block=self.block, operands=lane.n_in, results=lane.n_out, saved=lane.n_saved)
        return Parameters(p, {"lane": lane})

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([self.lane.evaluate(own) for own in x.reshape(self.size, self.lane.n_in)])

    def calls(self, x: np.ndarray, run: Runner | None = None) -> Iterator[tuple[str, Sub, np.ndarray]]:
        for number, own in enumerate(x.reshape(self.size, self.lane.n_in)):
            yield f"lane {number} of {self.lane.name}", self.lane, own

    def numbers(self, value: np.ndarray) -> np.ndarray:
        return np.concatenate([self.lane.numbers(own) for own in value.reshape(self.size, -1)] or [value])

    @property
    def repetitions(self) -> int:
        return self.size

    def operations(self, of: Callable[[Sub], Operations]) -> Operations:
        return self.size * of(self.lane)

    def dependencies(self, sets: Any, x: np.ndarray) -> np.ndarray:
        return sets.through(self.lane.standalone.structure.repeated(self.size), x)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        own = (self.size * self.lane.n_in, self.size * self.lane.n_out)
        return None if self.size >= 0 and own == (self.n_in, self.n_out) else "lanes of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"lanes": self.size, "sub": write(self.lane)}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Lanes":
        sub, size = read(data.get("sub")), data.of("lanes", int)
        return Lanes(size * sub.n_in, size * sub.n_out, name, sub=sub, size=size)

    # ── saved states of the lanes ────────────────────────────────────────────────────────────────────────────
    @property
    def n_saved(self) -> int:
        return self.size * self.lane.n_saved

    @property
    def standalone(self) -> Sub:
        return Lanes.of(self.lane.standalone, self.size)

    @property
    def result_is_overwritten(self) -> bool:
        return self.lane.result_is_overwritten

    @property
    def overwrites_saved(self) -> bool:
        return self.lane.overwrites_saved

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    @lazy
    def _joint(self) -> "Lanes":
        return Lanes.of(joint_sub(self.lane.standalone), self.size)

    @lazy
    def _adjoint(self) -> "Lanes":
        return Lanes.of(self.lane.standalone.adjoint, self.size)

    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        sub, size = self.lane, self.size
        operands = to_lanes(b, packed(b, [x, dx]), size, [Span(1, sub.n_in), Span(1, sub.n_in)])
        results = to_spans(b, b.call(self._joint, operands), size, [Span(1, sub.n_out), Span(1, sub.n_out)])
        y, dy = slices(b, results, (self.n_out, self.n_out))
        return y, dy

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        sub, size = self.lane, self.size
        return b.call(self._adjoint, to_lanes(b, packed(b, [x, u]), size, [Span(1, sub.n_in), Span(1, sub.n_out)]))

    def batched(self, size: int) -> Sub:
        return Lanes.of(self.lane, size * self.size)


def joint_sub(sub: Sub) -> Sub:
    """(x, dx) to (y, dy) of a sub-program."""

    def emit(b: Builder, v: Ref) -> Ref:
        return packed(b, emit_joint_inline(b, sub, *slices(b, v, (sub.n_in, sub.n_in))))

    return made(f"tangent of {sub.name}", 2 * sub.n_in, emit)
