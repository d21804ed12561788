"""The value of an optimum as a function of its parameters: the envelope theorem.

For V(θ) = min f(x, θ) under constraints, dV/dθ = ∂L/∂θ at the solution, where L is the Lagrangian: x and the multipliers
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
from fastad.tables.builder import Builder, Ref
from fastad.tables.columns import ValueType
from fastad.tables.composites.choices import made
from fastad.tables.composites.sub import Sub, packed, slices
from fastad.tables.composites.sub_rules import Rules
from fastad.tables.inline import compact, inline
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.passes.kinks import with_limits
from fastad.tables.table import Table
from fastad.transforms.call import make_call
from fastad.transforms.composite import call_sub


@dataclass(frozen=True, eq=False)
class EnvelopeRules(Rules, kind="envelope"):
    """Rules of a row from [held | θ] to a number, whose derivative is that of `lagrangian`, [held | θ] to a number, by θ
    alone. `held` is the length of the first part."""

    make_lagrangian: Callable[[], Sub]
    held: int

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

    def tangent(self, sub: Sub) -> Sub:
        derived = tangent_table(self._apart, [1])

        def rows(b: Any, v: Ref) -> Ref:
            x, theta, _, moving = slices(b, v, (self.held, sub.n_in - self.held) * 2)
            return inline(b, derived, [x, theta, moving])[derived.outputs[-1]]

        return made(f"tangent of {sub.name}", 2 * sub.n_in, rows)

    def adjoint(self, sub: Sub) -> Sub:
        derived, n = adjoint_table(self._apart, [1]), sub.n_in - self.held

        def rows(b: Any, v: Ref) -> Ref:
            x, theta, u = slices(b, v, (self.held, n, 1))
            bar = b.reshape(inline(b, derived, [x, theta, u])[derived.outputs[-1]], (n,))
            return b.assemble([bar], [region(self.held, (n,), (1,))], (sub.n_in,))

        return made(f"adjoint of {sub.name}", sub.n_in + 1, rows)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def parts(self) -> tuple[Sub, ...]:
        return (self.lagrangian,)

    def check(self, sub: Sub) -> str | None:
        own = self.lagrangian
        fits = own.table is not None and (own.n_in, own.n_out, sub.n_in, sub.n_out) == (sub.n_in, 1, own.n_in, 1)
        return None if fits and 0 <= self.held <= sub.n_in else "a Lagrangian of other sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"lagrangian": write(self.lagrangian), "held": self.held}

    @classmethod
    def from_data(cls, data: Any, read: Any) -> "EnvelopeRules":
        return EnvelopeRules(lambda: read(data.get("lagrangian")), data.of("held", int))


def envelope(name: str, value: Callable[..., Any], lagrangian: Callable[..., Any], held: Any, args: Sequence[Any]) -> Any:
    """value(held, *args), recorded; its derivative is that of lagrangian(held, *args) by args, and by what both refer
    to. `held` is a vector."""
    given = (held, tuple(args))
    inputs = make_call(given, {}).inputs
    parts = [record_part(lambda h, a, f=f: np.reshape(f(h, *a), (1,)) * 1.0, given, name) for f in (value, lagrangian)]
    shared = Shared(parts)
    number = ValueType((1,), "d")
    own, of_lagrangian = (shared.sub(part, part.lead, [number]) for part in parts)
    rules = EnvelopeRules(lambda: of_lagrangian, int(np.size(held)))
    sub = Sub(own.n_in, own.n_out, name, own.table, rules=rules)
    return np.reshape(call_sub(sub, [*inputs, *shared.values], [number])[0], ())


__all__ = ["EnvelopeRules", "envelope"]
