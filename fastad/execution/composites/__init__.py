"""Running composite rows: kernels that call kernels."""
