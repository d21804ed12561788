"""Kernels translated to LLVM IR without numba: they compute what Python computes, at every level of optimisation."""

import ctypes
import importlib
import math
import os
import subprocess
import sys
import textwrap
import time
from functools import cache as remembered

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastad.execution.composites.drivers import driver_names, driver_text
from fastad.execution.machine import cache, exported, objects, replacing
from fastad.execution.sweeps.source import MODES, sweep_text
from fastad.execution.translation import module
from fastad.execution.translation.kinds import UntranslatableError
from fastad.sparse.analysis import FILL

HEAD = """
import math
from fastad.kernels.flags import exact_helper, helper
from fastad.kernels.memory import doubles, integers, shift, types, view

_D, _I = types.CPointer(types.float64), types.CPointer(types.int64)
SIGNATURE = types.{result}(_D, _I, types.int64)
"""


def text_of(body, result="float64"):
    return HEAD.format(result=result) + textwrap.dedent(body)


@remembered
def compiled(text, level):
    """f(x, k, n) of an array of numbers, one of integers, and an integer."""
    code = objects.load_object(replacing.made("f", text, level), ["f"], exported._resolve)
    result = ctypes.c_int64 if "types.int64(_D" in text else ctypes.c_double
    function = ctypes.CFUNCTYPE(result, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(code["f"])

    def call(x, k, n):
        assert code
        return function(x.ctypes.data, k.ctypes.data, n)

    return call


def python(text):
    """The same by Python: pointers are arrays there."""
    space = {"math": math, "helper": lambda f: f, "view": lambda x, n: x[:n], "shift": lambda x, n: x[n:]}
    space["exact_helper"] = space["helper"]
    exec(text[text.index("SIGNATURE") :].partition("\n")[2], space)
    return space["entry"]


BODIES = {
    "whole numbers": ("""
        def entry(x, k, n):
            total = 0
            for i in range(n):
                a, b = k[i], k[(i + 1) % n]
                total = 7 * total + a // b + a % b - (a > b) + abs(a) * 3
                total += -(a // 4) + (a % -3) + (a ^ b) + (a & 5) + (b | 2)
                total = total % 1000003
            return total
    """, "int64"),
    "loops": ("""
        def entry(x, k, n):
            total = 0
            for i in range(n, -n, -2):
                if i == 3:
                    continue
                for j in range(1, i + 4, k[0] if k[0] > 0 else 1 - k[0]):
                    total += i * j
                    if total > 200:
                        break
            while True:
                total -= 3
                if total < 0:
                    return total
    """, "int64"),
    "cases": ("""
        def entry(x, k, n):
            total = 0
            for i in range(n):
                code = k[i] % 7
                if code == 0 or code == 3:
                    total += 1
                elif code == 1:
                    total *= 2
                    continue
                elif code == 2:
                    return total
                elif code == 3 or code == 4:
                    total -= 5
                else:
                    total += code
                total += 1
            return total
    """, "int64"),
    "truth": ("""
        def entry(x, k, n):
            a, b = k[0], k[1]
            c = (a or b) + (a and b) * 3 + (a > 1 and b > 1) + (not a or b < a <= 3)
            d = a > 2
            d = d or b
            return c + 5 * d + (7 if a and not b or (b and not a > b) else 11)
    """, "int64"),
    "widening": ("""
        def entry(x, k, n):
            total = 0
            for i in range(n):
                total += x[i] if k[i] > 0 else 1
            pair = (total, 2) if n > 2 else (n, 0.5)
            return pair[0] * pair[1]
    """, "float64"),
    "numbers": ("""
        def entry(x, k, n):
            total = -0.0
            for i in range(n):
                v, w = x[i], x[n - 1 - i]
                total += min(v, w, 0.25) - max(v, w) / (1.0 + abs(w)) + v % 1.0 + math.sqrt(abs(v)) + int(v) % 3
                total += math.exp(v) * (math.floor(w) - math.ceil(v))
                total += (v == w) + (v != w) * 2.0 + (v < w) - k[i] / 3
            return total
    """, "float64"),
    "not numbers": ("""
        def entry(x, k, n):
            bad = float("nan")
            return min(x[0], bad) * 0 + (bad == bad) + 2 * (bad != bad) + 4 * (not bad >= 0.0) + max(x[0], bad, x[0])
    """, "float64"),
    "functions": ("""
        @helper
        def scaled(y, n, factor):
            for i in range(n):
                y[i] *= factor

        @exact_helper
        def ends(y, n):
            return y[0], y[n - 1], n

        def entry(x, k, n):
            y = view(x, n)
            scaled(y[1 : n - 1], n - 2, 2.0)
            scaled(shift(x, 1), 1, 3.0)
            first, last, size = ends(y, len(y))
            y[0], y[n - 1] = last, first
            y[1:2] = 0.0
            y[n - 1 :] = size
            return first - last * size
    """, "float64"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(-9, 9).filter(bool)), min_size=3, max_size=9))
@example([(1.0, 1), (-2.5, -3), (0.5, 2)])
def test_translated_functions_are_those_of_python(name, pairs):
    text = text_of(*BODIES[name])
    x, k = np.array([v for v, _ in pairs]), np.array([v for _, v in pairs])
    mine, results = [x.copy() for _ in range(3)], []
    for own, f in zip(mine, [python(text), compiled(text, 0), compiled(text, 3)], strict=True):
        results.append(float(f(own, k, len(k))))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-13, atol=1e-13)
    assert np.array(results[1]).tobytes() == np.array(results[2]).tobytes()
    assert mine[0].tolist() == mine[1].tolist() == mine[2].tolist()


def test_products_in_sums_are_fused_where_the_text_has_them():
    """(1 + e) (1 - e) - 1, which is 0 if the product is rounded."""
    own = "@{decorator}\ndef f(x):\n    return x[0] * x[1] - x[2]\n\n\ndef entry(x, k, n):\n    return f(x)\n"
    x, k = np.array([1.0 + 2.0**-30, 1.0 - 2.0**-30, 1.0]), np.zeros(1, int)
    fused, exact = (text_of(own.format(decorator=name)) for name in ("helper", "exact_helper"))
    for level in (0, 3):
        assert compiled(exact, level)(x, k, 0) == 0.0
        assert compiled(fused, level)(x, k, 0) == (-(2.0**-60) if replacing.has_fused_product() else 0.0)


# ── everything that is translated ─────────────────────────────────────────────────────────────────────────────
def texts():
    yield from (sweep_text(mode) for mode in MODES)
    yield from (exported.entry_text(name) for name in exported.entry_names())
    yield from (driver_text(name) for name in driver_names())
    yield from (exported.ACTIVITY, FILL)


def test_all_that_fastad_compiles_can_be_translated():
    """What cannot be falls back on numba, which takes seconds."""
    for text in texts():
        assert module.ir_of(text, "f", fused=True) and module.ir_of(text, "f", fused=False, replaceable=True)


@pytest.mark.parametrize("name", module.SUBSTITUTES)
def test_the_substitutes_have_the_names_that_kernels_import(name):
    own, real = module.SUBSTITUTES[name], importlib.import_module(f"fastad.kernels.{name}")
    for word, found in vars(real).items():
        home = getattr(getattr(found, "_defn", found), "__module__", "")
        assert home != real.__name__ or word.startswith("_") or hasattr(own, word), word


@pytest.mark.parametrize("body", [
    "return n ** 2", "return [n][0]", "return len(k)", "return n if n else x", "return entry(x, k, n)",
    "return sum(k)", "return k[-1]", "for v in k:\n        n += v\n    return n", "return unknown", "return x[0]",
])  # fmt: skip
def test_what_is_not_known_is_refused(body):
    text = text_of(f"def entry(x, k, n):\n    {body}\n", "int64")
    with pytest.raises(UntranslatableError):
        module.ir_of(text, "f", fused=True)


def test_numba_compiles_what_cannot_be_translated():
    text = text_of(f"def entry(x, k, n):\n    return n ** 2  # {os.urandom(8).hex()}\n", "int64")
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    assert kind(exported.address("square", text))(0, 0, 7) == 49


# ── replacement ───────────────────────────────────────────────────────────────────────────────────────────────
def test_better_code_takes_over_with_the_same_numbers(tmp_path):
    """In a new process without a cache: numba is not imported, and what runs is replaced after a while."""
    code = """
        import sys, time
        import numpy as np
        import fastad as fad
        from fastad.execution.machine import replacing

        def loss(x):
            y, z = fad.scan(lambda y, e: (np.sin(y * e) + 0.1 * y, y * y), np.ones(3), x)
            return np.sum(y) + np.sum(z)

        gradient, x = fad.grad(loss, tier="native"), np.linspace(0.1, 1.0, 50)
        first, end = gradient(x), time.monotonic() + 100
        while len(replacing._held) < 2 and time.monotonic() < end:
            np.testing.assert_array_equal(gradient(x), first)
            time.sleep(0.1)
        assert len(replacing._held) == 2 and "numba" not in sys.modules
        np.testing.assert_array_equal(gradient(x), first)
    """
    environment = {**os.environ, "FASTAD_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True)


def test_one_process_at_a_time_is_told_to_make_an_object(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTAD_CACHE_DIR", str(tmp_path / "cache"))
    key, claims = ("a", "key"), tmp_path / "cache" / "claims"
    with cache.claimed(key) as first, cache.claimed(key) as second, cache.claimed(("other",)) as third:
        assert (first, second, third) == (True, False, True)
        old = time.time() - 2 * cache._CLAIM_SECONDS
        for path in claims.iterdir():
            os.utime(path, (old, old))
        with cache.claimed(key) as after_a_crash:
            assert after_a_crash
    assert not list(claims.iterdir())
