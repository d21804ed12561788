"""Starting with warm caches: what numba compiled runs in later processes without numba."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from fastad.execution.machine import cache, exported, objects, symbols
from fastad.execution.sweeps.kernel import every_text
from fastad.kernels import interrupt_state, notice_count, scipy_blas, superlu

OWN = {scipy_blas.TABLE, superlu.TABLE, notice_count.SYMBOL, interrupt_state.SYMBOL}
# Of the C library and the mathematics library, and what fastad itself resolves.
ALLOWED = {
    "memset", "memcpy", "memmove", "malloc", "free", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "sqrt",
    "cbrt", "hypot", "fmod", "erf", "erfc", "lgamma", "tgamma", "floor", "ceil", "trunc", "rint", "copysign", "fma",
    *OWN,
}  # fmt: skip

SAVED = """
    import sys
    import numpy as np
    import fastad as fad

    PARTS = {
        "elementwise": (lambda x, k: np.sum(np.sin(x) * x), 4),
        "kernels": (lambda x, k: np.sum(np.cumsum(x)[k] ** 2), 6),
        "long": (lambda x, k: chain(x), 3),
    }

    def chain(x):
        for _ in range(1200):
            x = x * 0.999 + 0.001
        return np.sum(x)

    def arguments(name):
        return np.linspace(0.1, 1.0, PARTS[name][1]), np.array([2, 0, 1, 2])
"""
WRITE = """
    for name, (function, _) in PARTS.items():
        f = fad.jit(function)
        f(*arguments(name))
        f.save(f"{folder}/{name}.npz")
        print(fad.grad(fad.load(f"{folder}/{name}.npz"), tier=tier)(*arguments(name)).tolist())
"""
READ = """
    for name in PARTS:
        print(fad.grad(fad.load(f"{folder}/{name}.npz"), tier=tier)(*arguments(name)).tolist())
    assert "numba" not in sys.modules, "numba was imported"
    assert "scipy" not in sys.modules, "scipy was imported"
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_a_gradient_with_warm_caches_needs_no_numba(tier, tmp_path):
    def program(body):
        return textwrap.dedent(SAVED) + f"folder, tier = {str(tmp_path)!r}, {tier!r}\n" + textwrap.dedent(body)

    assert run(program(WRITE)) == run(program(READ))


CONTROL = """
    import sys
    import numpy as np
    import fastad as fad

    def step(y, e):
        return np.sin(y * e) + y, None

    x = np.linspace(0.1, 1.0, 20)
    C = fad.checkpoint
    for schedule in (None, C.StoreAll(), C.Revolve(3), C.Periodic(4), C.StoreNone(), C.Auto(10**4)):
        print(fad.grad(lambda x: fad.scan(step, 1.0, x, checkpoint=schedule)[0], tier=tier)(x).tolist())
    print(fad.grad(lambda x: fad.cond(x[0] > 0, np.sum, np.prod, x), tier=tier)(x).tolist())
    print(fad.grad(lambda a: fad.while_loop(lambda x: x < 9, lambda x: x * a, 1.0, max_steps=9), tier=tier)(2.0))
"""


@pytest.mark.parametrize("tier", ["sweep", "native"])
def test_loops_with_warm_caches_need_no_numba(tier):
    program = f"tier = {tier!r}\n" + textwrap.dedent(CONTROL)
    assert run(program) == run(program + "assert not {'numba', 'scipy'} & set(sys.modules)\n")


def test_importing_fastad_imports_neither_numba_nor_scipy():
    run("import sys, fastad\nassert not {'numba', 'scipy', 'matplotlib'} & set(sys.modules)")


def test_matrix_products_load_only_the_library_of_blas(tmp_path):
    code = textwrap.dedent(f"""
        import sys
        import numpy as np
        import fastad as fad
        a = np.linspace(0.0, 1.0, 400).reshape(20, 20)
        f = fad.jit(lambda a: np.sum(a @ a))
        np.testing.assert_allclose(f(a), np.sum(a @ a))
        f.save("{tmp_path}/f.npz")
        g = fad.grad(f, tier="sweep")(a)
        np.testing.assert_allclose(g, np.ones_like(a) @ a.T + a.T @ np.ones_like(a))
        loaded = "scipy.linalg" in sys.modules
    """)
    run(code)
    run(code + "assert not loaded and 'numba' not in sys.modules\n")


# ── objects ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_objects_need_only_the_c_library():
    for text in every_text():
        needed = set(objects.undefined_symbols(exported.stored(text)))
        assert needed <= ALLOWED
        assert all(symbols.address(name) for name in needed - OWN)


def test_another_text_kernel_or_numba_is_another_object(monkeypatch):
    text = exported.entry_text("gather")
    keys = {exported.key_of(text), exported.key_of(text + "\n")}
    monkeypatch.setattr(exported, "kernel_digest", lambda: "others")
    keys.add(exported.key_of(text))
    monkeypatch.setattr(exported, "numba_version", lambda: "another")
    keys.add(exported.key_of(text))
    assert len(keys) == 4


def test_the_version_of_numba_is_known_without_it():
    import numba

    version = exported.numba_version()
    assert version not in ("", "none") and version == exported.numba_version.__wrapped__()
    assert numba.__version__


def test_damaged_objects_are_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    text = exported.entry_text("guard")
    first = exported.stored(text)
    (path,) = (tmp_path / "cache" / "objects").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    assert objects.undefined_symbols(exported.stored(text)) == objects.undefined_symbols(first)


def test_a_text_is_made_only_where_its_object_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    made, mark = [], os.urandom(8).hex()

    def make():
        made.append(TRIPLE + f"# {mark}\n")
        return made[-1]

    exported.stored(make())
    first = exported.address_from("triple", (mark, "one"), make)
    assert len(made) == 2  # to find out what the object is kept by
    assert exported.address_from("triple", (mark, "one"), make) == first and len(made) == 2
    exported.address_from("triple", (mark, "another"), make)
    assert len(made) == 3
    mark = os.urandom(8).hex()  # an origin that is the same by mistake would bring this text's predecessor: see below
    exported.address_from("triple", (mark, "one"), make)
    assert len(made) == 5  # what is not kept is made once more, to be compiled


@pytest.mark.parametrize("mode", ["values", "tangents", "adjoints"])
def test_the_text_of_the_sweeps_is_not_made_in_a_process_that_has_them(mode):
    script = (
        "from fastad.execution.sweeps import kernel, source; "
        f"kernel._sweep({mode!r}); print(source.sweep_text.cache_info().currsize)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)  # puts it into the cache
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "0"


TRIPLE = """
from fastad.kernels.memory import types
SIGNATURE = types.int64(types.int64)


def entry(x):
    return 3 * x
"""


TWICE = """
from numba import float64, types
SIGNATURE = types.int64(types.CPointer(float64), types.int64)


def entry(x, n):
    for i in range(n):
        x[i] *= 2.0
    return n
"""


@pytest.mark.parametrize("failing", [False, True])
def test_numba_itself_serves_where_its_code_cannot_be_exported(failing, monkeypatch):
    import ctypes

    from fastad.kernels import export

    text = TWICE + f"# {os.urandom(8).hex()}\n"
    if failing:
        monkeypatch.setattr(export, "ir_of", lambda text, name: 1 / 0)
    x = np.arange(4.0)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(exported.address("twice", text))
    assert function(x.ctypes.data, 4) == 4
    assert x.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert cache.is_stored(exported.key_of(text)) != failing


def test_numba_compiles_as_ever_after_an_export():
    import numba

    exported.stored(TWICE + f"# {os.urandom(8).hex()}\n")

    @numba.njit
    def double(x):
        return 2 * x

    assert double(3) == 6
    from fastad.kernels.reducing import sum_forward

    out = np.empty(1)
    assert sum_forward(out, np.ones(5), np.empty(0), np.array([1, 5, 1])) == 0 and out[0] == 5.0
