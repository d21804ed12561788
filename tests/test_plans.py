"""Plans of native code: made without writing any, and never such that the code cannot be written."""

import numpy as np
import pytest
from native_tools import Programs, run
from random_programs import draw_program

import fastad as fad
from fastad.execution.layout import layout_of
from fastad.execution.machine import cache
from fastad.execution.native import work_bytes
from fastad.execution.native.code.operations import Block, Module
from fastad.execution.native.planning import plan as planning
from fastad.execution.native.planning.plan import make_plan
from fastad.execution.native.planning.thin import without_thin_products
from fastad.execution.native.program import NativeCode
from fastad.tables.passes.derive import adjoint_table, tangent_table
from fastad.tables.reference import evaluate


def tables():
    """Random programs and their derivatives, and shifted, joined and reduced vectors of several sizes."""
    for seed in range(60):
        programs = Programs(np.random.default_rng(seed), steps=20)
        table = programs.table()
        yield from (table, adjoint_table(table, [0], seeds=[1.0] * len(table.outputs)), tangent_table(table, [0, 1]))
    for seed in range(60):
        program = draw_program(seed)
        table, wrt = fad.trace(program.function, *program.inputs), list(range(len(program.inputs)))
        yield from (table, adjoint_table(adjoint_table(table, wrt), wrt))
    for n in (5, 40, 1000):
        table = fad.trace(joined, np.ones(n))
        yield from (table, adjoint_table(table, [0]))


def joined(x):
    half = np.concatenate([2 * x[: len(x) // 2], np.sin(x)])
    return np.sum(np.exp(x[1:] - x[:-1]) ** 2) + np.sum(half[1:] * half[:-1])


@pytest.fixture
def no_writing(monkeypatch):
    def write(*args):
        raise AssertionError("code is written")

    for name in ("emit", "do"):
        monkeypatch.setattr(Block, name, write)
    monkeypatch.setattr(Module, "declare", write)


def test_planning_writes_no_code(no_writing):
    for table in map(without_thin_products, tables()):
        plan = make_plan(table, layout_of(table))
        assert work_bytes(table) >= 8 * plan.work_size
        with pytest.raises(AssertionError, match="code is written"):
            assert NativeCode(plan).parts
    assert fad.trace(joined, np.ones(40)).cost().adjoint.native_bytes > 0


def test_what_is_planned_can_be_written():
    for table in tables():
        assert "@kernel" in NativeCode(make_plan(table, layout_of(table))).parts[-1].text


def test_more_is_stored_where_no_loop_can_walk_through_all_values(monkeypatch):
    tried = []
    planned = planning._planned
    monkeypatch.setattr(cache, "cached", lambda key, make: make())
    monkeypatch.setattr(planning, "_planned", lambda *args, safe: tried.append(safe) or planned(*args, safe=safe))
    programs = Programs(np.random.default_rng(22), steps=20)  # found by trying many
    table, inputs = programs.table(), programs.inputs()
    code, found = run(table, inputs)
    assert code == 0 and True in tried
    for x, y in zip(found, evaluate(table, inputs), strict=True):
        np.testing.assert_allclose(x, y.reshape(-1), rtol=1e-11, atol=1e-11)


def pulls(x, mass):
    """Forces between points of shape (n, d), and sums over each axis of what they are made of."""
    apart = x[None, :, :] - x[:, None, :]
    distance = np.sum(apart * apart, axis=2) + 0.1
    forces = np.sum(apart * (mass[None, :] / (distance * np.sqrt(distance)))[:, :, None], axis=1)
    return forces, np.sum(np.sin(apart), axis=0), np.sum(np.cos(x), axis=1), np.max(x * x, axis=0)


@pytest.mark.parametrize("n, d", [(3, 2), (8, 2), (9, 3), (25, 2), (25, 4), (140, 1), (140, 2), (300, 3)])
def test_a_short_last_axis(n, d):
    """Vectors run along the axis before a last one that would not fill them."""
    rng = np.random.default_rng(n + d)
    x, mass = rng.normal(size=(n, d)), rng.uniform(0.5, 2.0, n)
    weights = [rng.normal(size=np.shape(y)) for y in pulls(x, mass)]
    cost = lambda x, mass: sum(np.sum(w * y) for w, y in zip(weights, pulls(x, mass), strict=True))
    for found, wanted in zip(fad.jit(pulls, tier="native")(x, mass), pulls(x, mass), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
    native, swept = (fad.grad(cost, argnums=(0, 1), tier=tier)(x, mass) for tier in ("native", "sweep"))
    for found, wanted in zip(native, swept, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    table = fad.trace(lambda x, mass: pulls(x, mass)[0], x, mass)
    loops = make_plan(table, layout_of(table)).loops.values()
    turned = [nest for loop in loops for nest in loop.nests if nest.own[1] != tuple(sorted(nest.own[1], reverse=True))]
    width = next(iter(loops)).width
    assert bool(turned) == (1 < d <= width // 2 and n >= width)
