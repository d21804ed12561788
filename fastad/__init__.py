"""Automatic differentiation of plain NumPy code."""

from fastad.version import __version__

__all__ = ["__version__"]
