"""Kernels for GPUs of programs with loops, solves, linear algebra: on this CPU by the same text, and as PTX."""

import numpy as np
import pytest
from cuda_tools import adjoint, assembled, check_instances, here_and_on_gpus, needs_assembler, on_host, same
from recording_tools import record

import fastad as fad
from fastad.errors import CompileError
from fastad.execution.cuda import ptx
from fastad.execution.cuda.compiled import LOCAL_BYTES, ROOM, DeviceText, limited, text_of
from fastad.execution.request import Request
from fastad.tables.builder import Builder
from fastad.tables.composites.sub import Sub

runs_on = here_and_on_gpus()
X = np.random.default_rng(8).uniform(0.3, 0.9, (4, 3))
SIGMA = np.array([10.0, 28.0, 8 / 3])


def scan(x):
    state, ys = fad.scan(lambda c, e: (np.sin(c) * e + c, np.sum(c)), x, np.linspace(0, 1, 20))
    return np.sum(state) + np.sum(ys**2)


def scheduled(schedule, steps=37):
    def program(x):
        def step(c, e):
            return 0.9 * c + 0.1 * np.sin(c) * e, None

        state, _ = fad.scan(step, x, np.linspace(0, 1, steps), checkpoint=schedule)
        return np.sum(state**2)

    return program


def open_loop(x):
    return np.sum(fad.while_loop(lambda c: np.sum(c * c) < 100.0, lambda c: c * 1.3 + 0.1, x))


def bounded_loop(x):
    return np.sum(fad.while_loop(lambda c: np.sum(c * c) < 100.0, lambda c: c * 1.3 + 0.1, x, max_steps=40))


def branch(x):
    return fad.cond(x[0] > 0.6, lambda x: np.sum(np.sin(x)), lambda x: np.prod(x), x)


def lorenz(t, y, p):
    return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])


def adaptive(x):
    found = fad.solve_ivp(lorenz, (0.0, 1.0), x, args=(SIGMA,), method="Tsit5", rtol=1e-6, atol=1e-6)
    return np.sum(found.y[:, -1] ** 2)


def fixed(x):
    found = fad.solve_ivp(lorenz, (0.0, 0.5), x, args=(SIGMA,), method="RK4", step=0.01)
    return np.sum(found.y[:, -1] ** 2)


def sampled(x):
    found = fad.solve_ivp(lorenz, (0.0, 1.0), x, args=(SIGMA,), method="Dopri5", t_eval=np.linspace(0.1, 1, 5))
    return np.sum(np.sin(found.y))


def stiff(x):
    def robertson(t, y):
        fast = 3e3 * y[1] ** 2
        slow, back = 0.04 * y[0], 1e2 * y[1] * y[2]
        return np.array([back - slow, slow - back - fast, fast])

    found = fad.solve_ivp(robertson, (0.0, 1.0), x, method="Rodas5P", rtol=1e-6, atol=1e-8)
    return np.sum(found.y[:, -1] * np.array([1.0, 2.0, 3.0]))


def called(x):
    """A sub-program that is called, and recomputed for its derivative."""
    inner = fad.checkpoint(lambda y: np.sum(np.exp(np.sin(y)) * y))
    return inner(x) * inner(2 * x)


def rolled(x):
    for i in range(200):
        x = x + 0.01 * np.sin(x) * i
    return np.sum(x)


LOOPS = [scan, open_loop, bounded_loop, branch, rolled]
SOLVES = [fixed, adaptive, sampled, stiff]


def requests_of(program, orders=(0, 1)):
    table, *_ = record(program, X[0])
    value, first = Request(table), adjoint(table)
    return [[value, first][k] for k in orders]


@pytest.mark.parametrize("program", LOOPS + SOLVES, ids=lambda f: f.__name__)
def test_values_and_gradients(program):
    """Each instance takes steps of its own, and branches of its own."""
    for request in requests_of(program):
        codes = check_instances(request, [X], len(X), 1e-11, level=1)
        assert not codes.any()


@pytest.mark.parametrize("program", [scan, bounded_loop, branch, fixed, adaptive], ids=lambda f: f.__name__)
def test_second_derivatives(program):
    """The adjoint of the adjoint: of loops that hold adjoints of loops."""
    _, first = requests_of(program)
    second = Request(limited(first, 60).table, "adjoint", (0,), (0.0, 1.0))
    check_instances(second, [X], len(X), 1e-10, level=1)


SCHEDULES = [
    None, fad.checkpoint.StoreAll(), fad.checkpoint.StoreNone(), fad.checkpoint.Revolve(4), fad.checkpoint.Periodic(6),
    fad.checkpoint.Online(5),
]  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_checkpoint_schedules_run_on_each_instance(schedule):
    """The same actions as on the CPU, and no more memory than they need."""
    _, request = requests_of(scheduled(schedule))
    check_instances(request, [X], len(X), 1e-11, level=1)


def test_schedules_decide_on_memory():
    kept = [text_of(requests_of(scheduled(s, 400))[1])[0].vectors for s in SCHEDULES[1:4]]
    assert kept[1] < kept[2] < kept[0] and kept[0] > 400 * 8 * 3


def test_steps_of_unknown_number_are_limited_and_an_instance_that_needs_more_says_so():
    _, request = requests_of(adaptive)
    text, steps = text_of(request)
    assert steps is not None and text.vectors <= ROOM
    codes, _ = on_host(request, [X], len(X), level=1, steps=20)
    assert (codes < 0).all()
    more, _ = text_of(request, steps=2 * steps)
    assert ROOM < more.vectors < LOCAL_BYTES


def test_what_only_python_can_do_is_an_error_that_names_it():
    b = Builder()
    outside = Sub(3, 1, "outside", callback=lambda x: np.array([x.sum()]), reason="it reads a file")
    table = b.table([b.call(outside, b.input((3,)))])
    with pytest.raises(CompileError, match=r"outside is a Python function \(it reads a file\): a GPU cannot call it"):
        DeviceText(table)


def test_states_on_disk_are_refused(tmp_path):
    _, request = requests_of(scheduled(fad.checkpoint.Multistage(2, 5, path=tmp_path)))
    with pytest.raises(CompileError, match="keeps states on disk"):
        text_of(request)


# ── linear algebra and arrays ─────────────────────────────────────────────────────────────────────────────────
def solved(x):
    a = np.outer(x, x) + 2 * np.eye(3)
    return np.sum(np.linalg.solve(a, x)) + np.trace(np.linalg.inv(a) @ a.T)


def factored(x):
    n = 6
    a = np.cos(np.arange(n * n).reshape(n, n) * x[0]) + n * np.eye(n)
    return np.sum(np.linalg.solve(a, np.arange(n) * x[1])) + np.sum(np.linalg.cholesky(a @ a.T)) * x[2]


def orthogonal(x):
    q, r = np.linalg.qr(np.cos(np.arange(20).reshape(5, 4) ** 2 * x[0]))
    return np.sum(q * np.arange(20).reshape(5, 4)) + np.sum(r**3)


def determinants(x):
    a = np.outer(x, x) + 2 * np.eye(3)
    return np.linalg.det(a) * np.linalg.slogdet(a[:2, :2])[1] + np.linalg.det(np.outer(x, x[::-1]))


def eigenvalues(x):
    a = np.cos(np.arange(25).reshape(5, 5) ** 2 * x[0]) * x[1]
    values, vectors = np.linalg.eigh(a + a.T)
    return np.sum(values**3 * np.arange(5)) + np.sum((vectors * values) @ vectors.T * a)


def singular_values(x):
    a = np.cos(np.arange(15).reshape(3, 5) ** 2 * x[0]) * x[1]
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    tall = np.linalg.svd(a.T, compute_uv=False)
    return np.sum((u * s**2) @ vt * a) + np.sum(tall * np.arange(3)) * x[2]


def large_product(x):
    a = np.sin(np.arange(400).reshape(20, 20) * x[0])
    return np.sum(a @ a @ np.linspace(x[1], x[2], 20))


def arrays(x):
    big = np.concatenate([np.sin(x * k) for k in range(1, 30)])
    total = np.sum(np.exp(-(big**2))) + np.max(big) + np.sum(np.sort(big)[::2]) + np.sum(np.cumsum(big))
    return total + np.sum(np.roll(big, 3)[big.size // 2 :] * big[::2][: big.size - big.size // 2])


LINEAR = [solved, factored, orthogonal, determinants, eigenvalues, singular_values, large_product, arrays]


@pytest.mark.parametrize("program", LINEAR, ids=lambda f: f.__name__)
def test_linear_algebra_and_arrays(program):
    """By loops, where the CPU has BLAS and LAPACK."""
    for request in requests_of(program):
        check_instances(request, [X], len(X), 1e-8, level=1)


# ── float32 ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("program", [scan, bounded_loop, branch, fixed, rolled, solved], ids=lambda f: f.__name__)
def test_programs_in_float32(program):
    """Loops, their records and addresses are the same; the numbers are float32."""
    for request in requests_of(program):
        single_codes, single = on_host(request, [X.astype(np.float32)], len(X), level=1, precision="f")
        codes, double = on_host(request, [X], len(X), level=1)
        assert not codes.any() and not single_codes.any()
        for found, wanted in zip(single, double, strict=True):
            assert found.dtype == np.float32
            same(found, wanted, 2e-3)


# ── PTX ───────────────────────────────────────────────────────────────────────────────────────────────────────
@needs_assembler
@pytest.mark.parametrize("program", [scan, branch, rolled, fixed, adaptive, stiff], ids=lambda f: f.__name__)
def test_programs_are_assembled(program):
    for request in requests_of(program):
        for name, found in assembled(request, ("sm_90",)).items():
            assert found.registers <= 255 and found.spilled <= 512, (name, found.registers, found.spilled)


@needs_assembler
@pytest.mark.parametrize("program", [scan, branch, adaptive], ids=lambda f: f.__name__)
def test_nothing_is_called_by_address(program):
    """For then nobody knows how much memory a thread's stack needs."""
    for request in requests_of(program):
        text, _ = text_of(request)
        made = ptx.ptx_of(text.device, "sm_90", text.calls_libdevice)
        assert b"callprototype" not in made and b"prototype_" not in made


@needs_assembler
@pytest.mark.parametrize("precision", ["d", "f"])
@pytest.mark.parametrize("program", [fixed, adaptive, bounded_loop], ids=lambda f: f.__name__)
def test_solves_and_loops_of_few_numbers_stay_in_registers(program, precision):
    """No vector of a driver is left in memory: all its places are known once everything is inlined."""
    (request,) = requests_of(program, orders=(0,))
    for name, found in assembled(request, precision=precision).items():
        assert found.stack == found.spilled == 0, (name, found.stack, found.spilled)
        assert found.registers <= (168 if precision == "d" else 104), (name, found.registers)


@needs_assembler
@pytest.mark.parametrize("program", [fixed, adaptive], ids=lambda f: f.__name__)
def test_gradients_of_solves_keep_their_states_and_little_else_in_memory(program):
    _, request = requests_of(program)
    text, _ = text_of(request)
    for found in assembled(request, ("sm_90",)).values():
        assert found.stack < text.vectors and found.spilled <= 64


@needs_assembler
@pytest.mark.parametrize("precision", ["d", "f"])
def test_a_step_of_lorenz_takes_few_registers(precision):
    """The table of a step of Tsit5, right-hand side inlined, as kernels run it."""
    (solve,) = record(adaptive, X[0])[0].subs
    for name, found in assembled(Request(solve.body.table), precision=precision).items():
        assert found.registers <= (64 if precision == "d" else 40), (name, found.registers)
        assert found.spilled == 0
