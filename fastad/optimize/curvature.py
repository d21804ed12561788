"""Curvature of an objective along few directions, from products with its Hessian."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastad.control.loops import fori_loop
from fastad.optimize.objective import Array

_PRODUCTS = 20  # the most that are made


def lowest_curvature(product: Callable[[Array], Array], n: int) -> tuple[Array, Array]:
    """(the smallest eigenvalue of a symmetric matrix H of n rows on a Krylov space, the size of H there). The first is
    an upper bound of that of H, close to it where that is well apart from the others; `product` is v -> H v. It takes
    at most 20 products.

    Golub & Van Loan, Matrix Computations (2013), Algorithm 10.1.1 (Lanczos), with all vectors kept orthogonal.
    """
    if n == 0:
        return np.zeros(()), np.zeros(())
    count = min(n, _PRODUCTS)
    # No symmetry of a problem is to make the first direction orthogonal to the one looked for.
    first = 1.0 + (0.6180339887498949 * np.arange(1.0, n + 1.0)) % 1.0
    first = np.where(np.arange(n) % 2 == 0, first, -first)
    places = np.arange(count)

    def step(k: Array, state: Any) -> Any:
        basis, projected, v = state
        basis = np.where(places[:, None] == k, v, basis)
        along = product(v)
        shares = basis @ along
        rest = along - shares @ basis
        rest = rest - (basis @ rest) @ basis
        size, scale = np.sqrt(rest @ rest), np.sqrt(along @ along)
        goes_on = size > 1e-12 * scale
        # A space that H maps into itself ends the search: what follows are zeros, which bound nothing.
        projected = np.where(places == k, shares[:, None], projected)
        return basis, projected, np.where(goes_on, rest / np.where(goes_on, size, 1.0), 0.0)

    start = (np.zeros((count, n)), np.zeros((count, count)), first / np.sqrt(first @ first))
    basis, projected, _ = fori_loop(0, count, step, start)
    made = np.sum(basis * basis, axis=1) > 0.5
    own = made[:, None] & made
    largest = np.max(np.abs(projected), initial=0.0)
    whole = np.where(places[:, None] < places, projected, 0.0)
    whole = whole + whole.T + np.where(made, np.diagonal(projected), 0.0) * np.eye(count)
    projected = np.where(own, whole, 0.0) + np.where(made, 0.0, 2.0 * largest) * np.eye(count)
    finite = np.all(np.isfinite(projected))
    return np.where(finite, np.linalg.eigvalsh(np.where(finite, projected, 0.0))[0], np.nan), largest


__all__ = ["lowest_curvature"]
