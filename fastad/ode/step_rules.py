"""The derivatives of a trial step: those of the step that is pulled back, at the same state.

The iterations of an implicit step end before they have converged, and may use factors of other steps. Its derivatives
know nothing of that: they are those of the exact step. A trial step whose equations were not solved is rejected, and
may have no exact step: its derivatives, which nothing reads, are those of a step of size 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.sub import Sub, emit_joint_inline, packed, slices
from fastad.tables.composites.sub_rules import RowRules, Rules


@dataclass(frozen=True, eq=False)
class StepRules(RowRules, Rules, kind="step"):
    """The rules of a trial step whose derivatives are those of `exact`, from [state | control | ends | shared] to
    [state | dense output], with or without the latter. `given` and `out` are the sizes of argument and result of the
    trial step: of the state, what `exact` does not know, and the rest. `part` is the place in the argument of the part
    of the span that the step is, `failures` the place in the result of the number of equations not solved."""

    make_exact: Callable[[], Sub]
    given: tuple[int, int, int]  # [state and control | cache and memory | ends and shared]
    out: tuple[int, int, int]  # [state | notes, cache, memory, counts and errors | dense output]
    part: int
    failures: int

    @lazy
    def exact(self) -> Sub:
        return self.make_exact()

    @property
    def key(self) -> str:
        return f" step {self.exact.key} {self.given} {self.out} {self.part} {self.failures}"

    def _plain(self, b: Any, x: Ref) -> Ref:
        lead, _, rest = slices(b, x, self.given)
        return packed(b, [lead, rest])

    def _full(self, b: Any, found: Ref, sizes: Sequence[int]) -> Ref:
        lead, _, rest = sizes
        first, last = slices(b, found, (lead, rest))
        return packed(b, [first, b.zeros((sizes[1],)), last])

    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        found = b.call(sub, x)
        _, moved = emit_joint_inline(b, self.exact, self._plain(b, self._solvable(b, x, found)), self._plain(b, dx))
        return found, self._full(b, moved, self.out)

    def _solvable(self, b: Any, x: Ref, found: Ref) -> Ref:
        """The argument with a step of size 0 if equations of the trial step were not solved."""
        before, part, after = slices(b, x, (self.part, 1, sum(self.given) - self.part - 1))
        failed = b.emit("greater", (b.region(found, (self.failures, 1, 1), (1,)), b.zeros((1,))))
        return packed(b, [before, b.emit("where", (failed, b.zeros((1,)), part)), after])

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        first, _, last = slices(b, u, self.out)
        bar = b.call(self.exact.adjoint, packed(b, [self._plain(b, x), first, last]))
        return self._full(b, bar, self.given)

    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.exact,)

    def check(self, sub: Sub) -> str | None:
        own = (self.given[0] + self.given[2], self.out[0] + self.out[2])
        fits = (sum(self.given), sum(self.out)) == (sub.n_in, sub.n_out) and own == (self.exact.n_in, self.exact.n_out)
        fits = fits and 0 <= self.part < self.given[0] and self.out[0] <= self.failures < sum(self.out[:2])
        return None if fits and min(self.given + self.out) >= 0 else "a trial step of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"exact": write(self.exact), "sizes": [*self.given, *self.out, self.part, self.failures]}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "StepRules":
        sizes = data.list_of("sizes", [int] * 8)
        return StepRules(lambda: read(data.get("exact")), tuple(sizes[:3]), tuple(sizes[3:6]), *sizes[6:])
