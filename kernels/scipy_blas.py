"""SciPy's BLAS by address, from the functions that it publishes for Cython. Needs no numba.

Compiled code finds the addresses in a table of its own symbol, `TABLE`, which is filled when a matrix product is
first wanted: `load()` is to be called before code runs that reads it.
"""

import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import sys

TABLE = "fastad_blas_table"
NAMES = ("dgemm", "dgemv")

_MODULE = "scipy.linalg.cython_blas"
_addresses = (ctypes.c_int64 * len(NAMES))()


def table_address():
    """Where the table of addresses lies: one 8-byte integer for each of `NAMES`."""
    return ctypes.addressof(_addresses)


@functools.cache
def load():
    """Fill the table."""
    found = functions()
    _addresses[:] = [_address(found[name]) for name in NAMES]


@functools.cache
def functions():
    """SciPy's table of BLAS functions, name -> capsule."""
    if "scipy.linalg" not in sys.modules:
        try:
            return _load_extension().__pyx_capi__
        except (ImportError, AttributeError, OSError):
            pass  # A SciPy that is laid out in another way; the plain import is slower but always works.
    return importlib.import_module(_MODULE).__pyx_capi__


def _load_extension():
    """Load the extension module alone: 5 ms, where importing all of scipy.linalg takes 230."""
    if os.name == "nt":
        import scipy  # noqa: F401  It makes the library with BLAS findable.
    folder = importlib.util.find_spec("scipy").submodule_search_locations[0]
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(folder, "linalg", "cython_blas" + suffix)
        if os.path.exists(path):
            spec = importlib.util.spec_from_file_location(_MODULE, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError(_MODULE)


def _address(capsule):
    name, pointer = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = name(capsule)
    if b"int *" not in signature:
        raise ImportError(f"SciPy's BLAS has an unexpected signature: {signature.decode()}")
    return pointer(capsule, signature)
