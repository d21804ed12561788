"""Plans: what the native code of a table does, all of it decided before any is written.

The rows' steps and fusion are the planner's (`planner`), who computes what in which loop is found from the uses
(`demand`), how loops run in `nests`, the order of straight-line code in `packing`, and where values live in `memory`.
An executor that makes code of its own can take these plans. The sweeps group rows in another way
(`fastad.execution.sweeps.program`): with them it shares requests and the protocol of kernels.
"""

from dataclasses import dataclass

from fastad.execution.layout import Layout, layout_of
from fastad.execution.native.planning.demand import Demand
from fastad.execution.native.planning.maps import Incompatible
from fastad.execution.native.planning.memory import Memory
from fastad.execution.native.planning.nests import LoopPlan
from fastad.execution.native.planning.packing import find_packs
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import LoopStep, ScalarStep, Step
from fastad.execution.native.planning.thin import without_thin_products
from fastad.execution.native.planning.unrolling import unrolling
from fastad.execution.native.target import target
from fastad.tables.table import Table


@dataclass(frozen=True)
class Plan:
    """The steps of a table's kernel, in order; the plans of its loops by the steps' numbers; the places of all values;
    whether its straight-line code is as short as the target's `little`, and as `small`."""

    memory: Memory
    loops: dict[int, LoopPlan]
    is_little: bool
    is_small: bool

    @property
    def steps(self) -> list[Step]:
        return self.memory.steps

    @property
    def layout(self) -> Layout:
        return self.memory.layout

    @property
    def work_size(self) -> int:
        """Doubles of work memory."""
        return self.memory.work_size


def make_plan(table: Table, layout: Layout) -> Plan:
    """The plan of a table's kernel."""
    try:
        return _planned(table, layout, safe=False)
    except Incompatible:  # a value is wanted in an order that its operands cannot be walked through: store more
        return _planned(table, layout, safe=True)


def _planned(table: Table, layout: Layout, safe: bool) -> Plan:
    planner = Planner(table, unrolling(table), safe).run()
    demand = Demand(planner).run()
    loops = {
        step.index: LoopPlan.of(planner, demand, step)
        for step in planner.steps
        if isinstance(step, LoopStep) and (step.stores or step.reductions)
    }
    if target().simd:
        find_packs(planner)
    operations = sum(planner.size[r] for step in planner.steps if isinstance(step, ScalarStep) for r in step.rows)
    own = target()
    is_little, is_small = operations <= own.little, operations <= own.small
    return Plan(Memory(planner, demand, layout, own.chunks[not is_small]), loops, is_little, is_small)


def work_bytes(table: Table) -> int:
    """Bytes of work memory of a table's kernel and of the largest kernel that it calls."""
    inside = [work_bytes(sub.table) for sub in table.subs if sub.table is not None]
    return 8 * make_plan(without_thin_products(table), layout_of(table)).work_size + max(inside, default=0)
