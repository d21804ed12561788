"""Composite rows: sub-programs, and the drivers that run them."""
