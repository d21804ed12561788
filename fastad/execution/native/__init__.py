"""Tier 1: native code, emitted as LLVM IR from an op table."""

from fastad.execution.native.kernel import NativeKernel

__all__ = ["NativeKernel"]
