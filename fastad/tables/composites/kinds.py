"""The kinds of drivers: those of fastad, and those that were defined since."""

from fastad.errors import TableError
from fastad.tables.composites.choices import Branch, Lanes
from fastad.tables.composites.driver import Driver, registered_kinds
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.composites.loops import Loop
from fastad.tables.composites.notices import Notice
from fastad.tables.composites.paths import Paths
from fastad.tables.composites.solve_adjoint import SolveAdjoint
from fastad.tables.composites.solve_lanes import SolveLanes, SolveLanesAdjoint
from fastad.tables.composites.solves import Solve

BUILT_IN: tuple[type[Driver], ...] = (
    Branch, Notice, Paths, Lanes, Loop, LoopAdjoint, Solve, SolveAdjoint, SolveLanes, SolveLanesAdjoint,
)  # fmt: skip


def kind_named(name: str) -> type[Driver]:
    """The class of a kind; TableError where there is none."""
    found = registered_kinds().get(name)
    if found is None:
        raise TableError(f"there is no driver of the kind {name!r} (import the module that defines it before)")
    return found
