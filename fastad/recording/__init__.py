"""Recording NumPy code as op tables."""
