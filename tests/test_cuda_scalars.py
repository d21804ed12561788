"""Kernels for GPUs of straight-line programs: every elementwise primitive, on this CPU by the same text, and as PTX."""

import itertools

import numpy as np
import pytest
from cuda_tools import (
    ARCHITECTURES,
    adjoint,
    assembled,
    check_instances,
    here_and_on_gpus,
    kernels_on,
    needs_assembler,
    on_device,
    on_host,
    same,
    seconds,
)
from device_double import HostDevice
from hypothesis import given
from hypothesis import strategies as st
from native_tools import Programs
from recording_tools import record

from fastad.errors import CompileError
from fastad.execution.cuda import ptx
from fastad.execution.cuda.compiled import DeviceText, code
from fastad.execution.cuda.host import HostCode
from fastad.execution.cuda.leaves import special_text
from fastad.execution.request import Request
from fastad.primitives.elementwise import DOMAINS
from fastad.primitives.row import elementwise_rows, primitive
from fastad.tables.builder import Builder
from fastad.tables.passes.derive import adjoint_table

runs_on = here_and_on_gpus()
COUNT = 6
# Functions of SciPy that neither NVIDIA's library has nor the kernels.
ABSENT = {"bessel_jv", "bessel_yv", "bessel_iv", "bessel_kv", "bessel_ive", "bessel_kve"}
ROWS = [row.name for row in elementwise_rows()]


def table_of(name):
    b = Builder()
    return b.table([b.emit(name, tuple(b.input(()) for _ in range(primitive(name).arity)))])


def drawn(rng, name, count=COUNT):
    """Points of the domain on which a primitive is tested."""
    keys = [DOMAINS[key] for key in primitive(name).domain]
    return [np.array([rng.uniform(*own[rng.integers(len(own))]) for _ in range(count)]) for own in keys]


def requests_of(name):
    """Value, adjoint, and the adjoint of the adjoint."""
    table = table_of(name)
    first = adjoint(table)
    yield Request(table)
    yield first
    yield adjoint(first.table)


def is_absent(request):
    """Whether a program needs a function that GPUs have not; the error must then name it."""
    try:
        DeviceText(request.table).device  # noqa: B018
    except CompileError as error:
        assert any(name in str(error) for name in ABSENT), error
        return True
    return False


@pytest.mark.parametrize("name", ROWS)
def test_every_primitive_computes_what_the_cpu_does(name):
    """Value, first and second derivatives, instance by instance."""
    for order, request in enumerate(requests_of(name)):
        if is_absent(request):
            assert name in ABSENT or order > 0
            return
        check_instances(request, drawn(np.random.default_rng(len(name)), name), COUNT, 1e-10, level=0)


def test_every_leaf_has_a_function_for_gpus_or_is_known_to_have_none():
    for row in elementwise_rows():
        if row.symbol and row.name not in ABSENT:
            assert row.intrinsic or row.on_device or special_text(row.symbol), row.name


def test_what_a_gpu_lacks_is_named():
    with pytest.raises(CompileError, match="bessel_kv has no function for GPUs"):
        DeviceText(table_of("bessel_kv")).device  # noqa: B018


SPECIAL = ("digamma", "zeta", "log_ndtr", "rgamma", "betaln", "beta", "gammasgn", "gammainc", "gammaincc", "betainc",
           "stdtr", "bessel_i0e", "bessel_i1e", "bessel_k0", "bessel_k1", "bessel_k0e", "bessel_k1e")  # fmt: skip
EDGES = np.array([-7.5, -3.0, -1.0, -0.25, 0.0, 1e-9, 0.5, 1.0, 2.0, 2.5, 29.0, 31.0, 150.0])


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_of_the_kernels_are_scipys_over_their_range(name):
    """Poles, ends of domains and the places where one method takes over from another included."""
    row = primitive(name)
    grids = np.meshgrid(*[EDGES if key != "I" else np.array([0.0, 0.01, 0.5, 0.99, 1.0]) for key in row.domain])
    points = [grid.ravel() for grid in grids]
    with np.errstate(all="ignore"):
        wanted = row.numpy(*points)
    codes, (found,) = on_host(Request(table_of(name)), points, points[0].size)
    assert not codes.any()
    finite = np.isfinite(wanted) & (np.abs(wanted) < 1e280)
    near = 4e-10 if name == "stdtr" else 1e-13  # of 1 and 1e-9 SciPy's is 1/2, which is wrong by 3e-10
    np.testing.assert_allclose(found[finite, 0], wanted[finite], rtol=2e-11, atol=near)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), np.isnan(wanted))


# ── how instances find their arrays ───────────────────────────────────────────────────────────────────────────
def pair(x, y):
    return np.sin(x[0]) * y + x[1] ** 2, x * y


@pytest.mark.parametrize("kinds", ["dd", "ff", "df", "qd", "di", "d?"])
def test_arrays_of_all_kinds(kinds):
    table, *_ = record(pair, np.array([0.3, 0.4]), np.array(0.5))
    rng = np.random.default_rng(1)
    x, y = (rng.uniform(0, 3, shape).astype(kind) for shape, kind in zip([(7, 2), (7,)], kinds, strict=True))
    _, (first, second) = on_host(Request(table), [x, y], 7, inputs=kinds, outputs="dd")
    for i in range(7):
        a, b = pair(x[i].astype(float), y[i].astype(float))
        same(first[i], a, 1e-12)
        same(second[i], b, 1e-12)


def test_strides_order_and_shared_arguments():
    """Turned arrays, instances in another order, and one argument for all."""
    table, *_ = record(pair, np.array([0.3, 0.4]), np.array(0.5))
    host = HostCode(DeviceText(table))
    turned, y = np.array(np.random.default_rng(2).uniform(size=(2, 5))), np.array([0.7])
    first, second, codes = np.zeros(5), np.zeros((2, 5)), np.full(5, 9, np.int32)
    order = np.array([3, 0, 4], np.int32)
    words = [turned.ctypes.data, 1, 5, y.ctypes.data, 0, 1, first.ctypes.data, 1, 1, second.ctypes.data, 1, 5]
    host.launch(3, order.ctypes.data, codes.ctypes.data, words)
    assert codes.tolist() == [0, 9, 9, 0, 0]
    for i in order:
        same(first[i], pair(turned[:, i], 0.7)[0], 1e-13)
        same(second[:, i], turned[:, i] * 0.7, 1e-13)
    assert not first[[1, 2]].any() and not second[:, [1, 2]].any()


def test_guards_and_errors_are_codes_of_their_instances():
    def f(x):
        return x * 2 if x[0] > 0 else x

    table, *_ = record(f, np.array([1.0, 2.0]))
    x = np.array([[1.0, 2.0], [-1.0, 2.0], [3.0, 0.0]])
    codes = check_instances(Request(table), [x], 3)
    assert codes[0] == codes[2] == 0 and codes[1] > 0


def test_large_arrays_go_by_reference():
    table, *_ = record(lambda x: np.sum(np.exp(-(x**2))) * x[:2], np.zeros(400))
    request = adjoint(table)
    assert request.table and DeviceText(request.table).layout.inputs[0].by_reference
    check_instances(request, [np.random.default_rng(3).normal(size=(3, 400))], 3)


def test_memory_beyond_a_threads_is_an_error_that_says_so():
    table, *_ = record(lambda x: np.cumsum(np.cumsum(x)[::-1]), np.zeros(40_000))
    with pytest.raises(CompileError, match="bytes of memory, and a thread of a GPU has 524,288"):
        DeviceText(table, inputs="f", outputs="f")


# ── float32 ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", [name for name in ROWS if name not in ABSENT])
def test_every_primitive_in_float32(name):
    """What is computed in float32 differs by its rounding, and not by more."""
    request = Request(table_of(name))
    points = [x.astype(np.float32) for x in drawn(np.random.default_rng(5), name)]
    codes, (found,) = on_host(request, points, COUNT, level=0, precision="f")
    assert found.dtype == np.float32 and not codes.any()
    _, (wanted,) = on_host(request, [x.astype(float) for x in points], COUNT, level=0)
    same(found, wanted, 2e-4 if special_text(str(primitive(name).symbol)) else 2e-5)


def test_float32_is_not_float64_rounded_at_the_end():
    table, *_ = record(lambda x: (x + 1.0) - x, np.array(1.0))
    _, (single,) = on_host(Request(table), [np.array([3e8], np.float32)], 1, precision="f")
    _, (double,) = on_host(Request(table), [np.array([3e8], np.float32)], 1, inputs="f", outputs="f")
    assert single == 0 and double == 1


def test_gradients_in_float32():
    def f(x):
        return np.sum(np.exp(-(x**2)) * np.sin(x)) / np.hypot(x[0], x[1])

    table, *_ = record(f, np.array([0.3, 0.4, 0.5]))
    x = np.random.default_rng(6).uniform(0.2, 1, (9, 3)).astype(np.float32)
    _, found = on_host(adjoint(table), [x], 9, precision="f")
    _, wanted = on_host(adjoint(table), [x.astype(float)], 9)
    for single, double in zip(found, wanted, strict=True):
        assert single.dtype == np.float32
        same(single, double, 3e-6)


# ── random programs ───────────────────────────────────────────────────────────────────────────────────────────
@given(st.integers(0, 10**6))
def test_random_tables(seed):
    """Rows of all forms over arrays of related shapes."""
    programs = Programs(np.random.default_rng(seed))
    table = programs.table()
    inputs = programs.inputs()
    check_instances(Request(table), [np.array(x)[None] for x in inputs], 1, 1e-9, level=0)


@given(st.integers(0, 10**6))
def test_random_gradients(seed):
    programs = Programs(np.random.default_rng(seed), steps=8)
    table = programs.table()
    inputs = programs.inputs()
    check_instances(adjoint(table), [np.array(x)[None] for x in inputs], 1, 1e-8, level=0)


# ── PTX ───────────────────────────────────────────────────────────────────────────────────────────────────────
def every_primitive(first, last):
    """A program of many primitives, each of inputs of its own."""
    b, names = Builder(), [name for name in ROWS[first:last] if name not in ABSENT]
    return b.table([b.emit(name, tuple(b.input(()) for _ in range(primitive(name).arity))) for name in names])


@needs_assembler
@pytest.mark.parametrize("start", range(0, len(ROWS), 25))
def test_every_primitive_is_assembled(start):
    """What sm_80 understands, later ones do."""
    request = Request(every_primitive(start, start + 25))
    for precision, architectures in (("d", ARCHITECTURES), ("f", ARCHITECTURES[1:2])):
        text = DeviceText(request.table, precision=precision)
        made = ptx.ptx_of(text.device, architectures[0], text.calls_libdevice)
        for name in architectures:
            found = ptx.assembled(made, name)
            assert found.data[:4] == b"\x7fELF" and found.registers <= 255


@needs_assembler
def test_more_arrays_than_parameters_are_assembled():
    b = Builder()
    xs = [b.input(()) for _ in range(300)]
    request = Request(b.table([b.emit("add", (x, y)) for x, y in itertools.pairwise(xs)]))
    assert assembled(request, ("sm_90",))["sm_90"].data[:4] == b"\x7fELF"


def test_the_way_to_a_gpu():
    """What runs these tests on a GPU gives the same on the device of the tests."""
    request, x = chain(8), np.random.default_rng(2).uniform(0.2, 0.9, (5, 2))
    codes, found = on_device(HostDevice(), request, [x], 5)
    wanted_codes, wanted = on_host(request, [x], 5, level=0)
    np.testing.assert_array_equal(codes, wanted_codes)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    with kernels_on(HostDevice()):
        check_instances(request, [x], 5)


def chain(n):
    def f(x):
        a, b = x[0], x[1]
        for k in range(n):
            a, b = a * b + np.sin(a) if k % 7 == 0 else a * 0.5 + b * b, b - 0.1 * a
        return a + b

    table, *_ = record(f, np.array([0.3, 0.4]))
    return adjoint(table, [0])


@needs_assembler
def test_short_gradients_stay_in_registers():
    for name, found in assembled(chain(16)).items():
        assert found.registers <= 128 and found.spilled == 0, (name, found.registers, found.spilled)


@needs_assembler
def test_long_gradients_are_cut_so_that_registers_suffice():
    request = chain(80)
    assert len(request.table) > 900
    for name, found in assembled(request).items():
        assert found.registers <= 255 and found.spilled <= 1024, (name, found.registers, found.spilled)


@needs_assembler
def test_time_to_compile():
    """Processor seconds of 200 rows and of 1,000, LLVM and nvJitLink included."""
    seconds(chain(8))  # LLVM is loaded
    assert min(seconds(chain(16)) for _ in range(3)) < 0.4
    assert min(seconds(chain(80)) for _ in range(2)) < 1.5


@needs_assembler
def test_code_is_kept_and_describes_itself():
    request = chain(4)
    found = code(request, "sm_90")
    assert found.cubin[:4] == b"\x7fELF" and found.inputs == "d" and found.outputs == "dd"
    assert found.rows is request.table and found.registers > 0
    assert code(request, "sm_90").cubin == found.cubin
    assert adjoint_table(request.base, [0], seeds=[1.0]).hash == found.rows.hash
