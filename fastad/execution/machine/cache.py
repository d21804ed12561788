"""The disk cache: object code by key, and generated Python modules whose numba code is cached.

What lies in the cache is executed, so its folder must be the user's own and closed to writing by others;
another folder is not used. A file that is damaged, of another version or for another key is ignored, and made
anew.
"""

import contextlib
import functools
import hashlib
import os
import re
import struct
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fastad.errors import FastadError
from fastad.execution.machine import folders, objects, processor, symbols
from fastad.execution.machine.folders import folder, is_kept
from fastad.locks import lock
from fastad.once import once
from fastad.version import __version__

__all__ = ["cached", "claimed", "folder", "is_kept", "is_stored", "source_module", "use_private_numba_cache"]

_lock = lock()


# ── objects ───────────────────────────────────────────────────────────────────────────────────────

# A file: magic, version of this layout, SHA-256 of the key, SHA-256 of the payload, payload.
_HEADER = struct.Struct("<8sI32s32s")
_MAGIC, _VERSION = b"fastad\r\n", 1

_DEFAULT_LIMIT = 512 * 2**20


def cached(key_parts: Sequence[str | bytes], make: Callable[[], bytes]) -> bytes:
    """The bytes that `make()` returns, from the cache if they were made before.

    Parameters
    ----------
    key_parts : what the result depends on (IR text, or a table's hash and the options). The CPU and its
    features, and
        the versions of fastad, llvmlite, LLVM and the vector library are added here.
    make : called if nothing valid is stored; its errors propagate, those of reading and writing files do not.
    """
    key = _digest([*_environment(), *key_parts])
    where = folders.subfolder("objects")
    if where is None:
        return make()
    path = where / key.hex()
    if (payload := read(path, key)) is None:
        payload = make()
        _store(path, key, payload)
    return payload


def is_stored(key_parts: Sequence[str | bytes]) -> bool:
    """Whether `cached` would look at a file for this key rather than make the bytes."""
    where = folders.subfolder("objects")
    return where is not None and (where / _digest([*_environment(), *key_parts]).hex()).exists()


def note(*key_parts: str) -> None:
    """Keep that something has been done on this machine."""
    cached(("note", *key_parts), lambda: b"")


def is_noted(*key_parts: str) -> bool:
    """Whether that has been kept. Like all that is kept it may be forgotten."""
    return is_stored(("note", *key_parts))


_CLAIM_SECONDS = 600.0  # longer than anything takes to compile


@contextlib.contextmanager
def claimed(key_parts: Sequence[str | bytes]) -> Iterator[bool]:
    """Within the context, no other process is told that it is the one to make what is kept by this key. False if
    another one has been told so, or if there is no place to say it."""
    where = folders.subfolder("claims")
    path = where / _digest([*_environment(), *key_parts]).hex() if where else None
    own = path is not None and _claim(path)
    try:
        yield own
    finally:
        if own and path:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _claim(path: Path) -> bool:
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _CLAIM_SECONDS:  # of a process that was killed
            os.unlink(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        return False
    return True


@functools.cache
def _fixed_environment() -> tuple[str, ...]:
    return (*objects.host(), processor.llvm_version(), __version__)


def _environment() -> tuple[str, ...]:
    return (*_fixed_environment(), symbols.vector_library())


def _digest(parts: Sequence[str | bytes]) -> bytes:
    result = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # With their lengths, ("ab", "c") and ("a", "bc") are different keys.
        result.update(struct.pack("<Q", len(data)) + data)
    return result.digest()


def read(path: Path, key: bytes) -> bytes | None:
    """What `write` has put into a file for this key; None if it is not there, or was damaged."""
    try:
        with open(path, "rb") as file:
            header, payload = file.read(_HEADER.size), file.read()
    except OSError:
        return None
    if header != _header(key, payload):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the modification time is the time of the last use: see _evict
    return payload


def _header(key: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, key, hashlib.sha256(payload).digest())


def write(path: Path, key: bytes, payload: bytes) -> None:
    """Write a file that `read` knows."""
    folders.write(path, _header(key, payload), payload)


def _store(path: Path, key: bytes, payload: bytes) -> None:
    with contextlib.suppress(OSError):
        write(path, key, payload)
        _account(path.parent, _HEADER.size + len(payload))


# ── eviction ──────────────────────────────────────────────────────────────────────────────────────

# Bytes in a folder as far as this process knows: it looks at the files once, and again when the limit is passed. That
# takes half a second at fifty thousand files, so processes that write little look by chance, in proportion to what they
# write: on average once in this part of the limit.
_sizes: dict[Path, int] = {}
_UNSEEN = 1 / 64


def _limit() -> int:
    with contextlib.suppress(ValueError):
        return int(os.environ.get("FASTAD_CACHE_BYTES", _DEFAULT_LIMIT))
    return _DEFAULT_LIMIT


def _account(where: Path, added: int) -> None:
    with _lock:
        known = _sizes.get(where)
        if known is None and _chance() * _limit() * _UNSEEN >= added:
            return
        _sizes[where] = sum(size for _, size, _ in _files(where)) if known is None else known + added
        if _sizes[where] > _limit():
            _sizes[where] = _evict(where, _limit() * 3 // 4)


def _chance() -> float:
    """A number in [0, 1), not from generators that the user may seed or look at."""
    return int.from_bytes(os.urandom(4), "little") / 2**32


def _evict(where: Path, limit: int) -> int:
    """Remove the least recently used files until the rest fits the limit; return the size of the rest."""
    total = 0
    for _, size, path in sorted(_files(where), reverse=True):
        total += size
        if total > limit:
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= size
    return total


def _files(where: Path) -> Iterator[tuple[float, int, str]]:
    """(time of last use, size, path) of every file, those that an interrupted write left included."""
    with os.scandir(where) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                yield status.st_mtime, status.st_size, entry.path


# ── generated Python modules ──────────────────────────────────────────────────────────────────────


_modules: dict[str, types.ModuleType] = {}


def source_module(name: str, text: str) -> types.ModuleType:
    """A module made from generated source text, whose numba functions with `cache=True` are cached on disk.

    The text is written to `py/<name>_<hash>.py` in the cache, where numba and tracebacks look for it, but
    what runs is the text given here: neither that file nor Python's bytecode cache is trusted.
    """
    full_name = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    qualified = f"fastad_generated.{full_name}"
    with _lock:
        if qualified not in _modules:  # in `sys.modules` it may be half made: by a thread that a fork has left behind
            path = _source_file(full_name, text)
            use_private_numba_cache()
            _modules[qualified] = _execute(qualified, path, text)
        return _modules[qualified]


def _execute(qualified: str, path: Path, text: str) -> types.ModuleType:
    module = types.ModuleType(qualified)
    module.__file__ = str(path)
    sys.modules[qualified] = module  # numba pickles references to functions by their module's name
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[qualified]
        raise
    return module


def _source_file(full_name: str, text: str) -> Path:
    """The file with the text, written only where it differs: numba may key its cache by modification time."""
    if not re.fullmatch(r"\w+", full_name, re.ASCII):
        raise ValueError(f"a module's name has letters, digits and _ only, not {full_name!r}")
    where = folders.subfolder("py")
    if where is None:
        raise FastadError("no folder can be written to; set FASTAD_CACHE_DIR or TMPDIR to one that can")
    path = where / f"{full_name}.py"
    data = text.encode()
    try:
        if not _holds(path, data):
            folders.write(path, data)
    except OSError as error:
        raise FastadError(f"cannot write {path} ({error.strerror}); set FASTAD_CACHE_DIR") from None
    return path


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


@once
def use_private_numba_cache() -> None:
    """Let numba cache what fastad compiles in our folder, unless NUMBA_CACHE_DIR is set; the user's code is
    untouched.

    To be called before `fastad.kernels` modules are imported: numba chooses the place when it sees a
    decorator. By itself numba writes next to the source, and, where it cannot, to a folder that need not
    exist or be writable.
    """
    try:
        from numba.core import caching, config

        implementation = caching.CacheImpl
        locators = implementation._locator_classes
        base = caching.InTreeCacheLocator
    except (ImportError, AttributeError):
        return  # another numba, which then decides for itself

    class PrivateLocator(base):  # type: ignore[misc, valid-type]
        """Numba's interface for "where does the cache of the functions in this file go"."""

        def __init__(self, py_func: types.FunctionType, py_file: str) -> None:
            super().__init__(py_func, py_file)
            self._cache_path = os.path.join(str(folder()), "numba", self.get_suitable_cache_subpath(py_file))

        @classmethod
        def from_function(cls, py_func: types.FunctionType, py_file: str) -> object:
            if getattr(config, "CACHE_DIR", "") or not _is_ours(py_file) or folder() is None:
                return None
            return super().from_function(py_func, py_file)

    implementation._locator_classes = [PrivateLocator, *locators]


def _is_ours(py_file: str) -> bool:
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kernels = getattr(sys.modules.get("fastad.kernels"), "__path__", [])
    ours = [package, *kernels, str(folder())]
    return any(os.path.abspath(py_file).startswith(os.path.join(place, "")) for place in ours)
