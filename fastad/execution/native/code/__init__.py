"""LLVM IR for the steps of a plan."""
