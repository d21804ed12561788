"""SciPy's BLAS and LAPACK by address, from the functions that it publishes for Cython. Needs no numba.

Compiled code finds the addresses in a table of its own symbol, `TABLE`. An entry is filled when a function is first
wanted: `load(name)` is to be called before code runs that reads it.

Where NumPy brings a BLAS of its own, products are its: SciPy's is another copy of the same library, 25 MB of code and
2.5 MB of memory, with threads of its own. NumPy's counts by integers of 64 bits, SciPy's by 32; the processors that are
compiled for here have the low half of an integer first, so 64 bits in memory are right for both, as long as a function
only reads them. Programs that need LAPACK, which is SciPy's, have their products from there too: threads of two
libraries keep the processors busy while they wait, in turn, and a Gaussian process of 150 points took 8 to 70 ms
instead of 1.
"""

import contextlib
import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import sys
import threading

TABLE = "fastad_blas_table"

# Library and arguments, one letter each: t a switch, 'T' if it is not 0, else 'N'; c a character, by its code; i an
# integer; d a number; p an address.
FUNCTIONS = {
    "dgemm": ("blas", "ttiiidpipidpi"),
    "dgemv": ("blas", "tiidpipidpi"),
    "dgetrf": ("lapack", "iipipp"),
    "dpotrf": ("lapack", "cipip"),
    "dgeqrf": ("lapack", "iipippip"),
    "dorgqr": ("lapack", "iiipippip"),
    "dsyevd": ("lapack", "ccipippipip"),
    "dgesdd": ("lapack", "ciipippipipipp"),
    "dgbtrf": ("lapack", "iiiipipp"),
    "dgbtrs": ("lapack", "tiiiipippip"),
}
NAMES = tuple(FUNCTIONS)
LAPACK_FROM = 40  # rows of a matrix: from there on a call of LAPACK is faster than loops

_one_at_a_time = threading.RLock()
_addresses = (ctypes.c_int64 * len(NAMES))()


def table_address():
    """Where the table of addresses lies: one 8-byte integer for each of `NAMES`."""
    return ctypes.addressof(_addresses)


def load(*names):
    """Fill the entries of these functions, and take those of BLAS from SciPy as soon as LAPACK is wanted."""
    with _one_at_a_time:
        filled = [name for name, address in zip(NAMES, _addresses, strict=True) if address or name in names]
        from_scipy = any(FUNCTIONS[name][0] == "lapack" for name in filled)
        for name in filled:
            of_numpy = None if from_scipy else _of_numpy(name)
            _addresses[NAMES.index(name)] = of_numpy or _address(functions(FUNCTIONS[name][0])[name])


def _of_numpy(name):
    """Address of NumPy's own function, None if its BLAS is not known here: that of another package, or Windows, where
    a library does not show what it is linked with."""
    library = _numpy()
    for own in (f"scipy_{name}_64_", f"{name}_64_"):
        if hasattr(library, own):
            return ctypes.cast(getattr(library, own), ctypes.c_void_p).value
    return None


@functools.cache
def _numpy():
    """The extension module that is linked with NumPy's BLAS, or None."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        return ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)
    return None


def functions(library):
    """SciPy's table of the functions of a library, "blas" or "lapack": name -> capsule."""
    with _one_at_a_time:  # an extension that two threads load at once is left half made
        return _functions(library)


@functools.cache
def _functions(library):
    if "scipy.linalg" not in sys.modules:
        try:
            return _load_extension(library).__pyx_capi__
        except (ImportError, AttributeError, OSError):
            pass  # A SciPy that is laid out in another way; the plain import is slower but always works.
    return importlib.import_module(f"scipy.linalg.cython_{library}").__pyx_capi__


def _load_extension(library):
    """Load the extension module alone: 5 ms, where importing all of scipy.linalg takes 230."""
    if os.name == "nt":
        import scipy  # noqa: F401  It makes the library with BLAS findable.
    folder = importlib.util.find_spec("scipy").submodule_search_locations[0]
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(folder, "linalg", f"cython_{library}{suffix}")
        if os.path.exists(path):
            spec = importlib.util.spec_from_file_location(f"scipy.linalg.cython_{library}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise ImportError(library)


_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _address(capsule):
    signature = _capsule_name(capsule)
    if b"int *" not in signature:
        raise ImportError(f"SciPy's BLAS or LAPACK has an unexpected signature: {signature.decode()}")
    return _capsule_pointer(capsule, signature)
