"""`fad.coloring`: colorings of sparsity patterns."""

from fastad.sparsity.coloring import Coloring, color

__all__ = ["Coloring", "color"]
