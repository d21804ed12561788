"""Dense linear algebra: one list of functions, all of them NumPy's or SciPy's in value, with derivatives of two orders
in both executors, over lanes, on matrices that are singular or have equal values."""

import warnings

import numpy as np
import pytest
import scipy.linalg

import fastad as fad

RNG = np.random.default_rng(17)
TIERS = ("sweep", "native")
LA = np.linalg


def square(n, lead=()):
    return RNG.normal(size=(*lead, n, n)) + 0.5 * np.eye(n)


def definite(n, lead=()):
    a = RNG.normal(size=(*lead, n, n))
    return a @ np.swapaxes(a, -1, -2) + np.eye(n)


def tall(n, lead=()):
    return RNG.normal(size=(*lead, n + 2, n))


def wide(n, lead=()):
    return RNG.normal(size=(*lead, n, n + 2))


def least_squares(a):
    x, residuals, _, values = LA.lstsq(a, np.cos(np.arange(a.shape[0])))
    return x, residuals, values


# What is computed, of which matrices; functions of stacks and of single matrices.
STACKED = {
    "inv": (LA.inv, square), "det": (LA.det, square), "power": (lambda a: LA.matrix_power(a, -2), square),
    "qr": (LA.qr, tall), "qr, wide": (LA.qr, wide), "qr, complete": (lambda a: LA.qr(a, "complete"), tall),
    "qr, r": (lambda a: LA.qr(a, mode="r"), square), "eigh": (LA.eigh, square),
    "eigh, upper": (lambda a: LA.eigh(a, "U"), square), "eigvalsh": (LA.eigvalsh, square),
    "svd": (lambda a: LA.svd(a, full_matrices=False), tall), "svd, wide": (lambda a: LA.svd(a, False), wide),
    "svd, square": (LA.svd, square), "svdvals": (lambda a: LA.svd(a, compute_uv=False), wide),
    "svd, full": (lambda a: LA.svd(a)[1:], tall), "svd, symmetric": (lambda a: LA.svd(a, hermitian=True)[1], definite),
    "pinv": (LA.pinv, tall), "pinv, wide": (LA.pinv, wide), "pinv, symmetric": (
        lambda a: LA.pinv(a, hermitian=True), square),
    "norm 2": (lambda a: LA.norm(a, 2, axis=(-2, -1)), tall), "norm -2": (lambda a: LA.norm(a, -2, (-2, -1)), tall),
    "nuclear norm": (lambda a: LA.norm(a, "nuc", axis=(-2, -1), keepdims=True), wide), "cond": (LA.cond, square),
    "cond 1": (lambda a: LA.cond(a, 1), square), "cond -2": (lambda a: LA.cond(a, -2), wide),
    "trace": (lambda a: np.trace(a, axis1=-2, axis2=-1), tall),
}  # fmt: skip
SINGLE = {
    "lstsq": (least_squares, tall), "lstsq, wide": (least_squares, wide), "multi_dot": (
        lambda a: LA.multi_dot([a, a.T, a]), tall),
    "kron": (lambda a: np.kron(a, a.T), wide), "outer": (lambda a: np.outer(a, a), square),
    "tensorsolve": (lambda a: LA.tensorsolve(a.reshape(*a.shape, 1), np.ones(len(a))), square),
    "tensorinv": (lambda a: LA.tensorinv(a, ind=1), square),
}  # fmt: skip
OURS = {  # fad's, SciPy's
    "expm": (fad.linalg.expm, scipy.linalg.expm, square),
    "sqrtm": (fad.linalg.sqrtm, scipy.linalg.sqrtm, lambda n, lead=(): definite(n, lead) + 0.2 * square(n, lead)),
    "cho_solve": (
        lambda a: fad.linalg.cho_solve(fad.linalg.cho_factor(a), np.ones((a.shape[-1], 2))),
        lambda a: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), np.ones((a.shape[-1], 2))), definite),
    "solve_banded": (
        lambda a: fad.linalg.solve_banded((2, 1), 4 * (np.arange(4) == 1)[:, None] + a[:4], np.ones(a.shape[-1])),
        lambda a: scipy.linalg.solve_banded((2, 1), 4 * (np.arange(4) == 1)[:, None] + a[:4], np.ones(a.shape[-1])),
        lambda n, lead=(): RNG.normal(size=(4, n))),
}  # fmt: skip
DERIVED = {
    name: (f, of) for name, (f, of) in (STACKED | SINGLE | {k: (f, of) for k, (f, _, of) in OURS.items()}).items()
    if "full" not in name
}  # fmt: skip


def as_tuple(x):
    return tuple(x) if isinstance(x, tuple | list) else (x,)


def every(functions):
    """All functions, each of its own matrix, as one."""
    return lambda matrices: [as_tuple(f(a)) for f, a in zip(functions, matrices, strict=True)]


def close(found, expected, rtol=1e-9, atol=1e-11):
    for own, known in zip(found, expected, strict=True):
        for x, y in zip(own, known, strict=True):
            assert np.shape(x) == np.shape(y)
            assert np.asarray(x).dtype == np.asarray(y).dtype
            np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("n", "tier"), [(1, "native"), (2, "native"), (3, "sweep"), (10, "native"), (40, "sweep"), (40, "native")]
)
def test_values_are_numpys_and_scipys(n, tier):
    table = STACKED | SINGLE
    matrices = [of(n) for _, of in table.values()]
    if n == 3:  # as transposes of what lies in memory
        matrices = [np.array(a.T).T for a in matrices]
    f = every([f for f, _ in table.values()])
    close(fad.jit(f, tier=tier)(matrices), f(matrices))
    matrices = [of(n) for _, _, of in OURS.values()]
    found = fad.jit(every([f for f, _, _ in OURS.values()]), tier=tier)(matrices)
    close(found, every([f for _, f, _ in OURS.values()])(matrices))


@pytest.mark.parametrize("lead", [(2, 3), (0,)])
def test_stacks_are_matrix_by_matrix(lead):
    matrices = [of(3, lead) for _, of in STACKED.values()]
    f = every([f for f, _ in STACKED.values()])
    close(fad.jit(f)(matrices), f(matrices))


def test_empty_matrices_are_numpys():
    names = [name for name in STACKED if "cond" not in name and "-2" not in name]
    matrices = [STACKED[name][1](0, lead) for name in names for lead in ((), (2,))]
    f = every([STACKED[name][0] for name in names for _ in range(2)])
    found = fad.jit(f)(matrices)
    close(found, f(matrices))
    gradient = fad.grad(lambda m: sum(np.sum(x) for own in f(m) for x in own))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complete matrices of no columns depend on no matrix
        assert all(x.shape == a.shape and np.isfinite(x).all() for x, a in zip(gradient(matrices), matrices))


def test_single_precision_stays():
    names = ["inv", "det", "qr", "eigh", "svd", "pinv", "norm 2", "cond"]
    matrices = [STACKED[name][1](3).astype(np.float32) for name in names]
    f = every([STACKED[name][0] for name in names])
    close(fad.jit(f)(matrices), f(matrices), rtol=1e-3, atol=1e-4)
    assert fad.linalg.expm(matrices[0]).dtype == np.float32
    assert fad.jit(fad.linalg.expm)(matrices[0]).dtype == np.float32


# ── derivatives ───────────────────────────────────────────────────────────────────────────────────────────────
def scalar(f):
    """A number that all results have a part in."""
    return lambda a: sum(np.sum(np.sin(x) * np.cos(np.arange(np.size(x))).reshape(np.shape(x))) for x in as_tuple(f(a)))


@pytest.mark.parametrize("start", range(0, len(DERIVED), 12))
def test_derivatives_of_two_orders(start):
    """Against differences, in all modes: of twelve at a time, each of a matrix of its own."""
    functions, matrices = zip(*list(DERIVED.values())[start : start + 12], strict=True)
    every_one = lambda *a: [scalar(f)(x) for f, x in zip(functions, a, strict=True)]
    fad.check_grads(fad.jit(every_one, tier="native"), tuple(of(3) for of in matrices), order=2)


@pytest.mark.parametrize("name", DERIVED)
def test_tangents_and_adjoints_agree(name):
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩."""
    f, of = DERIVED[name]
    fad.check_adjoint(lambda a: as_tuple(f(a))[0], (of(2),))


def test_executors_agree():
    matrices = [of(4) for _, of in DERIVED.values()]
    f = lambda m: sum(scalar(g)(a) for (g, _), a in zip(DERIVED.values(), m, strict=True))
    close([fad.grad(f, tier="sweep")(matrices)], [fad.grad(f, tier="native")(matrices)], rtol=1e-7)


@pytest.mark.parametrize("name", ["inv", "det", "qr", "eigh", "svd", "pinv", "eigvalsh"])
def test_lanes_and_loops(name):
    f, of = STACKED[name]
    gradient = fad.grad(scalar(f))
    stack = of(3, (4,))
    np.testing.assert_allclose(fad.vmap(gradient)(stack), [gradient(a) for a in stack], rtol=1e-8, atol=1e-10)
    looped = fad.grad(lambda stack: fad.scan(lambda total, a: (total + scalar(f)(a), None), 0.0, stack)[0])
    np.testing.assert_allclose(looped(stack), [gradient(a) for a in stack], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("tier", TIERS)
def test_the_adjoint_of_a_system(tier):
    """With Aᵀ r = x̄: b̄ = r and Ā = -r xᵀ (Blondel & Roulet 2024, Proposition 17.74)."""
    for n in (1, 2, 3, 10, 45):
        A, b, seed = square(n) + n * np.eye(n), RNG.normal(size=n), RNG.normal(size=n)
        x, pullback = fad.vjp(fad.jit(LA.solve, tier=tier), A, b)
        r = LA.solve(A.T, seed)
        bars = pullback(seed)
        np.testing.assert_allclose(bars[1], r, rtol=1e-9)
        np.testing.assert_allclose(bars[0], -np.outer(r, x), rtol=1e-9)


@pytest.mark.parametrize("size", [1e-3, 0.1, 0.5, 1.5, 4.0, 60.0])
def test_exponentials_of_every_size(size):
    a, e = size * RNG.normal(size=(2, 5, 5))
    value, tangent = fad.jvp(fad.linalg.expm, (a,), (e,))
    known = scipy.linalg.expm_frechet(a, e)
    np.testing.assert_allclose(value, known[0], rtol=1e-11, atol=1e-11 * np.abs(known[0]).max())
    np.testing.assert_allclose(tangent, known[1], rtol=1e-9, atol=1e-10 * np.abs(known[1]).max())
    assert not fad.jit(fad.linalg.expm)(np.array([[0.0, 1e6], [0.0, 0.0]]))[0, 1] - 1e6


# ── equal values: functions that do not depend on the choice of vectors ───────────────────────────────────────
def rotated(values):
    q = LA.qr(RNG.normal(size=(len(values), len(values))))[0]
    return (q * values) @ q.T


C = RNG.normal(size=(4, 4))
EQUAL = {
    "the identity": np.eye(4), "zero": np.zeros((4, 4)), "a pair": np.diag([1.0, 2.0, 2.0, 5.0]),
    "a pair, rotated": rotated(np.array([1.0, 2.0, 2.0, 5.0])), "three": rotated(np.array([3.0, 3.0, 3.0, -1.0])),
    "two pairs": rotated(np.array([1.0, 1.0, 2.0, 2.0])),
}  # fmt: skip


def of_spectrum(f):
    def function(a):
        w, v = LA.eigh(a)
        return (v * f(w)) @ v.T

    return function


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", EQUAL)
def test_functions_of_matrices_with_equal_eigenvalues(case):
    """V f(Λ) Vᵀ is smooth: its derivatives are those of the exponential, which knows no eigenvalues."""
    a, e = EQUAL[case], RNG.normal(size=(4, 4))
    a, e = (a + a.T) / 2, e + e.T
    f = lambda a: np.sum(C * of_spectrum(np.exp)(a))
    known = lambda a: np.sum(C * fad.linalg.expm((a + a.T) / 2))
    exact = np.sum(fad.grad(known)(a) * e)
    assert np.sum(fad.grad(f)(a) * e) == pytest.approx(exact, rel=3e-7, abs=3e-7)
    curved = np.sum(fad.hvp(known, a, e) * e)
    assert np.sum(fad.hvp(f, a, e) * e) == pytest.approx(curved, rel=1e-4, abs=1e-4)
    traced = lambda a: np.sum(np.exp(LA.eigvalsh(a)))
    value = scipy.linalg.expm(a)
    assert np.sum(fad.grad(traced)(a) * e) == pytest.approx(np.trace(value @ e), rel=1e-10, abs=1e-10)
    second = np.sum(fad.hvp(traced, a, e) * e)
    assert second == pytest.approx(np.sum(e * scipy.linalg.expm_frechet(a, e)[1]), rel=1e-4)


@pytest.mark.filterwarnings("error")
def test_spaces_of_equal_eigenvalues():
    a = EQUAL["a pair, rotated"]
    a, e = (a + a.T) / 2, C + C.T

    def space(a):
        v = LA.eigh(a)[1][:, 1:3]
        return np.sum(C * (v @ v.T))

    h = 1e-5
    slope = (space(a + h * e) - space(a - h * e)) / (2 * h)
    assert np.sum(fad.grad(space)(a) * e) == pytest.approx(slope, rel=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [(2.0, 2.0, 1.0), (1.0, 1.0, 1.0), (2.0, 0.0, 0.0), (0.0, 0.0, 0.0)])
def test_functions_of_equal_or_zero_singular_values(values):
    u, _, vt = LA.svd(RNG.normal(size=(4, 3)), full_matrices=False)
    a, e = (u * np.array(values)) @ vt, RNG.normal(size=(4, 3))

    def cube(a):
        u, s, vt = LA.svd(a, full_matrices=False)
        return np.sum(C[:, :3] * ((u * s**3) @ vt))

    known = lambda a: np.sum(C[:, :3] * (a @ a.T @ a))
    np.testing.assert_allclose(fad.grad(cube)(a), fad.grad(known)(a), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(fad.hvp(cube, a, e), fad.hvp(known, a, e), rtol=1e-3, atol=1e-3)
    if min(values) > 0:
        np.testing.assert_allclose(fad.grad(lambda a: LA.norm(a, "nuc"))(a), u @ vt, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_spaces_that_belong_to_no_singular_value():
    """Columns of a full U, read in two places, against the same projection without vectors."""
    (a, e), weights = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(5, 5))
    by_vectors = lambda a: np.sum(weights * (LA.svd(a)[0][:, 3:] @ LA.svd(a)[0][:, 3:].T))
    known = lambda a: np.sum(weights * (np.eye(5) - a @ LA.pinv(a)))
    np.testing.assert_allclose(fad.grad(by_vectors)(a), fad.grad(known)(a), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(fad.hvp(by_vectors, a, e), fad.hvp(known, a, e), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tier", TIERS)
def test_vectors_of_equal_values_give_a_warning(tier):
    vectors = lambda a: np.sum(C[:3, :3] * LA.eigh(a)[1])
    gradient = fad.grad(vectors, tier=tier)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(gradient(np.diag([1.0, 2.0, 3.0]))).all()
    with pytest.warns(RuntimeWarning, match=r"equal eigenvalues .* 1 and 2 \(2\).*test_factorisations.py") as found:
        assert np.isfinite(gradient(np.diag([1.0, 2.0, 2.0]))).all()
    assert found[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="of matrix 1 "):
        stack = np.stack([np.diag([1.0, 2.0, 3.0]), np.eye(3)])
        fad.vmap(gradient)(stack)
    with pytest.warns(RuntimeWarning, match="equal eigenvalues"):
        fad.jvp(lambda a: LA.eigh(a)[1], (np.eye(3),), (C[:3, :3],))
    with pytest.warns(RuntimeWarning, match=r"differentiated in adjoint of scan.*test_factorisations.py"):
        fad.grad(lambda a: fad.scan(lambda c, _: (c + vectors(a), None), 0.0, None, length=2)[0])(np.eye(3))
    for one in (lambda a: LA.eigvalsh(a)[0], lambda a: LA.eigh(a)[0][0], lambda a: LA.svd(a, compute_uv=False)[1]):
        with pytest.warns(RuntimeWarning, match="equal eigenvalues or singular values"):
            fad.grad(one, tier=tier)(np.diag([1.0, 1.0, 5.0]))
    with pytest.warns(RuntimeWarning, match="belong to no singular value"):
        fad.grad(lambda a: np.sum(C[:3, :3] * LA.svd(a)[0]))(RNG.normal(size=(3, 1)))
    with pytest.warns(RuntimeWarning, match="zero singular value"):
        fad.grad(lambda a: np.sum(C[:3, :2] * LA.svd(a, False)[0]))(np.outer([1.0, 2.0, 3.0], [1.0, 1.0]))


# ── singular matrices ─────────────────────────────────────────────────────────────────────────────────────────
def minors(a):
    """The cofactors, one determinant each."""
    n = len(a)
    signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
    return signs * [[LA.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("rank", [0, 1, 2, 3, 4])
def test_determinants_of_singular_matrices_have_derivatives(rank, tier):
    a = RNG.normal(size=(4, rank)) @ RNG.normal(size=(rank, 4))
    e, d = RNG.normal(size=(2, 4, 4))
    np.testing.assert_allclose(fad.grad(LA.det, tier=tier)(a), minors(a), rtol=1e-9, atol=1e-11)
    change = (minors(a + 1e-4 * e) - minors(a - 1e-4 * e)) / 2e-4
    np.testing.assert_allclose(fad.hvp(LA.det, a, e), change, rtol=1e-6, atol=1e-6)
    third = fad.jvp(lambda a: np.sum(d * fad.hvp(LA.det, a, e)), (a,), (d,))[1]
    h = 1e-3
    known = np.sum(d * (fad.hvp(LA.det, a + h * d, e) - fad.hvp(LA.det, a - h * d, e))) / (2 * h)
    assert third == pytest.approx(known, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("tier", TIERS)
def test_singular_matrices_name_the_line_and_the_condition(tier):
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    for f in (LA.inv, lambda a: LA.matrix_power(a, -1)):
        f = fad.jit(f, tier=tier)
        f(np.eye(2))
        with pytest.raises(fad.SingularMatrixError, match=r"condition number.*test_factorisations.py"):
            f(singular)
    assert fad.jit(LA.cond, tier=tier)(np.zeros((1, 1)) + 1.0) == 1
    singular = np.array([[[0.0, 0], [0, 0]], [[1, 0], [0, 0]], [[1, 2], [3, np.inf]]])
    for p in (2, -2):
        np.testing.assert_array_equal(fad.jit(lambda a, p=p: LA.cond(a, p), tier=tier)(singular), LA.cond(singular, p))
    root = fad.jit(fad.linalg.sqrtm, tier=tier)
    root(np.eye(2))
    with pytest.raises(fad.SingularMatrixError, match=r"multiple of the identity.*test_factorisations.py"):
        root(singular)
    with pytest.raises(fad.ConvergenceError, match=r"no real square root.*-2.*test_factorisations.py"):
        root(np.diag([1.0, -2.0]))
    band = fad.jit(lambda ab: fad.linalg.solve_banded((1, 0), ab, np.ones(3)), tier=tier)
    band(np.ones((2, 3)))
    with pytest.raises(fad.SingularMatrixError, match=r"band matrix.*test_factorisations.py"):
        band(np.zeros((2, 3)))


def test_rank_deficient_least_squares():
    """The solution of least norm, while the rank stays."""
    base, other = RNG.normal(size=(5, 2)), RNG.normal(size=(2, 4))
    b = RNG.normal(size=5)

    def solution(base):
        a = base @ other
        x, residuals, _, _ = LA.lstsq(a, b)
        assert residuals.size == 0
        return np.sum(np.sin(x)) + np.sum(LA.pinv(a, rcond=1e-10) ** 2)

    fad.check_grads(solution, (base,), order=2)
    ranks = fad.jit(lambda a: LA.lstsq(a, np.ones(3))[1:3])
    assert [x.shape for x in ranks(np.eye(3, 2))] == [(1,), ()]
    residuals, rank = ranks(np.ones((3, 2)))  # another rank: another path
    assert residuals.size == 0 and rank == 1


# ── errors and structure ──────────────────────────────────────────────────────────────────────────────────────
def test_what_is_refused_says_what_to_do():
    for f, fix in ((LA.eig, "eigh"), (LA.eigvals, "symmetric"), (lambda a: LA.qr(a, mode="raw"), "reduced")):
        with pytest.raises(fad.RecordingError, match=fix):
            fad.jit(f)(np.eye(2))
    for f in (LA.inv, LA.det, LA.eigh, LA.eigvalsh, fad.linalg.expm, fad.linalg.sqrtm, fad.linalg.cho_factor):
        with pytest.raises(fad.MatrixShapeError, match=r"not square.*test_factorisations.py"):
            fad.jit(f)(np.ones((2, 3)))
    for f in (LA.qr, LA.svd, LA.pinv):
        with pytest.raises(fad.MatrixShapeError, match="no matrix"):
            fad.jit(f)(np.ones(3))
    with pytest.raises(fad.MatrixShapeError, match=r"shape \(…, 3, n\)"):
        fad.linalg.solve_banded((1, 1), np.ones((2, 4)), np.ones(4))


def test_nan_passes_through():
    bad = square(3)
    bad[1, 1] = np.nan
    for f in (LA.inv, LA.det, LA.qr, LA.eigh, LA.svd, LA.pinv, fad.linalg.expm, fad.linalg.sqrtm):
        kept = fad.jit(lambda a, f=f: as_tuple(f(a))[0])
        kept(definite(3))
        assert np.isnan(kept(bad)).any()


STRUCTURED = {
    "toeplitz": lambda m, c, r: m.toeplitz(c, r), "toeplitz, symmetric": lambda m, c, r: m.toeplitz(c),
    "hankel": lambda m, c, r: m.hankel(c, r), "hankel, zeros": lambda m, c, r: m.hankel(c),
    "circulant": lambda m, c, r: m.circulant(c), "block_diag": lambda m, c, r: m.block_diag(c, r[:, None], 2.0),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURED)
def test_matrices_with_structure(name):
    build, c, r = STRUCTURED[name], RNG.normal(size=4), RNG.normal(size=3)
    expected = build(scipy.linalg, c, r)
    np.testing.assert_array_equal(build(fad.linalg, c, r), expected)
    np.testing.assert_array_equal(fad.jit(lambda c, r: build(fad.linalg, c, r))(c, r), expected)
    weights = RNG.normal(size=expected.shape)
    gradient = fad.grad(lambda c: np.sum(weights * build(fad.linalg, c, r)))(c)
    known = [np.sum(weights * (build(scipy.linalg, c + e, r) - expected)) for e in np.eye(4)]
    np.testing.assert_allclose(gradient, known, rtol=1e-9, atol=1e-12)


def test_band_matrices_in_stacks():
    ab, b = RNG.normal(size=(3, 3, 5)), RNG.normal(size=(3, 5, 2))
    ab[:, 1] += 4
    known = [scipy.linalg.solve_banded((1, 1), ab[k], b[k]) for k in range(3)]
    np.testing.assert_allclose(fad.jit(lambda ab, b: fad.linalg.solve_banded((1, 1), ab, b))(ab, b), known, rtol=1e-10)
    own = fad.vmap(lambda ab, b: fad.linalg.solve_banded((1, 1), ab, b), in_axes=(0, None))(ab, b[0])
    np.testing.assert_allclose(own[1], scipy.linalg.solve_banded((1, 1), ab[1], b[0]), rtol=1e-10)
    gradient = fad.grad(lambda ab: np.sum(fad.linalg.solve_banded((1, 1), ab, b) ** 2))(ab)
    assert not gradient[:, 0, 0].any() and not gradient[:, 2, -1].any()  # outside of the matrix


def test_orders_and_powers_that_are_none():
    order, power = lambda A: np.linalg.norm(A, 3), lambda A: np.linalg.matrix_power(A, 1.5)
    for wrong, kind in ((order, ValueError), (power, TypeError)):
        with pytest.raises(kind, match=r"test_factorisations"):
            fad.jit(wrong)(np.eye(2))
