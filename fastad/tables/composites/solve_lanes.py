"""Solves of an ensemble in SIMD lanes, as composite rows: every trajectory with steps of its own.

Values and derivatives are those of the solves one by one. What is derived from an ensemble is derived from one solve,
and made an ensemble again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastad.errors import TableError
from fastad.kernels.records import MARKS, RUN, SOLVE_LANES
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Lanes, joint_sub
from fastad.tables.composites.driver import Data, Parameters, filled
from fastad.tables.composites.lane_control import with_verdict
from fastad.tables.composites.repeated import total_of
from fastad.tables.composites.sub import Sub
from fastad.tables.passes.lanes import NoLanes, over_lanes

# Lanes: enough SIMD vectors that the latency of one is hidden by the others, few enough for the nearest cache. Native
# code makes rows of more than 16 numbers loops, which keep a whole step in registers.
WIDTH = 24
_BLOCK = 4 * WIDTH  # trajectories of a block of adaptive steps, at least: the last ones leave lanes idle
_BLOCKS = 64  # at most, before they become larger
_ROOM = 1024  # states of each that can be stored
_STORED = 2**23  # numbers in the stored states of a block


# ── choosing ──────────────────────────────────────────────────────────────────────────────────────────────────
def emit_lanes(b: Any, solve: Any, x: Ref, size: int) -> Ref:
    """The results of `size` solves, lane after lane: in SIMD lanes where the step comes apart into elementwise rows.
    The adjoint in lanes makes its own states, so none are saved for it."""
    own = SolveLanes.of(solve.without_saving, size)
    if not own.is_possible or (solve.saves and not SolveLanesAdjoint.of(own.solve, size).is_possible):
        return b.call(Lanes.of(solve, size), x)
    out = b.call(own, x)
    if not solve.saves:
        return out
    kept = region(0, (size, solve.n_results), (solve.n_out, 1))
    return b.assemble([out], [kept], (size * solve.n_out,))


def emit_adjoint_lanes(b: Any, adjoint: Any, x: Ref, size: int, saved: Ref | None) -> Ref:
    """The adjoints of `size` solves, lane after lane; see `emit_lanes`."""
    own = SolveLanesAdjoint.of(adjoint.loop.without_saving, size)
    return b.call(own, x) if own.is_possible else b.call(Lanes.of(adjoint, size), x, saved)


# ── solves ────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class SolveLanes(Lanes, kind="solves in lanes"):
    """The solves of an ensemble, operands and results one after another; see `fastad.kernels.solve_lanes`."""

    kernel = "fastad.kernels.solve_lanes.run_solve_lanes"

    @staticmethod
    def of(sub: Any, size: int) -> "SolveLanes":
        """`size` times the solve `sub`, which saves no states."""
        name = f"{sub.name} of {size} trajectories in lanes"
        return SolveLanes(size * sub.n_in, size * sub.n_out, name, sub=sub, size=size)

    @property
    def solve(self) -> Any:
        """The solve of one trajectory."""
        return self.sub

    @property
    def is_possible(self) -> bool:
        """Whether its steps come apart into elementwise rows, and nothing else needs Python or guards."""
        solve = self.solve
        if solve.progress or solve.backward or solve.sizes.events or any(part.fails for part in solve.parts):
            return False
        try:
            return all(part is not None for part in self._wide_parts.values())
        except NoLanes:
            return False

    @property
    def key(self) -> str:
        return f"{self.kind}: {self.size} of {self.lane.key}"

    @property
    def kind_text(self) -> str:
        return f"{self.size:,} trajectories in {WIDTH} lanes"

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────
    @lazy
    def wide(self) -> Sub:
        """A trial step of all lanes. Raises NoLanes."""
        solve = self.solve
        name = f"{solve.body.name} in lanes"
        if not solve.adaptive:
            return over_lanes(solve.body, WIDTH, name)
        s, estimates, order = solve.sizes, solve.estimates, solve.order
        more = lambda b, x, out: with_verdict(b, x, out, s, estimates, order)
        return over_lanes(solve.body, WIDTH, name, 2 * (s.errors // estimates) + 1, more)

    @property
    def _wide_parts(self) -> dict[str, Sub]:
        return {"wide": self.wide}

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {"of each trajectory": self.lane, "of all lanes": self.wide}

    @property
    def stored_parts(self) -> Sequence[Sub]:
        return (self.solve,)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def block(self) -> int:
        """Trajectories of a block. Its lanes are refilled, but for the last ones, so that it should have several."""
        return max(_BLOCK, WIDTH * -(-self.size // (_BLOCKS * WIDTH))) if self.solve.adaptive else WIDTH

    def parameters(self) -> Parameters:
        return self._parameters(adjoint=False)

    def _parameters(self, adjoint: bool) -> Parameters:
        own = self.solve.parameters(adjoint)
        p = filled(SOLVE_LANES, **{name: own.record[name] for name in own.record.dtype.names if name != "work"})
        for name, value in self._fields.items():
            p[name] = value
        return Parameters(p, {**own.kernels, **self._wide_parts}, own.arrays, {}, {**own.work, **self._work})

    @property
    def _fields(self) -> dict[str, int]:
        return {
            "count": self.size, "operands": self.lane.n_in, "results": self.lane.n_out, "lanes": WIDTH,
            "block": self.block,
        }  # fmt: skip

    @property
    def _work(self) -> dict[str, int]:
        return {
            "wide_in": self.wide.n_in, "wide_out": self.wide.n_out, "wide_bar_in": 0, "wide_bar_out": 0, "sums": 0,
            "inner": 0, "runs": WIDTH * (RUN + 2), "places": WIDTH * MARKS, "trajectories": WIDTH, "steps": WIDTH,
            "waiting": WIDTH, "accepted": WIDTH, "states": 0, "counts": 0,
        }  # fmt: skip

    def work_bytes(self, of: Callable[[Sub], int]) -> int:
        return super().work_bytes(of) + 8 * sum(self.parameters().work.values())

    @property
    def failures(self) -> Sequence[tuple[type[Exception], str]]:
        return self.lane.failures

    @property
    def standalone(self) -> Sub:
        return self

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        complaint = super().check()
        return complaint or (None if self.is_possible else "steps that cannot be made in lanes")

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"lanes": self.size, "sub": write(self.solve)}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "SolveLanes":
        sub, size = read(data.get("sub")), data.of("lanes", int)
        if getattr(sub, "kind", None) != "solve" or sub.saves:
            raise TableError(f"{name}: lanes of something else than a solve")
        return replace(cls.of(sub, size), name=name)

    # ── derivation and batching ──────────────────────────────────────────────────────────────────────────────
    @lazy
    def _joint(self) -> Sub:  # type: ignore[override]
        return joint_sub(self.lane).batched(self.size)

    @lazy
    def _adjoint(self) -> Sub:  # type: ignore[override]
        return self.lane.adjoint.batched(self.size)

    def batched(self, size: int) -> Sub:
        return type(self).of(self.solve, size * self.size)


@dataclass(frozen=True, eq=False)
class SolveLanesAdjoint(SolveLanes, kind="adjoints of solves in lanes"):
    """The adjoints of the solves of an ensemble: [argument | adjoints of the results] of each, to adjoints of the
    arguments. The states are made again, for a block of trajectories at a time."""

    kernel = "fastad.kernels.solve_lanes_adjoint.reverse_solve_lanes"

    @staticmethod
    def of(sub: Any, size: int) -> "SolveLanesAdjoint":
        n_in, name = sub.n_in + sub.n_results, f"adjoint of {sub.name} of {size} trajectories in lanes"
        return SolveLanesAdjoint(size * n_in, size * sub.n_in, name, sub=sub, size=size)

    @lazy
    def lane(self) -> Sub:
        """The adjoint of one solve, which is called for those of which not all states can be stored."""
        return self.solve.adjoint_of()

    @property
    def is_possible(self) -> bool:
        storage = self.solve.storage
        if storage.policy not in ("every", "online") or storage.disk_slots or not storage.memory_slots:
            return False
        if not self.solve.adaptive and self.room < self.solve.length:
            return False
        return super().is_possible

    @property
    def _dense_bars(self) -> bool:
        """Whether dense output has adjoints."""
        s = self.solve.sizes
        return s.dense > 0 and s.points + s.kept > 0

    @lazy
    def _wide_adjoint(self) -> Sub:
        step = self.solve.dense if self._dense_bars else self.solve.step
        return over_lanes(step.adjoint, WIDTH, f"{step.adjoint.name} in lanes")

    @property
    def _wide_parts(self) -> dict[str, Sub]:
        return {"wide": self.wide, "wide_adjoint": self._wide_adjoint, "single": self.lane}

    @property
    def named_parts(self) -> Mapping[str, Sub]:
        return {**super().named_parts, "adjoint of all lanes": self._wide_adjoint}

    @property
    def room(self) -> int:
        """States of a trajectory that can be stored."""
        size = total_of(self.solve.sizes.carried[:2])
        most = _ROOM if self.solve.adaptive else self.solve.length
        return min(self.solve.storage.memory_slots, most, max(_STORED // (self.block * size), 1))

    @property
    def block(self) -> int:
        """Trajectories that are pulled back together."""
        return _BLOCK if self.solve.adaptive else WIDTH

    def parameters(self) -> Parameters:
        return self._parameters(adjoint=True)

    @property
    def _fields(self) -> dict[str, int]:
        return {**super()._fields, "kept_states": self.room, "dense_bars": self._dense_bars}

    @property
    def _work(self) -> dict[str, int]:
        s = self.solve.sizes
        more = {
            "wide_bar_in": self._wide_adjoint.n_in, "wide_bar_out": self._wide_adjoint.n_out,
            "sums": WIDTH * (s.ends + s.shared), "inner": WIDTH * s.own,
            "states": self.block * self.room * total_of(s.carried[:2]), "counts": self.block,
        }  # fmt: skip
        return {**super()._work, **more}
