"""`Profile`: its data, and how it is shown as text, in notebooks and as a picture."""

import html
import linecache
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from fastad.tables.passes.cost import Cost
from fastad.tables.shown.listing import count_text, size_text

_LINES_SHOWN = 12
_WIDEST = 60  # characters of a source line


@dataclass(frozen=True)
class Measurement:
    """A program measured in one tier: seconds of a call (median and fastest), seconds to compile, peak bytes, and the
    number of calls timed."""

    seconds: float
    compile_seconds: float
    bytes: int
    calls: int
    fastest: float = 0.0


@dataclass(frozen=True)
class ProgramProfile:
    """One program: its operations, predicted from f's table and counted in its own table; its bytes, predicted; and its
    measurements, by tier."""

    name: str
    rows: int
    predicted_operations: int
    operations: int
    planned_bytes: dict[str, int]
    measured: dict[str, Measurement]
    note: str = ""


@dataclass(frozen=True)
class LineShare:
    """A line of the user's source: its rows, operations, elements moved, and share of the operations of the value."""

    file: str
    number: int
    rows: int
    operations: int
    moves: int
    share: float

    @property
    def place(self) -> str:
        return f"{PurePath(self.file).name}:{self.number}" if self.number else "(no source line)"

    @property
    def source(self) -> str:
        text = linecache.getline(self.file, self.number).strip() if self.number else ""
        return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


@dataclass(frozen=True)
class Profile:
    """The cost of a function and of its derivatives; see `fastad.profile`. `profile[name]` is one program."""

    name: str
    cost: Cost
    recording_seconds: float
    programs: tuple[ProgramProfile, ...]
    lines: tuple[LineShare, ...]
    tiers: tuple[str, ...]

    def __getitem__(self, name: str) -> ProgramProfile:
        """A program by its name, or by the beginning of its name."""
        for program in self.programs:
            if program.name.startswith(name):
                return program
        raise KeyError(f"no program is called {name!r}; there are {', '.join(p.name for p in self.programs)}")

    @property
    def mode(self) -> str:
        """The mode that `fad.jacobian` chooses: "fwd" or "rev"."""
        return self.cost.mode

    @property
    def fastest_mode(self) -> str | None:
        """The mode in which the Jacobian was faster here, in the last tier that ran both; None if no tier did."""
        pair = self.programs[-2:]
        for tier in reversed(self.tiers):
            if all(tier in p.measured for p in pair):
                return "fwd" if pair[0].measured[tier].seconds < pair[1].measured[tier].seconds else "rev"
        return None

    def ratio(self, program: ProgramProfile, tier: str) -> float | None:
        """Measured time of a program divided by that of the value."""
        value = self.programs[0].measured.get(tier)
        own = program.measured.get(tier)
        return None if value is None or own is None else own.seconds / value.seconds

    def plot(self, path: Any = None) -> Any:
        """Draw predicted and measured figures as bars; save to `path` if given. Returns the matplotlib figure."""
        from fastad.plots.profile import plot_profile

        return plot_profile(self, path)

    # ── as text ──────────────────────────────────────────────────────────────────────────────────────────────
    def summary(self) -> str:
        """One line about the function."""
        c = self.cost
        modes = {"fwd": "forward", "rev": "reverse"}
        fastest = "" if self.fastest_mode is None else f" (measured: {modes[self.fastest_mode]} is faster)"
        return (
            f"profile of {self.name}: {count_text(c.rows, 'row')}, recorded in {time_text(self.recording_seconds)}; "
            f"{count_text(c.d, 'input')}, {count_text(c.m, 'result')}; "
            f"Jacobian by {modes[self.mode]} mode{fastest}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """The programs as cells of text. The first two rows are the heading."""
        upper, lower = ["", "", "operations:", "", ""], ["", "rows", "predicted", "counted", "× value"]
        for tier in self.tiers:
            upper += [f"{tier}:", "memory", "", ""]
            lower += ["predicted", "measured", "time", "× value"]
        return [tuple(upper), tuple(lower), *map(self._cells, self.programs)]

    def _cells(self, p: ProgramProfile) -> tuple[str, ...]:
        cells = [p.name, f"{p.rows:,}", f"{p.predicted_operations:,}", f"{p.operations:,}"]
        cells.append(f"{p.predicted_operations / max(self.programs[0].predicted_operations, 1):.1f}")
        for tier in self.tiers:
            m, ratio = p.measured.get(tier), self.ratio(p, tier)
            cells.append(size_text(p.planned_bytes[tier]))
            cells += ["—", "—"] if m is None else [size_text(m.bytes), time_text(m.seconds)]
            cells.append("—" if ratio is None else f"{ratio:.1f}")
        return tuple(cells)

    def line_table(self) -> list[tuple[str, ...]]:
        """The shares of source lines as cells of text. The first row is the heading."""
        shown = self.lines[:_LINES_SHOWN]
        heading = ("share", "operations", "moves", "rows", "line", "source")
        return [
            heading,
            *((f"{x.share:.1%}", f"{x.operations:,}", f"{x.moves:,}", f"{x.rows:,}", x.place, x.source) for x in shown),
        ]

    def notes(self) -> list[str]:
        """Remarks: which programs were not run, and how long compiling took."""
        found = [f"{p.name}: {p.note}" for p in self.programs if p.note]
        compiled = sum(m.compile_seconds for p in self.programs for m in p.measured.values())
        if compiled:
            found.append(f"compiling all programs (or finding them in the cache) took {time_text(compiled)}")
        return found

    def __str__(self) -> str:
        left = {0, 4, 5}
        parts = [aligned(self.table(), {0}), aligned(self.line_table(), left)]
        return "\n\n".join([self.summary(), *parts, *(["\n".join(self.notes())] if self.notes() else [])])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(n)}</p>" for n in self.notes())
        tables = html_table(self.table(), 2) + html_table(self.line_table(), 1)
        return f"<p>{html.escape(self.summary())}</p>{tables}{notes}"


def time_text(seconds: float) -> str:
    """A duration with three digits and a suitable unit."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1.0:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def aligned(cells: list[tuple[str, ...]], left: set[int]) -> str:
    """Cells as aligned columns of text; the columns `left` are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = (
        "  ".join(c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )
    return "\n".join(row.rstrip() for row in rows)


def html_table(cells: list[tuple[str, ...]], headings: int) -> str:
    """Cells as an HTML table; the first `headings` rows are headings."""
    rows = [(("th" if k < headings else "td"), row) for k, row in enumerate(cells)]
    body = "".join("<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in row) + "</tr>" for tag, row in rows)
    return f"<table>{body}</table>"
