"""External functions that native code may call, by name.

- `exp`, `memset`, `pthread_create`: the C function of that name in this process or its mathematics library
- `_ZGVdN4v_exp`, `__svml_exp4`: vector functions, see `vector_symbol`
- `fastad_psi`, `fastad_zeta`, …: `double f(double, …)`, the function of that name in scipy.special
- `fastad_blas_dgemm`, `fastad_lapack_dgetrf`, …: SciPy's BLAS and LAPACK, by Fortran's convention: all
  arguments are addresses (of 32-bit integers, doubles, single characters), matrices lie in column-major order

SciPy is imported only when one of its functions is asked for: scipy.special and scipy.linalg take 0.3 s each.
"""

import contextlib
import ctypes
import functools
import importlib
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator

from fastad.execution.machine import llvm_ir, objects
from fastad.kernels import scipy_blas
from fastad.once import once
from fastad.primitives import elementwise_rows

_SPECIAL, _BLAS, _LAPACK = "fastad_", "fastad_blas_", "fastad_lapack_"
_CYTHON = "scipy.linalg.cython_"


@functools.cache
def address(name: str) -> int | None:
    """The address of an external function, None if this process cannot have it."""
    if name.startswith(_BLAS):
        return _from_capsules(f"{_CYTHON}blas", name.removeprefix(_BLAS))
    if name.startswith(_LAPACK):
        return _from_capsules(f"{_CYTHON}lapack", name.removeprefix(_LAPACK))
    if name.startswith(_SPECIAL):
        return _special(name.removeprefix(_SPECIAL))
    if name.startswith("_ZGV"):
        return _exported(_libmvec(), name)
    if name.startswith("__svml"):
        return _exported(_svml(), name)
    return _exported(ctypes.CDLL(None) if os.name != "nt" else None, name) or _exported(_libm(), name)


def register(*names: str) -> list[str]:
    """Make functions known to all that LLVM links in this process, numba's code included; return the missing.

    Code made by `objects.load_object` needs no registration. Numba code that declares such a function by name
    does, before it is compiled or loaded from numba's cache.
    """
    found = {name: address(name) for name in names}
    for name, where in found.items():
        if where is not None:
            llvm_ir.llvm().add_symbol(name, where)
    return [name for name, where in found.items() if where is None]


# ── shared libraries ──────────────────────────────────────────────────────────────────────────────


def _exported(library: ctypes.CDLL | None, name: str) -> int | None:
    function = getattr(library, name, None) if library is not None else None
    return ctypes.cast(function, ctypes.c_void_p).value if function is not None else None


def _open(*names: str) -> ctypes.CDLL | None:
    for name in names:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None


@functools.cache
def _libm() -> ctypes.CDLL | None:
    return _open("libm.so.6", "libm.so", "libSystem.dylib", "ucrtbase.dll")


@functools.cache
def _libmvec() -> ctypes.CDLL | None:
    return _open("libmvec.so.1")


@functools.cache
def _svml() -> ctypes.CDLL | None:
    return _open("libsvml.so", os.path.join(sys.prefix, "lib", "libsvml.so"))


# ── vector functions ──────────────────────────────────────────────────────────────────────────────

_TWO_ARGUMENTS = frozenset(row.symbol for row in elementwise_rows() if row.arity == 2)

# (machine, lanes) -> (the instruction-set letter of the vector function ABI, the CPU feature it needs).
_ISA = {
    ("x86_64", 2): ("b", "sse4.1"),
    ("x86_64", 4): ("d", "avx2"),
    ("x86_64", 8): ("e", "avx512f"),
    ("aarch64", 2): ("n", "neon"),
}

_vector_math = not os.environ.get("FASTAD_NO_LIBMVEC")


@contextlib.contextmanager
def vector_math(enabled: bool) -> Iterator[None]:
    """Within the context, `vector_symbol` finds functions, or none. FASTAD_NO_LIBMVEC=1 sets the default."""
    global _vector_math
    before, _vector_math = _vector_math, enabled
    try:
        yield
    finally:
        _vector_math = before


def vector_symbol(c_name: str, lanes: int) -> str | None:
    """The function that applies a C function to vectors: `<lanes x double> f(<lanes x double>, …)` in LLVM's
    terms.

    Parameters
    ----------
    c_name : a function of math.h for doubles, e.g. "exp", "pow".
    lanes : 2 (SSE4, NEON), 4 (AVX2) or 8 (AVX512).

    Returns
    -------
    The name for `address`, of glibc's libmvec (errors up to 4 ulp) or else Intel's SVML (package icc_rt);
    None where neither is there, the CPU has no such vectors, or vector functions are switched off.
    """
    return _find_vector_symbol(c_name, lanes) if _vector_math else None


@functools.cache
def _find_vector_symbol(c_name: str, lanes: int) -> str | None:
    letter, feature = _ISA.get((platform.machine(), lanes), (None, ""))
    if letter is None or not objects.has_feature(feature):
        return None
    arguments = "vv" if c_name in _TWO_ARGUMENTS else "v"
    candidates = f"_ZGV{letter}N{lanes}{arguments}_{c_name}", f"__svml_{c_name}{lanes}"
    return next((name for name in candidates if address(name)), None)


def vector_library() -> str:
    """What `vector_symbol` draws from: part of the key of code that is not cached by its own text."""
    if not _vector_math:
        return "none"
    if _libmvec():
        return "libmvec " + " ".join(platform.libc_ver())
    return "svml" if _svml() else "none"


# ── SciPy ─────────────────────────────────────────────────────────────────────────────────────────

_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

# `cpdef` functions end with the argument int skip_dispatch. Functions of a module never read it, and an
# argument that is not read need not be passed in any C calling convention in use: it would sit in a register
# of its own class.
_REAL_SIGNATURE = re.compile(r"double \(double(, double)*(, int __pyx_skip_dispatch)?\)")


def _from_capsules(module: str, name: str) -> int | None:
    capsule = _capsules(module).get(name)
    return _capsule_pointer(capsule, _capsule_name(capsule)) if capsule is not None else None


@functools.cache
def _capsules(module: str) -> dict[str, object]:
    try:
        if module.startswith(_CYTHON):
            return dict(scipy_blas.functions(module.removeprefix(_CYTHON)))
        return importlib.import_module(module).__pyx_capi__
    except ImportError:
        return {}


def _special(name: str) -> int | None:
    """scipy.special's function of this name, for doubles; Cython mangles a name with several versions."""
    module = "scipy.special.cython_special"
    for candidate in (name, f"__pyx_fuse_0{name}", f"__pyx_fuse_1{name}"):
        capsule = _capsules(module).get(candidate)
        if capsule is not None and _REAL_SIGNATURE.fullmatch(_capsule_name(capsule).decode()):
            return _from_capsules(module, candidate)
    return _from_ufunc(name)


def _from_ufunc(name: str) -> int | None:
    """A function made from the loop of a ufunc, for what Cython's interface lacks: Hurwitz' zeta."""
    ufuncs = importlib.import_module("scipy.special._ufuncs")
    ufunc = getattr(ufuncs, f"_{name}", None) or getattr(ufuncs, name, None)
    signature = "d" * getattr(ufunc, "nin", 0) + "->d"
    if ufunc is None or signature not in getattr(ufunc, "types", ()):
        return None
    loop, data = _ufunc_loop(ufunc, ufunc.types.index(signature))
    return _compile_thunk(_thunk_ir(ufunc.nin, loop, data))["thunk"]


# PyUFuncObject up to `data` (numpy/ufuncobject.h, part of NumPy's binary interface): after the object's
# header nin, nout, nargs, identity as int, functions and data as pointers.
_UFUNC = struct.Struct("4iPP")


def _ufunc_loop(ufunc: object, which: int) -> tuple[int, int]:
    head = ctypes.string_at(id(ufunc) + object.__basicsize__, _UFUNC.size)
    *_, functions, data = _UFUNC.unpack(head)
    at = which * ctypes.sizeof(ctypes.c_void_p)
    loop, extra = (ctypes.c_void_p.from_address(pointers + at).value for pointers in (functions, data))
    return loop or 0, extra or 0


def _thunk_ir(arity: int, loop: int, data: int) -> str:
    """`double thunk(double, …)` that runs loop(char **arguments, intp *sizes, intp *steps, void *data)."""
    parameters = ", ".join(f"double %x{i}" for i in range(arity))
    slots = "".join(
        f"  %s{i} = alloca double\n  %a{i} = getelementptr ptr, ptr %arguments, i64 {i}\n  store ptr %s{i}, ptr %a{i}\n"
        for i in range(arity + 1)
    )
    stores = "".join(f"  store double %x{i}, ptr %s{i}\n" for i in range(arity))
    return (
        f"define double @thunk({parameters}) {{\n"
        f"  %arguments = alloca ptr, i64 {arity + 1}\n"
        f"  %steps = alloca i64, i64 {arity + 1}\n  %size = alloca i64\n"
        f"  call void @llvm.memset.p0.i64(ptr %steps, i8 0, i64 {8 * (arity + 1)}, i1 false)\n"
        f"  store i64 1, ptr %size\n{slots}{stores}"
        f"  call void inttoptr (i64 {loop} to ptr)(ptr %arguments, ptr %size, ptr %steps,"
        f" ptr inttoptr (i64 {data} to ptr))\n"
        f"  %r = load double, ptr %s{arity}\n  ret double %r\n}}\n"
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
    )


@once
def _compile_thunk(text: str) -> objects.LoadedCode:
    return objects.load_object(objects.compile_ir(text), ["thunk"], address)
