"""Objects that a wheel brings along, for every processor of a level: where there are some, nobody compiles kernels.

    FASTAD_BUILD_OBJECTS=1 python -m build --wheel --no-isolation

compiles sweeps, kernels and drivers for the level of the machine's architecture and makes a wheel for its platform (see
setup.py). On processors below that level they are compiled at first use, as without. The objects have the same text and
level of optimisation as those of `exported`, so the numbers are the same bit for bit.
"""

import functools
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fastad.execution.machine import cache, llvm_ir, objects
from fastad.version import __version__


class Level(NamedTuple):
    """A processor that compilers know by name, and the features by which LLVM tells that another one can do as much."""

    cpu: str
    features: tuple[str, ...]


# x86-64-v3 is of the psABI for x86-64 (section 3.1.1, micro-architecture levels); it has fused products, which the text
# of kernels depends on, as all of ARM's 64-bit processors do.
LEVELS: Mapping[str, Level] = {
    "x86_64": Level("x86-64-v3", ("avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "xsave")),
    "aarch64": Level("generic", ("neon",)),
    "arm64": Level("generic", ("neon",)),
}
FOLDER = Path(__file__).resolve().parents[2] / "objects"


def read(key: tuple[str, ...]) -> bytes | None:
    """The shipped object of a key of `replacing`; None if there is none for this processor, or its file is damaged."""
    name = digest(key)
    return cache.read(FOLDER / name.hex(), name) if is_for_this_processor() else None


def has(key: tuple[str, ...]) -> bool:
    """Whether there is a file for `read`."""
    return is_for_this_processor() and (FOLDER / digest(key).hex()).exists()


@functools.cache
def is_for_this_processor() -> bool:
    """Whether objects were shipped that this processor can run."""
    level = LEVELS.get(platform.machine())
    return level is not None and FOLDER.is_dir() and all(map(objects.has_feature, level.features))


def digest(key: tuple[str, ...]) -> bytes:
    """Tells shipped objects apart: by the text, the kernels that it calls and their translator, and the processor."""
    level = LEVELS[platform.machine()]
    return hashlib.sha256("\0".join([__version__, level.cpu, *key]).encode()).digest()


def store(folder: Path, key: tuple[str, ...], ir: str, level: int) -> None:
    """Compile a module of IR for all processors of the level, and write it where `read` of a wheel's folder finds it.

    Raises KeyError for an architecture that has no level, RuntimeError if LLVM rejects the module."""
    name = digest(key)
    folder.mkdir(parents=True, exist_ok=True)
    code = llvm_ir.object_of(ir, level, True, cpu=LEVELS[platform.machine()].cpu)
    cache.write(folder / name.hex(), name, code)
