"""Sparse matrices with derivatives by their entries, and the systems that they make.

>>> import numpy as np, fastad as fad
>>> def energy(data):
...     A = fad.sparse.csr_array(data, np.array([0, 1, 1]), np.array([0, 2, 3]), (2, 2))
...     return np.sum(fad.sparse.spsolve(A, np.ones(2)))
>>> fad.grad(energy)(np.array([2.0, 1.0, 4.0])).tolist()
[-0.1875, -0.125, -0.03125]
"""

from fastad.sparse.arrays import coo_array, csc_array, csr_array
from fastad.sparse.building import block_array, bmat, diags, eye, hstack, kron, vstack
from fastad.sparse.factoring import splu, spsolve
from fastad.sparse.incomplete import spilu
from fastad.sparse.iterative import bicgstab, cg, gmres, jacobi

__all__ = [
    "bicgstab", "block_array", "bmat", "cg", "coo_array", "csc_array", "csr_array", "diags", "eye", "gmres", "hstack",
    "jacobi", "kron", "spilu", "splu", "spsolve", "vstack",
]  # fmt: skip
