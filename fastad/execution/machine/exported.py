"""C functions that numba compiles, kept as objects: where the cache has one, it runs without numba.

Importing numba and setting it up takes most of a second, compiling a sweep many; loading its object takes
milliseconds. A function is given as the text of a module (see `fastad.kernels.export`), which with the text of the
kernels and numba's version is what its object is kept by.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastad import calling
from fastad.errors import CompileError
from fastad.execution import translation
from fastad.execution.machine import cache, objects, replacing, shipped, symbols
from fastad.execution.translation import UntranslatableError
from fastad.kernels import interrupt_state, notice_count, scipy_blas, superlu
from fastad.once import once
from fastad.primitives import ArrayPrimitive, Form, array_rows, primitive
from fastad.primitives.row import kernel_parameters

_NAME = "fastad_entry"
_LEVEL = replacing.LEVEL


def kernel_sources() -> Iterator[tuple[str, bytes]]:
    """Modules of `fastad.kernels` and their text, one after the other: all of it is half a megabyte."""
    folder = Path(importlib.import_module("fastad.kernels").__path__[0])
    return ((path.stem, path.read_bytes()) for path in sorted(folder.glob("*.py")))


@functools.cache
def kernel_homes() -> dict[str, str]:
    """Module of every function NAME_forward, NAME_reverse and NAME_tangent in `fastad.kernels`, by the source text."""
    homes, rows = {}, {row.name: row for row in array_rows()}
    for module, text in kernel_sources():
        for found in _KERNEL.findall(text):
            name, kind, parameters = (part.decode() for part in found)
            if name in rows:
                check_parameters(rows[name], kind, parameters)
            homes[f"{name}_{kind}"] = module
    return homes


_KERNEL = re.compile(rb"^def (\w+)_(forward|reverse|tangent)\(([^)]*)\)", re.MULTILINE)


def check_parameters(row: ArrayPrimitive, kind: str, parameters: str) -> None:
    """TypeError if a kernel does not take what its row says: compiled, it would read other memory than its own."""
    found = tuple(parameters.replace(",", " ").split())
    if found != (wanted := kernel_parameters(row, kind)):
        raise TypeError(
            f"the row of {row.name!r} says {row.name}_{kind}({', '.join(wanted)}), "
            f"but its kernel is {row.name}_{kind}({', '.join(found)})"
        )


@functools.cache
def kernel_digest() -> str:
    """What the text of a function does not show: the kernels that it calls."""
    return _digest(text for _, text in kernel_sources())


@functools.cache
def translator_digest() -> str:
    """Tells the code that translates kernels apart from other versions of it."""
    return sources_digest(Path(translation.__path__[0]))


def sources_digest(*folders: Path) -> str:
    """Tells the Python modules in folders, and in those inside, apart from other versions of them."""
    return _digest(path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.py")))


def _digest(texts: Iterable[bytes]) -> str:
    result = hashlib.sha256()
    for text in texts:
        result.update(text + b"\0")
    return result.hexdigest()[:32]


@functools.cache
def numba_version() -> str:
    """Tells versions of numba apart, without importing it."""
    spec = importlib.util.find_spec("numba")
    if spec is None or spec.origin is None:
        return "none"
    written = Path(spec.origin).with_name("_version.py")
    if written.exists():
        return hashlib.sha256(written.read_bytes()).hexdigest()
    return repr(os.stat(spec.origin).st_mtime_ns)


def address(name: str, text: str) -> int:
    """Address of the C function `entry` of a text; it stays valid as long as the process lives.

    Parameters
    ----------
    name : what to call a file with the text, if one is needed.
    text : defines `entry` and `SIGNATURE`.
    """
    return _linked(name, text)[0]


def address_from(name: str, origin: tuple[str, ...], make: Callable[[], str]) -> int:
    """As `address`, of the text that `make` returns. Where its optimised object is kept, as what follows from `origin`,
    the text is not made."""
    fingerprint = cache.cached(("text", *origin), lambda: _fingerprint(make()).encode()).decode()
    kept = _kept(fingerprint)
    return address(name, make()) if kept is None else kept[0]


def compile_missing(texts: Mapping[str, str]) -> None:
    """Have the optimised objects of these texts, by name, in the cache: what is missing is compiled side by side, all
    but one in processes of their own.

    A process that fails is no harm: `address` then compiles here.
    """
    missing = [name for name, text in texts.items() if not is_stored(text)]
    elsewhere = missing[1:] if (os.cpu_count() or 1) > 1 else []
    started = [_started(name, texts[name]) for name in elsewhere]
    for name in missing[:1]:
        compiled(name, texts[name])
    for process in filter(None, started):
        process.wait()


def compiled(name: str, text: str) -> None:
    """Have the optimised object of a text in the cache; what cannot be kept there is compiled for this process."""
    try:
        stored(text)
    except _NotExportableError:
        address(name, text)


def _started(name: str, text: str) -> "subprocess.Popen[str] | None":
    """A process that compiles a text."""
    code = f"import sys; from fastad.execution.machine import exported; exported.compiled({name!r}, sys.stdin.read())"
    return replacing.started(code, text)


calling.compile_with(address)


@once
def _linked(name: str, text: str) -> tuple[int, object]:
    """The address, and what it belongs to."""
    if (brought := _shipped(_fingerprint(text))) is not None:
        return brought
    if _is_translated(text):
        with contextlib.suppress(UntranslatableError):
            return replacing.linked(_NAME, text, key_of(text)[:-1], _resolve)
    try:
        code = objects.load_object(stored(text), [_NAME], _resolve)
    except _NotExportableError:
        return _by_numba(name, text)
    return code[_NAME], code


def _shipped(fingerprint: str) -> tuple[int, object] | None:
    """The same of an object that was shipped, if it can be used here."""
    if (brought := shipped.read(_shipped_key(fingerprint))) is not None:
        with contextlib.suppress(CompileError):  # a function that it calls is not there
            code = objects.load_object(brought, [_NAME], _resolve)
            return code[_NAME], code
    return None


@once
def _kept(fingerprint: str) -> tuple[int, object] | None:
    """The same of an optimised object that was shipped, or is in the disk cache."""
    if (brought := _shipped(fingerprint)) is not None:
        return brought
    with contextlib.suppress(_NotKeptError):
        code = objects.load_object(cache.cached(_key(fingerprint), _not_kept), [_NAME], _resolve)
        return code[_NAME], code
    return None


class _NotKeptError(Exception):
    """The disk cache has no such object."""


def _not_kept() -> bytes:
    raise _NotKeptError


def stored(text: str) -> bytes:
    """The object of a text."""
    return cache.cached(key_of(text), lambda: _compile(text))


def is_stored(text: str) -> bool:
    """Whether the object of a text is in the disk cache, or was shipped."""
    return cache.is_stored(key_of(text)) or shipped.has(_shipped_key(_fingerprint(text)))


def ship(folder: Path, texts: Iterable[str]) -> None:
    """Write the objects of texts for all processors of a level: see `shipped`."""
    from fastad.execution.translation import module

    for text in texts:
        shipped.store(folder, _shipped_key(_fingerprint(text)), module.ir_of(text, _NAME, fused=True), _LEVEL)


def _shipped_key(fingerprint: str) -> tuple[str, ...]:
    return translator_digest(), fingerprint, kernel_digest()


def _is_translated(text: str) -> bool:
    """Whether a text is translated without numba, if it can be: one that imports nothing of numba."""
    return _NUMBA.search(text) is None


_NUMBA = re.compile(r"^\s*(from|import) numba\b", re.MULTILINE)


def key_of(text: str) -> tuple[str, ...]:
    """What the object of a text is kept by."""
    return _key(_fingerprint(text))


def _key(fingerprint: str) -> tuple[str, ...]:
    how = "numba" if fingerprint.startswith(_BY_NUMBA) else translator_digest()
    return how, fingerprint, kernel_digest(), numba_version(), str(_LEVEL)


def _fingerprint(text: str) -> str:
    """Tells texts apart, and whether numba is needed for one."""
    return ("" if _is_translated(text) else _BY_NUMBA) + hashlib.sha256(text.encode()).hexdigest()


_BY_NUMBA = "numba "


class _NotExportableError(Exception):
    """This numba's code cannot be had as a module of its own."""


def _compile(text: str) -> bytes:
    if _is_translated(text):
        with contextlib.suppress(UntranslatableError):
            return replacing.made(_NAME, text)
    try:
        from fastad.kernels import export

        code = objects.compile_ir(export.ir_of(text, _NAME), level=_LEVEL)
    except Exception as error:  # export relies on the inner structure of numba, which may change in any way
        raise _NotExportableError from error
    if any(_resolve(name) is None for name in objects.undefined_symbols(code)):
        raise _NotExportableError
    return code


def _resolve(name: str) -> int | None:
    address = _ADDRESSES.get(name)
    return symbols.address(name) if address is None else int(address())


_ADDRESSES: Mapping[str, Callable[[], int]] = {
    scipy_blas.TABLE: scipy_blas.table_address,
    superlu.TABLE: superlu.table_address,
    notice_count.SYMBOL: notice_count.address,
    interrupt_state.SYMBOL: interrupt_state.address,
}


def _by_numba(name: str, text: str) -> tuple[int, object]:
    """The function as numba compiles it, from numba's own cache if it is there."""
    module = cache.source_module(name, f"{text}\n# with the kernels of {kernel_digest()}\n")  # part of numba's key
    from numba import cfunc

    from fastad.kernels.flags import ENTRY

    function = cfunc(module.SIGNATURE, **ENTRY)(module.entry)
    return int(function.address or 0), function


# ── the kernels of array primitives ───────────────────────────────────────────────────────────────────────────
_ENTRY = '''\
"""The kernel {name} as a C function."""
from fastad.kernels.memory import types, view
from fastad.kernels.{home} import {name}_forward

_D, _I = types.CPointer(types.float64), types.CPointer(types.int64)
SIGNATURE = types.int64({kinds})


def entry({parameters}):
    return {name}_forward({arguments})
'''


@functools.cache
def entry_address(name: str) -> int:
    """Address of the forward kernel of an array primitive as

    int64 f(double *out, int64 n_out, const double *x, int64 nx, …, const int64 *statics, int64 n_statics)

    with the operands (two at least, absent ones empty) between, and scratch memory behind where the row asks for it.
    """
    load_symbols([primitive(name)])
    return address(f"entry_{name}", entry_text(name))


def entry_text(name: str) -> str:
    """The text of `entry_address`."""
    row: ArrayPrimitive = primitive(name)
    arrays = ["out", *(f"x{k}" for k in range(max(row.arity, 2))), "s", *(["w"] if row.needs_work else [])]
    return _ENTRY.format(
        name=row.name,
        home=kernel_homes()[f"{row.name}_forward"],
        kinds=", ".join(f"{'_I' if a == 's' else '_D'}, types.int64" for a in arrays),
        parameters=", ".join(f"{a}, n{a}" for a in arrays),
        arguments=", ".join(f"view({a}, n{a})" for a in arrays),
    )


def entry_names() -> tuple[str, ...]:
    """The kernels that native code calls; composite rows it calls by themselves."""
    rows = [row for row in array_rows() if row.form is not Form.COMPOSITE]
    return tuple(sorted(row.name for row in rows if f"{row.name}_forward" in kernel_homes()))


def load_symbols(rows: Iterable[Any]) -> None:
    """Have the functions of BLAS and LAPACK ready that the kernels of these primitives call."""
    for row in rows:
        if isinstance(row, ArrayPrimitive) and row.symbols:
            scipy_blas.load(*row.symbols)


# ── rows that carry derivatives ───────────────────────────────────────────────────────────────────────────────
ACTIVITY = '''\
"""The functions of `activity` as one C function."""
from fastad.kernels.activity_entry import find_activity
from fastad.kernels.memory import integers, types

SIGNATURE = types.int64(types.int64)


def entry(program):
    return find_activity(integers(program))
'''


@functools.cache
def activity_address() -> int:
    """Address of `int64 f(const int64 *program)`: see `fastad.kernels.activity_entry`."""
    return address("activity", ACTIVITY)
