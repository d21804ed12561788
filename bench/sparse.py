"""Sparse systems on a fixed pattern, beside SciPy: `python -m bench.sparse [cells along a side]`.

A(κ) u = f is -div(κ grad u) on a square, five points a cell. Contenders are called in turn; a figure is the least of
all rounds.
"""

import sys
import time

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

import fastad as fad

ROUNDS = 15


def laplacian(m):
    """A CSR matrix of m × m cells with random conductivities between them."""
    rng = np.random.default_rng(0)
    cell = np.arange(m * m).reshape(m, m)
    first = np.concatenate([cell[1:].ravel(), cell[:, 1:].ravel()])
    second = np.concatenate([cell[:-1].ravel(), cell[:, :-1].ravel()])
    k = np.exp(rng.normal(size=first.size))
    rows, columns = np.concatenate([first, second, first, second]), np.concatenate([first, second, second, first])
    edge = np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]])
    data = np.concatenate([k, k, -k, -k, np.ones(edge.size)])
    places = np.concatenate([rows, edge]), np.concatenate([columns, edge])
    return sp.coo_array((data, places), shape=(m * m, m * m)).tocsr()


def contenders(A, b):
    """What is timed, by name: functions of no arguments. All solve with new numbers in the same places."""
    def made(data):
        return fad.sparse.csr_array(data, A.indices, A.indptr, A.shape)

    plain, transposed = A.tocsc(), A.T.tocsc()
    solve = fad.jit(lambda d, b: fad.sparse.spsolve(made(d), b), tier="native")
    both = fad.value_and_grad(lambda d, b: 0.5 * np.sum(fad.sparse.spsolve(made(d), b) ** 2), (0, 1), tier="native")
    product = fad.jit(lambda d, x: made(d) @ x, tier="native")
    iterated = fad.jit(lambda d, b: fad.sparse.cg(made(d), b, rtol=1e-6, maxiter=50)[0], tier="native")
    bicgstab = fad.jit(lambda d, b: fad.sparse.bicgstab(made(d), b, rtol=1e-6, maxiter=50)[0], tier="native")
    gmres = fad.jit(lambda d, b: fad.sparse.gmres(made(d), b, rtol=1e-6, maxiter=5)[0], tier="native")

    def by_hand():
        lu = spl.splu(plain)
        u = lu.solve(b)
        r = lu.solve(u, "T")
        return 0.5 * np.sum(u * u), -r[transposed.indices] * np.repeat(u, np.diff(transposed.indptr)), r

    return {
        "factorise and solve": {"fastad": lambda: solve(A.data, b), "SciPy": lambda: spl.splu(plain).solve(b),
                                "SciPy, minimum degree": lambda: spl.splu(
                                    plain, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.1,
                                    options={"SymmetricMode": True}).solve(b)},
        "the same, and the gradient": {"fastad": lambda: both(A.data, b), "SciPy, adjoint by hand": by_hand},
        "A @ x": {"fastad": lambda: product(A.data, b), "SciPy": lambda: A @ b},
        "50 steps of cg": {"fastad": lambda: iterated(A.data, b), "SciPy": lambda: spl.cg(A, b, rtol=1e-6, maxiter=50)},
        "50 steps of bicgstab": {"fastad": lambda: bicgstab(A.data, b),
                                 "SciPy": lambda: spl.bicgstab(A, b, rtol=1e-6, maxiter=50)},
        "5 × 20 steps of gmres": {"fastad": lambda: gmres(A.data, b),
                                  "SciPy": lambda: spl.gmres(A, b, rtol=1e-6, maxiter=5)},
    }  # fmt: skip


def agree(found):
    """Whether the first results of all contenders are the same, to six digits."""
    first, *others = (np.ravel(x[0] if isinstance(x, tuple) else x) for x in found)
    return all(np.allclose(first, x, rtol=1e-6, atol=1e-6 * np.max(np.abs(first))) for x in others)


def main(m):
    A = laplacian(m)
    b = np.random.default_rng(1).normal(size=m * m)
    print(f"{m * m} unknowns, {A.nnz} entries; milliseconds, least of {ROUNDS} rounds in turn")
    for name, calls in contenders(A, b).items():
        start = time.perf_counter()
        found = [call() for call in calls.values()]
        first = time.perf_counter() - start
        assert "steps" in name or agree(found), name
        best = dict.fromkeys(calls, np.inf)
        for _ in range(ROUNDS):
            for key, call in calls.items():
                start = time.perf_counter()
                call()
                best[key] = min(best[key], time.perf_counter() - start)
        own = best["fastad"]
        shown = ", ".join(f"{key} {1e3 * t:.2f} ({t / own:.2f})" for key, t in best.items())
        print(f"{name}: {shown}; first calls {first:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
