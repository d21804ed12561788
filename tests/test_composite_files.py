"""Files with composite rows: loops, choices and lanes come back, differentiable, and a wrong file raises TableError."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastad as fad
from fastad.errors import IndexRangeError, TableError
from fastad.execution.compiled import Compiled
from fastad.execution.composites.evaluating import run
from fastad.execution.request import Request
from fastad.primitives.regions import region
from fastad.schedules.actions import Action, Code
from fastad.tables.builder import Builder
from fastad.tables.composites.loop_adjoint import LoopAdjoint
from fastad.tables.files.store import load, save
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.reference import evaluate

C = fad.checkpoint
X = np.linspace(0.3, 1.2, 5)


class Restarting(fad.checkpoint.Schedule):
    """A user's own: every state is made from the first one."""

    def actions(self, n_steps):
        yield Action(Code.ADVANCE, 0, n_steps - 1, -1)
        for k in reversed(range(n_steps)):
            yield Action(Code.REVERSE, k, k + 1, -1)
            if k > 0:
                yield Action(Code.RESTART, 0, 0, -1)
            if k > 1:
                yield Action(Code.ADVANCE, 0, k - 1, -1)


SCHEDULES = [
    None, C.StoreAll(), C.StoreNone(), C.Revolve(2), C.Periodic(2), C.Multistage(1, 2, write=0.5), C.Auto(10**4),
    C.Auto(300), Restarting(),
]  # fmt: skip


def step(y, e):
    return np.sin(y * e) + 0.5 * y, y * y


def scanned(x, schedule=None, **options):
    last, squares = fad.scan(step, x[0], x, checkpoint=schedule, **options)
    return last * np.sum(squares)


def root(x, schedule=None):
    return fad.while_loop(lambda y: abs(y * y - x[1]) > 1e-9, lambda y: (y + x[1] / y) / 2, x[0], checkpoint=schedule)


def grown(a):
    return fad.while_loop(lambda y: y < 5, lambda y: y * (1 + a), a, max_steps=99)


FUNCTIONS = {
    **{f"scan, {s!r}" if s is None or type(s).__module__ != __name__ else "scan, a schedule of the user's":
       lambda x, s=s: scanned(x, s) for s in SCHEDULES},
    "reverse": lambda x: scanned(x, reverse=True),
    "counted": lambda x: fad.fori_loop(0, 4, lambda i, y: y * np.sin(x[0] + i), x[1]),
    "inverse": lambda x: fad.scan(lambda y, e: (y + e, y), x[1], x, inverse=lambda y, e: y - e)[0] ** 2,
    "while": lambda x: root(x, C.Online(3)),
    "limited while": lambda x: fad.while_loop(lambda y: y < 9, lambda y: y * (1 + x[0]), x[1], max_steps=9) ** 2,
    "cond": lambda x: fad.cond(x[0] > 0.5, np.sin, np.exp, x[1]) + fad.cond(x[1] > 0.5, np.cos, np.exp, x[0]),
    "nested": lambda x: fad.scan(
        lambda y, e: (fad.cond(y > 0.4, lambda y: fad.fori_loop(0, 2, lambda i, z: z * e, y), np.sin, y), None), x[0], x
    )[0],
    "lanes": lambda x: np.sum(fad.vmap(grown)(x)),
    "lanes of scans": lambda x: np.sum(fad.vmap(lambda a: scanned(a * x, C.Revolve(2)))(x)),
}  # fmt: skip


@pytest.fixture(params=FUNCTIONS)
def function(request):
    return FUNCTIONS[request.param]


def test_saved_functions_have_their_derivatives(function, tmp_path):
    f = fad.jit(function, tier="sweep")
    value = f(X)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    loaded.tier = "sweep"
    assert loaded(X) == value
    for made in (fad.grad, fad.hessian):
        np.testing.assert_allclose(made(loaded)(X), made(f)(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["scan, Revolve(snapshots=2)", "limited while", "cond"])
def test_saved_functions_become_native(name, tmp_path):
    f = fad.jit(FUNCTIONS[name], tier="sweep")
    value = f(X)
    f.save(tmp_path / "f.npz")
    gradient = fad.grad(fad.load(tmp_path / "f.npz"), tier="native")
    np.testing.assert_allclose(fad.jit(fad.load(tmp_path / "f.npz"), tier="native")(X), value, rtol=1e-12)
    np.testing.assert_allclose(gradient(X), fad.grad(f)(X), rtol=1e-12)


@pytest.mark.parametrize("transform", [fad.grad, fad.hessian], ids=["grad", "hessian"])
def test_derivatives_themselves_are_saved(function, transform, tmp_path):
    f = transform(function, tier="sweep")
    value = f(X)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    loaded.tier = "sweep"
    np.testing.assert_array_equal(loaded(X), value)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(X), value)


def test_tables_come_back_with_what_their_rows_run(function, tmp_path):
    table = fad.trace(function, X)
    for own in (table, adjoint_table(table, [0])):
        save(own, tmp_path / "t.npz")
        given = [X, *(np.ones(k.shape) for k in own.inputs[1:])]
        for found in (load(tmp_path / "t.npz"), pickle.loads(pickle.dumps(own))):
            assert [type(sub) for sub in found.subs] == [type(sub) for sub in own.subs]
            assert [(sub.n_in, sub.n_out, sub.name) for sub in found.subs] == [
                (sub.n_in, sub.n_out, sub.name) for sub in own.subs
            ]
            for a, b in zip(evaluate(found, given), evaluate(own, given), strict=True):
                np.testing.assert_array_equal(a, b)
        save(load(tmp_path / "t.npz"), tmp_path / "again.npz")
        assert load(tmp_path / "again.npz") == load(tmp_path / "t.npz")


def test_a_pickle_has_nothing_of_this_process():
    table = fad.trace(FUNCTIONS["lanes"], X)
    evaluate(table, [X], run)  # now the sub-programs have kernels
    copy = pickle.loads(pickle.dumps(table))
    assert not any("_evaluator" in vars(sub) for sub in copy.subs)


def test_the_place_of_states_on_disk_is_not_saved(tmp_path):
    place = tmp_path / "states"
    table = fad.trace(lambda x: scanned(x, C.Multistage(1, 2, path=place)), X)
    save(table, tmp_path / "t.npz")
    (loop,) = load(tmp_path / "t.npz").subs
    assert loop.schedule == C.Multistage(1, 2)


def test_a_schedule_without_a_list_cannot_be_saved(tmp_path):
    class Unknown(C.Online):
        pass

    table = fad.trace(lambda x: root(x, Unknown(3)), X)
    with pytest.raises(TableError, match="unknown length"):
        save(table, tmp_path / "t.npz")


# ── files that are wrong ──────────────────────────────────────────────────────────────────────────────────────
def parts_of(path):
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    return arrays, json.loads(arrays.pop("header").tobytes())


def write(path, arrays, header):
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    return path


def subs_of(header):
    """Every description of a composite row, parts included."""

    def inside(node):
        if isinstance(node, dict):
            yield node
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                yield from inside(child)

    return [sub for table in header["tables"] for sub in inside(table["subs"])]


def loop(header):
    return next(sub for sub in subs_of(header) if "length" in sub)


def change(key, value, index=None):
    def changed(header):
        if index is None:
            loop(header)[key] = value
        else:
            loop(header)[key][index] = value

    return changed


def instead(described):
    return lambda header: header["tables"][-1]["subs"].__setitem__(0, described)


WRONG = {
    "length": change("length", 4),
    "no length": change("length", -1),
    "endless length": change("length", 2**62),
    "length of another type": change("length", 5.0),
    "state": change("sizes", 2, 0),
    "negative state": change("sizes", -1, 0),
    "endless state": change("sizes", 2**60, 0),
    "element": change("sizes", 0, 1),
    "endless element": change("sizes", 2**41, 1),
    "result": change("sizes", 3, 2),
    "shared": change("sizes", 1, 3),
    "indexed": change("sizes", True, 4),
    "indexed of another type": change("sizes", 1, 4),
    "sizes": change("sizes", []),
    "flags": change("flags", [False]),
    "saved": change("flags", True, 1),
    "no body": change("parts", None, 0),
    "no parts": change("parts", []),
    "a condition": lambda h: loop(h)["parts"].__setitem__(1, loop(h)["parts"][0]),
    "an inverse": lambda h: loop(h)["parts"].__setitem__(2, loop(h)["parts"][0]),
    "body of nothing": change("parts", [99, "body"], 0),
    "body without a number": change("parts", ["0", "body"], 0),
    "name": change("name", None),
    "schedule": change("schedule", "Revolve"),
    "another schedule": change("schedule", [{"name": "Schedule", "numbers": {}}, None]),
    "a schedule of wrong numbers": change("schedule", [{"name": "Revolve", "numbers": {"snapshots": -3}}, None]),
    "a schedule with a file": change("schedule", [{"name": "Multistage", "numbers": {"path": "x"}}, None]),
    "a schedule of other names": change("schedule", [{"name": "Revolve", "numbers": {"slots": 1}}, None]),
    "a list that is not there": change("schedule", [{"name": "Listed", "memory": None}, "integers.7"]),
    "empty choice": instead({"kind": "branch", "name": "c", "branches": []}),
    "lanes": instead({"kind": "lanes", "name": "c", "lanes": 2**61, "sub": [0, "x"]}),
    "negative lanes": instead({"kind": "lanes", "name": "c", "lanes": -1, "sub": [0, "x"]}),
    "adjoint of a table": instead({"kind": "adjoint", "name": "a", "loop": [0, "x"]}),
    "unknown kind": change("kind", "bisection"),
    "no kind": change("kind", None),
    "another kind": change("kind", "branch"),
    "nothing": instead({}),
    "a number": instead(3),
    "rules that are not there": instead([0, "x", 0]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_descriptions_are_refused(kind, tmp_path):
    save(fad.trace(scanned, X), tmp_path / "t.npz")
    arrays, header = parts_of(tmp_path / "t.npz")
    WRONG[kind](header)
    with pytest.raises(TableError):
        load(write(tmp_path / "wrong.npz", arrays, header))


@pytest.mark.parametrize("at", [(0, 0), (0, 2), (0, 3), (1, 0), (2, 1), (-1, 0)])
@pytest.mark.parametrize("value", [-1, 0, 4, 7, 2**62])
def test_wrong_actions_are_refused(at, value, tmp_path):
    table = fad.trace(lambda x: scanned(x, Restarting()), X)
    save(table, tmp_path / "t.npz")
    arrays, header = parts_of(tmp_path / "t.npz")
    actions = arrays["integers.0"].reshape(-1, 4)
    if actions[at] == value:
        return
    actions[at] = value
    path = write(tmp_path / "wrong.npz", arrays, header)
    if at == (0, 3) and 0 <= value <= 7:  # more states are stored than anything asks for
        given = [X, np.ones(())]
        own, found = (evaluate(adjoint_table(t, [0]), given) for t in (table, load(path)))
        np.testing.assert_array_equal(own[1], found[1])
    else:
        with pytest.raises(TableError):
            adjoint_table(load(path), [0])


def adjoint_of_while():
    """The adjoint of an online loop, and what its forward pass keeps for it."""
    (row,) = (r for r in fad.trace(FUNCTIONS["while"], X).rows() if r.sub is not None)
    adjoint = LoopAdjoint.of(row.sub.saving)
    return adjoint, run(row.sub.saving, np.array([0.3, 1.2])[: row.sub.n_in])


def test_what_a_loop_changes_is_its_own():
    adjoint, saved = adjoint_of_while()
    b = Builder()
    operands = b.input((adjoint.n_in,)), b.input((len(saved),))
    with pytest.raises(TableError, match="not the result of a loop"):
        b.table([b.call(adjoint, *operands)])


def test_what_was_saved_may_be_anything():
    adjoint, saved = adjoint_of_while()
    b = Builder()
    x, halves = b.input((adjoint.n_in,)), [b.input((n,)) for n in (1, len(saved) - 1)]
    copied = b.assemble(halves, [region(0, (1,), (1,)), region(1, (len(saved) - 1,), (1,))], (len(saved),))
    run = Compiled(Request(b.table([b.call(adjoint, x, copied)])), "sweep")
    argument, rng = np.linspace(0.3, 1.2, adjoint.n_in), np.random.default_rng(0)
    assert np.isfinite(run([argument, saved[:1], saved[1:]])[0]).all()
    for _ in range(2000):
        wrong = saved.copy()
        at, numbers = rng.integers(len(saved)), [-1, 0, 1, 5, 2**31, 2**62, -(2**62)]
        if rng.random() < 0.3:
            wrong[at] = rng.choice([np.nan, -1.0, 3.0, 1e9, 1e300])
        else:
            wrong.view(np.int64)[at] = rng.choice(numbers)
        with contextlib.suppress(IndexRangeError):
            run([argument, wrong[:1], wrong[1:]])


FUZZ = """
import signal, sys, warnings
import numpy as np
from fastad.errors import FastadError
from fastad.execution.compiled import Compiled
from fastad.execution.composites.evaluating import run
from fastad.execution.request import Request
from fastad.tables.passes.derive import adjoint_table
from fastad.tables.files.store import load, save

def attempt(path):
    try:
        table = load(path)
        if any(kind.size > 10**5 for kind in (*table.inputs, *table.types)):
            return "large"
        given = [np.linspace(0.3, 1.2, max(kind.size, 1))[: kind.size].reshape(kind.shape) for kind in table.inputs]
        for t in (table, adjoint_table(table, [0])):
            given += [np.ones(kind.shape) for kind in t.inputs[len(given):]]
            Compiled(Request(t), "sweep")(given)
        return "run"
    except (FastadError, IndexError, MemoryError) as error:
        return type(error).__name__
    except Exception as error:
        if type(error).__name__ == "GuardFailed":
            return "GuardFailed"
        raise

warnings.simplefilter("ignore")
attempt(sys.argv[1])  # now all that is needed is compiled
for path in sys.argv[2:]:
    # A condition may have become one that always holds. Seconds of this process, however busy the machine is: others
    # take milliseconds.
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.3)
    print(path, flush=True)
    print(attempt(path), flush=True)
"""


def mutations(arrays, header, rng, count):
    """Copies with one integer changed each: in the description, or in an array of integers."""
    numbers = []

    def places(node):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            if type(child) is int:
                numbers.append((node, key))
            elif isinstance(child, dict | list):
                places(child)

    for _ in range(count):
        own, text = {k: v.copy() for k, v in arrays.items()}, json.loads(json.dumps(header))
        numbers.clear()
        places(text)
        values = [0, 1, 2, 3, 5, 9, -1, -2, 2**31 - 1, 2**40, -(2**62)]
        if rng.random() < 0.5:
            node, key = numbers[rng.integers(len(numbers))]
            node[key] = int(node[key] + rng.integers(-2, 3)) if rng.random() < 0.5 else int(rng.choice(values))
        else:
            names = sorted(k for k, v in own.items() if v.dtype.kind in "iu" and v.size)
            array = own[names[rng.integers(len(names))]]
            info = np.iinfo(array.dtype)
            near = int(array[rng.integers(array.size)]) + int(rng.integers(-2, 3))
            picked = near if rng.random() < 0.5 else int(rng.choice(values))
            array[rng.integers(array.size)] = min(max(picked, info.min), info.max)
        yield own, text


FUZZED = ["scan, Revolve(snapshots=2)", "while", "nested", "lanes", "scan, a schedule of the user's"]


@pytest.mark.parametrize("name", FUZZED)
def test_changed_numbers_do_not_crash_the_process(name, tmp_path):
    table = fad.trace(FUNCTIONS[name], X)
    rng, paths = np.random.default_rng(0), []
    for order, own in enumerate((table, adjoint_table(table, [0]))):
        save(own, good := tmp_path / "t.npz")
        for k, changed in enumerate(mutations(*parts_of(good), rng, 25)):
            paths.append(str(write(tmp_path / f"{order}-{k}.npz", *changed)))
    refused = 0
    while paths:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FUZZ), str(good), *paths], capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )  # fmt: skip
        assert done.returncode in (0, -signal.SIGVTALRM), f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
        refused += done.stdout.count("TableError")
        paths = paths[done.stdout.count(".npz") :]
    assert refused
