"""Native code at run time: compiling and linking, missing symbols, vector functions, the parallel loop."""

import ctypes
import gc
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.special

from fastad.errors import CompileError, FastadError
from fastad.execution.machine import llvm_ir, objects, parallel, symbols

DOUBLE = ctypes.c_double
SQUARE = "define double @square(double %x) {\n  %y = fmul double %x, %x\n  ret double %y\n}\n"
UNARY = ctypes.CFUNCTYPE(DOUBLE, DOUBLE)


def calling(name, arguments=1):
    """IR of `call`, which passes its arguments on to an external function."""
    types = ", ".join(["double"] * arguments)
    values = ", ".join(f"double %x{i}" for i in range(arguments))
    return (
        f"declare double @{name}({types})\n"
        f"define double @call({values}) {{\n  %y = call double @{name}({values})\n  ret double %y\n}}\n"
    )


def load(text, *names, level=2):
    return objects.load_object(objects.compile_ir(text, level=level), names, symbols.address)


# ── compiling and linking ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_compiled_code_runs(level):
    code = load(SQUARE + calling("cbrt"), "square", "call", level=level)
    assert UNARY(code["square"])(-3.0) == 9.0
    assert UNARY(code["call"])(27.0) == pytest.approx(3.0, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["nonsense", "define double @f() {\n ret i64 0\n}", "define void @f() {\n br label %nowhere\n}"]
)
def test_invalid_ir_raises(text):
    with pytest.raises(CompileError, match="LLVM rejects"):
        objects.compile_ir(text)


BACKWARDS = "define i64 @f() {\n  %y = add i64 %x, 1\n  %x = add i64 0, 1\n  ret i64 %y\n}\n"


@pytest.mark.parametrize("level", [0, 2])
def test_values_used_before_they_exist_raise(level):
    with pytest.raises(CompileError, match="LLVM rejects"):
        objects.compile_ir(BACKWARDS, level=level)


def test_a_missing_function_is_named():
    code = objects.compile_ir(calling("no_such_function") + calling("sin").replace("@call", "@other"))
    with pytest.raises(FastadError, match="no_such_function"):
        objects.load_object(code, ["call"], symbols.address)


def test_a_function_that_the_object_lacks_raises():
    with pytest.raises(CompileError, match="square2"):
        load(SQUARE, "square", "square2")


def test_damaged_objects_raise():
    code = objects.compile_ir(SQUARE + calling("exp"))
    for length in [0, 4, 40, *range(64, len(code) - 64, 41)]:
        with pytest.raises(CompileError):
            objects.load_object(code[:length], ["square"], symbols.address)


def test_the_caller_can_give_addresses():
    twice = UNARY(lambda x: 2 * x)
    where = ctypes.cast(twice, ctypes.c_void_p).value
    code = objects.load_object(objects.compile_ir(calling("mine")), ["call"], {"mine": where}.get)
    assert UNARY(code["call"])(4.0) == 8.0


def test_constants_and_tables_are_reached():
    text = """
        @table = internal constant [3 x double] [double 1.5, double 2.5, double 3.5]
        define double @at(i64 %i) {
          %p = getelementptr [3 x double], ptr @table, i64 0, i64 %i
          %v = load double, ptr %p
          ret double %v
        }"""
    code = load(text, "at")
    assert ctypes.CFUNCTYPE(DOUBLE, ctypes.c_int64)(code["at"])(2) == 3.5


def test_every_load_has_its_own_functions_and_outlives_others():
    loaded = [load(SQUARE.replace("%x, %x", f"%x, {float(i)}"), "square", level=0) for i in range(150)]
    kept = loaded[::3]
    del loaded
    gc.collect()
    assert [UNARY(code["square"])(2.0) for code in kept] == [6.0 * i for i in range(50)]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_memory_is_given_back():
    code = objects.compile_ir(SQUARE + f'@big = global [{2**20} x i8] c"{"x" * 2**20}"\n', level=0)

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    def load_many(times):
        for _ in range(times):
            objects.load_object(code, ["square"], symbols.address)
        return resident()

    before = load_many(70)
    assert load_many(140) - before < 40 * 2**20  # of 140 MiB


class _Allocated(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [(name, ctypes.c_size_t) for name in ["arena", "a", "b", "c", "d", "e", "f", "in_use", "g", "h"]]


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="reads glibc's count"
)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_compilations_keep_nothing(level):
    """Less than 5 kB each: LLVM's pass builder keeps 1.5 kB."""
    count = ctypes.CDLL(None).mallinfo2
    count.restype = _Allocated
    rounds = 50

    def compile_all(first):
        for k in range(first, first + rounds):
            llvm_ir.object_of(SQUARE + SQUARE.replace("square", f"square{k}"), level, True)  # in this process
        gc.collect()
        return count().in_use

    before = compile_all(0)
    assert compile_all(rounds) - before < 5e3 * rounds


def test_threads_compile_at_the_same_time():
    results = {}

    def work(i):
        code = load(SQUARE.replace("%x, %x", f"%x, {float(i)}"), "square")
        results[i] = UNARY(code["square"])(1.0)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: float(i) for i in range(16)}


def test_a_process_ends_cleanly_with_code_loaded():
    program = f"""
from fastad.execution.machine import objects
from fastad.execution.machine import symbols
code = objects.load_object(objects.compile_ir({SQUARE!r}), ["square"], symbols.address)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ── external functions ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "name", ["psi", "gammaln", "erf", "erfc", "ndtr", "log_ndtr", "ndtri", "erfinv", "i0", "i1", "i0e", "i1e"]
)
def test_special_functions(name):
    x = np.array([0.1, 0.3, 0.9, np.nan])
    code = load(calling(f"fastad_{name}"), "call")
    call = UNARY(code["call"])
    np.testing.assert_array_equal([call(v) for v in x], getattr(scipy.special, name)(x))


@pytest.mark.parametrize("name", ["zeta", "gammainc", "gammaincc", "jv", "stdtr"])
def test_special_functions_of_two_arguments(name):
    x, y = np.array([1.5, 2.0, 7.0, np.nan]), np.array([0.2, 1.0, 30.0, 1.0])
    code = load(calling(f"fastad_{name}", 2), "call")
    call = ctypes.CFUNCTYPE(DOUBLE, DOUBLE, DOUBLE)(code["call"])
    np.testing.assert_array_equal([call(*v) for v in zip(x, y)], getattr(scipy.special, name)(x, y))


def test_unknown_names_have_no_address():
    for name in ("no_such", "fastad_no_such", "fastad_blas_no_such", "_ZGVdN4v_no_such", "__svml_no_such4"):
        assert symbols.address(name) is None


def test_blas():
    # ddot takes addresses, as Fortran does.
    ddot = ctypes.CFUNCTYPE(DOUBLE, *[ctypes.c_void_p] * 5)(symbols.address("fastad_blas_ddot"))
    x, y, n, one = np.arange(4.0), np.ones(4), np.array([4], np.int32), np.array([1], np.int32)
    assert ddot(*(a.ctypes.data for a in (n, x, one, y, one))) == 6.0
    assert symbols.address("fastad_lapack_dgetrf")


def test_scipy_is_imported_only_when_needed():
    program = """
import sys
from fastad.execution.machine import objects
from fastad.execution.machine import symbols
symbols.address("exp"), symbols.vector_symbol("sin", 4)
assert "scipy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# ── vector functions ──────────────────────────────────────────────────────────────────────────────

DOMAINS = {
    "exp": (-700, 700), "log": (1e-300, 1e300), "sin": (-1e4, 1e4), "cos": (-1e4, 1e4), "tan": (-1e4, 1e4),
    "tanh": (-20, 20), "sinh": (-700, 700), "cosh": (-700, 700), "expm1": (-30, 700), "log1p": (-0.999, 1e10),
    "log2": (1e-300, 1e300), "log10": (1e-300, 1e300), "exp2": (-1000, 1000), "cbrt": (-1e300, 1e300),
    "asin": (-1, 1), "acos": (-1, 1), "atan": (-1e3, 1e3), "asinh": (-1e10, 1e10), "acosh": (1, 1e10),
    "atanh": (-0.999, 0.999), "erf": (-6, 6), "erfc": (-6, 25),
    "pow": (1e-3, 1e3), "atan2": (-10, 10), "hypot": (-1e150, 1e150),
}  # fmt: skip
NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "pow": "power", "atan2": "arctan2",
}  # fmt: skip
SPECIAL_VALUES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e308, -1e308, 1e-310, -1e-310, 1.0, -1.0, 1e22, 0.5, 710.0]


def reference(name):
    """NumPy's function, or the C library's where it has none: SciPy's erfc is off by hundreds of ulp."""
    found = getattr(np, NUMPY_NAMES.get(name, name), None)
    return found if found is not None else np.vectorize(getattr(math, name))


def vector_loop(name, lanes, arity):
    """A function (x, y, out, n) that applies a vector function to arrays; n is a multiple of lanes."""
    symbol = symbols.vector_symbol(name, lanes)
    if symbol is None:
        pytest.skip(f"no vector function {name} for {lanes} lanes here")
    vector = f"<{lanes} x double>"
    both = f"{vector} %u" + (f", {vector} %v" if arity == 2 else "")
    text = f"""
        declare {vector} @{symbol}({", ".join([vector] * arity)})
        define void @loop(ptr %x, ptr %y, ptr %out, i64 %n) {{
        entry:
          br label %body
        body:
          %i = phi i64 [ 0, %entry ], [ %next, %body ]
          %xp = getelementptr double, ptr %x, i64 %i
          %yp = getelementptr double, ptr %y, i64 %i
          %op = getelementptr double, ptr %out, i64 %i
          %u = load {vector}, ptr %xp, align 8
          %v = load {vector}, ptr %yp, align 8
          %r = call {vector} @{symbol}({both})
          store {vector} %r, ptr %op, align 8
          %next = add i64 %i, {lanes}
          %more = icmp slt i64 %next, %n
          br i1 %more, label %body, label %done
        done:
          ret void
        }}"""
    code = load(text, "loop")
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64)(code["loop"])

    def apply(x, y):
        out = np.empty_like(x)
        assert x.size % lanes == 0
        function(x.ctypes.data, y.ctypes.data, out.ctypes.data, x.size)
        return out

    return apply, code


def check_vector_function(name, lanes, x, y):
    arity = 2 if name in ("pow", "atan2", "hypot") else 1
    apply, _code = vector_loop(name, lanes, arity)
    got, want = apply(x, y), reference(name)(*(x, y)[:arity])
    # Special values first: NaN and infinities in the same places.
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    # NumPy's own result may be off by as much; near zero an ulp is that of the smallest normal number.
    ulps = np.abs(got - want)[finite] / np.spacing(np.maximum(np.abs(want[finite]), 2.3e-308))
    worst = ulps.argmax()
    assert ulps[worst] <= 4, (x[finite][worst], y[finite][worst], got[finite][worst], want[finite][worst])


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize("name", DOMAINS)
def test_vector_functions_on_random_values(name, lanes, rng):
    low, high = DOMAINS[name]
    wide = low > 0 and high / low > 1e6  # spread over the exponents rather than the values
    x = np.exp(rng.uniform(np.log(low), np.log(high), 4000)) if wide else rng.uniform(low, high, 4000)
    check_vector_function(name, lanes, x, rng.uniform(-10, 10, 4000))


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize("name", DOMAINS)
def test_vector_functions_on_special_values(name, lanes):
    x, y = (a.ravel() for a in np.meshgrid(SPECIAL_VALUES, SPECIAL_VALUES[:12]))
    check_vector_function(name, lanes, np.ascontiguousarray(x), np.ascontiguousarray(y))


def test_vector_functions_can_be_switched_off():
    with symbols.vector_math(False):
        assert symbols.vector_symbol("exp", 4) is None
        assert symbols.vector_library() == "none"
    program = "from fastad.execution.machine import symbols; assert symbols.vector_symbol('exp', 4) is None"
    subprocess.run([sys.executable, "-c", program], check=True, env={"FASTAD_NO_LIBMVEC": "1"})


def test_no_vector_function_where_there_is_none():
    assert symbols.vector_symbol("exp", 3) is None
    assert symbols.vector_symbol("tgamma", 4) is None


# ── the parallel loop ─────────────────────────────────────────────────────────────────────────────

COUNTING = (
    parallel.PARALLEL_FOR
    + """
define void @count(ptr %sums, i64 %block) {
  %total = atomicrmw add ptr %sums, i64 %block monotonic
  %at = getelementptr i64, ptr %sums, i64 1
  %own = getelementptr i64, ptr %at, i64 %block
  %old = load i64, ptr %own
  %new = add i64 %old, 1
  store i64 %new, ptr %own
  ret void
}
define void @run(ptr %sums, i64 %n, i64 %blocks, i64 %threads) {
  call void @fastad_parallel_for(ptr @count, ptr %sums, i64 %n, i64 %blocks, i64 %threads)
  ret void
}
"""
)


def count_blocks(code, n, blocks, threads):
    sums = np.zeros(blocks + 1, np.int64)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_int64] * 3)(code["run"])
    run(sums.ctypes.data, n, blocks, threads)
    return sums[0], sums[1:]


@pytest.mark.parametrize("level", [0, 2])
def test_the_parallel_loop_runs_every_block_once(level):
    code = load(COUNTING, "run", level=level)
    for threads in (-1, 0, 1, 2, 3, 16, 1000):
        for blocks in (0, 1, 2, 17, 20_000):
            for n in (0, 1, 10**9):
                total, own = count_blocks(code, n, blocks, threads)
                assert total == blocks * (blocks - 1) // 2
                assert (own == 1).all()


def test_the_parallel_loop_uses_threads():
    # Each block waits until both have started: with one thread this would not return.
    text = (
        parallel.PARALLEL_FOR
        + """
        define void @meet(ptr %c, i64 %block) {
        entry:
          %arrived = atomicrmw add ptr %c, i64 1 seq_cst
          br label %wait
        wait:
          %seen = load atomic i64, ptr %c seq_cst, align 8
          %both = icmp sge i64 %seen, 2
          br i1 %both, label %done, label %wait
        done:
          ret void
        }
        define void @run(ptr %c) {
          call void @fastad_parallel_for(ptr @meet, ptr %c, i64 1000000, i64 2, i64 2)
          ret void
        }"""
    )
    code = load(text, "run")
    counter = ctypes.c_int64(0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code["run"])(ctypes.addressof(counter))
    assert counter.value == 2


def test_the_parallel_loop_does_without_threads():
    refuse = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 4)(lambda *_: 11)  # EAGAIN
    where = ctypes.cast(refuse, ctypes.c_void_p).value

    def resolve(name):
        return where if name == "pthread_create" else symbols.address(name)

    code = objects.load_object(objects.compile_ir(COUNTING), ["run"], resolve)
    total, own = count_blocks(code, 10**9, 1000, 8)
    assert total == 499_500 and (own == 1).all()


def test_parallel_loops_in_parallel():
    code = load(COUNTING, "run")
    results = []

    def work():
        results.append(count_blocks(code, 10**9, 5000, 3)[0])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5000 * 4999 // 2] * 8
