"""Transformations of functions: jit, derivatives, vmap, and recording by hand."""
