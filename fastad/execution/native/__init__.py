"""Tier 1: native code, emitted as LLVM IR from an op table."""

from fastad.execution.native.kernel import NativeKernel, is_cached
from fastad.execution.native.planning.plan import work_bytes

__all__ = ["NativeKernel", "is_cached", "work_bytes"]
