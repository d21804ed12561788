"""Packs of equal functions in straight-line code: their order, and that they compute what single calls do."""

import numpy as np
import pytest
from native_tools import run

from fastad.execution.machine import cache
from fastad.execution.machine.symbols import vector_math
from fastad.execution.native.planning import packing
from fastad.execution.native.planning.planner import Planner
from fastad.execution.native.planning.steps import ScalarStep
from fastad.primitives import PRIMITIVES
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.row import elementwise_rows
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate

CALLING = [row for row in elementwise_rows() if packing.width(row) > 1]


def program(rows, rng, size=1):
    """Numbers and short vectors, functions of one and two arguments, guards, picked elements, assemblies, sums."""
    b = Builder()
    values = [b.input((size,) if size > 1 else ()) for _ in range(7)]
    for _ in range(rows):
        x, y = (values[int(i)] for i in rng.choice(len(values), 2, replace=False))
        kind = str(
            rng.choice(["add", "multiply", "sin", "cos", "exp", "tanh", "arctan2", "expit", "logaddexp", "other"])
        )
        if kind == "other":
            new = _other(b, x, y, size, rng)
        elif kind in ("add", "multiply", "arctan2", "logaddexp"):
            new = b.emit(kind, (x, y))
        else:
            new = b.emit(kind, (x,))
        values[int(rng.integers(len(values)))] = b.emit("tanh", (new,)) if rng.random() < 0.5 else new
    return b.table(values)


def _other(b, x, y, size, rng):
    if size == 1:
        b.emit("guard", (b.emit("less", (x, b.const(1e300))), b.const(True)))
        return b.emit("subtract", (x, y))
    first = b.emit("strided", (x,), (1, size - 1, 1), (size - 1,))
    total = b.emit("sum", (y,), (1, size, 1), ())
    return b.assemble([first, b.emit("sin", (total,))], [(0, size - 1, 1), (size - 1, 1, 1)], (size,))


def planned(table):
    planner = Planner(table, 16).run()
    before = [list(step.rows) for step in planner.steps if isinstance(step, ScalarStep)]
    packing.find_packs(planner)
    return planner, before, [step for step in planner.steps if isinstance(step, ScalarStep)]


@pytest.mark.parametrize("rows", [3, 60, 3000])
@pytest.mark.parametrize("size", [1, 5])
def test_an_order_keeps_rows_behind_what_they_need(rows, size, rng):
    table = program(rows, rng, size)
    planner, before, steps = planned(table)
    for old, step in zip(before, steps, strict=True):
        assert sorted(old) == sorted(step.rows)
        place = {r: k for k, r in enumerate(step.rows)}
        for r in step.rows:
            needed = [planner.base(x)[0] for x in table.row(r).operands]
            assert all(place[x] < place[r] for x in needed if x in place)
        checks = [r for r in step.rows if getattr(PRIMITIVES[planner.op[r]], "stops", False)]
        assert checks == sorted(checks)


def test_packs_stand_together_and_hold_one_primitive(rng):
    table = program(2000, rng)
    planner, _, steps = planned(table)
    packs = [(step, pack) for step in steps for pack in step.packs.values()]
    assert any(len(pack) > 1 for _, pack in packs)
    for step, pack in packs:
        at = step.rows.index(pack[0])
        assert step.rows[at : at + len(pack)] == pack
        assert len({planner.op[r] for r in pack}) == 1
        assert not {x for r in pack for x in table.row(r).operands} & set(pack)
        assert len(pack) <= packing.width(PRIMITIVES[planner.op[pack[0]]])


def compare(table, inputs):
    code, results = run(table, inputs)
    assert code == 0
    for found, expected in zip(results, evaluate(table, inputs), strict=True):
        np.testing.assert_allclose(found, np.asarray(expected).reshape(-1), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("vector", [True, False], ids=["vectors", "single calls"])
@pytest.mark.parametrize(("rows", "size"), [(2, 1), (30, 1), (30, 7), (400, 1), (2500, 1), (12000, 1)])
def test_values_and_adjoints(rows, size, vector, rng):
    """Whole, in chunks, and in so many chunks that their code is fetched ahead."""
    table = program(rows, rng, size)
    x = [rng.uniform(-1, 1, (size,) if size > 1 else ()) for _ in range(7)]
    with vector_math(vector):
        compare(table, x)
        if rows < 3000:
            compare(adjoint_table(table, [0, 3], seeds=[1.0] * 7), x)


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("row", CALLING, ids=lambda row: row.name)
def test_all_sizes_of_packs(row, count, lanes, rng, monkeypatch):
    """Of every primitive that calls functions, with a number among them that is not finite."""
    monkeypatch.setattr(packing, "lanes", lambda: min(lanes, WIDEST))
    monkeypatch.setattr(cache, "cached", lambda key, make: make())  # the key does not tell what only a test changes
    b = Builder()
    operands = [[b.input(()) for _ in range(count)] for _ in range(row.arity)]
    table = b.table([b.emit(row.name, own) for own in zip(*operands, strict=True)])
    points = [rng.uniform(*DOMAINS[key][-1], count) for key in row.domain]
    points[0][rng.integers(count)] = rng.choice([np.nan, np.inf, -np.inf, 0.0])
    with np.errstate(all="ignore"):
        compare(table, [x for xs in points for x in xs])


WIDEST = packing.lanes()
