"""A composite row that warns the user and passes its operand on; it stands in a branch that is seldom taken."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastad.kernels.records import NOTICE
from fastad.once import lazy
from fastad.tables.builder import Ref
from fastad.tables.composites.choices import Branch
from fastad.tables.composites.driver import Data, Driver, Parameters, UserWarned, filled
from fastad.tables.composites.sub import Sub, made, packed


@dataclass(frozen=True, eq=False)
class Notice(Driver, kind="notice"):
    """x to x, after a warning."""

    text: str = ""
    kernel = "fastad.kernels.branching.run_notice"

    @staticmethod
    def of(n: int, text: str) -> "Notice":
        """The notice for a vector of n numbers."""
        return Notice(n, n, "notice", text=text)

    @lazy
    def key(self) -> str:
        return f"notice {self.n_in} {self.text}"

    @property
    def kind_text(self) -> str:
        return "warning"

    def parameters(self) -> Parameters:
        return Parameters(filled(NOTICE, size=self.n_in), resources={"notice": UserWarned(self.text)})

    def reference(self, x: np.ndarray) -> np.ndarray:
        return x.copy()

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────
    def check(self) -> str | None:
        return None if self.n_in == self.n_out >= 0 else "operands and results of different sizes"

    def to_data(self, write: Any) -> dict[str, Any]:
        return {"size": self.n_in, "text": self.text}

    @classmethod
    def from_data(cls, name: str, data: Data, read: Any) -> "Notice":
        return Notice.of(data.of("size", int), data.of("text", str))

    # ── derivation and batching: only values are told of ─────────────────────────────────────────────────────
    def emit_joint(self, b: Any, x: Ref, dx: Ref) -> tuple[Ref, Ref]:
        return b.call(self, x), dx

    def emit_adjoint(self, b: Any, x: Ref, u: Ref, saved: Ref | None) -> Ref:
        return u

    def batched(self, size: int) -> Sub:
        return Notice.of(size * self.n_in, self.text)


def warned_if(b: Any, condition: Ref, x: Ref, text: str) -> Ref:
    """The vector x, after a warning to the user where the condition, a number, is not 0."""
    n = b.size(x)
    silent = made("nothing to tell", n, lambda b, x: x)
    choice = Branch.of([silent, Notice.of(n, text)], "warning")
    return b.call(choice, packed(b, [b.reshape(condition, (1,)), b.reshape(x, (n,))]))
