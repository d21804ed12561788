"""Order conditions of Runge–Kutta methods, by rooted trees.

A method has order p if Σ bᵢ Φᵢ(τ) = 1/γ(τ) for all rooted trees τ of at most p nodes: Butcher; Hairer, Nørsett &
Wanner, Solving Ordinary Differential Equations I, Theorem II.2.13. A tree is the tuple of the subtrees at its root.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

Tree = tuple[Any, ...]
HIGHEST = 8  # orders up to which trees are tried: there are 200


@functools.cache
def trees(n: int) -> tuple[Tree, ...]:
    """All rooted trees of n nodes, each once."""
    return tuple(sorted(_forests(n - 1, n - 1)))


def _forests(n: int, largest: int, after: Tree | None = None) -> Iterator[Tree]:
    """All multisets of trees with n nodes in all, of trees of at most `largest` nodes, in one order."""
    if n == 0:
        yield ()
        return
    for size in range(min(n, largest), 0, -1):
        for tree in trees(size):
            if after is None or (nodes(tree), tree) <= (nodes(after), after):
                for others in _forests(n - size, size, tree):
                    yield (tree, *others)


def nodes(tree: Tree) -> int:
    """Number of nodes."""
    return 1 + sum(map(nodes, tree))


def density(tree: Tree) -> int:
    """γ(τ): the product of the numbers of nodes of all subtrees."""
    found = nodes(tree)
    for child in tree:
        found *= density(child)
    return found


def weights(tree: Tree, a: np.ndarray, linear: np.ndarray | None = None) -> np.ndarray:
    """Φ(τ) of each stage: the product of A Φ over the subtrees at the root. For a Rosenbrock method `linear` is the
    matrix that takes the place of A where there is one subtree (Hairer & Wanner II, Theorem IV.7.4)."""
    found = np.ones(len(a))
    own = a if linear is None or len(tree) != 1 else linear
    for child in tree:
        found = found * (own @ weights(child, a, linear))
    return found


def defects(a: np.ndarray, b: np.ndarray, n: int, at: float = 1.0, linear: np.ndarray | None = None) -> float:
    """The largest |Σ bᵢ Φᵢ(τ) − at^n / γ(τ)| of the trees of n nodes: 0 for a method (or, at a part `at` of the step,
    for its dense output) of order n, if it has order n − 1."""
    found = [abs(b @ weights(tree, a, linear) - at**n / density(tree)) for tree in trees(n)]
    return float(max(found))


def order_of(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-9, linear: np.ndarray | None = None) -> int:
    """The order of a method, up to `HIGHEST`; 0 if it is not consistent."""
    scale = max(1.0, float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
    for n in range(1, HIGHEST + 1):
        if defects(a, b, n, linear=linear) > tolerance * scale**2:
            return n - 1
    return HIGHEST
