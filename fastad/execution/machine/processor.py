"""What LLVM says of this CPU, without LLVM: its answer is kept on disk."""

import contextlib
import functools
import hashlib
import json
import sys
from pathlib import Path

from fastad.execution.machine import compiling, folders

# Lines of /proc/cpuinfo by which LLVM tells CPUs and their features apart.
_LINES = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "features", "cpu implementer",
          "cpu architecture", "cpu variant", "cpu part")  # fmt: skip


@functools.cache
def host() -> tuple[str, str]:
    """The CPU's name and features, as LLVM writes them."""
    path = _file()
    if path is not None and (found := _read(path)) is not None:
        return found
    found = compiling.host()
    if path is not None:
        with contextlib.suppress(OSError):  # a full disk: it is asked for again
            folders.write(path, json.dumps(found).encode())
    return found


@functools.cache
def llvm_version() -> str:
    """Tells the LLVM that llvmlite brings apart from others."""
    folder = compiling.llvmlite_folder()
    return hashlib.sha256((folder / "_version.py").read_bytes()).hexdigest()[:32]


def _file() -> Path | None:
    """Where the answer is kept; None where nothing tells whether this is the same CPU with the same LLVM."""
    where, own = folders.subfolder("hosts"), _description()
    return where / hashlib.sha256(f"{llvm_version()}\n{own}".encode()).hexdigest() if where and own else None


def _description() -> str:
    if not sys.platform.startswith("linux"):
        return ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = {line for line in lines if line.partition(":")[0].strip().lower() in _LINES}
    return "\n".join(sorted(found))


def _read(path: Path) -> tuple[str, str] | None:
    try:
        name, features = json.loads(path.read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return (name, features) if isinstance(name, str) and isinstance(features, str) else None
