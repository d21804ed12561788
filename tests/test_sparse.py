"""Sparse matrices with recorded numbers: every operation against dense NumPy, systems by the laws, both tiers."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastad as fad
from fastad.primitives import primitive

RNG = np.random.default_rng(11)
TIERS = ("sweep", "native")
# Unsorted, with entries at the same place and a stored zero.
I = np.array([0, 2, 1, 0, 2, 1, 3, 3, 0, 2], np.int32)
J = np.array([0, 2, 1, 1, 0, 1, 3, 0, 0, 3])
DATA = RNG.normal(size=10) + 4.0 * (I == J)
DATA[3] = 0.0
B = RNG.normal(size=4)


def made(data):
    return fad.sparse.coo_array(data, I, J, (4, 4))


def dense(data, i=I, j=J, shape=(4, 4)):
    """The dense matrix of the entries, in plain NumPy."""
    return np.reshape(np.sum(data[:, None] * np.eye(np.prod(shape))[i * shape[1] + j], axis=0), shape)


def laplacian(m):
    """-div(κ grad u) on m × m cells: (weights, indices, indptr, shape) of a CSR matrix whose entry k is
    weights[k] @ κ."""
    cell = np.arange(m * m).reshape(m, m)
    rows, columns, parts, of = [], [], [], []
    for a, b in ((cell[1:], cell[:-1]), (cell[:, 1:], cell[:, :-1])):
        a, b = a.ravel(), b.ravel()
        for i, j, sign in ((a, a, 1), (b, b, 1), (a, b, -1), (b, a, -1)):
            rows += [i, i]
            columns += [j, j]
            parts += [np.full(i.size, 0.5 * sign)] * 2
            of += [a, b]
    edge = np.concatenate([cell[0], cell[-1], cell[:, 0], cell[:, -1]])
    rows, columns, of = (np.concatenate([*x, edge]) for x in (rows, columns, of))
    parts = np.concatenate([*parts, np.ones(edge.size)])
    keys, entry = np.unique(rows * m * m + columns, return_inverse=True)
    weights = sp.csr_array((parts, (entry, of)), shape=(len(keys), m * m))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(keys // (m * m), minlength=m * m))])
    return weights, keys % (m * m), indptr, (m * m, m * m)


# ── operations ────────────────────────────────────────────────────────────────────────────────────────────────
R = (np.array([0, 1, 2, 2, 0, 1]), np.array([4, 1, 2, 0, 4, 3]))
OPERATIONS = {
    "A @ x": (lambda A, C, x: A @ x, lambda A, C, x: A @ x),
    "x @ A": (lambda A, C, x: x @ A, lambda A, C, x: x @ A),
    "A @ X": (lambda A, C, x: A @ np.outer(x, x), lambda A, C, x: A @ np.outer(x, x)),
    "X @ C": (lambda A, C, x: np.outer(x, x) @ C, lambda A, C, x: np.outer(x, x) @ C),
    "A.T @ x": (lambda A, C, x: A.T @ x, lambda A, C, x: A.T @ x),
    "A @ C": (lambda A, C, x: (A @ C).toarray(), lambda A, C, x: A @ C),
    "A + A.T": (lambda A, C, x: (A + A.T).toarray(), lambda A, C, x: A + A.T),
    "A - 2 A": (lambda A, C, x: (A - 2.0 * A).toarray(), lambda A, C, x: A - 2.0 * A),
    "-A / x": (lambda A, C, x: (-A / x).toarray(), lambda A, C, x: -A / x),
    "scaled": (lambda A, C, x: (x[:, None] * (A * x)).toarray(), lambda A, C, x: x[:, None] * A * x),
    "diagonals": (lambda A, C, x: np.concatenate([A.diagonal(), C.diagonal(2), A.diagonal(-2)]),
                  lambda A, C, x: np.concatenate([np.diagonal(A), np.diagonal(C, 2), np.diagonal(A, -2)])),
    "A[1:3]": (lambda A, C, x: A[1:3].toarray(), lambda A, C, x: A[1:3]),
    "A[:, 1:]": (lambda A, C, x: A[:, 1:].toarray(), lambda A, C, x: A[:, 1:]),
    "A[rows][:, columns]": (lambda A, C, x: A[[3, 0, 0]][:, [1, 0]].toarray(), lambda A, C, x: A[[3, 0, 0]][:, [1, 0]]),
    "A[i], A[i, j]": (lambda A, C, x: A[2] + A[:, 0] + A[1, 1], lambda A, C, x: A[2] + A[:, 0] + A[1, 1]),
    "sums": (lambda A, C, x: A.sum(0) + A.sum(1) + C.sum(), lambda A, C, x: A.sum(0) + A.sum(1) + C.sum()),
    "A * C": (lambda A, C, x: (A * A.T).toarray() @ C, lambda A, C, x: (A * A.T) @ C),
    "csc, coo": (lambda A, C, x: A.tocsc() @ x + C.tocoo().tocsr().sum(1), lambda A, C, x: A @ x + C.sum(1)),
    "np.sum, trace, mean": (lambda A, C, x: np.stack([np.sum(A), A.trace(), C.mean(), A.mean(1)[0]]),
                            lambda A, C, x: np.stack([np.sum(A), np.trace(A), np.mean(C), np.mean(A[0])])),
    "csr": (lambda A, C, x: A.tocsr().sum_duplicates().toarray(), lambda A, C, x: A),
    "blocks": (lambda A, C, x: fad.sparse.block_array([[A, C], [None, fad.sparse.eye(2, 5, 1)]]).toarray(),
               lambda A, C, x: np.block([[A, C], [np.zeros((2, 4)), np.eye(2, 5, 1)]])),
    "stacks": (lambda A, C, x: fad.sparse.vstack([fad.sparse.hstack([A, C]), np.ones((1, 9))]).toarray(),
               lambda A, C, x: np.vstack([np.hstack([A, C]), np.ones((1, 9))])),
    "kron": (lambda A, C, x: fad.sparse.kron(A, C).toarray(), lambda A, C, x: np.kron(A, C)),
    "diags": (lambda A, C, x: fad.sparse.diags([x, 2.0 * x[1:]], [0, -1]).toarray(),
              lambda A, C, x: np.diag(x) + np.diag(2.0 * x[1:], -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_dense_matrices(name):
    ours, theirs = OPERATIONS[name]
    numbers = RNG.normal(size=6)

    def sparse(data, c, x):
        return ours(made(data), fad.sparse.coo_array(c, *R, (4, 5)), x)

    def full(data, c, x):
        return theirs(dense(data), dense(c, *R, (4, 5)), x)

    args = (DATA, numbers, B)
    wanted = full(*args)
    np.testing.assert_allclose(sparse(*args), wanted, atol=1e-13)
    slopes = fad.grad(lambda *v: np.sum(np.sin(full(*v))), argnums=(0, 1, 2))(*args)
    for tier in TIERS:
        np.testing.assert_allclose(fad.jit(sparse, tier=tier)(*args), wanted, atol=1e-13)
        found = fad.grad(lambda *v: np.sum(np.sin(sparse(*v))), argnums=(0, 1, 2), tier=tier)(*args)
        for x, y in zip(found, slopes, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_pattern(data):
    """Products and their derivatives, and solves, for entries anywhere: <u, Jv> = <Jᵀu, v>."""
    n, m = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    count = data.draw(st.integers(0, 12)) if n * m else 0
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    i, j = rng.integers(0, max(n, 1), count), rng.integers(0, max(m, 1), count)
    numbers, x, u = rng.normal(size=count), rng.normal(size=m), rng.normal(size=n)

    def product(numbers, x):
        return fad.sparse.coo_array(numbers, i, j, (n, m)) @ x

    full = np.zeros((n, m))
    np.add.at(full, (i, j), numbers)
    np.testing.assert_allclose(fad.jit(product)(numbers, x), full @ x, atol=1e-12)
    moved = rng.normal(size=count), rng.normal(size=m)
    _, tangent = fad.jvp(product, (numbers, x), moved)
    bars = fad.vjp(product, numbers, x)[1](u)
    left, right = u @ tangent, sum(np.sum(a * b) for a, b in zip(bars, moved, strict=True))
    assert left == pytest.approx(right, abs=1e-11)
    square = np.concatenate([i % max(min(n, m), 1), np.arange(min(n, m))])
    across = np.concatenate([j % max(min(n, m), 1), rng.permutation(min(n, m))])
    values = np.concatenate([numbers, rng.normal(size=min(n, m)) + 9.0])
    side = rng.normal(size=min(n, m))
    full = np.zeros((min(n, m),) * 2)
    np.add.at(full, (square, across), values)
    if np.linalg.cond(full) < 1e6 if full.size else True:
        found = fad.jit(lambda v, b: fad.sparse.spsolve(fad.sparse.coo_array(v, square, across, full.shape), b))
        np.testing.assert_allclose(found(values, side), np.linalg.solve(full, side), rtol=1e-8, atol=1e-10)


def test_constructors_agree_and_say_what_is_wrong():
    A = made(DATA).tocsr().sum_duplicates()
    csr = fad.sparse.csr_array(A.data, A.indices.astype(np.int32), A.indptr, (4, 4))
    csc = fad.sparse.csc_array(A.data, A.indices, A.indptr, (4, 4))
    np.testing.assert_array_equal(csr.toarray(), csc.T.toarray())
    np.testing.assert_array_equal(fad.sparse.csr_array(csr.toscipy()).toarray(), csr.toarray())
    assert (csr.shape, csr.nnz, csr.T.format, csc.T.format) == ((4, 4), A.nnz, "csc", "csr")
    for wrong in (
        lambda: fad.sparse.csr_array(A.data, A.indices, A.indptr[:-1], (4, 4)),
        lambda: fad.sparse.csr_array(A.data, A.indices, A.indptr, (4, 2)),
        lambda: fad.sparse.coo_array(DATA[1:], I, J, (4, 4)),
        lambda: csr @ np.ones(3),
        lambda: fad.sparse.spsolve(csr, np.ones(3)),
        lambda: fad.sparse.splu(csr[:2]),
    ):
        with pytest.raises(fad.ShapeError):
            wrong()
    with pytest.raises(TypeError, match="toarray"):
        np.asarray(csr)
    for again in (pickle.loads(pickle.dumps(csc)), copy.deepcopy(csc)):
        assert type(again) is type(csc) and again.pattern is csc.pattern
        np.testing.assert_array_equal(again.data, csc.data)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_scipy_matrices_multiply_recorded_values(form):
    A = sp.random_array((6, 5), density=0.5, rng=RNG).asformat(form)
    full, x = A.toarray(), RNG.normal(size=5)
    f = fad.jit(lambda x: (A @ x, x @ A.T, sp.csr_matrix(A) * x))
    for found in f(x):
        np.testing.assert_allclose(found, full @ x, atol=1e-14)
    A.data *= 2
    np.testing.assert_allclose(f(x)[0], 2 * full @ x, atol=1e-14)
    slope = fad.grad(lambda x: np.sum((A @ x) ** 2))(x)
    np.testing.assert_allclose(slope, 8 * full.T @ (full @ x), atol=1e-12)


def test_scipys_functions_that_we_lack_name_ours():
    with pytest.raises(fad.RecordingError, match=r"lsqr takes no recorded numbers.*spsolve\(A\.T @ A"):
        fad.jit(lambda x: spl.lsqr(sp.eye_array(4).tocsc(), x)[0])(B)
    with pytest.raises(fad.RecordingError, match=r"fad\.sparse"):
        fad.jit(lambda x: x + sp.eye_array(4).tocsr())(B)


def test_places_that_change_are_seen():
    indices, indptr, x = np.array([0, 1, 1]), np.array([0, 2, 3]), np.array([1.0, 10.0])
    f = fad.jit(lambda data: fad.sparse.csr_array(data, indices, indptr, (2, 2)) @ x)
    for _ in range(3):
        indices[0] = 1 - indices[0]
        assert f(np.ones(3)).tolist() == [x[indices[0]] + 10.0, 10.0]
    g = fad.jit(lambda data, indices: fad.sparse.csr_array(data, indices, indptr, (2, 2)) @ x)
    assert g(np.ones(3), np.array([0, 1, 1])).tolist() == [11.0, 10.0]
    assert g(np.ones(3), np.array([1, 1, 0])).tolist() == [20.0, 1.0]


def test_matrices_and_factors_are_pytrees():
    A = made(DATA)

    def f(A, b):
        return np.sum(np.sin(A @ b)) + np.sum(fad.sparse.spsolve(A, b) ** 2)

    slope = fad.grad(f)(A, B)
    np.testing.assert_allclose(slope.data, fad.grad(lambda data: f(made(data), B))(DATA))
    np.testing.assert_allclose(fad.jit(lambda A: 2.0 * A.T)(A).toarray(), 2.0 * dense(DATA).T)
    lu = fad.sparse.splu(A)
    both = fad.jit(lambda lu, b: lu.solve(b) + lu.solve(b, "T"))
    wanted = np.linalg.solve(dense(DATA), B) + np.linalg.solve(dense(DATA).T, B)
    np.testing.assert_allclose(both(lu, B), wanted)
    table = fad.trace(lambda b: lu.solve(b), B)
    assert not np.any(table.columns["op"] == primitive("sparse_lu").code)  # factorised outside, not again


# ── systems ───────────────────────────────────────────────────────────────────────────────────────────────────
def solved(data, b, trans="N"):
    return fad.sparse.splu(made(data)).solve(b, trans)


@pytest.mark.parametrize("trans", ["N", "T"])
@pytest.mark.parametrize("b", [B, RNG.normal(size=(4, 3))], ids=["vector", "matrix"])
def test_derivatives_of_solves(b, trans):
    """Orders 1 and 2 against those of the dense solve, and Proposition 17.74: b̄ = r, Ā_ij = −r_i x_j."""

    def full(data, b):
        A = dense(data)
        return np.linalg.solve(A.T if trans == "T" else A, b)

    direction = RNG.normal(size=10)
    for tier in TIERS:
        for order in (1, 2):
            found, wanted = (
                fad.grad((lambda d, b, f=f: np.sum(np.sin(f(d, b)))) if order == 1 else
                         (lambda d, b, f=f: fad.grad(lambda d: np.sum(np.sin(f(d, b))))(d) @ direction),
                         argnums=(0, 1), tier=tier)(DATA, b)
                for f in (lambda d, b: solved(d, b, trans), full)
            )  # fmt: skip
            for x, y in zip(found, wanted, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-10)
    u = RNG.normal(size=np.shape(b))
    x, pull = fad.vjp(lambda d, b: solved(d, b, trans), DATA, b)
    bars = pull(u)
    i, j = (J, I) if trans == "T" else (I, J)
    rows = bars[1].reshape(4, -1)[i] * x.reshape(4, -1)[j]
    np.testing.assert_allclose(bars[0], -np.sum(rows, axis=1), atol=1e-12)


def test_one_factorisation_serves_values_tangents_and_adjoints():
    weights, indices, indptr, shape = laplacian(6)

    def energy(kappa):
        A = fad.sparse.csr_array(weights @ kappa, indices, indptr, shape)
        return np.sum(fad.sparse.spsolve(A, np.ones(36)) ** 2)

    kappa = np.exp(RNG.normal(size=36))
    twice = fad.jit(lambda k: (energy(k), fad.grad(energy)(k), fad.jvp(fad.grad(energy), (k,), (k,))[1]))
    twice(kappa)
    counts = [np.sum(t.columns["op"] == primitive("sparse_lu").code) for t in twice.tables]
    assert counts == [1]
    solves = np.sum(twice.tables[0].columns["op"] == primitive("sparse_lu_solve").code)
    assert solves == 4  # x, r, and the tangents of both


def rolled(d, b):
    return np.sum(fad.scan(lambda y, e: (solved(d * e, y + e), None), b, np.array([1.0, 1.1]))[0] ** 2)


def unrolled(d, b):
    return np.sum(solved(d * 1.1, solved(d, b + 1.0) + 1.1) ** 2)


def test_vmap_and_scan():
    many, sides = DATA + 0.1 * RNG.normal(size=(3, 10)), RNG.normal(size=(3, 4))
    for tier in TIERS:
        for axes in ((0, 0), (0, None), (None, 0)):
            args = (many if axes[0] == 0 else DATA, sides if axes[1] == 0 else B)
            each = [[a[k] if ax == 0 else a for a, ax in zip(args, axes, strict=True)] for k in range(3)]
            for f in (solved, lambda d, b: made(d) @ b, fad.grad(lambda d, b: np.sum(solved(d, b) ** 3))):
                found = fad.vmap(f, in_axes=axes, tier=tier)(*args)
                np.testing.assert_allclose(found, [f(*x) for x in each], rtol=1e-9, atol=1e-12)

        pairs = zip(*(fad.grad(f, argnums=(0, 1), tier=tier)(DATA, B) for f in (rolled, unrolled)), strict=True)
        for x, y in pairs:
            np.testing.assert_allclose(x, y, rtol=1e-9)


def test_float32_and_numbers_that_are_not_finite():
    single = DATA.astype(np.float32), B.astype(np.float32)
    wanted = np.linalg.solve(dense(DATA), B)
    broken = DATA.copy()
    broken[0] = np.nan
    for f in (solved, *(fad.jit(solved, tier=tier) for tier in TIERS)):
        found = f(*single)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
        assert np.all(np.isnan(f(broken, B)))
        np.testing.assert_allclose(f(DATA, B), wanted)
    assert {x.dtype for x in fad.grad(lambda d, b: np.sum(solved(d, b)), argnums=(0, 1))(*single)} == {np.dtype("f")}


@pytest.mark.parametrize("tier", TIERS)
def test_pivots_are_chosen_anew_where_the_old_ones_would_lose_digits(tier):
    corners = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])

    def f(data, b):
        return fad.sparse.spsolve(fad.sparse.coo_array(data, *corners, (2, 2)), b)

    g, slope = fad.jit(f, tier=tier), fad.grad(lambda d, b: np.sum(f(d, b) ** 2), argnums=(0, 1), tier=tier)
    b = np.array([1.0, 3.0])
    for data in ([4.0, 1.0, 1.0, 4.0], [1e-9, 1.0, 1.0, 2.0], [0.0, 1.0, 1.0, 0.0], [1e-200, 1e200, 1e-3, 1.0]):
        data = np.array(data)
        A = data.reshape(2, 2)
        x = np.array([A[1, 1] * b[0] - A[0, 1] * b[1], A[0, 0] * b[1] - A[1, 0] * b[0]])
        x /= A[0, 0] * A[1, 1] - A[0, 1] * A[1, 0]
        np.testing.assert_allclose(g(data, b), x, rtol=1e-12)
        r = np.linalg.solve(A.T, 2 * x)
        bars = slope(data, b)
        np.testing.assert_allclose(bars[0], -np.outer(r, x).ravel(), rtol=1e-9)
        np.testing.assert_allclose(bars[1], r, rtol=1e-9)
    for data in ([1.0, 2.0, 2.0, 4.0], [0.0, 0.0, 0.0, 0.0], [0.1, 0.3, 0.2, 0.6]):
        with pytest.raises(fad.SingularMatrixError, match="condition number"):
            g(np.array(data), b)
    np.testing.assert_allclose(g(np.array([1.0, 1.0, 0.0, 1e-20]), b), [-3e20, 3e20], rtol=1e-12)  # badly scaled only


def test_singular_matrices_name_the_users_line():
    with pytest.raises(fad.SingularMatrixError, match=r"condition number inf.*test_sparse\.py"):
        fad.jit(solved)(np.zeros(10), B)
    with pytest.raises(fad.SingularMatrixError, match="whatever its numbers are"):
        fad.jit(lambda d: fad.sparse.spsolve(fad.sparse.coo_array(d, [0, 0], [0, 1], (2, 2)), B[:2]))(np.ones(2))
    with pytest.raises(fad.SingularMatrixError, match="condition number"):
        solved(np.zeros(10), B)


@pytest.mark.parametrize("tier", TIERS)
def test_empty_and_single(tier):
    none, no_places = np.zeros(0), np.zeros(0, int)

    def square(d, b):
        return fad.sparse.spsolve(fad.sparse.csr_array(d, no_places, np.zeros(1, int), (0, 0)), b)

    assert fad.jit(square, tier=tier)(none, none).shape == (0,)
    tall = fad.jit(lambda d, x: fad.sparse.csr_array(d, no_places, np.zeros(4, int), (3, 0)) @ x, tier=tier)
    assert tall(none, none).tolist() == [0.0, 0.0, 0.0]
    assert fad.jit(solved, tier=tier)(DATA, np.zeros((4, 0))).shape == (4, 0)
    one = fad.grad(lambda d: fad.sparse.spsolve(fad.sparse.coo_array(d, [0], [0], (1, 1)), np.ones(1))[0], tier=tier)
    np.testing.assert_allclose(one(np.array([2.0])), [-0.25])


def test_factors_survive_files(tmp_path):
    f = fad.jit(solved)
    f(DATA, B)
    f.save(tmp_path / "f.npz")
    loaded = fad.load(tmp_path / "f.npz")
    np.testing.assert_allclose(loaded(DATA, B), np.linalg.solve(dense(DATA), B))
    slopes = (fad.grad(lambda d, g=g: np.sum(g(d, B)))(DATA) for g in (loaded, solved))
    np.testing.assert_allclose(*slopes, rtol=1e-10)


# ── Poisson's equation ────────────────────────────────────────────────────────────────────────────────────────
def test_poisson_with_constant_conductivity():
    """J = ½ ‖u‖² of κ L u = f: dJ/dκ = −‖u‖²/κ."""
    weights, indices, indptr, shape = laplacian(20)
    plain, f = weights @ np.ones(400), RNG.normal(size=400)

    def J(kappa):
        u = fad.sparse.spsolve(kappa * fad.sparse.csr_array(plain, indices, indptr, shape), f)
        return 0.5 * np.sum(u * u)

    for kappa in (0.3, 1.7):
        value, slope = fad.value_and_grad(J)(kappa)
        assert slope == pytest.approx(-2 * value / kappa, rel=1e-13)
        assert fad.grad(fad.grad(J))(kappa) == pytest.approx(6 * value / kappa**2, rel=1e-12)


def test_poisson_with_variable_conductivity():
    """|J(κ + h d) − J(κ) − h ⟨dJ, d⟩| falls as h²."""
    weights, indices, indptr, shape = laplacian(15)
    kappa, d = np.exp(0.5 * RNG.normal(size=225)), RNG.normal(size=225)

    def J(kappa):
        u = fad.sparse.spsolve(fad.sparse.csr_array(weights @ kappa, indices, indptr, shape), np.ones(225))
        return 0.5 * np.sum(u * u)

    value, slope = fad.value_and_grad(J)(kappa)
    steps = 1e-2 * 0.5 ** np.arange(5)
    rest = [abs(fad.jit(J)(kappa + h * d) - value - h * (slope @ d)) for h in steps]
    np.testing.assert_allclose(np.diff(np.log2(rest)), -2.0, atol=0.05)
