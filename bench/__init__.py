"""Benchmarks: fastad beside JAX, PyTorch, CasADi and autograd on the same functions and data."""
