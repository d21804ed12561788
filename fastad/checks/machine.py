"""What fastad finds on this machine: versions, processor, libraries, cache, threads."""

import contextlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastad.execution.compiled import default_threads
from fastad.execution.cuda import device
from fastad.execution.machine import cache, objects, shipped, symbols
from fastad.version import __version__

_PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "optree", "matplotlib", "tqdm")
_CUDA = ("cuda-bindings", "nvidia-nvjitlink", "nvidia-nvvm", "numba-cuda")


def report() -> list[str]:
    """Lines "name  value", aligned."""
    facts = list(_facts())
    width = max(len(name) for name, _ in facts)
    return [f"{name:{width}}  {value}" for name, value in facts]


def _facts() -> Iterator[tuple[str, str]]:
    yield "fastad", __version__
    yield "python", f"{platform.python_version()} ({sys.executable})"
    for name in _PACKAGES:
        yield name, _version(name)
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "processor", f"{_processor()} (LLVM: {objects.host()[0]})"
    yield "lanes", f"{lanes()} doubles in a SIMD vector"
    yield "kernels", "brought along" if shipped.is_for_this_processor() else "compiled when first needed"
    yield "vector math", symbols.vector_library()
    yield "BLAS", _blas()
    yield "threads", f"{default_threads()} for large loops (FASTAD_THREADS), {os.cpu_count()} processors"
    yield "GPU", _gpu()
    yield "CUDA", _cuda_packages()
    yield from _cache()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def lanes() -> int:
    """Doubles in the widest vectors of this processor."""
    return 8 if objects.has_feature("avx512f") else 4 if objects.has_feature("avx2") else 2


def _blas() -> str:
    """The BLAS library that SciPy was built with, whose functions compiled code calls."""
    import scipy

    for module in (scipy, np):
        with contextlib.suppress(Exception):
            found = module.show_config(mode="dicts")["Build Dependencies"]["blas"]
            return f"{found['name']} {found['version']} ({module.__name__}'s)"
    return "unknown"


def _gpu() -> str:
    try:
        missing = device.what_is_missing()
        if missing is not None:
            return f"none: {missing}"
        found = device.current()
        free, total = found.memory()
        return f"{found.name} ({found.arch}), {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    except Exception as error:  # a broken CUDA driver must not break the report
        return f"none ({type(error).__name__}: {error})"


def _cuda_packages() -> str:
    """What of the extra `cuda` is installed."""
    return ", ".join(f"{name} {_version(name)}" for name in _CUDA)


def _cache() -> Iterator[tuple[str, str]]:
    folder = cache.folder()
    if folder is None:
        yield "cache", "none: no folder is writable"
        return
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    yield "cache", f"{folder} ({len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB)"
