"""NumPy's functions on recorded values: each case is run in plain NumPy, recorded, replayed and differentiated."""

import numpy as np
import pytest
from recording_tools import check

import fastad as fad

# Arguments of the cases: x (3, 4), y (4, 5), c (2, 3, 4), v (4,), w (4,), s and t scalars; all in general position.
SHAPES = {
    "x": (3, 4), "y": (4, 5), "z": (3, 4), "c": (2, 3, 4), "d": (2, 4, 3), "v": (4,), "w": (4,), "m": (3, 3),
    "s": (), "t": (),
}  # fmt: skip

REDUCTIONS = """
np.sum(x) | np.sum(x, axis=0) | np.sum(c, axis=(0, 2)) | np.sum(c, axis=-1, keepdims=True) | x.sum(1)
np.sum(x, axis=()) | np.sum(x, where=x > 0) | np.sum(x, initial=2.0) | np.sum(x > 0) | np.sum(x > 0, axis=1)
np.add.reduce(x) | np.sum(s) | np.sum(x, axis=0, dtype=np.float32) | np.sum(c, (0, 1, 2), keepdims=True)
np.sum([s, t]) | sum([s, t]) | sum(v) | np.prod(x) | np.prod(x, axis=0) | np.prod(c, axis=(0, 2)) | np.prod(v * 0)
np.prod(v, initial=2.0) | np.multiply.reduce(x) | np.prod(c, axis=1, keepdims=True) | np.prod(v[:0])
np.prod(v, where=v > 0) | v.prod() | np.mean(x) | np.mean(c, axis=(0, 2)) | x.mean(0) | np.mean(x, keepdims=True)
np.mean(x, where=x > -1) | np.mean(x > 0) | np.var(x) | np.var(c, axis=1) | np.var(x, ddof=1)
x.var(axis=0, keepdims=True) | np.std(x) | x.std(1, ddof=1) | np.max(x) | np.max(c, axis=(0, 2))
x.max(axis=0, keepdims=True) | np.max(x, initial=0.5) | np.amax(v) | np.maximum.reduce(x) | np.min(x)
np.min(c, axis=-2) | x.min() | np.min(x, where=x > 0, initial=9.0) | np.amin(c, axis=(-1, 0))
np.minimum.reduce(c, axis=1) | np.max(v, axis=()) | np.ptp(x) | np.ptp(x, axis=1) | np.median(v) | np.median(x)
np.median(c, axis=(0, 1)) | np.median(v[:3], keepdims=True) | np.quantile(v, 0.3)
np.quantile(x, [0.1, 0.5, 0.9], axis=1) | np.percentile(x, 30, axis=0) | np.quantile(v, 0.3 + 0.01 * s)
np.quantile(x, 0.35, method="hazen") | np.quantile(v, 0.3, method="lower") | np.quantile(v, 0.3, method="higher")
np.quantile(v, 0.3, method="midpoint") | np.quantile(v, 0.4, method="nearest")
np.quantile(x, 0.5, axis=1, keepdims=True) | np.quantile(v, 1.0) | np.quantile(v, 0.0)
np.quantile(x, [[0.1, 0.5], [0.9, 1.0]], axis=0) | np.cumsum(x) | np.cumsum(x, axis=0) | x.cumsum(-1)
np.cumsum(x > 0) | np.cumprod(x) | np.cumprod(c, axis=1) | v.cumprod() | np.cumprod(v * 0) | np.add.accumulate(x)
np.multiply.accumulate(x, axis=1) | np.maximum.accumulate(x, axis=1) | np.minimum.accumulate(v)
np.logaddexp.reduce(v) | np.logaddexp.accumulate(v) | np.hypot.reduce(v) | np.fmax.reduce(x)
np.logaddexp.reduce(x, axis=None) | np.cumulative_sum(v, include_initial=True) | np.cumulative_prod(x, axis=0)
np.nansum(x) | np.nanmean(x, axis=0) | np.nanmax(x) | np.nanmin(x, axis=1) | np.nanvar(x) | np.nanstd(x, axis=0)
np.nanprod(v) | np.nancumsum(x) | np.average(x) | np.average(x, axis=1, weights=v * v) | np.average(x, weights=z * z)
np.average(v, weights=w * w, returned=True) | np.average(x, axis=0, returned=True)
np.average(x, axis=1, keepdims=True) | np.cov(x) | np.cov(v) | np.cov(v, w) | np.cov(x, rowvar=False)
np.cov(x, bias=True) | np.cov(x, ddof=0) | np.cov(x, aweights=w * w) | np.cov(x, fweights=np.arange(1, 5))
np.corrcoef(x) | np.corrcoef(v, w) | np.trace(m) | np.trace(c) | np.trace(c, 1, 1, 2) | m.trace() | np.linalg.trace(c)
"""

NUMPY = tuple(map(int, np.__version__.split(".")[:2]))
PRODUCTS = """
x @ y | v @ y | x @ v | v @ w | c @ y | x @ d | c @ d | np.matmul(c, v) | np.matmul(v, d) | c @ d[:1]
c[:, None] @ d[None] | y.T @ x.T | np.matmul(c.swapaxes(1, 2), c) | c @ c.swapaxes(1, 2) | x.T @ x | x @ x.T
d[0].T @ d[1] | x @ np.ones((4, 2)) | np.ones((2, 3)) @ x | x[:1] @ v | v[:, None] @ v[None] | x @ x[::-1].T
x[:, :3] @ m.T | (x @ y).T @ m | x.T.copy().T @ y | c[0].T @ m @ c[1] | v.__matmul__(y) | x[:, :0] @ y[:0]
np.dot(x, y) | np.dot(v, w) | np.dot(s, x) | np.dot(c, y) | np.dot(c, d) | np.dot(x, v) | x.dot(y) | np.vdot(x, z)
np.vdot(v, w) | np.inner(x, z) | np.inner(v, w) | np.inner(c, x) | np.inner(s, v) | np.outer(v, w) | np.outer(x, v)
np.linalg.outer(v, w) | np.tensordot(x, y, 1) | np.tensordot(c, d, axes=([1, 2], [2, 1])) | np.tensordot(x, z, 2)
np.tensordot(c, x, axes=(1, 0)) | np.tensordot(v, w, 0) | np.tensordot(c, d, axes=((0, 2), (0, 1))) | np.kron(x, y)
np.kron(v, x) | np.kron(v, w) | np.cross(m, m[::-1]) | np.cross(m[0], m)
np.cross(m, m[::-1], axis=0) | np.vecdot(c, x) | np.matvec(c, v) | np.vecmat(v, d)
np.linalg.vecdot(x, z) | np.linalg.multi_dot([x, y, y.T, v]) | np.linalg.multi_dot([v, y])
np.linalg.matrix_power(m, 3) | np.linalg.matrix_power(m, 0) | np.linalg.matrix_power(m, 1) | np.linalg.matmul(x, y)
np.linalg.cross(m[0], m[1]) | np.linalg.tensordot(x, y, axes=1) | np.linalg.norm(v) | np.linalg.norm(x)
np.linalg.norm(x, axis=1) | np.linalg.norm(x, "fro") | np.linalg.norm(v, 1) | np.linalg.norm(v, np.inf)
np.linalg.norm(x, 1) | np.linalg.norm(x, np.inf) | np.linalg.norm(v, 3) | np.linalg.norm(c, axis=(1, 2))
np.linalg.norm(x, axis=0, keepdims=True) | np.linalg.norm(v, -np.inf) | np.linalg.norm(v, 0)
np.linalg.vector_norm(x) | np.linalg.matrix_norm(c) | np.linalg.norm(c, 1, axis=(2, 0))
np.linalg.norm(x, keepdims=True) | np.linalg.vector_norm(x, axis=1, ord=1) | np.multiply.outer(v, x)
np.subtract.outer(v, w) | np.maximum.outer(v, w)
np.polyfit(v, w, 1) | np.polyfit(np.arange(4.0), w, 2) | np.polyfit(v, x.T, 1) | np.polyfit(v, [1, 2, 0, 1], 1)
np.polyfit(np.arange(4.0), w, 1, w=[1.0, 2.0, 1.0, 3.0]) | np.polynomial.Polynomial.fit([0, 1, 2, 4], w, 2)(0.3)
np.polynomial.polynomial.polyfit([0, 1, 2, 4], x.T, 1) | np.polynomial.chebyshev.chebfit([0, 1, 2, 4], w, 2, w=w + 4.0)
np.polyfit(v, w, 1, w=np.exp(w)) | np.polyfit(v, x.T, 1, w=np.exp(w)) | np.polyfit(v, w, 1, cov=True)[1]
np.polyfit(v, x.T, 1, cov="unscaled")[1] | np.polyfit(v, w, 2, full=True)[1] | np.polyfit(v, w, 0)
"""

EINSUM = """
ij,jk;x,y | ij,jk->ki;x,y | ij->ji;x | ij;x | ji;x | ii;m | ii->i;m | ij->;x | i,i;v,w | i,j;v,w | i,j->ji;v,w
bij,bjk->bik;c,d | bij,bjk;c,d | ...ij,...jk->...ik;c,d | ...ij->...ji;c | ...;x | i...;x | bij,jk,j->bk;c,y,v
ij,ij->ij;x,z | ij,ij->i;x,z | ij,ij;x,z | bij,ij->b;c,x | bij,bij->b;c,c | bij,kj,k->bi;c,z,m[0] | ij,j->i;x,v
ij,j->ij;x,v | i,ij,j;m[0],m,m[1] | bij,bkj,bk->i;c,c,c[:, :, 0] | ij,jk,kl->il;x,y,y.T | iij->j;m[:, :, None] * v
i->i;v | i->;v | ,i;s,v | ij,kl->;x,y | ij,...j->...i;x,c | b...,b...->...;c,c | ij,ik,il->jkl;x,z,m
a b, b c -> a c;x,y | ij,ij,ij->j;x,z,x | i,i,i;v,w,v | bij->bji;c | bij->i;c
ijk,ilm,njm->nkl;c,c[:, :, :3],m[:, :, None] * m[0]
"""


def split(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" | ")]


def function(expression):
    used = [name for name in SHAPES if f"{name}" in _names(expression)]
    code = compile(f"lambda {', '.join(used)}: {expression}", "<case>", "eval")
    return eval(code, {"np": np}), used


def _names(expression):
    return set(compile(expression, "<case>", "eval").co_names)


def general(used):
    def make(rng):
        arrays = [rng.normal(size=SHAPES[name]) for name in used]
        return [np.asarray(a + 0.05 * np.sign(a)) for a in arrays]

    return make


@pytest.mark.parametrize("expression", split(REDUCTIONS))
def test_reductions(expression):
    f, used = function(expression)
    check(f, general(used), differentiate="float32" not in expression)


@pytest.mark.parametrize("expression", split(PRODUCTS))
def test_products(expression):
    f, used = function(expression)
    check(f, general(used))


@pytest.mark.skipif(NUMPY >= (2, 5), reason="NumPy 2.5 takes vectors of three components only")
@pytest.mark.parametrize("expression", ["np.cross(c[:, :, :2], c[:, :, 2:])", "np.cross(m[:, :2], m)"])
def test_cross_products_in_the_plane(expression):
    f, used = function(expression)
    check(f, general(used))


@pytest.mark.parametrize("case", split(EINSUM))
def test_einsum(case):
    subscripts, operands = case.split(";")
    f, used = function(f"np.einsum({subscripts!r}, {operands})")
    check(f, general(used))


def test_einsum_with_lists_of_labels():
    f, used = function("np.einsum(x, [0, 1], y, [1, 2], [2, 0])")
    check(f, general(used))
    f, used = function("np.einsum(c, [..., 0, 1], v, [1])")
    check(f, general(used))


@pytest.mark.parametrize("optimize", [True, False, "greedy", "optimal"])
def test_einsum_order(optimize):
    f, used = function(f"np.einsum('ij,jk,kl,l->i', x, y, y.T, v, optimize={optimize!r})")
    check(f, general(used))


NORMS = [
    np.linalg.norm,
    lambda x: np.linalg.norm(x, 3),
    lambda x: np.linalg.norm(x, 1.5),
    lambda x: np.sum(np.linalg.norm(np.reshape(x, (2, 2)), axis=0)),
    lambda x: np.linalg.norm(np.reshape(x, (2, 2)), "fro"),
    np.std,
    lambda x: np.sum(np.std(np.reshape(x, (2, 2)), axis=1, keepdims=True)),
    np.nanstd,
]


@pytest.mark.parametrize("norm", NORMS)
def test_norms_and_deviations_have_the_derivative_0_where_they_are_0(norm):
    """0 lies between the derivatives of both sides, by any direction; elsewhere nothing changes."""
    zero, v = np.zeros(4), np.array([1.0, -2.0, 0.5, 3.0])
    assert fad.jit(norm)(zero) == 0.0
    for tier in ("sweep", "native"):
        assert np.array_equal(fad.grad(norm, tier=tier)(zero), zero)
    sides = [s * fad.grad(norm)(s * 1e-9 * v) @ v for s in (1, -1)]
    assert sides[0] > 0 and np.allclose(*sides)
    fad.check_grads(norm, (v,), order=2)


def test_half_of_the_norms_may_be_0():
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert np.allclose(fad.grad(lambda x: np.sum(np.linalg.norm(x, axis=1)))(x), [[0.0, 0.0], [0.6, 0.8]])
    assert np.array_equal(fad.hessian(np.linalg.norm)(x[0]) > 1e25, np.eye(2))  # infinite, see test_kinks
    assert np.isnan(fad.grad(np.linalg.norm)(np.array([np.nan, 0.0]))).all()


SAMPLE, MASK, EDGES = np.array([0.1, 0.2, 0.5, np.nan]), np.array([True, True, False, True]), np.linspace(0, 1, 4)
PAIRS = np.array([[0.1, 0.4, 0.8, 0.9], [0.7, 0.3, 0.2, 0.6]])
OPTIONS = {
    "nanvar correction": lambda z: np.nanvar(SAMPLE * z, correction=1),
    "nanstd mean": lambda z: np.nanstd(SAMPLE * z, mean=0.3),
    "nanmean where": lambda z: np.nanmean(SAMPLE * z, where=MASK),
    "nanvar where": lambda z: np.nanvar(SAMPLE * z, where=SAMPLE * z > 0.15),
    "nanmax initial": lambda z: np.nanmax(SAMPLE, initial=z),
    "std mean": lambda z: np.std(EDGES, mean=z),
    "cov aweights": lambda z: np.cov(PAIRS, aweights=EDGES * z),
    "edges": lambda z: np.histogram(PAIRS[0] * z, EDGES * z)[0] * z,
    "edges of two": lambda z: np.histogram2d(*(PAIRS * z), [EDGES * z, EDGES])[0] * z,
    "edges of all": lambda z: np.histogramdd(PAIRS.T, [EDGES * z, EDGES * z])[0] * z,
    "range": lambda z: np.histogram(PAIRS, 3, (0.0 * z, z))[0] * z,
    "ranges": lambda z: np.histogram2d(*PAIRS, 3, [(0.0, z), (0.0, 1.0)])[0] * z,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    """Options count, also where nothing but an option is recorded."""
    f = fad.jit(OPTIONS[name])
    for z in (1.0, 0.7):
        np.testing.assert_allclose(f(z), OPTIONS[name](z), rtol=1e-13)


def test_masks_are_truth_values():
    for f in (np.sum, np.mean, np.nansum, np.max):
        with pytest.raises(TypeError, match="where must be"):
            fad.jit(lambda x, f=f: f(x, where=x, **({"initial": 0.0} if f is np.max else {})))(EDGES)
    with pytest.raises(fad.RecordingError, match=r"np\.where\(mask"):
        fad.jit(lambda x: np.clip(x, 0, 1, where=x > 0.5))(EDGES)
