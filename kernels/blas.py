"""BLAS for the kernels, through the functions that SciPy publishes for Cython.

Compiled code calls them by the symbols `fastad_dgemm` and `fastad_dgemv`, which get their addresses here.
So the code that numba keeps on disk holds names, not addresses, and stays valid in the next process; but a
file with a kernel that calls BLAS must import this one before such code is loaded.
"""
import ctypes
import importlib.machinery
import importlib.util
import os
import sys

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_MODULE = "scipy.linalg.cython_blas"


def _load_extension():
    """Load the extension module alone: 5 ms, where importing all of scipy.linalg takes 230."""
    folder = importlib.util.find_spec("scipy").submodule_search_locations[0]
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(folder, "linalg", "cython_blas" + suffix)
        if os.path.exists(path):
            spec = importlib.util.spec_from_file_location(_MODULE, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError(_MODULE)


def _blas_functions():
    """SciPy's table of BLAS functions, name -> capsule."""
    if "scipy.linalg" not in sys.modules:
        try:
            import scipy  # noqa: F401  On Windows it makes the library with BLAS findable.

            return _load_extension().__pyx_capi__
        except (ImportError, AttributeError, OSError):
            pass  # A SciPy that is laid out in another way; the plain import is slower but always works.
    return importlib.import_module(_MODULE).__pyx_capi__


def _address(capsule):
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name(capsule)
    if b"int *" not in signature:
        raise ImportError(f"SciPy's BLAS has an unexpected signature: {signature.decode()}")
    return pointer(capsule, signature)


def _register():
    functions = _blas_functions()
    for name in ("dgemm", "dgemv"):
        llvmlite.binding.add_symbol("fastad_" + name, _address(functions[name]))


_register()


def _fortran(symbol, kinds):
    """A code generator for a call of the Fortran function `symbol`, which takes every argument by address.

    One letter per argument: c a switch, 'T' if it is not 0, else 'N'; i an integer; d a number; p an address.
    """
    byte = ir.IntType(8)

    def pointer(builder, kind, a):
        if kind == "p":
            return builder.inttoptr(a, byte.as_pointer())
        if kind == "c":
            a = builder.select(builder.icmp_signed("!=", a, a.type(0)), byte(ord("T")), byte(ord("N")))
        elif kind == "i":
            a = builder.trunc(a, ir.IntType(32))
        return builder.bitcast(cgutils.alloca_once_value(builder, a), byte.as_pointer())

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer()] * len(kinds))
        function = cgutils.get_or_insert_function(builder.module, kind, symbol)
        builder.call(function, [pointer(builder, k, a) for k, a in zip(kinds, arguments, strict=True)])
        return context.get_dummy_value()

    return generate


def _signature(kinds):
    letters = {"c": types.int64, "i": types.int64, "d": types.float64, "p": types.int64}
    return types.void(*[letters[k] for k in kinds])


@intrinsic
def dgemm(typing, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """c = alpha op(a) op(b) + beta c, column by column; a, b and c are addresses."""
    kinds = "cciiidpipidpi"
    return _signature(kinds), _fortran("fastad_dgemm", kinds)


@intrinsic
def dgemv(typing, ta, m, n, alpha, a, lda, x, incx, beta, y, incy):
    """y = alpha op(a) x + beta y, column by column; a, x and y are addresses."""
    kinds = "ciidpipidpi"
    return _signature(kinds), _fortran("fastad_dgemv", kinds)
