"""Kernels called from Python: what translated code returns and writes is what numba's code does, without numba."""

import copy
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastad as fad
from fastad.calling import CalledKernel
from fastad.kernels import coloring, ordering, patterns, planning
from fastad.kernels.pattern_fields import INCIDENCE, SMALLEST_LAST, Pool
from fastad.schedules.base import new_buffer
from fastad.sparsity.greedy import numbered
from fastad.tables.sparsity.sets import Structure

RNG = np.random.default_rng(17)


def structure(m, n, density=0.15):
    rows, columns = np.nonzero(RNG.random((m, n)) < density)
    indptr = np.append(0, np.cumsum(np.bincount(rows, minlength=m)))
    return Structure(indptr, columns.astype(np.int32), n)


def none(n):
    return np.full(n, -1, np.int32)


def _symmetric():
    full = RNG.random((24, 24)) < 0.1
    full = full | full.T | np.eye(24, dtype=bool)
    return Structure(np.append(0, np.cumsum(full.sum(1))), np.nonzero(full)[1].astype(np.int32), 24)


def _columns():
    rows = structure(30, 25)
    order = RNG.permutation(25).astype(np.int32)
    return coloring.color_columns, (none(25), none(26), order, rows[:2], rows.transposed()[:2])


def _stars():
    own = _symmetric()
    edges, count = numbered(own)
    graph, spare = (own.indptr, own.indices, edges), (none(24), none(200), none(count), none(count))
    return coloring.color_stars, (none(24), none(25), np.arange(24, dtype=np.int32), graph, *spare)


def _forests():
    own = _symmetric()
    edges, count = numbered(own)
    graph, spare = (own.indptr, own.indices, edges), (none(200), none(2 * count), none(count), none(count))
    return coloring.color_forests, (none(24), none(25), np.arange(24, dtype=np.int32), graph, *spare)


def _order(way):
    rows = structure(20, 15)
    full = np.zeros(rows.shape, int)
    full[rows.rows(), rows.indices] = 1
    pairs = full.T @ full
    degrees = (pairs.sum(1) - np.diag(pairs)) if way == SMALLEST_LAST else np.zeros(15, np.int64)
    heads, links = none(int(pairs.sum()) + 1), none(30)
    return ordering.dynamic, (none(15), degrees, way, rows[:2], rows.transposed()[:2], heads, links)


def _union():
    items, starts = np.zeros(200, np.int32), np.zeros(100, np.int64)
    items[:9], starts[:6] = [0, 1, 2, 0, 1, 2, 3, 0, 3], [0, 0, 1, 3, 7, 9]
    pool = Pool(items, starts, np.zeros(5, np.int64), np.array([5, 0, 5], np.int64))
    sets = RNG.integers(0, 5, (2, 20)).astype(np.int32)
    return patterns.unite, (pool, none(20), sets[0], sets[1])


def _plan():
    return planning.plan, (fad.checkpoint.Revolve(4).state(60), new_buffer())


CASES = {
    "columns": _columns, "stars": _stars, "forests": _forests, "smallest last": lambda: _order(SMALLEST_LAST),
    "incidence": lambda: _order(INCIDENCE), "union": _union, "plan": _plan,
}  # fmt: skip


def arrays(x):
    """All arrays in nested tuples."""
    return [x] if isinstance(x, np.ndarray) else [a for own in x for a in arrays(own)] if isinstance(x, tuple) else []


@pytest.mark.parametrize("case", CASES)
def test_translated_kernels_do_what_numbas_do(case):
    by_numba, given = CASES[case]()
    own = copy.deepcopy(given)
    kernel = CalledKernel(by_numba.__module__.rpartition(".")[2], by_numba.__name__)
    assert kernel(*own) == by_numba(*given)
    for x, y in zip(arrays(own), arrays(given), strict=True):
        np.testing.assert_array_equal(x, y)


def test_what_a_kernel_cannot_take():
    bucket, ends, members = CalledKernel("patterns", "bucket"), np.zeros(3, np.int64), np.zeros(2, np.int32)
    for wrong in (np.zeros(4, np.int32)[::2], np.zeros(2, np.float32), np.zeros((2, 2, 2)), 1.5, None):
        with pytest.raises(TypeError):
            bucket(ends, members, wrong)


def test_patterns_colorings_and_plans_need_no_numba(tmp_path):
    code = """
        import sys
        import numpy as np
        import fastad as fad

        def f(x):
            return x * np.roll(x, 1) + np.cumsum(x)[-1]

        x = np.linspace(1.0, 2.0, 9)
        fad.sparse_jacobian(f)(x), fad.sparse_hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2))(x)
        for kind in ("column", "row", "bidirectional", "star", "acyclic"):
            fad.coloring.color(np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1), kind)
        assert len(fad.checkpoint.Revolve(3).array(20)) and fad.checkpoint.Revolve(3).predicted_steps(20)
        assert "numba" not in sys.modules
    """
    environment = {**os.environ, "FASTAD_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True)
