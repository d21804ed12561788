"""What a stiff solver asks of a 2-D Brusselator's Jacobian: `python -m bench.newton_matrix [cells along a side]`.

W = I/(γh) − J is factorised again and again, with other numbers in the same places. SciPy's SuperLU is beside it, with
its orders of elimination. Least times of calls in turn.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl

import fastad as fad
from bench.sparsity import brusselator
from fastad.sparse.analysis import analysis
from fastad.sparse.pattern import Pattern
from fastad.sparsity.coloring import color_structure
from fastad.tables.sparsity.sweep import jacobian_structure

ROUNDS, SIDES = 15, 9
ORDERS = {
    "SciPy, COLAMD": {},
    "SciPy, MMD_AT_PLUS_A": {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.1,
                             "options": {"SymmetricMode": True}},
    "SciPy, MMD_ATA": {"permc_spec": "MMD_ATA"},
}  # fmt: skip


def least_times(calls: dict[str, Callable]) -> dict[str, float]:
    """The least milliseconds of each call."""
    found = dict.fromkeys(calls, np.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name] = min(found[name], 1e3 * (time.perf_counter() - start))
    return found


def main(m: int) -> None:
    n = 2 * m * m
    rng = np.random.default_rng(0)
    y, b, sides = 1 + rng.random(n), rng.random(n), rng.random((n, SIDES))
    table = fad.trace(brusselator, y)
    structure, _ = jacobian_structure(table, [0])
    J = fad.sparse_jacobian(brusselator, tier="native")
    W = (1e5 * sp.eye_array(n) - J(y)).tocsr()
    W.sort_indices()
    plain = W.tocsc()

    def solved(data, b):
        return fad.sparse.spsolve(fad.sparse.csr_array(data, W.indices, W.indptr, W.shape), b)

    one, many = fad.jit(solved, tier="native"), fad.jit(solved, tier="native")
    calls = {
        "pattern": lambda: jacobian_structure(table, [0]), "coloring": lambda: color_structure(structure, "auto"),
        "elements of J": J.prepare(y),
        "factorised, one side": lambda: one(W.data, b), f"factorised, {SIDES} sides": lambda: many(W.data, sides),
    }  # fmt: skip
    for name, options in ORDERS.items():
        lu = spl.splu(plain, **options)
        calls[f"{name}, factorised"] = lambda options=options: spl.splu(plain, **options)
        calls[f"{name}, one side solved"] = lambda lu=lu: lu.solve(b)
        print(f"{name}: {lu.L.nnz + lu.U.nnz:,} numbers in L and U")
    own = analysis(Pattern.of(np.repeat(np.arange(n), np.diff(W.indptr)), W.indices, W.shape), W.data)
    print(f"fastad: {sum(own.sizes[2:]) + 2 * n:,} numbers in L and U; {n} unknowns, {W.nnz} entries")
    assert np.allclose(one(W.data, b), spl.spsolve(plain, b))
    times = least_times(calls)
    for name, found in times.items():
        print(f"{name}: {found:.3f} ms")
    each = (times[f"factorised, {SIDES} sides"] - times["factorised, one side"]) / (SIDES - 1)
    print(f"one side solved: {each:.3f} ms; factorised: {times['factorised, one side'] - each:.3f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
