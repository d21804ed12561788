"""Reports of checks: one line for each comparison, as a table for terminals and notebooks."""

import html
from dataclasses import dataclass, field

from fastad.errors import CheckError

_HEADING = ("mode", "order", "along", "method", "step", "derivative", "error", "expected", "ok", "")


@dataclass(frozen=True)
class Comparison:
    """One derivative and its check, at the result element where they differ most.

    `error` is the difference of the two, `expected` the error to expect of the check itself. `step` is in units of the
    direction along which f is differentiated.
    """

    mode: str
    order: int
    along: str
    method: str
    step: float | None
    derivative: float
    error: float
    expected: float
    ok: bool
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of the heading."""
        step = "" if self.step is None else f"{self.step:.1e}"
        numbers = (step, f"{self.derivative:.6g}", f"{self.error:.1e}", f"{self.expected:.1e}")
        return (self.mode, str(self.order), self.along, self.method, *numbers, "yes" if self.ok else "NO", self.note)


@dataclass
class CheckReport:
    """All comparisons of a check. True if all agree; `print(report)` shows them as a table."""

    name: str
    comparisons: list[Comparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.comparisons)

    def __bool__(self) -> bool:
        return self.ok

    @property
    def worst(self) -> Comparison:
        """The comparison with the largest error relative to the expected one; failed ones come first."""
        return max(self.comparisons, key=lambda c: (not c.ok, c.error / (c.expected + 1e-300)))

    def note(self, text: str) -> None:
        """Add a remark, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def require(self) -> "CheckReport":
        """The report itself, or `CheckError` with its table if a comparison failed."""
        if not self.ok:
            error = CheckError(str(self))
            error.report = self  # type: ignore[attr-defined]
            raise error
        return self

    def summary(self) -> str:
        """One line on the outcome."""
        failed = sum(not c.ok for c in self.comparisons)
        if not failed:
            return f"derivatives of {self.name}: {len(self.comparisons)} comparisons, all agree"
        return f"derivatives of {self.name}: {failed} of {len(self.comparisons)} comparisons disagree"

    def __str__(self) -> str:
        cells = [_HEADING, *(c.cells() for c in self.comparisons)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([self.summary(), *rows, *self.notes])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{c}</th>" for c in _HEADING)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(x)}</td>" for x in c.cells()) + "</tr>" for c in self.comparisons
        )
        notes = "".join(f"<p>{html.escape(n)}</p>" for n in self.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<p>{html.escape(self.summary())}</p>{table}{notes}"
