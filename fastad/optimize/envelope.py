"""The value of an optimum as a function of its parameters: the envelope theorem.

For V(θ) = min f(x, θ) under constraints, dV/dθ = ∂L/∂θ at the solution, where L is the Lagrangian: x and multipliers
are held (Danskin, 1966; Milgrom & Segal, 2002, Envelope theorems for arbitrary choice sets, Econometrica 70). No linear
system is solved. They are held in the first derivative only: that derivative depends on them, and higher ones follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.control.parts import Shared, record_part
from fastad.once import lazy
from fastad.primitives.regions import region
from fastad.recording.source import user_line
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.composites.sub_rules import RowRules, Rules
from fastad.tables.inline import compact, inline
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table
from fastad.transforms.call import make_call
from fastad.transforms.composite import call_sub


@dataclass(frozen=True, eq=False)
class EnvelopeRules(RowRules, Rules, kind="envelope"):
    """Rules of a row from [status | residual | held | θ] to a number, whose derivative is that of `lagrangian`, from
    [held | θ] to a number, by θ alone. The status is that of the equations that `held` satisfies, and the residual
    theirs: unless they were solved, a derivative is an error."""

    make_lagrangian: Callable[[], Sub]
    held: int
    residual: int

    @lazy
    def lagrangian(self) -> Sub:
        return self.make_lagrangian()

    @lazy
    def _apart(self) -> Table:
        """The Lagrangian of (held, θ)."""
        b, sub = Builder(), self.lagrangian
        x, theta = b.input((self.held,)), b.input((sub.n_in - self.held,))
        table = with_limits(sub.table)  # type: ignore[arg-type]
        return compact(b.table([inline(b, table, [packed(b, [x, theta])])[table.outputs[0]]]))

    @lazy
    def _tangent(self) -> Table:
        return tangent_table(self._apart, [1])

    @lazy
    def _adjoint(self) -> Table:
        return adjoint_table(self._apart, [1])

    # As rows, not as calls: so it is seen that nothing depends on `held`, and no system is solved for its adjoint 0.
    def emit_joint(self, sub: Sub, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        status, residual, held, theta = slices(b, x, self._sizes(sub))
        moving = slices(b, dx, self._sizes(sub))[-1]
        out = b.reshape(_inlined(b, self._tangent, [held, theta, moving]), (1,))
        return b.call(sub, x), b.emit("solved", (out, residual, status), (1, 1, self.residual, 1), (1,))

    def emit_adjoint(self, sub: Sub, b: Any, x: Ref, u: Ref) -> Ref:
        status, residual, held, theta = slices(b, x, self._sizes(sub))
        n = b.size(theta)
        bar = b.reshape(_inlined(b, self._adjoint, [held, theta, u]), (n,))
        bar = b.emit("solved", (bar, residual, status), (1, n, self.residual, 1), (n,))
        return b.assemble([bar], [region(sub.n_in - n, (n,), (1,))], (sub.n_in,))

    def _sizes(self, sub: Sub) -> tuple[int, int, int, int]:
        return 1, self.residual, self.held, sub.n_in - 1 - self.residual - self.held

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.lagrangian,)

    def check(self, sub: Sub) -> str | None:
        own = self.lagrangian
        fits = own.table is not None and (own.n_in, own.n_out, sub.n_out) == (sub.n_in - 1 - self.residual, 1, 1)
        return None if fits and self.residual >= 0 and 0 <= self.held <= own.n_in else "a Lagrangian of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"lagrangian": write(self.lagrangian), "held": self.held, "residual": self.residual}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "EnvelopeRules":
        return EnvelopeRules(lambda: read(data.get("lagrangian")), data.of("held", int), data.of("residual", int))


def _inlined(b: Any, table: Table, operands: Sequence[Ref]) -> Ref:
    """The last result of a table; what follows belongs to the row that is derived, as to its line."""
    line = b.line
    found = inline(b, table, operands)[table.outputs[-1]]
    b.at_line(line)
    return found


def envelope(
    name: str, functions: tuple[Callable[..., Any], Callable[..., Any]], held: Any, args: Sequence[Any],
    solved: tuple[Any, Any],
) -> Any:  # fmt: skip
    """value(held, *args), recorded; its derivative is that of lagrangian(held, *args) by args, and by what both
    functions refer to. `held` is a vector; `solved` are a status and the residuals of the equations that it satisfies.
    """
    value, lagrangian = functions
    status, residual = np.reshape(solved[0], (1,)), solved[1]

    def own(check: Any, h: Any, a: Any) -> Any:
        return np.reshape(value(h, *a), (1,)) * 1.0

    def of_lagrangian(h: Any, a: Any) -> Any:
        return np.reshape(lagrangian(h, *a), (1,)) * 1.0

    given, number = (held, tuple(args)), ValueType((1,), "d")
    check: Any = np.concatenate([status, residual])
    parts = [record_part(own, (check, *given), name), record_part(of_lagrangian, given, name)]
    shared = Shared(parts)
    sub, inner = (shared.sub(part, part.lead, [number]) for part in parts)
    rules = EnvelopeRules(lambda: inner, int(np.size(held)), int(np.size(residual)))
    row = Sub(sub.n_in, sub.n_out, name, sub.table, rules=rules)
    inputs = make_call((check, *given), {}).inputs
    check.recorder.builder.source_line(user_line())
    return np.reshape(call_sub(row, [*inputs, *shared.values], [number])[0], ())


__all__ = ["EnvelopeRules", "envelope"]
